"""The count table: all that a fairness statistic of yes/no decisions needs of the rows.

A cell is one combination of group values that occurs; each holds a 2 × 2 table label × decision. Every rate of every
marginal or intersectional group is a ratio of sums of cells, so that resampling and re-judging never touch a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import sha256
from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.moments import SecondMoment, of_clusters, of_rows

if TYPE_CHECKING:
    from steelyard.audit.target import Groups

__all__ = ["CountTable", "MarginalGroups"]

_DENSE = 4_000_000  # the most combinations counted in one dense array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MarginalGroups:
    """The groups of one attribute, or of an intersection, that a table holds.

    `names` (G,): "Female", or "Female*Black" joined by an asterisk. `of_cell` (C,) is the group of each cell. `unknown`
    (G,) marks groups with a missing value that the plan does not compare. `rows` (G,) are unweighted rows.
    """

    attributes: tuple[str, ...]
    names: tuple[str, ...]
    of_cell: NDArray[np.int64]
    unknown: NDArray[np.bool_]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CountTable:
    """Counts per group cell × label × decision.

    `cells` (C, A) are codes into `levels`, in ascending order; `counts` (C, 2, 2) the weighted and `rows` (C, 2, 2) the
    plain counts, indexed [cell, label, decision]. `unknown`[a] is the code of attribute a's missing values or -1.
    `moment` is there with weights or clusters only. Without labels every row counts under label 0.
    """

    attributes: tuple[str, ...]
    levels: tuple[tuple[str, ...], ...]
    unknown: tuple[int, ...]
    compare_unknown: tuple[bool, ...]
    cells: NDArray[np.int64]
    counts: NDArray[np.float64]
    rows: NDArray[np.int64]
    labelled: bool
    weighted: bool
    moment: SecondMoment | None = None

    def __post_init__(self) -> None:
        for array in (self.cells, self.counts, self.rows):
            array.flags.writeable = False

    @classmethod
    def from_rows(
        cls,
        groups: Mapping[str, Groups],
        labels: NDArray[Any] | None,
        decisions: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
        clusters: NDArray[np.int64] | None = None,
    ) -> CountTable:
        """Count rows. `labels` and `decisions` (n,) hold 0 and 1. Raises ProbeError where they hold anything else."""
        n = len(decisions)
        if n == 0:
            raise ProbeError("there are no rows to count", hint="give a table with at least one row")
        sizes = [len(g.levels) for g in groups.values()]
        flat = _binary(decisions, "decisions", n) + 2 * (0 if labels is None else _binary(labels, "labels", n))
        code, stride = np.zeros(n, dtype=np.int64), 4
        for (name, g), size in zip(list(groups.items())[::-1], sizes[::-1], strict=True):
            code += _codes(g.codes, name, n, size) * (stride // 4)
            stride *= size
        flat = flat + 4 * code
        rows, cell_codes, flat = _occurring(flat, stride)
        width = rows.size
        w = None if weights is None else _weights(weights, n)
        if clusters is not None and len(clusters) != n:
            raise ProbeError(f"there are {len(clusters)} cluster codes for {n} rows", hint="give one a row")
        counts, moment = rows.astype(np.float64), None
        if w is not None:
            order = np.lexsort((w, flat))  # sums must not depend on the order of the rows
            counts = np.bincount(flat[order], w[order], minlength=width).astype(np.float64)
            moment = of_rows(flat[order], w[order], width)
        if clusters is not None:
            moment = of_clusters(flat, w, np.asarray(clusters), width)
        cells = np.stack(np.unravel_index(cell_codes, sizes), axis=1) if sizes else np.zeros((1, 0), dtype=np.int64)
        return cls(
            attributes=tuple(groups),
            levels=tuple(tuple(g.levels) for g in groups.values()),
            unknown=tuple(int(g.unknown) for g in groups.values()),
            compare_unknown=tuple(bool(g.compare_unknown) for g in groups.values()),
            cells=cells.astype(np.int64),
            counts=counts.reshape(-1, 2, 2),
            rows=rows.reshape(-1, 2, 2),
            labelled=labels is not None,
            weighted=w is not None,
            moment=moment,
        )

    @property
    def n(self) -> int:
        """How many rows were counted."""
        return int(self.rows.sum())

    def groups(self, attributes: tuple[str, ...]) -> MarginalGroups:
        """The groups of one attribute (all its levels, also empty ones) or of an intersection (those that occur).

        The empty tuple gives one group, "everyone".
        """
        columns = [self._index(name) for name in attributes]
        sizes = [len(self.levels[c]) for c in columns]
        if not columns:
            combined, codes = np.zeros(len(self.cells), dtype=np.int64), np.zeros((1, 0), dtype=np.int64)
        else:
            combined = np.asarray(np.ravel_multi_index(tuple(self.cells[:, c] for c in columns), sizes))
            present = np.arange(sizes[0]) if len(columns) == 1 else np.unique(combined)
            combined = np.searchsorted(present, combined)
            codes = np.stack(np.unravel_index(present, sizes), axis=1)
        missing = [self.unknown[c] if not self.compare_unknown[c] else -1 for c in columns]
        unknown = (codes == np.array(missing, dtype=np.int64)) & (np.array(missing, dtype=np.int64) >= 0)
        return MarginalGroups(
            attributes=attributes,
            names=tuple(
                "*".join(self.levels[c][k] for c, k in zip(columns, row, strict=True)) or "everyone" for row in codes
            ),
            of_cell=combined.astype(np.int64),
            unknown=unknown.any(axis=1),
            rows=np.bincount(combined, self.rows.sum(axis=(1, 2)), minlength=len(codes)).astype(np.int64),
        )

    def to_bytes(self) -> bytes:
        """The table as npz, the same bytes for the same table."""
        from steelyard.probes.stats.table_file import table_to_bytes

        return table_to_bytes(self)

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "") -> CountTable:
        """Read what `to_bytes` wrote. Raises IntegrityError where it is anything else."""
        from steelyard.probes.stats.table_file import table_from_bytes

        return table_from_bytes(data, where=where)

    @property
    def digest(self) -> str:
        """SHA-256 of `to_bytes`."""
        return sha256(self.to_bytes())

    def _index(self, attribute: str) -> int:
        if attribute not in self.attributes:
            known = ", ".join(self.attributes) or "none"
            raise ProbeError(f"the count table has no attribute {attribute!r}", hint=f"it has: {known}")
        return self.attributes.index(attribute)


def _binary(values: NDArray[Any], name: str, n: int) -> NDArray[np.int64]:
    values = np.asarray(values)
    if values.shape != (n,):
        raise ProbeError(f"{name} have the shape {values.shape}; one value for each of {n} rows is needed")
    codes = values.astype(np.int64) if values.dtype.kind in "biu" else _whole(values, name)
    if codes.min() < 0 or codes.max() > 1:
        raise ProbeError(f"{name} hold values other than 0 and 1", hint="rates of groups need a yes/no outcome")
    return codes


def _whole(values: NDArray[Any], name: str) -> NDArray[np.int64]:
    if values.dtype.kind != "f" or not np.isin(values, (0.0, 1.0)).all():
        raise ProbeError(f"{name} hold values other than 0 and 1", hint="rates of groups need a yes/no outcome")
    return values.astype(np.int64)


def _codes(codes: NDArray[np.int64], attribute: str, n: int, size: int) -> NDArray[np.int64]:
    if codes.shape != (n,):
        raise ProbeError(f"attribute {attribute!r} has {codes.size} codes for {n} rows", hint="give one a row")
    if size == 0 or codes.min() < 0 or codes.max() >= size:
        raise ProbeError(f"attribute {attribute!r} has a code outside its {size} levels")
    return codes.astype(np.int64, copy=False)


def _weights(weights: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    values = np.asarray(weights, dtype=np.float64)
    if values.shape != (n,) or not np.all(np.isfinite(values)) or not np.all(values > 0):
        raise ProbeError(f"weights must be {n} positive finite numbers", hint="drop rows that weigh nothing")
    return values


def _occurring(flat: NDArray[np.int64], size: int) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Rows per flattened cell, the codes of the cells that occur, and `flat` renumbered to those cells."""
    if size <= _DENSE:
        counts = np.bincount(flat, minlength=size).reshape(-1, 4)
        present = np.flatnonzero(counts.any(axis=1))
        if present.size == counts.shape[0]:
            return counts.ravel(), present, flat
        lookup = np.zeros(counts.shape[0], dtype=np.int64)
        lookup[present] = np.arange(present.size)
        return counts[present].ravel(), present, lookup[flat >> 2] * 4 + (flat & 3)
    present, cell = np.unique(flat >> 2, return_inverse=True)
    flat = cell.astype(np.int64) * 4 + (flat & 3)
    return np.bincount(flat, minlength=4 * present.size), present, flat
