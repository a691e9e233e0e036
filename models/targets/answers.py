"""Check what a model answered and bring it into the one form that probes read: codes, probabilities, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.models.data.classes import class_name, match_class

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["class_codes", "decide", "numbers", "probabilities", "sample_code"]

_SUM_TOLERANCE = 1e-3  # float16 and float32 networks; anything wider is not a distribution


def sample_code(value: Any, classes: Sequence[str]) -> int:
    """The code of a model's class: by its name, or 0 and 1 (False and True) for the two of a binary task; else -1."""
    code = match_class(value, classes)
    if code < 0 and len(classes) == 2:
        code = match_class(value, ("0", "1"))
    return code


def class_codes(values: Any, classes: Sequence[str], *, n: int, name: str) -> NDArray[np.int64]:
    """(n,) codes in `classes` of the decisions `values`. Raises TargetError for what is none of the classes."""
    import numpy as np
    import pandas as pd

    flat = _column(values, n=n, name=name, what="decisions")
    codes, found = pd.factorize(np.asarray(flat, dtype=object), use_na_sentinel=True)
    missing = int((codes < 0).sum())
    if missing:
        raise TargetError(f"its decision is missing in {missing:,} of {n:,} rows", where=name)
    matched = [match_class(value, classes) for value in found]
    if min(matched) < 0:  # all of them by name, or all of them as 0 and 1: never half and half
        matched = [sample_code(value, ("0", "1")) if len(classes) == 2 else -1 for value in found]
    if min(matched) < 0:
        shown = ", ".join(repr(class_name(value)) for value in found[:6])
        raise TargetError(
            f"decides {shown}{' …' if len(found) > 6 else ''}, but the classes are {_list(classes)}",
            where=name,
            hint="the labels and the decisions must name the same classes",
        )
    return np.array(matched, dtype=np.int64)[codes]


def probabilities(values: Any, order: Sequence[int] | None, classes: Sequence[str], *, n: int, name: str) -> Any:
    """(n, classes) float64. `order` gives each class's column in `values`; a single column is P(positive).

    Raises TargetError for a wrong shape, NaN, numbers outside 0 to 1, and rows that do not sum to 1.
    """
    import numpy as np

    array = _floats(values, name=name, what="probabilities")
    if len(classes) == 2 and (array.ndim == 1 or array.shape[1:] == (1,)):
        positive = array.reshape(-1)
        array = np.column_stack([1.0 - positive, positive])
        order = None
    if array.shape != (n, len(classes)):
        raise TargetError(
            f"its probabilities have the shape {array.shape}, not ({n}, {len(classes)})",
            where=name,
            hint="one row for each row of the data, one column for each class",
        )
    _refuse_not_finite(array, name=name, what="probability")
    outside = int(((array < -1e-9) | (array > 1 + 1e-9)).any(axis=1).sum())
    if outside:
        raise TargetError(f"its probabilities leave 0 to 1 in {outside:,} of {n:,} rows", where=name)
    total = array.sum(axis=1)
    off = int((np.abs(total - 1.0) > _SUM_TOLERANCE).sum())
    if off:
        raise TargetError(f"its probabilities do not sum to 1 in {off:,} of {n:,} rows", where=name)
    array = np.clip(array if order is None else array[:, list(order)], 0.0, 1.0)
    return array if bool((total == 1.0).all()) else array / array.sum(axis=1, keepdims=True)


def numbers(values: Any, *, n: int, name: str) -> NDArray[np.float64]:
    """(n,) finite float64: the answers of a regressor. Raises TargetError naming how many are not."""
    array = _floats(_column(values, n=n, name=name, what="predictions"), name=name, what="predictions")
    _refuse_not_finite(array, name=name, what="prediction")
    return array


def decide(scores: NDArray[np.float64], threshold: float | None) -> NDArray[np.int64]:
    """(n,) codes from (n, classes) probabilities: the likeliest class, or positive from `threshold` on (binary)."""
    import numpy as np

    if threshold is None and scores.shape[1] > 2:
        return np.asarray(scores.argmax(axis=1), dtype=np.int64)
    return np.asarray(scores[:, 1] >= (0.5 if threshold is None else threshold), dtype=np.int64)


def _column(values: Any, *, n: int, name: str, what: str) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(values)
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape != (n,):
        raise TargetError(f"its {what} have the shape {array.shape}, not ({n},)", where=name, hint="one for each row")
    return array


def _floats(values: Any, *, name: str, what: str) -> NDArray[np.float64]:
    import numpy as np

    try:
        return np.array(
            values, dtype=np.float64
        )  # a copy: the answers are kept read-only, the model's own array is not ours
    except (TypeError, ValueError):
        raise TargetError(f"its {what} are not numbers", where=name) from None


def _refuse_not_finite(array: NDArray[np.float64], *, name: str, what: str) -> None:
    import numpy as np

    finite = np.isfinite(array)
    bad = int((~(finite.all(axis=1) if array.ndim == 2 else finite)).sum())
    if bad:
        raise TargetError(f"its {what} is NaN or infinite in {bad:,} of {len(array):,} rows", where=name)


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)
