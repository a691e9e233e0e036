"""What a label means: its name, its code, and the task that it makes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.audit.types import Task

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["MOST_INTEGER_CLASSES", "choose_classes", "class_name", "code_labels", "infer_task", "match_class"]

MOST_INTEGER_CLASSES = 20
"""Whole numbers with more distinct values than this are read as a quantity (regression), not as classes."""


def class_name(value: Any) -> str:
    """How a class value is written: text without blanks around it; 1, 1.0 and numpy's 1 are all "1"; True is "True"."""
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return str(value).strip()


def _alias(name: str) -> str | float:
    """What two spellings of one class share: "True", "true", "1" and "1.0" are one, "False" and "0" another."""
    lowered = name.lower()
    if lowered in {"true", "false"}:
        return float(lowered == "true")
    try:
        number = float(name)
    except ValueError:
        return name
    return number if math.isfinite(number) else name


def match_class(value: Any, classes: Sequence[str]) -> int:
    """The code of `value` in `classes`: by its name, else by its other spellings; -1 where it is none of them."""
    name = class_name(value)
    if name in classes:
        return list(classes).index(name)
    aliases = [_alias(known) for known in classes]
    return aliases.index(_alias(name)) if aliases.count(_alias(name)) == 1 else -1


def infer_task(labels: pd.Series[Any]) -> Task:
    """Binary for two values; multiclass for text, or at most 20 whole numbers; otherwise regression."""
    import pandas as pd

    values = labels.dropna().unique()
    if len(values) <= 2 or pd.api.types.is_bool_dtype(labels.dtype):
        return Task.BINARY
    if not pd.api.types.is_numeric_dtype(labels.dtype):
        return Task.MULTICLASS
    whole = all(float(value).is_integer() for value in values[: MOST_INTEGER_CLASSES + 1])
    return Task.MULTICLASS if whole and len(values) <= MOST_INTEGER_CLASSES else Task.REGRESSION


def choose_classes(values: Iterable[Any], task: Task, positive: Any, *, label: str, where: str) -> tuple[str, ...]:
    """The class names in code order: (negative, positive) for a binary task, else in natural order.

    Raises DataError for one class only, for more than two in a binary task, or where the favourable value is open.
    """
    names = sorted({class_name(value) for value in values}, key=_natural)
    if len(names) < 2:
        only = repr(names[0]) if names else "none"
        raise DataError(
            f"{label} has one class only ({only})", where=where, hint="an audit needs rows of at least two classes"
        )
    if task is Task.MULTICLASS:
        if positive is not None:
            raise DataError(
                f"data.positive is {positive!r}, but {label} has {len(names)} values (task multiclass)",
                where=where,
                hint="leave data.positive out, or make the label binary",
            )
        return tuple(names)
    if len(names) > 2:
        raise DataError(f"{label} has {len(names)} values: {_few(names)}", where=where, hint="a binary task has two")
    if positive is None:
        if {_alias(name) for name in names} != {0.0, 1.0}:
            raise DataError(
                f"{label} has the values {names[0]!r} and {names[1]!r}; which of them is favourable is not said",
                where=where,
                hint="set data.positive to one of the two",
            )
        positive = 1
    code = match_class(positive, names)
    if code < 0:
        raise DataError(f"data.positive is {positive!r}, but {label} has {names[0]!r} and {names[1]!r}", where=where)
    return names[1 - code], names[code]


def code_labels(labels: pd.Series[Any], classes: Sequence[str], *, label: str, where: str) -> NDArray[np.int64]:
    """(n,) codes of the labels in `classes`. Raises DataError listing the values that are none of them."""
    import numpy as np
    import pandas as pd

    codes, values = pd.factorize(labels, use_na_sentinel=True)
    found = np.array([match_class(value, classes) for value in values], dtype=np.int64)
    if (found < 0).any():
        odd = [class_name(value) for value, code in zip(values, found, strict=True) if code < 0]
        raise DataError(
            f"{label} has values that the other data have not: {_few(odd)}",
            where=where,
            hint=f"the classes are {_few(classes)}",
        )
    return found[codes]


def _natural(name: str) -> tuple[int, float, str]:
    alias = _alias(name)
    return (0, alias, name) if isinstance(alias, float) else (1, 0.0, name)


def _few(names: Sequence[str], most: int = 10) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown
