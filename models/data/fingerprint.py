"""A digest of what a table or an array holds: the same content, the same digest, on any machine and from any file."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["fingerprint_array", "fingerprint_inputs"]

_PART = 1 << 20  # numbers at a time


def fingerprint_inputs(inputs: Any) -> str:
    """SHA-256 of a data frame (column names, types and values, in order) or of an array (shape and values).

    Integers of every width count as one type, so do floats; text and categories of the same words are the same; a
    missing value is one thing whatever stands for it. Row order, column order and every value change the digest.
    """
    if hasattr(inputs, "columns"):
        state = hashlib.sha256(f"frame:{len(inputs)}:{len(inputs.columns)}".encode())
        for place, name in enumerate(inputs.columns):
            state.update(json.dumps([place, str(name)]).encode())
            state.update(_column(inputs.iloc[:, place]))
        return state.hexdigest()
    return fingerprint_array(inputs)


def fingerprint_array(values: Any) -> str:
    """SHA-256 of an array of any shape; None has a digest of its own."""
    import numpy as np
    import pandas as pd

    if values is None:
        return hashlib.sha256(b"none").hexdigest()
    array = np.asarray(values)
    state = hashlib.sha256(f"array:{array.shape}".encode())
    if array.dtype.kind in "biuf" and array.ndim > 1:  # images: in parts, since each is copied as 8-byte numbers
        step = max(1, _PART // max(1, array[:1].size))
        state.update(_numbers(array[:0]))
        for start in range(0, len(array), step):
            state.update(_numbers(array[start : start + step], named=False))
    elif array.dtype.kind in "biuf":
        state.update(_numbers(array))
    else:
        state.update(_column(pd.Series(array.ravel(), dtype=object)))
    return state.hexdigest()


def _numbers(array: NDArray[Any], *, named: bool = True) -> bytes:
    """The bytes of an array's values, after the name of their type."""
    import numpy as np

    if array.dtype.kind == "b":
        return b"bool" * named + np.ascontiguousarray(array, dtype="u1").tobytes()
    if array.dtype.kind in "iu" and array.dtype != np.uint64:
        return b"int" * named + np.ascontiguousarray(array, dtype="<i8").tobytes()
    if array.dtype.kind == "u":
        return b"uint" * named + np.ascontiguousarray(array, dtype="<u8").tobytes()
    # + 0.0 makes -0.0 plain zero; every NaN gets the same bits
    plain = np.array(array, dtype="<f8", order="C", copy=True) + 0.0
    plain[np.isnan(plain)] = np.nan
    return b"float" * named + plain.tobytes()


def _column(column: pd.Series[Any]) -> bytes:
    import numpy as np
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        return _numbers(column.to_numpy())
    if pd.api.types.is_datetime64_any_dtype(dtype):
        stamps: Any = pd.to_datetime(column, utc=True)
        nanoseconds: bytes = stamps.to_numpy(dtype="datetime64[ns]").astype("<i8").tobytes()
        return b"time" + nanoseconds
    if pd.api.types.is_numeric_dtype(dtype) and not isinstance(dtype, pd.CategoricalDtype):  # pandas' nullable numbers
        return b"nullable" + _numbers(column.to_numpy(dtype=np.float64, na_value=np.nan))
    try:
        codes, values = pd.factorize(column, use_na_sentinel=True)  # codes by first appearance: a content order
    except TypeError:  # lists and other cells without a hash
        codes, values = pd.factorize(column.map(repr), use_na_sentinel=True)
    words = [[type(_plain(value)).__name__, str(_plain(value))] for value in values]
    return b"words" + json.dumps(words).encode() + np.ascontiguousarray(codes, dtype="<i8").tobytes()


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else value
