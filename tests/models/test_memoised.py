"""Answers are made once, kept for one sample, and travel without the model."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.errors import NotApplicable
from steelyard.audit.target import Target
from steelyard.audit.types import Capability
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.models.targets.memoised import freeze

X = pd.DataFrame({"a": np.linspace(-1, 1, 50), "w": list("uv") * 25})
SAMPLE = sample_from_arrays(X, (X["a"] > 0).astype(int))


class Counted:
    """A model that counts its calls and cannot be pickled."""

    def __init__(self) -> None:
        self.calls = 0
        self.lock = lambda: None

    def predict(self, rows: Any) -> Any:
        self.calls += 1
        return (rows["a"] > 0.1).astype(int).to_numpy()

    def predict_proba(self, rows: Any) -> Any:
        self.calls += 1
        p = (rows["a"].to_numpy() + 1) / 2
        return np.column_stack([1 - p, p])


def test_the_model_is_asked_once() -> None:
    model = Counted()
    frozen = freeze(wrap(model, SAMPLE), SAMPLE)
    asked = model.calls
    for _ in range(3):
        frozen.predict(SAMPLE.inputs)
        frozen.predict_proba(SAMPLE.inputs)
    assert freeze(frozen, SAMPLE) is frozen
    assert model.calls == asked == 2


def test_other_rows_go_to_the_model() -> None:
    frozen = wrap(Counted(), SAMPLE)
    assert frozen.predict(X.iloc[:5]).tolist() == [0] * 5
    assert frozen.predict_proba(X.iloc[::-1])[0, 1] == 1.0


def test_the_same_content_in_another_object_is_the_sample() -> None:
    model = Counted()
    frozen = wrap(model, SAMPLE)
    asked = model.calls
    assert frozen.predict(X.copy()) is frozen.decisions
    assert model.calls == asked


def test_pickled_it_knows_its_sample_only() -> None:
    frozen = wrap(Counted(), SAMPLE)
    data = pickle.dumps(frozen)
    assert b"test_memoised" not in data  # where the model's class lives
    there = pickle.loads(data)
    rows = pickle.loads(pickle.dumps(SAMPLE.inputs))
    assert isinstance(there, Target)
    assert (there.predict(rows) == frozen.decisions).all()
    assert (there.predict_proba(rows) == frozen.scores).all()
    assert there.fingerprint == frozen.fingerprint
    assert there.capabilities == {Capability.PREDICT, Capability.PREDICT_PROBA}
    for other in (X.iloc[:10], X.iloc[::-1], X.assign(a=0.0)):
        with pytest.raises(NotApplicable, match="the audited rows only"):
            there.predict(other)
        with pytest.raises(NotApplicable, match="the audited rows only"):
            there.predict_proba(other)


def test_kept_answers_cannot_be_changed() -> None:
    frozen = wrap(Counted(), SAMPLE)
    for answers in (frozen, pickle.loads(pickle.dumps(frozen))):
        with pytest.raises(ValueError, match="read-only"):
            answers.predict(X)[0] = 1
        with pytest.raises(ValueError, match="read-only"):
            answers.predict_proba(X)[0, 0] = 1


def test_the_model_s_own_arrays_stay_its_own() -> None:
    kept = np.linspace(0, 1, 50)
    regression = sample_from_arrays(X, X["a"], task="regression")
    wrap(lambda _: kept, regression)
    kept[0] = 7.0
    table = np.column_stack([1 - kept, kept])[1:]
    grades = sample_from_arrays(X.iloc[1:], (X["a"] > 0).astype(int)[1:])
    wrap(lambda rows: table[: len(rows)], grades)
    table[0] = 0.5


def test_a_frozen_target_is_frozen_anew_for_another_sample() -> None:
    frozen = wrap(Counted(), SAMPLE)
    other = sample_from_arrays(X.iloc[10:], (X["a"] > 0).astype(int)[10:])
    assert len(freeze(frozen, other).decisions) == 40
