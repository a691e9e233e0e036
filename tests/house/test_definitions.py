"""The page of definitions is what the registry says, and what it calls the same elsewhere is the same."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType
from typing import Any

import fairlearn.metrics
import numpy as np
import pandas as pd
import pytest
import sklearn.metrics
from fairlearn.metrics import MetricFrame

from steelyard.audit.cli import main
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Data, Finding, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.dictionary import DICTIONARY, LIBRARIES, TWO, namesakes
from steelyard.probes.registry import BUILT_IN, metric_specs

CLAIMS = [
    (metric, name.name)
    for metric, names in DICTIONARY.items()
    for name in names
    if name.library in ("Fairlearn", "scikit-learn") and not name.differs
]
FAMILIES = ("fairness.", "privacy.", "quality.")


@pytest.fixture(scope="module")
def script(repo_root: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("definitions_script", repo_root / "scripts" / "definitions.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_what_the_registry_says(script: ModuleType, repo_root: Path) -> None:
    text = (repo_root / "docs" / "definitions.md").read_text(encoding="utf-8")
    assert script.page(text) == text, "run python scripts/definitions.py"
    for metric in metric_specs(BUILT_IN).values():
        assert f"**`{metric.id}`**" in text


def test_entries_are_of_metrics_that_exist() -> None:
    """An entry of a probe that is not registered is allowed: it says nothing wrong, and nothing at all yet."""
    there, probes = metric_specs(BUILT_IN), {kind.id for kind in BUILT_IN}
    lost = [metric for metric in DICTIONARY if metric.rsplit(".", 1)[0] in probes and metric not in there]
    assert not lost
    for names in DICTIONARY.values():
        assert names
        assert {name.library for name in names} <= set(LIBRARIES)
        assert len({(name.library, name.name) for name in names}) == len(names)


def test_those_that_are_the_same_come_first() -> None:
    for metric in DICTIONARY:
        differ = [bool(name.differs) for name in namesakes(metric)]
        assert differ == sorted(differ)
    assert namesakes("fairness.no-such.thing") == ()


class Table:
    """A model that answers with two columns of its inputs."""

    def __init__(self, task: Task) -> None:
        if task is not Task.REGRESSION:
            self.classes_ = np.array([0, 1])
            self.predict_proba = lambda X: np.column_stack([1 - X["score"], X["score"]])

    def predict(self, X: Any) -> Any:
        return X["answer"].to_numpy()


def table(task: Task, seed: int) -> tuple[Sample, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    n = 900
    group = rng.choice(["a", "b", "c", "d"], n, p=[0.4, 0.3, 0.2, 0.1])
    score = np.clip(rng.beta(2, 2, n) + 0.1 * (group == "b"), 0.001, 0.999)
    if task is Task.REGRESSION:
        y = rng.normal(size=n)
        answer = y + rng.normal(scale=np.where(group == "c", 2.0, 1.0), size=n)
    else:
        y = (rng.random(n) < score).astype(int)
        answer = (score + rng.normal(scale=0.2, size=n) > 0.5).astype(int)
    frame = pd.DataFrame({"answer": answer, "score": score})
    sample = sample_from_arrays(frame, y, groups={"g": group}, task=task.value, positive=None)
    return sample, frame.assign(y=y, g=group)


def measured(sample: Sample) -> dict[tuple[str, str], float]:
    """(metric, group or "") → value; the group is empty for the whole sample and for comparisons within g."""
    target, found = wrap(Table(sample.task), sample), {}
    for kind in BUILT_IN:
        wanted = [metric for metric, _ in CLAIMS if metric.rsplit(".", 1)[0] == kind.id]
        if not wanted or sample.task not in kind.tasks or Data.TRAINING in kind.requires:
            continue
        settings = {k: v for k, v in {"depth": 1, "draws": 50}.items() if k in kind.__dataclass_fields__}
        for row in kind(**settings).run(target, sample, References(), np.random.default_rng(0)):
            if isinstance(row, Finding) and row.metric in wanted:
                if row.where == {} or row.where == {"attribute": "g"}:
                    found[row.metric, ""] = row.estimate.value
                elif dict(row.where).keys() == {"attribute", "group"}:
                    found[row.metric, str(row.where["group"])] = row.estimate.value
    return found


SCORED = ("auc", "brier", "mean-score", "log-loss")


def theirs(metric: str, name: str, frame: pd.DataFrame) -> dict[str, float]:
    """What the library gives: of each group where the name says by_group, else one number under ""."""
    answers = frame["score" if any(word in metric for word in SCORED) else "answer"]
    match = re.fullmatch(r"MetricFrame\(metrics=(\w+)\)\.(by_group|difference\(\)|ratio\(\))", name)
    if match is None and hasattr(fairlearn.metrics, name):
        return {"": getattr(fairlearn.metrics, name)(frame["y"], answers, sensitive_features=frame["g"])}
    if match is None:
        return {"": getattr(sklearn.metrics, name)(frame["y"], answers)}
    function = getattr(fairlearn.metrics, match[1], None) or getattr(sklearn.metrics, match[1])
    found = MetricFrame(metrics=function, y_true=frame["y"], y_pred=answers, sensitive_features=frame["g"])
    if match[2] == "by_group":
        return {str(group): float(value) for group, value in found.by_group.items()}
    return {"": found.difference() if match[2].startswith("d") else found.ratio()}


@pytest.fixture(scope="module", params=[0, 1, 2])
def tables(request: pytest.FixtureRequest) -> dict[str, Any]:
    made = {task: table(task, request.param) for task in (Task.BINARY, Task.REGRESSION)}
    return {"made": made, "ours": {task: measured(sample) for task, (sample, _) in made.items()}}


@pytest.mark.parametrize(("metric", "name"), CLAIMS, ids=[f"{metric}-{name}" for metric, name in CLAIMS])
def test_what_is_said_to_be_the_same_is_the_same(metric: str, name: str, tables: dict[str, Any]) -> None:
    if metric.rsplit(".", 1)[0] not in {kind.id for kind in BUILT_IN}:
        pytest.skip(f"no probe measures {metric}")
    number_of = "regression" in metric or metric.rsplit(".", 1)[1] in {"mae", "rmse", "r2"}
    task = Task.REGRESSION if number_of else Task.BINARY
    ours, expected = tables["ours"][task], theirs(metric, name, tables["made"][task][1])
    for group, value in expected.items():
        assert ours[metric, group] == pytest.approx(value, abs=1e-9), group


def test_where_fairlearn_counts_nothing_as_nought(tables: dict[str, Any]) -> None:
    """A group without a positive label: Fairlearn's TPR is 0, ours is a row that says there is none."""
    frame = tables["made"][Task.BINARY][1].copy()
    frame.loc[frame["g"] == "d", "y"] = 0
    rates = MetricFrame(
        metrics=fairlearn.metrics.true_positive_rate,
        y_true=frame["y"], y_pred=frame["answer"], sensitive_features=frame["g"],
    )  # fmt: skip
    assert rates.by_group["d"] == 0.0
    sample = sample_from_arrays(frame[["answer", "score"]], frame["y"], groups=frame[["g"]])
    assert ("fairness.error-rates.tpr", "d") not in measured(sample)
    assert ("fairness.error-rates.tpr", "a") in measured(sample)


def test_the_other_numbers_are_other_numbers(tables: dict[str, Any]) -> None:
    """The disagreements that the page explains are real ones, shown by the formulas it gives."""
    frame = tables["made"][Task.BINARY][1]
    ours = tables["ours"][Task.BINARY]
    rates = frame.groupby("g")["answer"].mean()
    pairs = [abs(a - b) for i, a in enumerate(rates) for b in rates.iloc[:i]]
    assert np.mean(pairs) < ours["fairness.selection-rate.difference", ""] - 1e-6
    overall = fairlearn.metrics.demographic_parity_difference(
        frame["y"], frame["answer"], sensitive_features=frame["g"], method="to_overall"
    )
    assert overall < ours["fairness.selection-rate.difference", ""] - 1e-6
    mean = fairlearn.metrics.equalized_odds_difference(
        frame["y"], frame["answer"], sensitive_features=frame["g"], agg="mean"
    )
    assert mean < ours["fairness.error-rates.equalized-odds-difference", ""] - 1e-9


def test_the_command_names_them(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probes", "fairness.selection-rate"]) == 0
    said = capsys.readouterr().out
    assert "in Fairlearn: demographic_parity_difference\n" in said
    assert f"in holisticai: four_fifths ({TWO})" in said
    assert "AIF360: ClassificationMetric.disparate_impact() (unprivileged ÷ privileged: can exceed 1)" in said
    assert main(["probes"]) == 0
    every = capsys.readouterr().out
    assert "in Fairlearn" not in every  # the whole list stays short: ids and formulas
    for spec in metric_specs(BUILT_IN).values():
        assert spec.definition in every
    assert main(["probes", "fairness.selection-rate", "--format", "json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    ratio = next(metric for metric in found["metrics"] if metric["id"].endswith(".ratio"))
    assert {"library": "Fairlearn", "name": "demographic_parity_ratio", "differs": ""} in ratio["elsewhere"]


def test_the_entropies_of_the_others_are_ours() -> None:
    """Their formulas as they stand in their sources, on counts: TP, FP, FN, TN = 30, 20, 10, 40."""
    kinds = [kind for kind in BUILT_IN if kind.id == "fairness.inequality"]
    if not kinds:
        pytest.skip("no probe measures fairness.inequality")
    y, answer = np.repeat([1, 0, 1, 0], [30, 20, 10, 40]), np.repeat([1, 1, 0, 0], [30, 20, 10, 40])
    frame = pd.DataFrame({"answer": answer, "score": 0.5})
    sample = sample_from_arrays(frame, y, groups={"g": np.tile(["a", "b"], 50)})
    rows = kinds[0]().run(wrap(Table(Task.BINARY), sample), sample, References(), np.random.default_rng(0))
    ours = {
        row.metric.rsplit(".", 1)[1]: row.estimate.value for row in rows if isinstance(row, Finding) and not row.where
    }
    b = answer - y + 1.0
    assert ours["generalized-entropy"] == pytest.approx((100 * (30 + 4 * 20 + 40) / (30 + 2 * 20 + 40) ** 2 - 1) / 2)
    assert ours["generalized-entropy"] == pytest.approx(np.mean((b / b.mean()) ** 2 - 1) / 2)
    assert ours["theil"] == pytest.approx(np.mean(np.log((b / b.mean()) ** b) / b.mean()))
