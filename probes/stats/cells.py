"""A count table from a sample that was counted already: its entries stand for many rows each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Sample
from steelyard.probes.stats.moments import SecondMoment
from steelyard.probes.stats.table import CountTable

if TYPE_CHECKING:
    from steelyard.audit.target import Groups

__all__ = ["table_of_cells"]


def table_of_cells(
    sample: Sample,
    decisions: NDArray[Any],
    *,
    names: Sequence[str] | None = None,
    keep: NDArray[np.bool_] | None = None,
    labelled: bool = True,
) -> CountTable:
    """The table that `CountTable.from_rows` would make of the rows of a reduced `sample`.

    `decisions` (C,) hold 0 and 1, one for each entry. Counts are the same to the bit; sums of weights to rounding.
    `names` are the attributes that are wanted (all), `keep` (C,) the entries, `labelled` whether the labels are.
    Raises ProbeError for some of the entries of clustered rows: how many clusters they are of is not known.
    """
    reduced = sample.reduced
    if keep is not None and not keep.all():
        if reduced.pairs is not None:
            raise ProbeError("some of the rows of a clustered table need rows, not counts")
        reduced, decisions = _some(reduced, keep), decisions[keep]
    labels_of = sample.labels if labelled else None
    groups: dict[str, Groups] = {name: sample.groups[name] for name in names or sample.groups}
    sizes = [len(g.levels) for g in groups.values()]
    code = np.zeros(len(decisions), dtype=np.int64)
    for g, size in zip(groups.values(), sizes, strict=True):
        code = code * size + (g.codes if keep is None else g.codes[keep])
    labels = np.zeros_like(code)
    if labels_of is not None:
        labels = np.asarray(labels_of if keep is None else labels_of[keep], dtype=np.int64)
    present, cell = np.unique(code, return_inverse=True)
    flat = cell.astype(np.int64) * 4 + labels * 2 + np.asarray(decisions, dtype=np.int64)
    rows = _added(flat, reduced.rows, 4 * present.size)
    counts = rows if reduced.weights is None else _added(flat, reduced.weights, rows.size)
    moment = None
    if reduced.squares is not None:
        moment = _diagonal(_added(flat, reduced.squares, rows.size), int(rows.sum()))
    if reduced.pairs is not None:
        moment = _of_pairs(flat, reduced.pairs, rows.size)
    cells = np.stack(np.unravel_index(present, sizes), axis=1) if sizes else np.zeros((1, 0))
    return CountTable(
        attributes=tuple(groups),
        levels=tuple(tuple(g.levels) for g in groups.values()),
        unknown=tuple(int(g.unknown) for g in groups.values()),
        compare_unknown=tuple(bool(g.compare_unknown) for g in groups.values()),
        cells=cells.astype(np.int64),
        counts=counts.copy().reshape(-1, 2, 2),
        rows=np.rint(rows).astype(np.int64).reshape(-1, 2, 2),
        labelled=labels_of is not None,
        weighted=reduced.weights is not None,
        moment=moment,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Entries:
    """Some entries of a reduced sample, with their sums."""

    rows: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    squares: NDArray[np.float64] | None
    pairs: None = None


def _some(reduced: Any, keep: NDArray[np.bool_]) -> _Entries:
    weighted = reduced.weights is not None
    return _Entries(
        rows=reduced.rows[keep],
        weights=reduced.weights[keep] if weighted else None,
        squares=reduced.squares[keep] if weighted else None,
    )


def _added(flat: NDArray[np.int64], values: NDArray[Any], size: int) -> NDArray[np.float64]:
    return np.bincount(flat, weights=values, minlength=size).astype(np.float64)


def _diagonal(squares: NDArray[np.float64], units: int) -> SecondMoment:
    where = np.flatnonzero(squares)
    return SecondMoment(row=where, column=where, value=squares[where], units=units, clustered=False)


def _of_pairs(flat: NDArray[np.int64], pairs: Any, size: int) -> SecondMoment:
    """The moment over flattened cells. Two entries in one cell count in its diagonal both ways round."""
    i, j = flat[pairs.first], flat[pairs.second]
    value = np.where((i == j) & (pairs.first != pairs.second), 2 * pairs.value, pairs.value)
    key, place = np.unique(np.minimum(i, j) * size + np.maximum(i, j), return_inverse=True)
    row, column = np.divmod(key, size)
    total = np.bincount(place, weights=value).astype(np.float64)
    return SecondMoment(row=row, column=column, value=total, units=pairs.units, clustered=True)
