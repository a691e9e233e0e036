"""Which rows are equal in the control columns? Strata, with a name for each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["Strata", "counted_columns", "stratify", "stratify_sample"]

FEW = 10  # a number with at most this many values is a set of strata as it stands
MOST = 200  # words with more values than this are names or keys, not strata


@dataclass(frozen=True, slots=True, kw_only=True)
class Strata:
    """`codes` (n,) into `names`: one name for each combination that occurs."""

    codes: NDArray[np.int64]
    names: tuple[str, ...]


def counted_columns(sample: Sample) -> tuple[str, ...]:
    """The columns that describe a row of a counted sample: those of its groups. The others were not counted."""
    return tuple(sample.reduced.counting.roles.groups.values())


def stratify_sample(sample: Sample, controls: Sequence[str], bins: int) -> Strata:
    """The strata of the rows of a sample, or of the entries of one that was counted; see `stratify`.

    Raises ProbeError for a control that was not counted.
    """
    if sample.reduced is None:
        return stratify(sample.features, controls, bins)
    uncounted = [repr(name) for name in controls if name not in counted_columns(sample)]
    if uncounted:
        raise ProbeError(
            f"the control {', '.join(uncounted)} was not counted, only the groups were",
            hint="name it in data.groups, too, or set data.reduce_above higher",
        )
    return stratify(sample.inputs[list(counted_columns(sample))], controls, bins, times=sample.reduced.rows)


def stratify(features: Any, controls: Sequence[str], bins: int, *, times: NDArray[np.int64] | None = None) -> Strata:
    """The strata of equal `controls`, numbers cut at their quantiles into `bins`. A missing value is one of its own.

    A row of `features` stands for as many as `times` (n,) says.
    Raises ProbeError for a column that is not there, has too many values, or an array without column names.
    """
    import numpy as np
    import pandas as pd

    if not isinstance(features, pd.DataFrame):
        raise ProbeError("controls are columns, and the inputs are an array", hint="give a data frame")
    if bins < 2:
        raise ProbeError(f"bins is {bins}; a number needs at least 2")
    missing = [name for name in controls if name not in features.columns]
    if missing:
        shown = ", ".join(repr(str(c)) for c in list(features.columns)[:12])
        raise ProbeError(f"no column is called {', '.join(map(repr, missing))}", hint=f"columns: {shown}")
    parts = [_column(features[name], str(name), bins, times) for name in controls]
    joint = np.stack([codes for codes, _ in parts], axis=1)  # (n, controls)
    found, inverse = np.unique(joint, axis=0, return_inverse=True)
    names = tuple(
        ", ".join(
            f"{control} = {parts[j][1][code]}" for j, (control, code) in enumerate(zip(controls, row, strict=True))
        )
        for row in found.tolist()
    )
    return Strata(codes=inverse.reshape(-1).astype(np.int64), names=names)


def _column(
    column: pd.Series[Any], name: str, bins: int, times: NDArray[np.int64] | None
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    import numpy as np
    import pandas as pd

    numeric = pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype)
    if numeric and column.nunique() > FEW:
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        there = ~np.isnan(values)
        cuts = np.unique(
            _quantiles(values[there], np.linspace(0, 1, bins + 1)[1:-1], None if times is None else times[there])
        )
        codes = np.searchsorted(cuts, values, side="left").astype(np.int64)  # bin j: cuts[j-1] < x <= cuts[j]
        ends = [f"{cut:.6g}" for cut in cuts]
        names = [
            f"up to {ends[0]}",
            *(f"{a} to {b}" for a, b in pairwise(ends)),
            f"above {ends[-1]}",
        ]
        absent = np.isnan(values)
    else:
        factor, found = pd.factorize(column, use_na_sentinel=True, sort=False)
        words = [str(value).strip() for value in found]
        names = sorted(set(words))
        if len(names) > MOST:
            raise ProbeError(
                f"the control {name!r} has {len(names):,} values", hint=f"at most {MOST}: group them first"
            )
        place = {word: code for code, word in enumerate(names)}
        lookup = np.array([place[word] for word in words] + [0], dtype=np.int64)
        codes, absent = lookup[factor], factor < 0
    if absent.any():
        codes = np.where(absent, len(names), codes)
        names = [*names, "missing"]
    return codes, tuple(names)


def _quantiles(
    values: NDArray[np.float64], q: NDArray[np.float64], times: NDArray[np.int64] | None
) -> NDArray[np.float64]:
    """numpy's quantiles of `values` (n,), each written out as often as `times` says, without writing them out."""
    import numpy as np

    if times is None:
        return np.quantile(values, q)
    order = np.argsort(values, kind="stable")
    ordered, reached = values[order], np.cumsum(times[order])
    place = q * (reached[-1] - 1)
    below = np.floor(place)
    low = ordered[np.searchsorted(reached, below, side="right")]
    high = ordered[np.searchsorted(reached, np.minimum(below + 1, reached[-1] - 1), side="right")]
    found: NDArray[np.float64] = low + (high - low) * (place - below)
    return found
