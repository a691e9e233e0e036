"""The search for settings: by grid, at random and by TPE, on rows that are held out of the training rows."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import pytest

pytest.importorskip("optuna")

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.cache import ModelCache, train_reference
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.recipe import Recipe
from steelyard.models.recipes.registry import resolve
from steelyard.models.training.search import Searched, read_search

OFF = ModelCache()


class Model:
    def __init__(self, score: float) -> None:
        self._score = score

    def score(self, inputs: Any, labels: Any) -> float:
        return self._score


@dataclass(frozen=True, kw_only=True)
class Peak(Recipe):
    """A recipe whose score is known: highest at x = 0.3 and k = 2."""

    family: ClassVar[str] = "mine"
    name: ClassVar[str] = "peak"
    x: float = 0.0
    k: int = 0
    way: str = "plain"

    def fit(self, train: Sample, seed: int) -> Any:
        if self.way == "broken":
            raise TargetError("the loss became nan")
        return Model(1.0 - (self.x - 0.3) ** 2 - 0.1 * (self.k - 2) ** 2)


def rows(n: int = 200) -> Sample:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(n, 3))
    return sample_from_arrays(inputs, (inputs[:, 0] + draw.normal(size=n) > 0.8).astype(int))


def searched(**plan: Any) -> Searched:
    return Searched(recipe=Peak(), search=json.dumps(plan))


def test_a_grid_finds_the_best_of_its_points() -> None:
    space = {"x": {"low": 0.0, "high": 0.4, "step": 0.1}, "k": [0, 1, 2]}
    best, said = searched(method="grid", trials=15, space=space).best(rows(), 0)
    assert isinstance(best, Peak)
    assert best.x == pytest.approx(0.3)
    assert best.k == 2
    assert said == "of 15 trials (grid) the best has x 0.3, k 2: 1 on 40 held-out training rows"


@pytest.mark.parametrize(("method", "least"), [("random", 0.95), ("tpe", 0.97)])
def test_chance_and_tpe_come_near_and_follow_the_seed(method: str, least: float) -> None:
    space = {"x": {"low": 0.0001, "high": 1.0, "log": True}, "k": {"low": 0, "high": 4}, "way": ["plain", "broken"]}
    plan = searched(method=method, trials=40, space=space)
    best, said = plan.best(rows(), 1)
    assert best.fit(rows(), 0).score(None, None) > least
    assert isinstance(best.settings["k"], int)
    assert best.settings["way"] == "plain"
    assert plan.best(rows(), 1) == (best, said)
    assert plan.best(rows(), 2)[0] != best


def test_nothing_that_can_be_trained_is_an_error() -> None:
    with pytest.raises(TargetError, match="mine/peak: none of 3 trials of the search could be trained"):
        searched(trials=3, method="random", space={"way": ["broken"]}).best(rows(), 0)


def test_held_out_rows_are_of_every_class_and_not_learnt_from() -> None:
    seen: list[Sample] = []

    @dataclass(frozen=True, kw_only=True)
    class Spy(Peak):
        def fit(self, train: Sample, seed: int) -> Any:
            seen.append(train)
            return Model(0.0)

    train = rows()
    Searched(recipe=Spy(), search=json.dumps({"space": {"x": [0.1]}, "trials": 1, "share": 0.25})).best(train, 0)
    (learnt,) = seen
    assert learnt.n == 150
    assert train.labels is not None
    assert learnt.labels is not None
    assert abs(learnt.labels.mean() - train.labels.mean()) < 0.01
    known = {tuple(row) for row in learnt.inputs}
    assert len(known) == 150
    assert known < {tuple(row) for row in train.inputs}
    assert learnt.fingerprint != train.fingerprint


def test_a_search_from_a_plan_is_a_reference_with_a_note() -> None:
    search = {"method": "grid", "trials": 3, "space": {"penalty": [1e-4, 1.0, 1e6]}}
    (recipe,) = resolve("logistic", settings={"search": search, "max_iter": 500})
    assert (recipe.id, recipe.variant, recipe.tasks) == ("baseline/logistic", "standard", Logistic.tasks)
    target, card = train_reference(recipe, rows(), 0, OFF)
    assert json.loads(str(card.settings["search"])) == search
    assert card.settings["max_iter"] == 500
    (note,) = card.notes
    assert note.startswith("of 3 trials (grid) the best has penalty ")
    assert "held-out" in target.description
    plain = train_reference(Logistic(max_iter=500), rows(), 0, OFF)[1]
    assert card.fingerprint != plain.fingerprint
    assert card.recipe == plain.recipe


def test_a_network_is_searched_too() -> None:
    pytest.importorskip("torch")
    search = {"method": "grid", "trials": 2, "space": {"lr": [1e-9, 1e-2]}}
    (recipe,) = resolve("mlp", settings={"search": search, "epochs": 3, "batch": 16})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # which settings were chosen
        network = recipe.fit(rows(), 0)
    assert network.curves.epochs[0]["rate"] == 1e-2  # at 1e-9 nothing is learnt


@pytest.mark.parametrize(
    ("plan", "message"),
    [
        ({}, "names no space"),
        ({"space": {"x": [1]}, "tries": 3}, "has no key 'tries'; it has method, trials, space, share"),
        ({"space": {"y": [1]}}, "there is no setting 'y'; there are x, k, way"),
        ({"space": {"x": 3}}, r"space\.x is 3; it is a list of values, or"),
        ({"space": {"x": {"low": 1, "high": 1}}}, r"space\.x runs from 1 to 1"),
        ({"space": {"x": {"low": 0, "high": 1, "log": True}}}, "on a log scale above 0"),
        ({"space": {"x": {"low": "a", "high": 1}}}, "limits that are not numbers"),
        ({"space": {"x": [1]}, "method": "bayes"}, "the method 'bayes' is not known; it is grid, random, tpe"),
        ({"space": {"x": [1]}, "trials": 0}, "trials is 0; it is a whole number, at least 1"),
        ({"space": {"x": [1]}, "share": 1.0}, "share is 1.0; it is between 0 and 1"),
        ({"space": {"x": {"low": 0, "high": 1}}, "method": "grid"}, "a grid needs a list of values, or low, high and"),
    ],
)
def test_a_search_that_does_not_fit_is_named(plan: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        read_search(plan, Peak())


def test_a_regression_is_judged_by_r2() -> None:
    draw = np.random.default_rng(0)
    inputs = draw.normal(size=(120, 2))
    train = sample_from_arrays(inputs, inputs[:, 0] * 3 + draw.normal(size=120), task="regression")
    assert train.task is Task.REGRESSION
    (recipe,) = resolve("logistic", settings={"search": {"method": "grid", "space": {"penalty": [0.1, 1e7]}}})
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        recipe.fit(train, 0)
    assert "penalty 0.1" in str(said[0].message)
