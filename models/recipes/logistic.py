"""Logistic regression with one-hot categories: the plainest model that a better one must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.recipe import Recipe, answers

__all__ = ["Logistic"]


@dataclass(frozen=True, kw_only=True)
class Logistic(Recipe):
    """L2-penalised maximum likelihood, multinomial for several classes; ridge regression where the label is a number.

    Numbers: missing ones get the median and an indicator, then mean 0 and variance 1. Words: one-hot, those seen in
    fewer than `min_frequency` rows, and unseen ones, together. `penalty` is 1/C, and ridge's alpha.
    """

    family: ClassVar[str] = "baseline"
    name: ClassVar[str] = "logistic"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR, Modality.IMAGE})  # pixels as columns
    summary: ClassVar[str] = "logistic regression (ridge regression for numbers), one-hot categories, scaled numbers"

    penalty: float = 1.0
    min_frequency: int = 20
    max_iter: int = 1000

    def fit(self, train: Sample, seed: int) -> Any:
        """A fitted pipeline; a ConvergenceWarning means that `max_iter` was not enough."""
        from sklearn.compose import ColumnTransformer
        from sklearn.impute import SimpleImputer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder, StandardScaler

        from steelyard.models.recipes.tidy import TidyColumns, column_kinds

        numeric, words = column_kinds(train.inputs)
        fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
        one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=self.min_frequency, dtype=float)
        columns = ColumnTransformer(
            [
                ("numbers", make_pipeline(fill, StandardScaler()), [f"n{i}" for i in range(len(numeric))]),
                ("words", one_hot, [f"w{i}" for i in range(len(words))]),
            ],
            sparse_threshold=0.0 if train.n < 10_000 else 0.3,
        )
        model = (
            Ridge(alpha=self.penalty, solver="lsqr", tol=1e-8)
            if train.task is Task.REGRESSION
            else LogisticRegression(C=1.0 / self.penalty, max_iter=self.max_iter, random_state=seed)
        )
        pipeline = make_pipeline(TidyColumns(numeric, words), columns, model)
        step = "ridge" if train.task is Task.REGRESSION else "logisticregression"
        return pipeline.fit(train.inputs, answers(train), **{f"{step}__sample_weight": train.weights})
