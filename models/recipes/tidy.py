"""Columns of every kind brought to two: float64 numbers and text, missing values as NaN. The first step of a recipe."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import validate_data

__all__ = ["TidyColumns", "column_kinds"]


def column_kinds(inputs: Any) -> tuple[list[int], list[int]]:
    """The positions of the columns that are numbers (or truth values, or dates), and of those that are words.

    Columns without a single value are in neither. Raises ValueError where no column is left.
    """
    frame = inputs if isinstance(inputs, pd.DataFrame) else pd.DataFrame(np.asarray(inputs).reshape(len(inputs), -1))
    numeric: list[int] = []
    words: list[int] = []
    for place, dtype in enumerate(frame.dtypes):
        if not _has_value(frame.iloc[:, place]):
            continue
        counts = pd.api.types.is_numeric_dtype(dtype) or pd.api.types.is_datetime64_any_dtype(dtype)
        (numeric if counts and not isinstance(dtype, pd.CategoricalDtype) else words).append(place)
    if not numeric and not words:
        raise ValueError("no input column holds a value")
    return numeric, words


def _has_value(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_float_dtype(column.dtype):
        return bool(np.isfinite(column.to_numpy(dtype=np.float64, na_value=np.nan)).any())
    return bool(column.notna().any())


class TidyColumns(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """(n, d) inputs → (n, d) object array: the columns `numeric` first, as floats, then `words`, as text or NaN.

    Which column is which was decided on the training rows, so a test column that happens to be all numbers stays words.
    """

    def __init__(self, numeric: Sequence[int] = (), words: Sequence[int] = ()) -> None:
        self.numeric = numeric
        self.words = words

    def fit(self, X: Any, y: Any = None) -> TidyColumns:
        """Remember the names and the number of the columns."""
        validate_data(self, X, skip_check_array=True)
        return self

    def transform(self, X: Any) -> Any:
        """The tidy columns as a data frame called n0, n1 … and w0, w1 …"""
        validate_data(self, X, reset=False, skip_check_array=True)
        frame = X if isinstance(X, pd.DataFrame) else pd.DataFrame(np.asarray(X).reshape(len(X), -1))
        tidy: dict[str, Any] = {f"n{i}": _numbers(frame.iloc[:, place]) for i, place in enumerate(self.numeric)}
        tidy |= {f"w{i}": _words(frame.iloc[:, place]) for i, place in enumerate(self.words)}
        return pd.DataFrame(tidy)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "n_features_in_")


def _numbers(column: pd.Series[Any]) -> Any:
    if pd.api.types.is_datetime64_any_dtype(column.dtype):
        column = pd.to_datetime(column, utc=True).dt.tz_localize(None)
        days = (column - pd.Timestamp("1970-01-01")) / pd.Timedelta(days=1)
        return days.to_numpy(dtype=np.float64)
    numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return np.where(np.isinf(numbers), np.nan, numbers)


def _words(column: pd.Series[Any]) -> Any:
    codes, values = pd.factorize(column, use_na_sentinel=True)
    texts = [str(value).strip() for value in values]
    lookup = np.array([text or np.nan for text in texts] + [np.nan], dtype=object)  # the last one: code -1
    return lookup[codes]
