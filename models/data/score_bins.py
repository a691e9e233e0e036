"""Sums over scores, asked of DuckDB in a second pass: losses of each entry, and how many rows lie in each score bin.

Each term is rounded to 2^-40 and added as a whole number, so that neither the order of rows nor the number of threads
changes a sum; a mean is off by less than 1e-12. Under weights the unit is 2^-60 of the largest weight. Third powers are
sums about 0, and a reader centres them: a row's third moment about the mean is then off by some 1e-12 (m + 1)^2, m the
mean loss, which matters for its skewness only where the losses have a standard deviation below about .001.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.models.data.counting import joined, numbered, whole_sum
from steelyard.models.data.duck import Duck, open_duck

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa
    from numpy.typing import NDArray

    from steelyard.models.data.reduced import Reduced

__all__ = ["CLIP", "Histogram", "Losses", "Sums", "ask_bins", "ask_losses"]

CLIP = 1e-15  # a probability of the true class below this counts as this, as in quality.performance
MOST_BINS, LEAST_BINS, ENTRIES = 65_536, 64, 1_000_000
_FIXED = 2.0**40


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sums:
    """Of one loss l, (C,) each: sum of w l, of w^2 l and of w^2 l^2 (w = 1 without weights), and its least and greatest
    value. `third` (3, C): sums of w^3 l, of w^3 l^2 and of w^3 l^3."""

    total: NDArray[np.float64]
    crossed: NDArray[np.float64]
    squares: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    third: NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Losses:
    """(p - y)^2 and -ln p(true class) of the C entries."""

    brier: Sums
    log: Sums


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Histogram:
    """Scores in `bins` equal parts of [0, 1]; B occupied (entry, bin) pairs, (B,) each.

    `entry` is the place in `Sample.inputs`, or the label where the histogram is of all rows. `score`, `square` and
    `cube` are the sums of the scores, of their squares and of their cubes; `weight` and `weight_square` those of the
    weights; `low` and `high` the least and the greatest score.
    """

    bins: int
    entry: NDArray[np.int64]
    bin: NDArray[np.int64]
    rows: NDArray[np.int64]
    score: NDArray[np.float64]
    square: NDArray[np.float64]
    cube: NDArray[np.float64]
    weight: NDArray[np.float64]
    weight_square: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]


def ask_losses(reduced: Reduced) -> Losses:
    """Sums of the losses of each entry."""
    with open_duck(reduced.files) as duck:
        unit = _know(duck, reduced)
        brier, log = "(s - y) * (s - y)", f"greatest(-ln(greatest(CASE WHEN y = 1 THEN s ELSE 1 - s END, {CLIP!r})), 0)"
        wanted = ["count(*) AS n"]
        for name, loss in (("b", brier), ("l", log)):
            wanted += [f"{sql} AS {name}{i}" for i, sql in enumerate(_sums(loss, unit))]
            wanted += [f"min({loss}) AS {name}_low", f"max({loss}) AS {name}_high"]
        found = duck.ask(
            f"SELECT id, {', '.join(wanted)} FROM ({_rows(duck, reduced)}) GROUP BY 1 ORDER BY 1",
            reduced.counting.values,
        )
    _refuse_changed(reduced, found["n"].to_numpy())
    return Losses(brier=_read(found, "b"), log=_read(found, "l"))


def ask_bins(reduced: Reduced, *, whole: bool) -> Histogram:
    """The histogram of each entry, or of each label (`whole`). The more entries, the fewer bins: at most a million."""
    entries = 2 if whole else len(reduced.rows)
    bins = 2 ** int(math.log2(ENTRIES / entries))
    bins = max(LEAST_BINS, min(MOST_BINS, bins))
    with open_duck(reduced.files) as duck:
        unit = _know(duck, reduced)
        w = ["CAST(count(*) AS DOUBLE)"] * 2
        if unit is not None:
            w = [whole_sum("w", unit), whole_sum("w * w", unit * unit)]
        found = duck.ask(
            f"SELECT {'y' if whole else 'id'} AS entry, least(CAST(floor(s * {bins}) AS INTEGER), {bins - 1}) AS bin, "
            f"count(*) AS n, {_fixed('s')} AS score, {_fixed('s * s')} AS square, {_fixed('s * s * s')} AS cube, "
            f"{w[0]} AS weight, {w[1]} AS weight_square, min(s) AS low, max(s) AS high "
            f"FROM ({_rows(duck, reduced)}) GROUP BY 1, 2 ORDER BY 1, 2",
            reduced.counting.values,
        )
    column = {name: found[name].to_numpy() for name in found.column_names}
    _refuse_changed(reduced, column["n"])
    return Histogram(
        bins=bins, entry=column["entry"], bin=column["bin"], rows=column["n"], score=column["score"],
        square=column["square"], cube=column["cube"], weight=column["weight"], weight_square=column["weight_square"],
        low=column["low"], high=column["high"],
    )  # fmt: skip


def _know(duck: Duck, reduced: Reduced) -> float | None:
    """Tell DuckDB the entries with their labels; returns the unit of the weights, None without weights."""
    import pyarrow as pa

    keys = numbered(reduced.cells.keys)
    duck.know("cells", keys.append_column("y", pa.array(reduced.labels)))
    return reduced.counting.unit(duck) if reduced.weights is not None else None


def _refuse_changed(reduced: Reduced, rows: NDArray[np.int64]) -> None:
    if int(rows.sum()) != int(reduced.rows.sum()):
        raise DataError(
            f"has changed since it was counted: {rows.sum():,} rows, not {reduced.rows.sum():,}",
            where=reduced.counting.source,
            hint="run the audit again",
        )


def _rows(duck: Duck, reduced: Reduced) -> str:
    """SQL of the rows: the entry `id`, the label `y`, the score `s` and the weight `w`."""
    counting = reduced.counting
    weight = f", {counting.weight} AS w" if reduced.weights is not None else ""
    return (
        f"SELECT c.id AS id, c.y AS y, {counting.number} AS s{weight} "
        f"FROM {duck.scan} JOIN cells AS c ON {joined(list(counting.columns.values()))}"
    )


def _sums(loss: str, unit: float | None) -> tuple[str, ...]:
    """SQL of the sums of w l, w^2 l, w^2 l^2, w^3 l, w^3 l^2 and w^3 l^3."""
    powers = loss, f"{loss} * {loss}", f"{loss} * {loss} * {loss}"
    if unit is None:
        first, second, third = (_fixed(power) for power in powers)
        return first, first, second, first, second, third
    return (
        whole_sum(f"w * {loss}", unit),
        *(whole_sum(f"w * w * {power}", unit**2) for power in powers[:2]),
        *(whole_sum(f"w * w * w * {power}", unit**3) for power in powers),
    )


def _fixed(sql: str) -> str:
    """SQL of a sum in whole numbers of 2^-40."""
    return f"CAST(sum(CAST({sql} * {_FIXED!r} AS BIGINT)) AS DOUBLE) / {_FIXED!r}"


def _read(found: pa.Table, name: str) -> Sums:
    import numpy as np

    part: Any = [found[f"{name}{i}"].to_numpy() for i in range(6)]
    return Sums(
        total=part[0], crossed=part[1], squares=part[2], third=np.array(part[3:]),
        low=found[f"{name}_low"].to_numpy(), high=found[f"{name}_high"].to_numpy(),
    )  # fmt: skip
