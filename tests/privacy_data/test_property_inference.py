"""Property inference: a recipe whose answers shift with the share of a group is caught, one that cannot is not."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.probes.privacy.property_inference import PropertyInference, Worlds, told_apart


@dataclass
class Retrained:
    """A logistic regression that can be trained again; `blind` leaves the training rows out of it."""

    blind: bool = False
    model: Any = None
    name: str = "candidate"
    kind: str = "test"
    task: Task = Task.BINARY
    fingerprint: str = "0"
    capabilities = frozenset({Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY, Capability.FIT_AGAIN})

    def fit_again(self, train: Sample, seed: int) -> Retrained:
        if self.blind:
            rng = np.random.default_rng(seed)
            return replace(self, model=LogisticRegression().fit(rng.normal(size=(40, 2)), np.arange(40) % 2))
        return replace(self, model=LogisticRegression().fit(train.inputs.to_numpy(), train.labels))

    def predict_proba(self, inputs: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(inputs.to_numpy())

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        return self.predict_proba(inputs).argmax(axis=1)


def people(seed: int, n: int = 900) -> Sample:
    """In the two groups another feature decides, so that a model of many of one looks another way."""
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 2, n)
    X = pd.DataFrame(rng.normal(size=(n, 2)), columns=["a", "b"])
    y = (np.where(group == 1, X["a"], X["b"]) + rng.normal(0, 0.5, n) > 0).astype(int)
    return sample_from_arrays(X, y, {"side": np.array(["left", "right"])[group]})


def run(target: Retrained, sample: Sample, **settings):
    (row,) = PropertyInference(**settings).run(target, sample, References(), generator(0, "p"))
    return row


def test_a_recipe_that_shifts_with_the_share_is_caught_and_a_blind_one_is_not() -> None:
    sample = replace(people(0), training=people(1))
    found = run(Retrained(), sample)
    assert found.estimate.low > 0.7
    assert found.estimate.n == 24
    assert found.where["attribute"] == "side"
    assert found.reading == "attack"
    assert run(Retrained(blind=True), sample).estimate.low < 0.5
    again = run(Retrained(), sample)
    assert again.estimate == found.estimate


def test_the_null_over_many_audits() -> None:
    """Answers that have nothing to do with the pool: the claim `accuracy > .5` keeps its level."""
    rng = np.random.default_rng(3)
    worlds = Worlds.of(np.arange(100), np.arange(100, 200), (0.2, 0.8), 100)
    alarms, runs = 0, 200
    for _ in range(runs):
        told = told_apart(
            lambda pool, seed: np.random.default_rng(seed).dirichlet([1, 1], 10),
            worlds, np.arange(32) % 2, rng.integers(2**31, size=32),
        )  # fmt: skip
        alarms += binom.sf(told.sum() - 1, len(told), 0.5) <= 0.05
    assert alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_pools_have_the_share_and_no_row_twice() -> None:
    worlds = Worlds.of(np.arange(300), np.arange(300, 500), (0.25, 0.75), 80)
    for world, share in enumerate((0.25, 0.75)):
        pool = worlds.draw(world, np.random.default_rng(0))
        assert len(set(pool.tolist())) == worlds.size == 80
        assert (pool < 300).mean() == share
    with pytest.raises(ProbeError, match="too few"):
        Worlds.of(np.arange(10), np.arange(10, 500), (0.25, 0.75), 80)


def test_faults_are_said() -> None:
    sample = replace(people(0), training=people(1))
    for settings, words in (
        ({"trainings": 8}, "too few"), ({"trainings": 2}, "at least 8"), ({"shares": (0.8, 0.2)}, "shares"),
        ({"attribute": "age"}, "not one of the groups"), ({"group": "up"}, "no group"),
    ):  # fmt: skip
        with pytest.raises(ProbeError, match=words):
            run(Retrained(), sample, **settings)
    with pytest.raises(NotApplicable):
        run(Retrained(), replace(sample, training=replace(sample.training, groups={})))
