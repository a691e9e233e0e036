"""Classifiers that decide some rows by lot, with lots that belong to the row: what the fair recipes train.

Randomised rules (a mixture of models, a mixture of two thresholds) are what the theory of constrained classification
gives. Drawing at each call would make the same row's answer change with the order of the table and from run to run.
Here a row's lot is a hash of its own values and the seed, so that the same row always gets the same answer; over rows
that differ the lots are as good as uniform (Cotter, Gupta, Narasimhan 2019, On Making Stochastic Classifiers
Deterministic, NeurIPS 32). Equal rows share a lot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

from steelyard.audit.errors import TargetError
from steelyard.audit.target import UNKNOWN
from steelyard.models.data.groups import code_groups

__all__ = ["CROSS", "GivenScores", "GroupThresholds", "Lottery", "ModelMixture", "crossed_levels", "dense", "lots"]

CROSS = "*"  # joins the levels of several attributes; a plan's group column may not hold it
_STEP = np.uint64(0x9E3779B97F4A7C15)


def lots(rows: pd.DataFrame, seed: int) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1), each a hash of one row's values and `seed`; the index and the other rows play no part."""
    state = np.full(len(rows), seed % 2**64, dtype=np.uint64)
    for name in rows.columns:
        column = rows[name]
        if pd.api.types.is_float_dtype(column.dtype):
            values = column.to_numpy(dtype=np.float64) + 0.0  # no negative zero
            hashed = pd.util.hash_array(np.where(np.isnan(values), np.nan, values))
        else:
            hashed = pd.util.hash_array(column.to_numpy(dtype=object))
        state = _mixed(state + _STEP ^ hashed)
    drawn: NDArray[np.float64] = (_mixed(state + _STEP) >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return drawn


def _mixed(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195)."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def crossed_levels(inputs: Any, attributes: Sequence[str]) -> NDArray[Any]:
    """(n,) the levels of `attributes` in each row of a data frame, joined by `CROSS`; missing ones are "unknown".

    Raises TargetError where a column is not there.
    """
    named = {str(column).strip(): column for column in getattr(inputs, "columns", ())}
    parts = []
    for attribute in attributes:
        if attribute.strip() not in named:
            raise TargetError(
                f"needs the group column {attribute!r} among the inputs whenever it is asked, and it is not there",
                hint="take it out of data.drop (or put it into data.features), or name another reference",
            )
        column = inputs[named[attribute.strip()]]
        if column.isna().all():
            parts.append(np.full(len(column), UNKNOWN, dtype=object))
            continue
        coded = code_groups(column, attribute=attribute, where="inputs")
        parts.append(np.asarray(coded.levels, dtype=object)[coded.codes])
    return np.array([CROSS.join(row) for row in zip(*parts, strict=True)], dtype=object)


class Lottery(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A binary classifier that gives the positive class with a probability that a subclass computes.

    There is no `predict_proba`: the probability is of a decision, not of the label, and would be read as a score.
    """

    prepare: Any
    seed: int
    classes_: NDArray[Any]

    def chance(self, X: Any) -> NDArray[np.float64]:
        """(n,) the probability with which each row is decided positive."""
        raise NotImplementedError

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) class names: positive where the row's lot is below its chance."""
        drawn = lots(self.prepare[0].transform(X), self.seed)
        decided: NDArray[Any] = self.classes_[(drawn < self.chance(X)).astype(np.int64)]
        return decided

    @property
    def n_features_in_(self) -> int:
        """How many columns it takes."""
        return int(self.prepare[0].n_features_in_)

    @property
    def feature_names_in_(self) -> Any:
        """Their names; AttributeError where it was trained on an array."""
        return self.prepare[0].feature_names_in_

    def __sklearn_is_fitted__(self) -> bool:
        return True


class ModelMixture(Lottery):
    """One of `models`, chosen by lot with probability `weights`. `prepare` makes their columns out of the inputs."""

    def __init__(self, prepare: Any, models: Sequence[Any], weights: Any, classes: Any, seed: int) -> None:
        self.prepare = prepare
        self.models = list(models)
        self.weights = np.asarray(weights, dtype=np.float64)
        self.classes_ = np.asarray(classes)
        self.seed = seed

    def chance(self, X: Any) -> NDArray[np.float64]:
        """(n,) Σ of the weights of the models that say yes."""
        columns = dense(self.prepare.transform(X))
        votes = np.column_stack([model.predict(columns) for model in self.models]).astype(np.float64)  # (n, models)
        shares: NDArray[np.float64] = votes @ self.weights
        return shares


class GroupThresholds(Lottery):
    """A score compared with thresholds of the row's group.

    `rules` (groups, 8): p_ignore, constant, then twice a probability, a threshold, and 1 for above it, −1 for below it.
    `cells` maps crossed levels to rows of `rules`; a cell that is not in it has the rules of `rest`.
    """

    def __init__(
        self,
        prepare: Any,
        model: Any,
        attributes: Sequence[str],
        cells: Mapping[str, int],
        rest: int,
        rules: Any,
        classes: Any,
        seed: int,
    ) -> None:
        self.prepare = prepare
        self.model = model
        self.attributes = list(attributes)
        self.cells = dict(cells)
        self.rest = rest
        self.rules = np.asarray(rules, dtype=np.float64)
        self.classes_ = np.asarray(classes)
        self.seed = seed

    def chance(self, X: Any) -> NDArray[np.float64]:
        """(n,) p_ignore · constant + (1 − p_ignore) · Σ p · [score beyond its threshold], by the row's group."""
        score = self.model.predict_proba(dense(self.prepare.transform(X)))[:, 1]
        levels = crossed_levels(X, self.attributes)
        rows = self.rules[[self.cells.get(level, self.rest) for level in levels]]  # (n, 8)
        ignore, constant = rows[:, 0], rows[:, 1]
        mixed = np.zeros(len(score))
        for p, threshold, side in (rows[:, 2:5].T, rows[:, 5:8].T):
            mixed += p * np.where(side > 0, score > threshold, score < threshold)
        shares: NDArray[np.float64] = ignore * constant + (1.0 - ignore) * mixed
        return shares


class GivenScores(BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A model whose scores are its inputs: for finding thresholds on scores that were made elsewhere."""

    def fit(self, X: Any, y: Any = None) -> GivenScores:
        """Nothing to learn."""
        return self

    def predict(self, X: Any) -> NDArray[np.float64]:
        """(n,) the only column of `X`."""
        return np.asarray(X, dtype=np.float64)[:, 0]

    def __sklearn_is_fitted__(self) -> bool:
        return True


def dense(columns: Any) -> NDArray[np.float64]:
    """The prepared columns as an array: the reductions do not take sparse ones."""
    return np.asarray(columns.toarray() if hasattr(columns, "toarray") else columns, dtype=np.float64)
