"""The second moment of weighted or clustered counts: what linearised variances are made of.

M2 = sum over units u of x_u x_u^T, where x_u is unit u's weighted counts over the F flattened cells. A unit is a
cluster, or a row where there are only weights. Kept as the upper triangle, sparse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["SecondMoment", "of_clusters", "of_rows"]

_MOST_PAIRS = 20_000_000  # above it the product is formed in one dense piece


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SecondMoment:
    """`value`[e] is the entry (`row`[e], `column`[e]) with row <= column; `units` is the number of clusters or rows.

    `clustered` says which: rows of a cluster are dependent, and Student's t has units - 1 degrees of freedom.
    """

    row: NDArray[np.int64]
    column: NDArray[np.int64]
    value: NDArray[np.float64]
    units: int
    clustered: bool

    def quadratic(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """Z M2 Z^T for Z (J, F): (J, J)."""
        left = np.asarray(z @ self._matrix(z.shape[1]))
        product: NDArray[np.float64] = left @ z.T
        return product

    def diagonal(self, z: NDArray[np.float64]) -> NDArray[np.float64]:
        """The diagonal of Z M2 Z^T for Z (J, F): (J,)."""
        left = np.asarray(z @ self._matrix(z.shape[1]))
        diagonal: NDArray[np.float64] = np.einsum("jf,jf->j", left, z)
        return diagonal

    def _matrix(self, f: int) -> Any:
        from scipy.sparse import csr_array

        off = self.row != self.column
        rows = np.concatenate([self.row, self.column[off]])
        columns = np.concatenate([self.column, self.row[off]])
        return csr_array((np.concatenate([self.value, self.value[off]]), (rows, columns)), shape=(f, f))


def of_rows(flat: NDArray[np.int64], weights: NDArray[np.float64], f: int) -> SecondMoment:
    """M2 where every row is a unit: the diagonal of squared weights. `flat` (n,) is each row's flattened cell."""
    squares = np.bincount(flat, weights * weights, minlength=f).astype(np.float64)
    where = np.flatnonzero(squares)
    return SecondMoment(row=where, column=where, value=squares[where], units=flat.size, clustered=False)


def of_clusters(
    flat: NDArray[np.int64], weights: NDArray[np.float64] | None, clusters: NDArray[np.int64], f: int
) -> SecondMoment:
    """M2 over clusters. Sums are taken in an order that does not depend on the order of rows or on cluster codes."""
    units, cluster = np.unique(clusters, return_inverse=True)
    order = np.lexsort((flat, cluster)) if weights is None else np.lexsort((weights, flat, cluster))
    key = cluster[order].astype(np.int64) * f + flat[order]
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    ones = np.ones(key.size) if weights is None else weights[order]
    totals = np.add.reduceat(ones, starts)  # one a (cluster, cell)
    owner, cell = np.divmod(key[starts], f)
    sizes = np.bincount(owner, minlength=units.size)
    if int((sizes.astype(np.int64) ** 2).sum()) > _MOST_PAIRS:
        return _dense(owner, cell, totals, units.size, f)
    first = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    own = np.arange(owner.size)
    later = first[owner] + sizes[owner] - own  # partners of an entry: itself and those after it in its cluster
    left = np.repeat(own, later)
    right = left + np.arange(left.size) - np.repeat(np.cumsum(later) - later, later)
    row, column, value = cell[left], cell[right], totals[left] * totals[right]
    order = np.lexsort((value, column, row))
    row, column, value = row[order], column[order], value[order]
    edges = np.flatnonzero(np.diff(row * f + column, prepend=-1))
    return SecondMoment(
        row=row[edges], column=column[edges], value=np.add.reduceat(value, edges), units=units.size, clustered=True
    )


def _dense(
    owner: NDArray[np.int64], cell: NDArray[np.int64], totals: NDArray[np.float64], units: int, f: int
) -> SecondMoment:
    moment = np.zeros((f, f))
    block = max(1, _MOST_PAIRS // f)
    for start in range(0, units, block):
        low, high = np.searchsorted(owner, [start, start + block])
        x = np.zeros((min(block, units - start), f))
        x[owner[low:high] - start, cell[low:high]] = totals[low:high]
        moment += x.T @ x
    row, column = np.nonzero(np.triu(moment))
    return SecondMoment(row=row, column=column, value=moment[row, column], units=units, clustered=True)
