"""Logistic regression on weighted words: the plainest model of texts that a network must beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.recipe import Recipe, answers

__all__ = ["Words"]


@dataclass(frozen=True, kw_only=True)
class Words(Recipe):
    """TF-IDF of words and pairs of words (sublinear counts, rows of length 1), then L2-penalised logistic regression.

    Ridge regression where the label is a number. `penalty` is 1/C, and ridge's alpha.
    """

    family: ClassVar[str] = "baseline"
    name: ClassVar[str] = "words"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT})
    summary: ClassVar[str] = "logistic regression (ridge regression for numbers) on TF-IDF of words and pairs of words"

    penalty: float = 0.1
    longest: int = 2
    least: int = 1
    max_iter: int = 1000

    def fit(self, train: Sample, seed: int) -> Any:
        """A fitted pipeline; a ConvergenceWarning means that `max_iter` was not enough."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression, Ridge
        from sklearn.pipeline import make_pipeline

        words = TfidfVectorizer(
            ngram_range=(1, self.longest),
            min_df=self.least,
            sublinear_tf=True,
            token_pattern=r"\w+|[^\w\s]",  # noqa: S106 (not a password)
        )
        model = (
            Ridge(alpha=self.penalty, solver="lsqr", tol=1e-8)
            if train.task is Task.REGRESSION
            else LogisticRegression(C=1.0 / self.penalty, max_iter=self.max_iter, random_state=seed)
        )
        step = "ridge" if train.task is Task.REGRESSION else "logisticregression"
        return make_pipeline(words, model).fit(
            train.inputs, answers(train), **{f"{step}__sample_weight": train.weights}
        )
