"""Protected attributes as codes: every row is in a level, and a missing value is a level of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.audit.target import UNKNOWN, Groups
from steelyard.models.data.classes import class_name

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MOST_LEVELS", "MOST_NUMERIC_LEVELS", "code_groups"]

MOST_NUMERIC_LEVELS = 200
"""A number with more distinct values than this (an age in days, an income) is a quantity, not a set of groups."""
MOST_LEVELS = 1000
"""Text with more distinct values than this is a name or a key, not a set of groups."""


def code_groups(column: pd.Series[Any], *, attribute: str, where: str, compare_unknown: bool = False) -> Groups:
    """One attribute's codes and levels, in natural order with "unknown" last.

    Missing, NaN and blank values, and the word "unknown" itself, are the level "unknown". Raises DataError where
    every value is missing, or there are too many levels to be groups of people.
    """
    import numpy as np
    import pandas as pd

    try:
        codes, values = pd.factorize(column, use_na_sentinel=True)
    except TypeError:
        raise DataError(f"the group column {attribute!r} holds lists or records", where=where) from None
    names = [_level(value) for value in values]
    known = sorted({name for name in names if name != UNKNOWN}, key=_order)
    if not known:
        raise DataError(f"the group column {attribute!r} has no value in any row", where=where)
    numeric = pd.api.types.is_numeric_dtype(column.dtype)
    if len(known) > (MOST_NUMERIC_LEVELS if numeric else MOST_LEVELS):
        hint = "cut it into bins first, such as 18-25, 26-40" if numeric else "name a column with fewer groups"
        raise DataError(f"the group column {attribute!r} has {len(known):,} different values", where=where, hint=hint)
    missing = bool((codes < 0).any()) or UNKNOWN in names
    levels = (*known, UNKNOWN) if missing else tuple(known)
    place = {name: code for code, name in enumerate(levels)}
    lookup = np.array([place[name] for name in names] + [len(known)], dtype=np.int64)  # the last one: code -1
    return Groups(
        codes=lookup[codes],
        levels=levels,
        unknown=len(known) if missing else -1,
        compare_unknown=compare_unknown,
    )


def _level(value: Any) -> str:
    if isinstance(value, float) and not math.isfinite(value):
        return UNKNOWN
    return class_name(value) or UNKNOWN


def _order(name: str) -> tuple[int, float, str]:
    try:
        return 0, float(name), name
    except ValueError:
        return 1, 0.0, name
