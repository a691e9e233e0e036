"""Calibration of a counted table: what `quality.calibration` says, from a fine histogram of the scores.

The bins of the calibration error are runs of fine bins, so that their limits lie within one fine bin of where the rows
would put them; the sums within them are exact, and so is the calibration error of these bins.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Sample
from steelyard.audit.types import Evidence, Failure, Finding, Scalar
from steelyard.probes.quality.reduced import Tally, cell_slices, refuse_clusters
from steelyard.probes.quality.slices import SHOWN, LeftOut
from steelyard.probes.stats.bins import LEAST_IN_BIN, BinTable, bounded, debiased_ece, resampled
from steelyard.probes.stats.intervals import clopper_pearson
from steelyard.probes.stats.means import Measured, linear, method_of_mean, unseen

if TYPE_CHECKING:
    from numpy.random import Generator

    from steelyard.probes.quality.calibration import Calibration
    from steelyard.probes.quality.outputs import Scribe

__all__ = ["calibrate_counts"]

Rows = Iterator[Finding | Failure]
Array = NDArray[np.float64]
ECE, DEBIASED, MCE, LARGE = (f"quality.calibration.{name}" for name in ("ece", "ece-debiased", "mce", "in-the-large"))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Cells:
    """The (bin, hit) cells of B bins, in the order of bin * 2 + hit, (2 B,) each: rows, mean, variance and third moment
    about it of z = hit - score."""

    table: BinTable
    counts: Array
    centre: Array
    spread: Array
    third: Array
    within: Array


def calibrate_counts(probe: Calibration, scribe: Scribe, sample: Sample, rng: Generator) -> Rows:
    """Overall readings, then those per group and intersection. Raises ProbeError under weights or clusters."""
    refuse_clusters(sample, probe.id)
    if sample.reduced.weights is not None:
        raise ProbeError(
            f"{probe.id} cannot allow for weights in a table that was counted",
            hint=f"set data.reduce_above to {sample.n:,} or more",
        )
    fine = sample.reduced.histogram(whole=True)
    yield from _read(probe, scribe, {}, fine, np.ones(len(fine.entry), dtype=bool), fine.entry == 1, rng, whole=True)
    fine, labels = sample.reduced.histogram(whole=False), np.asarray(sample.labels)
    for part in cell_slices(sample):
        if isinstance(part, LeftOut):
            yield scribe.failure((ECE, DEBIASED, LARGE), part.where, part.reason)
            continue
        where, mask = part
        yield from _read(probe, scribe, where, fine, mask[fine.entry], labels[fine.entry] == 1, rng)


def _read(
    probe: Calibration, scribe: Scribe, where: Mapping[str, Scalar], fine: Any, keep: NDArray[np.bool_],
    hits: NDArray[np.bool_], rng: Generator, *, whole: bool = False,
) -> Rows:  # fmt: skip
    n = int(fine.rows[keep].sum())
    number = max(1, min(probe.bins, n // LEAST_IN_BIN))
    cells = _cells(fine, keep, hits, _assign(fine, keep, number, probe.binning))
    table, design = cells.table, Tally(n=n, weight=float(n), square=float(n), weighted=False)
    errors = resampled(table, cells.counts, cells.centre, cells.spread, cells.within, draws=probe.draws, rng=rng)
    limits = f"limits of bins to within 1/{fine.bins:,}"
    detail = {
        "bins": len(table.rows), "binning": probe.binning, "rows per bin": int(table.rows.min()), "counted": limits,
    }  # fmt: skip
    curve = _curve(cells, probe.binning, probe.level)
    method = f"resampled bound on the error of {len(table.rows)} bins, {probe.draws} draws"
    ece = bounded(table.ece, errors.ece, design, level=probe.level, method=method)
    yield scribe.finding(ECE, ece, where, detail=detail, evidence=(curve,))
    less = debiased_ece(table, errors.se)
    debiased = bounded(less, errors.ece, design, level=probe.level, method=method, around=table.ece)
    yield scribe.finding(DEBIASED, debiased, where, detail=detail)
    if whole:
        mce = bounded(table.mce, errors.mce, design, level=probe.level, method=method)
        yield scribe.finding(MCE, mce, where, detail=detail)
    yield scribe.finding(LARGE, _in_the_large(cells, design, probe.level), where)


def _assign(fine: Any, keep: NDArray[np.bool_], number: int, binning: str) -> NDArray[np.int64]:
    """(fine bins,) the calibration bin of each fine bin, as `bins.assign` has it of each score."""
    places = np.arange(fine.bins)
    if binning == "equal-width":
        return np.asarray(np.minimum(places * number // fine.bins, number - 1), dtype=np.int64)
    rows = np.bincount(fine.bin[keep], weights=fine.rows[keep], minlength=fine.bins)
    ranks = np.arange(1, number) * int(rows.sum()) // number
    edges = np.unique(np.searchsorted(np.cumsum(rows), ranks, side="right"))
    return np.searchsorted(edges, places, side="right").astype(np.int64)


def _cells(fine: Any, keep: NDArray[np.bool_], hits: NDArray[np.bool_], of_bin: NDArray[np.int64]) -> _Cells:
    codes = np.unique(of_bin[fine.bin[keep]], return_inverse=True)[1]
    bins, hit = int(codes.max()) + 1, hits[keep]
    cell = codes * 2 + hit

    def added(values: Any) -> Array:
        return np.bincount(cell, weights=values[keep], minlength=2 * bins).astype(np.float64)

    counts, scores, squares, cubes = added(fine.rows), added(fine.score), added(fine.square), added(fine.cube)
    filled = np.maximum(counts, 1)
    mean = scores / filled
    spread = np.maximum(squares / filled - mean**2, 0.0)
    third = -(cubes / filled - 3 * mean * squares / filled + 2 * mean**3)
    centre = np.tile([0.0, 1.0], bins) - mean
    rows, total = counts.reshape(bins, 2).sum(axis=1), scores.reshape(bins, 2).sum(axis=1)
    low, high = np.full(bins, np.inf), np.full(bins, -np.inf)
    np.minimum.at(low, codes, fine.low[keep])
    np.maximum.at(high, codes, fine.high[keep])
    table = BinTable(
        codes=np.arange(bins), rows=np.rint(rows).astype(np.int64), share=rows / rows.sum(), score=total / rows,
        rate=counts[1::2] / rows, low=low, high=high,
    )  # fmt: skip
    within = (counts * (spread + np.square(centre - np.repeat(table.gap, 2)))).reshape(bins, 2).sum(axis=1)
    return _Cells(
        table=table, counts=counts, centre=np.where(counts > 0, centre, 0.0), spread=spread, third=third, within=within
    )


def _in_the_large(cells: _Cells, design: Tally, level: float) -> Measured:
    """Mean score less the hit rate, with the t interval corrected for skewness."""
    n = cells.counts.sum()
    value = -float(cells.counts @ cells.centre / n)
    squares = float(cells.counts @ (cells.spread + np.square(cells.centre + value)))
    if squares <= 1e-12 * n:  # every row is off by the same amount
        return unseen(value, max(1 - value, value + 1), n, design, level=level, lower=-1.0, upper=1.0)
    variance = squares / (n * (n - 1)) if n > 1 else float("inf")
    off = cells.centre + value  # of each cell's mean of z from that of all
    cubed = -float(cells.counts @ (cells.third + 3 * off * cells.spread + off**3))
    return linear(
        value, variance, n - 1.0, design, level=level, method=method_of_mean(design), lower=-1.0, upper=1.0,
        skew=cubed / squares**1.5,
    )  # fmt: skip


def _curve(cells: _Cells, binning: str, level: float) -> Evidence:
    """The reliability curve as JSON, as `quality.calibration` writes it; no bin of under 10 rows."""
    table, points = cells.table, []
    for k in range(len(table.rows)):
        if table.rows[k] < SHOWN:
            continue
        low, high = clopper_pearson(float(cells.counts[2 * k + 1]), float(table.rows[k]), level)
        points.append(
            {
                "low": table.low[k], "high": table.high[k], "score": table.score[k], "n": table.rows[k],
                "rate": table.rate[k], "rate_low": float(low), "rate_high": float(high),
            }
        )  # fmt: skip
    plain = {"binning": binning, "level": level, "bins": points, "left_out": len(table.rows) - len(points)}
    return Evidence(name="reliability-curve", kind="json", data=canonical_json(plain))
