"""What conditions can be put on a row: each protected attribute's groups, and each feature's values or bins?"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any

from steelyard.probes.fairness.halves import feature_frame

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample
    from steelyard.probes.stats.lattice import Axis

__all__ = ["MISSING", "axes_of", "cut"]

MISSING = "missing"
POOLED = "other"


def axes_of(
    sample: Sample, search: NDArray[np.int64], *, bins: int, max_levels: int, features: bool = True
) -> tuple[list[Axis], tuple[str, ...]]:
    """The axes over all rows, protected attributes first, and the names of the columns that give none.

    Bins and pooled levels are chosen on the rows `search` alone. A feature that bears the name of a protected attribute
    is left to that attribute. Rows of an unknown group are in no condition on it, unless the plan compares them.
    """
    import numpy as np

    from steelyard.probes.stats.lattice import Axis

    axes, unusable = [], []
    for name, groups in sample.groups.items():
        codes = np.asarray(groups.codes, dtype=np.int64)
        levels = groups.levels
        if groups.unknown >= 0 and not groups.compare_unknown:
            place = np.cumsum([i != groups.unknown for i in range(len(levels))]) - 1
            place[groups.unknown] = -1
            levels = tuple(level for i, level in enumerate(levels) if i != groups.unknown)
            codes = place[codes]
        axes.append(Axis(name=name, levels=levels, codes=codes))
    if not features:
        return axes, ()
    for label, column in feature_frame(sample).items():
        name = str(label)
        if name in sample.groups:
            continue
        if any(name == axis.name for axis in axes):  # columns called 1 and "1": one name must mean one thing
            unusable.append(name)
            continue
        axis = _feature(name, column, search, bins, max_levels)
        if axis is None:
            unusable.append(name)
        elif len(axis.levels) > 1:
            axes.append(axis)
    return axes, tuple(unusable)


def _feature(name: str, column: pd.Series[Any], search: NDArray[np.int64], bins: int, max_levels: int) -> Axis | None:
    """A feature's axis, or None where its values are neither numbers nor names (lists, dates)."""
    import numpy as np
    import pandas as pd
    from pandas.api import types

    if types.is_numeric_dtype(column.dtype) and not types.is_bool_dtype(column.dtype):
        if types.is_complex_dtype(column.dtype):
            return None
        values = column.to_numpy(dtype=np.float64, na_value=np.nan)
        return cut(name, values, search, bins)
    if types.is_datetime64_any_dtype(column.dtype) or types.is_timedelta64_dtype(column.dtype):
        return None
    try:
        codes, names = pd.factorize(column)
    except TypeError:  # lists or records
        return None
    return _named(name, np.asarray(codes), [str(name) for name in names], search, max_levels)


def cut(name: str, values: NDArray[np.float64], search: NDArray[np.int64], bins: int) -> Axis:
    """Numbers (n,) as an axis: each value a level where there are at most `bins`, else quantile bins (a, b].

    Edges are values of the searched rows, so that ties stay together; a value that fills several bins gets one.
    """
    import numpy as np

    from steelyard.probes.stats.lattice import Axis

    seen = np.sort(values[search][np.isfinite(values[search])])
    different = np.unique(seen)
    if len(different) <= bins:
        levels = _shown(different)
        codes = np.searchsorted(different, values)
        codes = np.where(np.isin(values, different), codes, -1)  # a value that the search never saw
    else:
        edges = np.unique(seen[len(seen) * np.arange(1, bins) // bins])
        edges = edges[edges < different[-1]]
        shown = _shown(edges)
        levels = [f"up to {shown[0]}"] if shown else ["any"]
        levels += [f"({a}, {b}]" for a, b in pairwise(shown)]
        levels += [f"above {shown[-1]}"] if shown else []
        codes = np.searchsorted(edges, values, side="left")
    missing = np.isnan(values)
    if missing.any():
        codes = np.where(missing, len(levels), codes)
        levels.append(MISSING)
    return Axis(name=name, levels=tuple(levels), codes=codes.astype(np.int64))


def _shown(numbers: NDArray[np.float64]) -> list[str]:
    """Six digits where they tell the numbers apart, else all of them."""
    short = [f"{x:.6g}" for x in numbers]
    return short if len(set(short)) == len(short) else [repr(float(x)) for x in numbers]


def _named(name: str, codes: NDArray[np.int64], values: list[str], search: NDArray[np.int64], max_levels: int) -> Axis:
    """A category's axis: the most frequent levels of the searched rows, the others pooled. Code -1 is missing."""
    import numpy as np

    from steelyard.probes.stats.lattice import Axis

    names = sorted(set(values))  # 1 and "1" are one level
    where = {value: i for i, value in enumerate(names)}
    codes = np.array([*(where[value] for value in values), -1], dtype=np.int64)[codes]
    values, missing = names, bool((codes < 0).any())
    often = np.bincount(codes[search][codes[search] >= 0], minlength=len(values))
    ordered = sorted(range(len(values)), key=lambda i: (-int(often[i]), i))
    pooled = len(values) > max_levels
    kept = sorted(ordered[: max_levels - 1] if pooled else ordered)
    levels = [values[i] for i in kept]
    place = np.full(len(values) + 1, len(levels), dtype=np.int64)
    place[kept] = np.arange(len(kept))
    if pooled:
        levels.append(f"{POOLED} ({len(values) - len(kept)} values)")
    if missing:
        levels += [] if MISSING in levels else [MISSING]
        place[-1] = levels.index(MISSING)
    return Axis(name=name, levels=tuple(levels), codes=place[codes])
