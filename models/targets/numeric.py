"""Inputs as the numbers that a network takes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["numeric_inputs"]


def numeric_inputs(inputs: Any, name: str) -> NDArray[Any]:
    """(n, …) numbers: an array as it is, a data frame by columns. Raises TargetError naming columns that are none."""
    import numpy as np
    import pandas as pd

    if isinstance(inputs, pd.DataFrame):
        odd = [str(c) for c, kind in inputs.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        if odd:
            shown = ", ".join(repr(column) for column in odd[:6])
            more = f" and {len(odd) - 6} more" if len(odd) > 6 else ""
            raise TargetError(
                f"takes numbers, and these columns hold none: {shown}{more}",
                where=name,
                hint="encode them, leave them out by data.drop, or put the model behind kind: python",
            )
        return np.asarray(inputs.to_numpy(dtype=np.float64, na_value=np.nan))
    array = np.asarray(inputs)
    if array.dtype.kind not in "biuf" or array.ndim < 2:
        what = "texts" if array.dtype.kind in "OUS" else f"an array of {array.dtype} of the shape {array.shape}"
        raise TargetError(f"takes numbers, and the inputs are {what}", where=name)
    return array
