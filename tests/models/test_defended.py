"""Defended references: what they answer, that they come back from the cache, and that attacks find less."""

from __future__ import annotations

import pickle
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score

from steelyard.audit.cli import main
from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Modality, Task
from steelyard.models.cache import ModelCache, train_reference
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.coarse import RoundedScores, TopScores
from steelyard.models.recipes.defended import DEFENDED, EarlyStopping, Rounding, StrongL2, TopK
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.registry import RECIPES, resolve
from steelyard.models.training.shadows import train_shadows
from steelyard.probes.privacy.scores import THRESHOLD_ATTACKS

OFF = ModelCache()
TORCH = pytest.mark.skipif(find_spec("torch") is None, reason="torch is not installed")
BASED = [
    EarlyStopping(rounds=20),
    StrongL2(),
    Rounding(base="logistic"),
    TopK(base="logistic"),
    *(pytest.param(kind(base="mlp"), marks=TORCH) for kind in (EarlyStopping, StrongL2, Rounding, TopK)),
]


class Given:
    """A model whose probabilities are its inputs."""

    classes_ = np.array(["a", "b", "c"])

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        return np.asarray(inputs, dtype=np.float64)

    def predict(self, inputs: Any) -> NDArray[Any]:
        return self.classes_[self.predict_proba(inputs).argmax(axis=1)]


def noisy(n: int, seed: int) -> Sample:
    """One column says the class, two times out of three; what is learnt beyond that is learnt by heart."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 12))
    return sample_from_arrays(x, np.where((x[:, 0] > 0) ^ (rng.random(n) < 0.35), "in", "out"), positive="in")


@pytest.fixture(scope="module")
def train() -> Sample:
    return noisy(300, 1)


@pytest.fixture(scope="module")
def fresh() -> Sample:
    return noisy(2000, 2)


def exposure(target: Any, inside: Sample, outside: Sample) -> float:
    """AUC of the loss attack, by scikit-learn."""
    proba = np.concatenate([target.predict_proba(inside.inputs), target.predict_proba(outside.inputs)])
    labels = np.concatenate([inside.labels, outside.labels])  # type: ignore[list-item]
    scores = THRESHOLD_ATTACKS["loss"](proba, labels)
    return float(roc_auc_score(np.arange(len(labels)) < inside.n, scores))


# what is answered


def test_rounding_by_hand() -> None:
    found = RoundedScores(Given(), 1).predict_proba([[0.64, 0.33, 0.03], [0.34, 0.33, 0.33], [0.96, 0.02, 0.02]])
    assert found == pytest.approx(np.array([[6 / 9, 3 / 9, 0.0], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0]]))
    nothing_left = RoundedScores(Given(), 0).predict_proba([[0.4, 0.35, 0.25]])
    assert nothing_left == pytest.approx(np.full((1, 3), 1 / 3))


def test_top_k_by_hand() -> None:
    rows = [[0.5, 0.3, 0.2], [0.2, 0.4, 0.4]]
    assert TopScores(Given(), 2).predict_proba(rows) == pytest.approx(np.array([[5 / 8, 3 / 8, 0], [0, 0.5, 0.5]]))
    assert TopScores(Given(), 1).predict_proba(rows).tolist() == [[1, 0, 0], [0, 1, 0]]  # of equal ones the earlier
    assert np.flatnonzero(TopScores(Given(), 3).predict_proba(np.full((1, 40), 1 / 40))).tolist() == [0, 1, 2]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(st.floats(1e-6, 1.0), min_size=3, max_size=3), min_size=1, max_size=8),
    st.one_of(st.integers(0, 4).map(lambda d: ("digits", d)), st.integers(1, 2).map(lambda k: ("k", k))),
)
def test_coarse_answers_are_shares_in_the_same_order(rows: list[list[float]], way: tuple[str, int]) -> None:
    given_rows = np.array(rows) / np.sum(rows, axis=1, keepdims=True)
    model = RoundedScores(Given(), way[1]) if way[0] == "digits" else TopScores(Given(), way[1])
    found = model.predict_proba(given_rows)
    assert (found >= 0).all()
    assert found.sum(axis=1) == pytest.approx(np.ones(len(rows)))
    order = np.argsort(-given_rows, axis=1, kind="stable")
    assert (np.diff(np.take_along_axis(found, order, axis=1), axis=1) <= 0).all()
    assert (model.predict(given_rows) == Given().predict(given_rows)).all()
    if way[0] == "k":
        assert ((found > 0).sum(axis=1) == way[1]).all()


def test_answers_are_those_of_the_base_made_coarser(train: Sample, fresh: Sample) -> None:
    plain, _ = train_reference(Boosting(), train, 4, OFF)
    rounded, _ = train_reference(Rounding(), train, 4, OFF)
    top, _ = train_reference(TopK(), train, 4, OFF)
    chances = plain.predict_proba(fresh.inputs)
    assert rounded.predict_proba(fresh.inputs) == pytest.approx(np.round(chances, 1))
    assert len(np.unique(rounded.predict_proba(fresh.inputs)[:, 1])) <= 11
    assert (top.predict_proba(fresh.inputs).argmax(axis=1) == chances.argmax(axis=1)).all()
    for target in (rounded, top):
        assert (target.predict(fresh.inputs) == plain.predict(fresh.inputs)).all()


# contract


def test_names_and_libraries() -> None:
    assert set(DEFENDED) <= set(RECIPES)
    names = {"defended/early-stopping", "defended/l2", "defended/rounding", "defended/top-k"}
    for modality in (Modality.TABULAR, Modality.IMAGE):
        assert {r.id for r in resolve("defended", modality=modality)} == names
    (given_base,) = resolve("rounding", settings={"base": "logistic", "digits": 2})
    assert (given_base.libraries, given_base.settings) == ((), {"base": "logistic", "digits": 2})
    on_network = Rounding(base="mlp")
    assert "torch" in on_network.libraries
    assert on_network.extra == "torch"
    assert replace(on_network, base="boosting").libraries == ()  # the instance's own, not the class's
    with pytest.raises(PlanError, match=r"nothing of 'defended' fits tabular regression data"):
        resolve("defended", modality=Modality.TABULAR, task=Task.REGRESSION)


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("early-stopping", {"base": "logistic"}, "base is 'logistic'; it is one of boosting, mlp"),
        ("early-stopping", {"validation": 1.0}, "validation is 1.0; it is from 0.01 to below 1"),
        ("early-stopping", {"rounds": 0}, "rounds is 0; it is at least 1"),
        ("l2", {"base": "boosting"}, "base is 'boosting'; it is one of logistic, mlp"),
        ("l2", {"penalty": -1.0}, "penalty is -1.0; it is at least 0"),
        ("rounding", {"digits": -1}, "digits is -1; it is at least 0"),
        ("top-k", {"k": 0}, "k is 0; it is at least 1"),
        ("top-k", {"n": 1}, "defended/top-k has no setting 'n'"),
    ],
)
def test_wrong_settings_are_said(name: str, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError) as caught:
        resolve(f"defended/{name}", settings=wrong)
    assert message in str(caught.value)


def test_a_k_that_leaves_nothing_out_is_refused(train: Sample) -> None:
    with pytest.raises(TargetError, match="k is 2 and there are 2 classes: nothing is left out"):
        train_reference(TopK(base="logistic", k=2), train, 0, OFF)


@pytest.mark.parametrize("recipe", BASED, ids=lambda recipe: f"{recipe.name}-{recipe.base}")
def test_a_kept_one_answers_the_same(recipe: Any, train: Sample, tmp_path: Path) -> None:
    kept = ModelCache(folder=tmp_path)
    first, _ = train_reference(recipe, train, 3, kept)
    second, card = train_reference(recipe, train, 3, kept)
    other, _ = train_reference(recipe, train, 3, OFF)
    assert card.cached
    for again in (second, other):
        assert (again.predict_proba(train.inputs) == first.predict_proba(train.inputs)).all()
    sent = pickle.loads(pickle.dumps(first.model))  # as to a worker process
    assert (sent.predict_proba(train.inputs) == first.model.predict_proba(train.inputs)).all()
    assert (second.predict(train.inputs) == first.predict(train.inputs)).all()


@TORCH
def test_nothing_finer_is_offered_and_the_training_is_told(train: Sample) -> None:
    target, card = train_reference(Rounding(base="mlp"), train, 0, OFF)
    assert target.capabilities == {
        Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY, Capability.FIT_AGAIN,
    }  # fmt: skip
    assert len(card.curves) == 10
    assert "torch" in card.environment


def test_trained_again_and_as_shadows_it_is_defended_too(train: Sample) -> None:
    target, _ = train_reference(TopK(base="logistic"), train, 0, OFF)
    other = target.fit_again(noisy(200, 5), 1)  # type: ignore[union-attr]
    assert set(np.unique(other.predict_proba(train.inputs))) == {0.0, 1.0}
    members = np.random.default_rng(0).random((4, train.n)) < 0.5
    shadows = train_shadows(target.recipe, train, members, 0).probabilities(train.inputs)
    assert set(np.unique(shadows)) == {0.0, 1.0}
    assert not (shadows[0] == shadows[1]).all()


# against an oracle


def test_l2_is_the_minimum_that_it_says() -> None:
    """At the minimum of mean loss + penalty · ‖w‖² / 2 the gradient is 0, with weights as without."""
    for weighted in (False, True):
        rng = np.random.default_rng(7)
        x = rng.normal(size=(250, 3)) * [1, 5, 9]
        y = (x[:, 0] + rng.normal(size=250) > 0).astype(int)
        w = rng.uniform(0.5, 3.0, 250) if weighted else np.ones(250)
        sample = sample_from_arrays(x, y, weights=w if weighted else None)
        fitted = StrongL2(penalty=0.2).fit(sample, 0)
        columns = np.asarray(fitted[:-1].transform(x))
        off = (fitted.predict_proba(x)[:, 1] - y) * w / w.sum()
        assert off @ columns + 0.2 * fitted[-1].coef_[0] == pytest.approx(np.zeros(3), abs=1e-4)
        assert np.linalg.norm(fitted[-1].coef_) < 0.7 * np.linalg.norm(Logistic().fit(sample, 0)[-1].coef_)


def test_trees_stop_where_held_back_rows_gain_no_more(train: Sample) -> None:
    stopped = EarlyStopping(rounds=200).fit(train, 0)[-1]
    losses = -stopped.validation_score_
    assert len(losses) - 1 == stopped.n_iter_ < 200
    assert losses[-2:].min() >= losses[:-2].min() - 1e-6  # the last two rounds brought nothing
    assert EarlyStopping(patience=0, rounds=7).fit(train, 0)[-1].n_iter_ == 7


@TORCH
def test_a_network_stops_too(train: Sample) -> None:
    _, card = train_reference(EarlyStopping(base="mlp"), train, 0, OFF)
    assert 2 < len(card.curves) < 100
    _, few = train_reference(EarlyStopping(base="mlp", patience=0, rounds=3), train, 0, OFF)
    assert len(few.curves) == 3


# planted truth: trees that know their rows by heart, and what each defence takes from the attack


def test_labels_alone_leave_the_gap_attack(train: Sample, fresh: Sample) -> None:
    """With k = 1 the loss says only whether the answer is right: AUC = 1/2 + (accuracy inside − outside) / 2."""
    plain, _ = train_reference(Boosting(), train, 0, OFF)
    top, _ = train_reference(TopK(), train, 0, OFF)
    inside, outside = ((top.predict(s.inputs) == s.labels).mean() for s in (train, fresh))
    assert exposure(top, train, fresh) == pytest.approx(0.5 + (inside - outside) / 2)
    assert exposure(top, train, fresh) < exposure(plain, train, fresh) - 0.1


@pytest.mark.parametrize(("recipe", "less"), [(Rounding(digits=0), 0.1), (EarlyStopping(), 0.1)])
def test_trees_give_away_less(recipe: Any, less: float, train: Sample, fresh: Sample) -> None:
    plain, _ = train_reference(Boosting(), train, 0, OFF)
    defended, _ = train_reference(recipe, train, 0, OFF)
    assert exposure(plain, train, fresh) > 0.85
    assert exposure(defended, train, fresh) < exposure(plain, train, fresh) - less


def test_three_digits_are_no_defence(train: Sample, fresh: Sample) -> None:
    plain, _ = train_reference(Boosting(), train, 0, OFF)
    fine, _ = train_reference(Rounding(digits=3), train, 0, OFF)
    assert exposure(fine, train, fresh) > exposure(plain, train, fresh) - 0.02


@TORCH
def test_networks_give_away_less(train: Sample, fresh: Sample) -> None:
    from steelyard.models.recipes.mlp import MlpRecipe

    plain = exposure(MlpRecipe(epochs=60).fit(train, 0), train, fresh)
    assert plain > 0.63
    for recipe in (StrongL2(base="mlp", penalty=0.05, epochs=60), EarlyStopping(base="mlp", rounds=60)):
        assert exposure(recipe.fit(train, 0), train, fresh) < plain - 0.06


@TORCH
def test_images_of_many_classes() -> None:
    found = load_digits()
    sample = sample_from_arrays(found.data[:600], found.target[:600])
    images = replace(sample, inputs=(found.images[:600] / 16).astype(np.float32), modality=Modality.IMAGE)
    target, card = train_reference(TopK(base="mlp", k=3), images, 0, OFF)
    chances = target.predict_proba(images.inputs)
    assert ((chances > 0).sum(axis=1) == 3).all()
    assert card.metrics["accuracy"] > 0.9


# through a plan


def test_the_report_shows_what_a_defence_takes_from_the_attack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEELYARD_CACHE", str(tmp_path / "cache"))
    for name, n, seed in (("train", 300, 1), ("test", 600, 2)):
        rows = noisy(n, seed)
        table = pd.DataFrame(rows.inputs, columns=[f"x{i}" for i in range(12)])
        table.assign(y=np.asarray(rows.classes)[rows.labels]).to_csv(tmp_path / f"{name}.csv", index=False)
    (tmp_path / "audit.yaml").write_text(
        "target: {kind: recipe, name: boosting}\n"
        "data: {train: train.csv, test: test.csv, label: y, positive: in}\n"
        "references: [baseline/boosting, {defended/top-k: {as: quiet}}]\n"
        "probes: [quality.performance, {privacy.membership: {attacks: [loss], fprs: [0.05]}}]\n"
        "gates: [{metric: quality.performance.accuracy, min: 0.3}]\n",
        encoding="utf-8",
    )
    out = tmp_path / "run"
    assert main(["-q", "run", str(tmp_path / "audit.yaml"), "--out", str(out)]) == 0
    text = (out / "report.md").read_text(encoding="utf-8")
    (line,) = [
        line for line in text.splitlines() if line.startswith("- quiet beside baseline/boosting: membership AUC")
    ]
    assert line.count("(clearly lower") == 1
    assert "accuracy 0." in line
