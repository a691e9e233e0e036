"""Rows of data.train that are held out and tested on, where the plan names no data.test."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import generator
from steelyard.audit.errors import DataError
from steelyard.models.data.classes import MOST_INTEGER_CLASSES

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["held_out_rows"]


def held_out_rows(
    n: int, share: float, seed: int, *, labels: pd.Series[Any] | None, clusters: pd.Series[Any] | None, where: str
) -> NDArray[np.bool_]:
    """(n,) True for the rows that are tested on: a `share` of the rows of every class, or of the clusters.

    The number in each class is the nearest to `share` times its rows, at least 1 and at most all but one. Rows with
    more than 20 different numbers as labels (a quantity to be predicted) are drawn as one class. A cluster goes to one
    side whole: clusters are drawn, in an order by the seed, until `share` of the rows is reached, and classes are then
    as they come. Raises DataError where one side would be empty.
    """
    import numpy as np
    import pandas as pd

    rng = generator(seed, "data.held_out")
    if clusters is not None:
        held = _by_cluster(pd.factorize(clusters, use_na_sentinel=False)[0], share, rng)
    else:
        held = np.zeros(n, dtype=bool)
        for rows in _classes(n, labels):
            wanted = min(max(round(share * len(rows)), 1), max(len(rows) - 1, 1))
            held[rng.permutation(rows)[:wanted]] = True
    if held.all() or not held.any():
        message = f"holding out {share:g} of its {n:,} rows leaves one side without any"
        raise DataError(message, where=where, hint="name data.test, or more rows or clusters")
    return held


def _classes(n: int, labels: pd.Series[Any] | None) -> list[NDArray[np.int64]]:
    import numpy as np
    import pandas as pd

    if labels is None:
        return [np.arange(n)]
    codes, values = pd.factorize(labels, use_na_sentinel=False, sort=False)
    if len(values) > MOST_INTEGER_CLASSES and pd.api.types.is_numeric_dtype(labels.dtype):
        return [np.arange(n)]
    return [np.flatnonzero(codes == code) for code in range(len(values))]


def _by_cluster(codes: NDArray[np.int64], share: float, rng: Generator) -> NDArray[np.bool_]:
    import numpy as np

    sizes = np.bincount(codes)
    order = rng.permutation(len(sizes))
    before = np.cumsum(sizes[order]) - sizes[order]
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[before < share * len(codes)]] = True
    held: NDArray[np.bool_] = chosen[codes]
    return held
