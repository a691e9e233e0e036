"""Worlds for attacks: rows of one distribution, parted at random into training and held-out rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from steelyard.audit.target import Sample
from steelyard.audit.types import Capability
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap


class World:
    """n training and n held-out rows of two numbers-and-words tables, with a label that the numbers predict weakly."""

    def __init__(self, n: int = 400, seed: int = 0, noise: float = 1.5) -> None:
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(2 * n, 4))
        self.frame = pd.DataFrame(x, columns=list("abcd")).assign(job=rng.choice(["x", "y", "z"], 2 * n))
        self.y = (x[:, 0] + noise * rng.normal(size=2 * n) > 0).astype(int)
        self.sex = rng.choice(["f", "m"], 2 * n)
        self.n = n

    def half(self, rows: slice) -> Sample:
        return sample_from_arrays(
            self.frame.iloc[rows].reset_index(drop=True), self.y[rows], {"sex": self.sex[rows]}, positive=1
        )

    @property
    def sample(self) -> Sample:
        """The held-out rows, with the training rows behind them."""
        return replace(self.half(slice(self.n, None)), training=self.half(slice(self.n)))

    def fitted(self, model):
        """The target: `model` fitted on the numbers of the training rows."""
        sample = self.sample
        return wrap(Fitted(model, self.frame[list("abcd")][: self.n], self.y[: self.n]), sample)


class Fitted:
    """An estimator that reads four columns of numbers."""

    def __init__(self, model, X, y) -> None:
        self.model = model.fit(X.to_numpy(), y)
        self.classes_ = self.model.classes_

    def predict_proba(self, X):
        return self.model.predict_proba(X[list("abcd")].to_numpy())

    def predict(self, X):
        return self.model.predict(X[list("abcd")].to_numpy())


def numbers(frame):
    return frame[list("abcd")]


class Trainable:
    """A target that can be trained again."""

    name, kind, fingerprint = "candidate", "test", "7"

    def __init__(self, model, sample, train) -> None:
        self.maker, self.task = model, sample.task
        fitted = make_pipeline(FunctionTransformer(numbers), model()).fit(train.inputs, train.labels)
        self.inner = wrap(fitted, sample)
        self.capabilities = frozenset(self.inner.capabilities | {Capability.FIT_AGAIN})
        self.predict_proba, self.predict = self.inner.predict_proba, self.inner.predict
        self.trained = 0

    def fit_again(self, train, seed):
        self.trained += 1
        return Trainable(self.maker, train, train)


@pytest.fixture
def trainable() -> type[Trainable]:
    return Trainable


@pytest.fixture
def world() -> World:
    return World()
