"""The fair references: they decide as Fairlearn does, they are fair, and they are trained once."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.cli import main
from steelyard.audit.errors import PlanError, TargetError, UnsafeArtifact
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Modality
from steelyard.models.cache import ModelCache, train_reference
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.loading import load_model
from steelyard.models.recipes import recipe as recipe_module
from steelyard.models.recipes.fair import ExponentiatedGradient, ThresholdOptimizer
from steelyard.models.recipes.randomised import GroupThresholds, ModelMixture, crossed_levels, dense, lots
from steelyard.models.recipes.registry import resolve
from steelyard.models.targets.load import load_target

OFF = ModelCache()
FAIR = resolve("fair")


def people(n: int, seed: int = 0, *, bias: float = 1.5) -> pd.DataFrame:
    """Two groups; the outcome depends on x, and x on the group: a plain model selects group b more often."""
    rng = np.random.default_rng(seed)
    group = rng.choice(["a", "b"], n)
    x = rng.normal(size=n) + bias * (group == "b")
    word = rng.choice(["red", "green"], n)
    y = (x + 0.5 * (word == "red") + rng.normal(size=n) > 1.0).astype(int)
    return pd.DataFrame({"x": x, "noise": rng.normal(size=n), "word": word, "group": group, "y": y})


def sample_of(frame: pd.DataFrame, **more: Any) -> Sample:
    return sample_from_arrays(frame.drop(columns="y"), frame["y"], groups=frame[["group"]], **more)


@pytest.fixture(scope="module")
def train() -> Sample:
    return sample_of(people(2500, 1))


@pytest.fixture(scope="module")
def few() -> Sample:
    """Enough to train on, for tests that do not ask how well."""
    return sample_of(people(700, 7))


@pytest.fixture(scope="module")
def test_frame() -> pd.DataFrame:
    return people(4000, 2)


@pytest.fixture(scope="module")
def trained(train: Sample) -> dict[str, Any]:
    return {
        recipe.id: train_reference(recipe, train, 3, OFF)[0]
        for recipe in (*resolve("baseline", modality=Modality.TABULAR), *FAIR)
    }


def gap(decisions: Any, groups: Any) -> float:
    rates = pd.Series(np.asarray(decisions)).groupby(np.asarray(groups)).mean()
    return float(rates.max() - rates.min())


def odds_gap(decisions: Any, frame: pd.DataFrame) -> float:
    return max(gap(decisions[frame["y"] == y], frame["group"][frame["y"] == y]) for y in (0, 1))


# planted truth: the plain models carry the gap, the fair ones do not


def test_parity_is_reached_on_fresh_rows(trained: dict[str, Any], test_frame: pd.DataFrame) -> None:
    inputs, groups = test_frame.drop(columns="y"), test_frame["group"]
    gaps = {name: gap(target.predict(inputs), groups) for name, target in trained.items()}
    assert min(gaps["baseline/logistic"], gaps["baseline/boosting"]) > 0.3
    # 4,000 rows: the difference of two rates has a standard error of at most .016
    assert gaps["fair/exponentiated-gradient"] < 0.01 + 0.02 + 3 * 0.016
    assert gaps["fair/threshold-optimizer"] < 0.02 + 3 * 0.016


def test_odds_are_reached_on_fresh_rows(trained: dict[str, Any], test_frame: pd.DataFrame) -> None:
    inputs = test_frame.drop(columns="y")
    gaps = {name: odds_gap(target.predict(inputs), test_frame) for name, target in trained.items()}
    assert gaps["baseline/logistic"] > 0.2
    assert gaps["fair/exponentiated-gradient-odds"] < 0.12
    assert gaps["fair/threshold-optimizer-odds"] < 0.12


def test_fairness_costs_accuracy_where_the_outcome_differs(trained: dict[str, Any], test_frame: pd.DataFrame) -> None:
    inputs, y = test_frame.drop(columns="y"), test_frame["y"].to_numpy()
    right = {name: (target.predict(inputs) == y).mean() for name, target in trained.items()}
    for name in ("fair/exponentiated-gradient", "fair/threshold-optimizer"):
        assert max(y.mean(), 1 - y.mean()) + 0.05 < right[name] < right["baseline/logistic"] - 0.02


def test_nothing_to_mend_costs_nothing() -> None:
    """Null: where the groups do not differ, the constraint does not bind and the accuracy is the plain model's."""
    train, fresh = sample_of(people(2500, 5, bias=0.0)), people(4000, 6, bias=0.0)
    inputs, y = fresh.drop(columns="y"), fresh["y"].to_numpy()
    for plain, fair in (("logistic", ExponentiatedGradient()), ("logistic", ThresholdOptimizer(base="logistic"))):
        one = train_reference(plain, train, 0, OFF)[0].predict(inputs)
        two = train_reference(fair, train, 0, OFF)[0].predict(inputs)
        assert (two == y).mean() > (one == y).mean() - 0.015


# oracle: the chances are Fairlearn's own


def test_a_mixture_has_fairlearns_chances(train: Sample, trained: dict[str, Any], test_frame: pd.DataFrame) -> None:
    from fairlearn.reductions import DemographicParity
    from fairlearn.reductions import ExponentiatedGradient as Theirs

    recipe, fresh = ExponentiatedGradient(), test_frame.drop(columns="y")
    mine = trained[recipe.id].model
    prepare, model, columns, labels = recipe.prepared(train, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs(model, DemographicParity(difference_bound=0.01), max_iter=50)
        theirs.fit(columns, labels, sensitive_features=train.inputs["group"])
        expected = theirs._pmf_predict(dense(prepare.transform(fresh)))[:, 1]
    assert np.allclose(mine.chance(fresh), expected, atol=1e-12)
    assert ((expected > 0) & (expected < 1)).mean() > 0  # some rows are decided by lot


@pytest.mark.parametrize("constraint", ["demographic-parity", "equalized-odds"])
def test_thresholds_have_fairlearns_chances(constraint: str, train: Sample, test_frame: pd.DataFrame) -> None:
    from fairlearn.postprocessing import ThresholdOptimizer as Theirs
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold

    recipe, fresh = ThresholdOptimizer(constraint=constraint, base="logistic"), test_frame.drop(columns="y")
    mine = recipe.fit(train, 3)
    prepare, model, columns, labels = recipe.prepared(train, 3)
    scores = np.zeros(train.n)
    for known, held_out in StratifiedKFold(5, shuffle=True, random_state=3).split(columns, labels):
        scores[held_out] = model.fit(columns[known], labels[known]).predict_proba(columns[held_out])[:, 1]
    # A logistic regression on the logit of the score, made to be the identity, has that score as its probability.
    identity = LogisticRegression().fit([[0.0], [1.0]], [0, 1])
    identity.coef_, identity.intercept_ = np.array([[1.0]]), np.array([0.0])
    logit = lambda p: np.log(p / (1 - p))[:, None]  # noqa: E731
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = Theirs(estimator=identity, constraints=constraint.replace("-", "_"), prefit=True)
        theirs.predict_method = "predict_proba"
        theirs.fit(logit(scores), labels, sensitive_features=train.inputs["group"])
        final = model.fit(columns, labels).predict_proba(dense(prepare.transform(fresh)))[:, 1]
        expected = theirs._pmf_predict(logit(final), sensitive_features=fresh["group"])[:, 1]
    agree = np.isclose(mine.chance(fresh), expected, atol=1e-9)
    assert agree.mean() > 0.999  # a score within rounding of a threshold may fall to the other side


# lots


def test_lots_are_uniform_and_belong_to_the_row() -> None:
    from scipy.stats import kstest

    rng = np.random.default_rng(0)
    rows = pd.DataFrame({"n0": rng.normal(size=4000), "n1": rng.integers(0, 5, 4000) * 1.0})
    rows["w0"] = rng.choice(["x", "y"], 4000).astype(object)
    drawn = lots(rows, 7)
    assert kstest(drawn, "uniform").pvalue > 0.01
    assert ((drawn >= 0) & (drawn < 1)).all()
    order = rng.permutation(4000)
    assert (lots(rows.iloc[order], 7) == drawn[order]).all()
    assert (lots(rows.iloc[:10], 7) == drawn[:10]).all()
    other = lots(rows, 8)
    assert abs(np.corrcoef(drawn, other)[0, 1]) < 0.06
    assert abs(np.corrcoef(drawn, rows["n0"])[0, 1]) < 0.06
    changed = rows.assign(n0=rows["n0"] + 1e-9)
    assert abs(np.corrcoef(drawn, lots(changed, 7))[0, 1]) < 0.06


def test_lots_do_not_depend_on_how_a_value_is_stored() -> None:
    words = pd.DataFrame({"w": pd.Series(["a", "b", np.nan], dtype=object)})
    as_str = pd.DataFrame({"w": pd.Series(["a", "b", np.nan], dtype="str")})
    assert (lots(words, 0) == lots(as_str, 0)).all()
    zeros = pd.DataFrame({"n": [0.0, -0.0]})
    assert lots(zeros, 0)[0] == lots(zeros, 0)[1]


@pytest.mark.parametrize("recipe", FAIR, ids=lambda recipe: recipe.id)
def test_the_order_and_the_number_of_rows_do_not_matter(recipe: Any, trained: dict[str, Any]) -> None:
    inputs = people(500, 9).drop(columns="y")
    whole = trained[recipe.id].predict(inputs)
    order = np.random.default_rng(1).permutation(500)
    assert (trained[recipe.id].predict(inputs.iloc[order]) == whole[order]).all()
    assert (trained[recipe.id].predict(inputs.head(40)) == whole[:40]).all()


# the cache, and names


@pytest.mark.parametrize(
    "recipe",
    [
        ExponentiatedGradient(),
        ExponentiatedGradient(constraint="equalized-odds"),
        ThresholdOptimizer(base="logistic"),
        ThresholdOptimizer(base="logistic", constraint="equalized-odds"),
        ThresholdOptimizer(folds=2),
    ],
    ids=lambda recipe: f"{recipe.name}-{recipe.constraint}-{recipe.base}",
)
def test_trained_once_and_the_same(recipe: Any, few: Sample, tmp_path: Path) -> None:
    kept = ModelCache(folder=tmp_path)
    fresh, first = train_reference(recipe, few, 3, kept)
    again, second = train_reference(recipe, few, 3, kept)
    assert (first.cached, second.cached) == (False, True)
    inputs = people(800, 4).drop(columns="y")
    assert (again.predict(inputs) == fresh.predict(inputs)).all()
    anew = train_reference(recipe, few, 3, OFF)[0]
    assert (anew.predict(inputs) == fresh.predict(inputs)).all()  # a second training gives the same
    # the chance of a decision is no score
    assert again.capabilities == {Capability.PREDICT, Capability.QUERY, Capability.FIT_AGAIN}
    with pytest.raises(UnsafeArtifact, match="randomised"):
        load_model(tmp_path / f"{first.fingerprint}.skops")


def test_settings_and_library_are_in_the_key(train: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata as metadata

    from steelyard.models.cache import _key

    recipe, real = ExponentiatedGradient(), metadata.version
    keys = {_key(recipe, train, 0), _key(ExponentiatedGradient(slack=0.05), train, 0)}
    keys |= {_key(found, train, 0) for found in FAIR}
    monkeypatch.setattr(metadata, "version", lambda name: "0" if name == "fairlearn" else real(name))
    keys.add(_key(recipe, train, 0))
    assert len(keys) == 6


def test_variants(few: Sample) -> None:
    for name, kind in (("logistic", ModelMixture), ("boosting", GroupThresholds)):
        part = TargetPart(kind="recipe", name=name, variant="fair")
        found = load_target(part, base=Path(), sample=few, train=few, cache=OFF)
        assert isinstance(found.model.model, kind)  # type: ignore[union-attr]
        assert found.name == "candidate"
    assert {r.variant for name in ("baseline", "fair") for r in resolve(name)} == {"standard"}
    with pytest.raises(PlanError, match="'exponentiated-gradient' has no variant 'fair'"):
        resolve("exponentiated-gradient", variant="fair")


def test_without_fairlearn_the_extra_is_named(train: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_module, "find_spec", lambda name: None)
    with pytest.raises(PlanError, match=r"needs fairlearn, which is not installed; pip install 'steelyard\[fair\]'"):
        resolve("fair")
    with pytest.raises(PlanError, match=r"steelyard\[fair\]"):
        train_reference(ExponentiatedGradient(), train, 0, OFF)
    assert resolve("baseline")


# what it refuses, and groups


def test_what_it_refuses(train: Sample) -> None:
    frame = people(600, 1)
    with pytest.raises(PlanError, match="constraint is 'parity'; it is one of demographic-parity, equalized-odds"):
        ExponentiatedGradient(constraint="parity")
    with pytest.raises(TargetError, match="does not count survey weights"):
        train_reference(ExponentiatedGradient(), sample_of(frame, weights=np.full(600, 2.0)), 0, OFF)
    with pytest.raises(TargetError, match="learns from groups"):
        train_reference(ExponentiatedGradient(), sample_from_arrays(frame[["x"]], frame["y"]), 0, OFF)
    with pytest.raises(TargetError, match="no group column 'age'; there are group"):
        train_reference(ExponentiatedGradient(attribute="age"), train, 0, OFF)
    with pytest.raises(TargetError, match="fewer than two groups with at least 5000 training rows"):
        train_reference(ExponentiatedGradient(least_rows=5000), train, 0, OFF)
    apart = sample_from_arrays(frame[["x"]], frame["y"], groups=frame[["group"]])
    assert train_reference(ExponentiatedGradient(), apart, 0, OFF)  # it needs the groups in training only
    with pytest.raises(TargetError, match="needs the group column 'group' among the inputs whenever it is asked"):
        train_reference(ThresholdOptimizer(), apart, 0, OFF)
    three = sample_from_arrays(frame[["x"]], np.digitize(frame["x"], [0, 1]), groups=frame[["group"]])
    with pytest.raises(TargetError, match="is for binary, and the task is multiclass"):
        train_reference(ExponentiatedGradient(), three, 0, OFF)


def test_small_groups_are_pooled() -> None:
    levels = np.array(["big"] * 500 + ["two"] * 300 + ["s1"] * 150 + ["s2"] * 100 + ["few"] * 5, dtype=object)
    labels = np.arange(len(levels)) % 2
    recipe = ExponentiatedGradient()
    assert recipe.cells(levels, labels) == ({"big": 0, "two": 1}, 2)  # "other" has 255 rows
    assert recipe.cells(levels[:900], labels[:900]) == ({"big": 0, "two": 1}, 0)  # 100 rows: with the largest
    one_class = np.where(levels == "two", 1, labels)
    assert recipe.cells(levels, one_class) == ({"big": 0}, 1)


def test_levels_are_crossed_and_missing_ones_unknown() -> None:
    frame = pd.DataFrame({"sex": ["f", "m", None], "age": [1.0, 2.0, 1.0], "x": 0})
    assert crossed_levels(frame, ("sex", "age")).tolist() == ["f*1", "m*2", "unknown*1"]
    assert crossed_levels(frame.assign(sex=None), ("sex",)).tolist() == ["unknown"] * 3


def test_unseen_groups_get_an_answer(trained: dict[str, Any]) -> None:
    odd = people(50, 3).drop(columns="y").assign(group="c")
    odd.loc[3, "group"] = None
    assert set(trained["fair/threshold-optimizer"].predict(odd)) <= {0, 1}


# through a plan


def test_fair_references_run_through_the_same_gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEELYARD_CACHE", str(tmp_path / "cache"))
    people(1500, 1).to_csv(tmp_path / "train.csv", index=False)
    people(1500, 2).to_csv(tmp_path / "test.csv", index=False)
    (tmp_path / "audit.yaml").write_text(
        "target: {kind: recipe, name: logistic, variant: fair}\n"
        "data: {train: train.csv, test: test.csv, label: y, groups: [group]}\n"
        "references: [baseline/logistic, fair/threshold-optimizer]\n"
        "probes: [quality.performance, fairness.selection-rate]\n"
        "gates: [{metric: fairness.selection-rate.difference, max: 0.15}]\n",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    assert main(["-q", "run", str(tmp_path / "audit.yaml"), "--out", str(out)]) == 0
    record = json.loads((out / "record.json").read_bytes())
    measured = {f["target"]: f["estimate"]["value"] for f in record["findings"] if _joint_gap(f)}
    assert measured["candidate"] < 0.1
    assert measured["fair/threshold-optimizer"] < 0.1
    assert measured["baseline/logistic"] > 0.3
    cards = {card["name"]: card["description"] for card in record["targets"]}
    assert "needs the groups of those it decides about" in cards["fair/threshold-optimizer"]


def _joint_gap(finding: dict[str, Any]) -> bool:
    return finding["metric"] == "fairness.selection-rate.difference" and not finding["where"]
