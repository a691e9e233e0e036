"""Questions of the data alone are put once, and any model gives them the same answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.console import NoProgress
from steelyard.audit.plan_file import load_plan
from steelyard.audit.record import Record
from steelyard.audit.run import run_audit
from steelyard.probes.registry import all_probes

IDS = sorted(probe.id for probe in all_probes() if probe.about_data)
OTHER = {"logistic": "boosting", "boosting": "logistic"}
PLAN = """
audit: {{name: data, seed: 3}}
target: {{kind: recipe, name: baseline/{recipe}}}
data: {{train: train.csv, test: test.csv, label: y, positive: 1, groups: [sex]}}
references: [baseline/{other}]
probes: [{probes}]
gates:
  - {{metric: privacy.duplicates.exact, max: 0.99}}
  - {{metric: privacy.duplicates.exact, versus: baseline, not_worse_by: 0.1}}
"""


def audit_of(folder: Path, recipe: str) -> Record:
    folder.mkdir()
    for name, seed in (("train", 1), ("test", 2)):
        rng = np.random.default_rng(seed)
        sex = rng.integers(2, size=600)
        frame = pd.DataFrame({"sex": np.where(sex, "f", "m"), "a": sex + rng.normal(size=600).round(1)})
        frame["b"] = rng.integers(4, size=600)
        frame["y"] = (frame["a"] + frame["b"] + rng.normal(size=600) > 2).astype(int)
        frame.to_csv(folder / f"{name}.csv", index=False)
    (folder / "audit.yaml").write_text(
        PLAN.format(recipe=recipe, other=OTHER[recipe], probes=", ".join(IDS)), encoding="utf-8"
    )
    return run_audit(load_plan(folder / "audit.yaml"), out=folder / "run", progress=NoProgress()).record


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Record]:
    folder = tmp_path_factory.mktemp("data")
    return {recipe: audit_of(folder / recipe, recipe) for recipe in ("logistic", "boosting")}


def test_there_are_such_questions() -> None:
    assert {"fairness.proxies", "privacy.duplicates", "privacy.unique-rows"} <= set(IDS)


def test_only_the_candidate_is_asked(records: dict[str, Record]) -> None:
    record = records["boosting"]
    assert len(record.targets) >= 2
    assert {finding.target for finding in record.findings} == {record.candidate().name}


@pytest.mark.parametrize("probe", IDS)
def test_every_model_gives_the_same_answer(records: dict[str, Record], probe: str) -> None:
    def told(record: Record) -> list[Any]:
        return [(f.metric, f.where, f.estimate) for f in record.findings if f.probe == probe]

    assert told(records["logistic"]) == told(records["boosting"])
    assert told(records["logistic"])


def test_no_reference_can_be_better_at_it(records: dict[str, Record]) -> None:
    verdicts = records["boosting"].verdicts
    assert verdicts[0].status.value == "pass"
    assert verdicts[1].status.value == "not_measured"
    assert "baseline" in verdicts[1].reason
