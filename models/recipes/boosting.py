"""Gradient-boosted trees: what a good tabular model of today achieves without tuning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.recipe import Recipe, answers

__all__ = ["Boosting"]

_MOST_CATEGORIES = 250  # the trees take at most 255 values of a category


@dataclass(frozen=True, kw_only=True)
class Boosting(Recipe):
    """Histogram gradient boosting (Ke et al. 2017, LightGBM, NeurIPS 30) with categories as they are.

    Missing numbers and missing, rare beyond the 250th, or unseen words are sent the better way at each split.
    """

    family: ClassVar[str] = "baseline"
    name: ClassVar[str] = "boosting"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR, Modality.IMAGE})  # pixels as columns
    summary: ClassVar[str] = "histogram gradient boosting with native categories"

    learning_rate: float = 0.05
    iterations: int = 250
    leaves: int = 31
    least_rows: int = 20

    def fit(self, train: Sample, seed: int) -> Any:
        """A fitted pipeline. All iterations are run: no rows are held back for early stopping.

        For k > 2 classes each iteration grows k trees; there are then 2/k as many, at least 50, of twice the rate.
        """
        from sklearn.compose import ColumnTransformer
        from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OrdinalEncoder

        from steelyard.models.recipes.tidy import TidyColumns, column_kinds

        numeric, words = column_kinds(train.inputs)
        nan = float("nan")
        ordinal = OrdinalEncoder(
            handle_unknown="use_encoded_value",
            unknown_value=nan,
            encoded_missing_value=nan,
            max_categories=_MOST_CATEGORIES,
        )
        columns = ColumnTransformer(
            [
                ("words", ordinal, [f"w{i}" for i in range(len(words))]),
                ("numbers", "passthrough", [f"n{i}" for i in range(len(numeric))]),
            ]
        )
        regression = train.task is Task.REGRESSION
        kind = HistGradientBoostingRegressor if regression else HistGradientBoostingClassifier
        many = train.task is Task.MULTICLASS
        model = kind(
            learning_rate=self.learning_rate * (2 if many else 1),
            max_iter=max(50, 2 * self.iterations // len(train.classes)) if many else self.iterations,
            max_leaf_nodes=self.leaves,
            min_samples_leaf=self.least_rows,
            categorical_features=list(range(len(words))) or None,
            early_stopping=False,
            random_state=seed,
        )
        pipeline = make_pipeline(TidyColumns(numeric, words), columns, model)
        step = "histgradientboostingregressor" if regression else "histgradientboostingclassifier"
        return pipeline.fit(train.inputs, answers(train), **{f"{step}__sample_weight": train.weights})
