"""The quality of a classifier read from counts: what `quality.performance` says of a table too large to be read.

Shares come from counts and are what the rows would give; losses are means of sums; areas come from bins of the score,
within which the order is not known, and carry a bound on that error in their interval.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Binomial, Capability, Estimate, Failure, Finding, Inapplicable, Scalar
from steelyard.probes.quality.metrics import PROBABILITY_METRICS, metric_id
from steelyard.probes.quality.slices import LeftOut
from steelyard.probes.stats.grid import GRID, of_bounds, tail
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured, exact, linear, method_of_mean, unseen

if TYPE_CHECKING:
    from steelyard.probes.quality.outputs import Scribe

__all__ = ["Tally", "area_of_bins", "cell_slices", "mean_of_sums", "measure_counts", "refuse_clusters"]

Rows = Iterator[Finding | Failure | Inapplicable]
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]
BY_GROUP = ("accuracy", "auc", "log-loss", "brier")


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally(Design):
    """The design of `n` rows of which only the sums of the weights, of their squares and of their cubes are known."""

    weight: float
    square: float
    weighted: bool
    cube: float = math.nan  # asked for by means of losses only

    @property
    def plain(self) -> bool:
        """Whether every row counts once."""
        return not self.weighted

    @property
    def units(self) -> int:
        """Every row is a unit of its own."""
        return self.n

    @property
    def kish(self) -> float:
        """Kish's effective n."""
        return self.weight**2 / self.square if self.weighted else float(self.n)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Counts:
    """The entries of a reduced sample: rows, sums of weights, squares and cubes, label and decision, (C,) each."""

    rows: NDArray[np.int64]
    weight: Array
    square: Array
    cube: Array
    label: NDArray[np.int64]
    decision: NDArray[np.int64]
    weighted: bool

    def tally(self, where: Mask) -> Tally:
        return Tally(
            n=int(self.rows[where].sum()),
            weight=float(self.weight[where].sum()),
            square=float(self.square[where].sum()),
            cube=float(self.cube[where].sum()),
            weighted=self.weighted,
        )


def refuse_clusters(sample: Sample, probe: str) -> None:
    """Raise ProbeError where rows belong to clusters: their sums over scores would have to be kept by cluster."""
    if sample.reduced.pairs is not None:
        raise ProbeError(
            f"{probe} cannot allow for clusters in a table that was counted",
            hint=f"set data.reduce_above to {sample.n:,} or more, or read fairness.*, which can",
        )


def measure_counts(scribe: Scribe, target: Target, sample: Sample, level: float, *, lacking: str) -> Rows:
    """All that `quality.performance` reads of a binary classifier, overall and for each group.

    `lacking` says why there are no readings of probabilities where the target has none.
    """
    refuse_clusters(sample, scribe.probe.id)
    counts = _counts(target, sample)
    scored = Capability.PREDICT_PROBA in target.capabilities
    if not scored:
        yield Inapplicable(
            probe=scribe.probe.id, target=target.name, reason=lacking,
            missing=(Capability.PREDICT_PROBA.value,), metrics=PROBABILITY_METRICS,
        )  # fmt: skip
    everyone = np.ones(len(counts.rows), dtype=bool)
    readings: dict[str, Any] = _shared(sample, counts, everyone, scored, level, whole=True)
    readings["balanced-accuracy"] = partial(_balanced, counts, level)
    given, true = counts.decision == 1, counts.label == 1
    readings["precision"] = partial(_share, counts, given, true, level, "no row is given this class, so its precision")
    readings["recall"] = partial(_share, counts, true, given, level, "no row is of this class, so its recall")
    readings["f1"] = partial(_f1, counts, level)
    if scored:
        readings["perplexity"] = partial(_perplexity, sample, counts, level)
    for name, measure in readings.items():
        yield scribe.attempt(metric_id(name), {}, measure)
    names = BY_GROUP if scored else BY_GROUP[:1]
    for part in cell_slices(sample):
        if isinstance(part, LeftOut):
            yield scribe.failure(tuple(metric_id(name) for name in names), part.where, part.reason)
            continue
        where, mask = part
        for name, measure in _shared(sample, counts, mask, scored, level, whole=False).items():
            yield scribe.attempt(metric_id(name), where, measure)


def cell_slices(sample: Sample) -> Iterator[tuple[Mapping[str, Scalar], Mask] | LeftOut]:
    """`group_slices` for counted rows: the `where` of each group with its entries (C,), or the groups left out."""
    for attribute, groups in sample.groups.items():
        yield from _split(sample, {"attribute": attribute}, groups.codes, groups.levels, empty=True)
    for (left, a), (right, b) in combinations(sample.groups.items(), 2):
        joint = np.asarray(a.codes) * len(b.levels) + np.asarray(b.codes)
        names = tuple(f"{x}*{y}" for x in a.levels for y in b.levels)
        yield from _split(sample, {"intersection": f"{left}*{right}"}, joint, names, empty=False)


def _split(
    sample: Sample, where: Mapping[str, Scalar], codes: NDArray[np.int64], names: tuple[str, ...], *, empty: bool
) -> Iterator[tuple[Mapping[str, Scalar], Mask] | LeftOut]:
    small = []
    for code, n in enumerate(sample.count(codes, len(names))):
        if n >= sample.min_n:
            yield FrozenMap({**where, "group": names[code]}), codes == code
        elif n or empty:
            small.append((names[code], int(n)))
    if small:
        yield LeftOut(where=FrozenMap(where), groups=tuple(small), min_n=sample.min_n)


def _counts(target: Target, sample: Sample) -> _Counts:
    reduced = sample.reduced
    plain = reduced.rows.astype(np.float64)
    return _Counts(
        rows=reduced.rows,
        weight=plain if reduced.weights is None else reduced.weights,
        square=plain if reduced.squares is None else reduced.squares,
        cube=plain if reduced.cubes is None else reduced.cubes,
        label=np.asarray(sample.labels, dtype=np.int64),
        decision=np.asarray(target.predict(sample.inputs), dtype=np.int64),
        weighted=reduced.weights is not None,
    )


def _shared(sample: Sample, counts: _Counts, where: Mask, scored: bool, level: float, *, whole: bool) -> dict[str, Any]:
    found: dict[str, Any] = {"accuracy": partial(_share, counts, where, counts.decision == counts.label, level, "")}
    if scored:
        losses, tally = sample.reduced.losses, counts.tally(where)
        found["auc"] = partial(_area, sample, counts, where, level, whole=whole)
        top = -math.log(1e-15)
        found["log-loss"] = lambda: mean_of_sums(losses().log, where, tally, level=level, lower=0.0, upper=top)
        found["brier"] = lambda: mean_of_sums(losses().brier, where, tally, level=level, lower=0.0, upper=1.0)
    return found


def _effective(counts: _Counts, rows: Mask, hits: Mask) -> tuple[float, float, float]:
    """(value, successes, trials) of the share of `hits` among `rows`, as `effective_counts` has them."""
    tally, hit = counts.tally(rows), counts.tally(rows & hits)
    p = hit.weight / tally.weight
    if not counts.weighted:
        return p, float(hit.n), float(tally.n)
    trials, spread = tally.kish, p - p**2
    if tally.n > 1 and spread > 0:
        total = hit.square * (1 - p) ** 2 + (tally.square - hit.square) * p**2
        variance = tally.n / (tally.n - 1) * total / tally.weight**2
        trials = min(spread / variance, float(tally.n)) if variance > 0 else trials
    return p, p * trials, trials


def _share(counts: _Counts, rows: Mask, hits: Mask, level: float, empty: str) -> Measured:
    from steelyard.probes.stats.intervals import clopper_pearson

    if not rows.any():
        raise ProbeError(f"{empty} is 0 of 0")
    value, successes, trials = _effective(counts, rows, hits)
    low, high = clopper_pearson(successes, trials, level)
    estimate = Estimate(
        value=value, low=min(float(low), value), high=max(float(high), value), level=level,
        n=int(counts.rows[rows].sum()), n_effective=trials if counts.weighted else None,
        method="Clopper-Pearson on effective counts" if counts.weighted else "Clopper-Pearson",
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Binomial(successes=successes, trials=trials))


def _f1(counts: _Counts, level: float) -> Measured:
    from steelyard.probes.stats.intervals import clopper_pearson

    rows = (counts.decision == 1) | (counts.label == 1)
    if not rows.any():
        raise ProbeError("no row is of this class or given it, so its F1 is 0 of 0")
    value, successes, trials = _effective(counts, rows, counts.decision == counts.label)
    low, high = (float(x) for x in clopper_pearson(successes, trials, level))
    return exact(
        2 * value / (1 + value), 2 * low / (1 + low), 2 * high / (1 + high), counts.tally(rows), level=level,
        trials=trials, method="Clopper-Pearson of TP / (TP + FP + FN), transformed",
    )  # fmt: skip


def _balanced(counts: _Counts, level: float) -> Measured:
    """Mean recall of the two classes, with the variance of `classification.macro`."""
    tally = counts.tally(np.ones(len(counts.rows), dtype=bool))
    value, total, floor = 0.0, 0.0, 0.0
    for k in (0, 1):
        rows = counts.label == k
        p, successes, trials = _effective(counts, rows, counts.decision == k)
        of_class, hit = counts.tally(rows), counts.tally(rows & (counts.decision == k))
        share, shrunk = of_class.weight / tally.weight, (successes + 1) / (trials + 2)
        squares = hit.square * (1 - p) ** 2 + (of_class.square - hit.square) * p**2
        value, total = value + p / 2, total + squares / (2 * share) ** 2
        floor += shrunk * (1 - shrunk) / (trials + 2) / 4
    variance = tally.n / (tally.n - 1) * total / tally.weight**2
    return linear(
        value, max(variance, floor), tally.n - 1.0, tally, level=level, lower=0.0, upper=1.0,
        method="mean of the classes' recall, linearised variance",
    )  # fmt: skip


def _moments(sums: Any, where: Mask, tally: Tally) -> tuple[float, float, float]:
    """(mean, variance of the mean, skewness of its error) of a loss over some entries, as `Design` has them of rows."""
    m = float(sums.total[where].sum()) / tally.weight
    spread = float(sums.squares[where].sum()) - 2 * m * float(sums.crossed[where].sum()) + m**2 * tally.square
    if tally.n < 2:
        return m, math.inf, 0.0
    variance = max(tally.n / (tally.n - 1) * spread / tally.weight**2, 0.0)
    first, second, third = (float(powers[where].sum()) for powers in sums.third)
    about_mean = third - 3 * m * second + 3 * m**2 * first - m**3 * tally.cube
    return m, variance, about_mean / spread**1.5 if spread > 0 else 0.0


def mean_of_sums(sums: Any, where: Mask, tally: Tally, *, level: float, lower: float, upper: float) -> Measured:
    """The mean of a bounded loss with its skew-corrected t interval, as `means.mean` reads it off rows."""
    value, variance, skew = _moments(sums, where, tally)
    low, high = float(sums.low[where].min()), float(sums.high[where].max())
    if low == high and tally.n > 1:
        far = max(upper - low, low - lower)
        return unseen(low, far, tally.kish, tally, level=level, lower=lower, upper=upper)
    value = min(max(value, low), high)
    return linear(
        value, variance, tally.n - 1.0, tally, level=level, method=method_of_mean(tally), lower=lower, upper=upper,
        skew=skew,
    )  # fmt: skip


def _perplexity(sample: Sample, counts: _Counts, level: float) -> Measured:
    where = np.ones(len(counts.rows), dtype=bool)
    tally = counts.tally(where)
    centre, variance, skew = _moments(sample.reduced.losses().log, where, tally)
    value = math.exp(centre)
    return linear(
        value, variance * value**2, tally.n - 1.0, tally, level=level, scale="log", lower=1.0, skew=skew,
        method="exponential of the mean log loss, Student t on the log scale, corrected for skewness",
    )  # fmt: skip


def _area(sample: Sample, counts: _Counts, where: Mask, level: float, *, whole: bool) -> Measured:
    found = sample.reduced.histogram(whole=whole)
    if whole:
        return area_of_bins(found, np.ones(len(found.entry), dtype=bool), found.entry == 1, counts.weighted, level)
    return area_of_bins(found, where[found.entry], counts.label[found.entry] == 1, counts.weighted, level)


def area_of_bins(found: Any, keep: Mask, positive: Mask, weighted: bool, level: float) -> Measured:
    """The AUC of the score bins of a histogram, with a bound on what the bins hide.

    Of two rows in one bin the order is not known: they count half. The area of the scores themselves is at most
    sum_b P_b N_b / 2 away (P_b, N_b: shares of positives and negatives in bin b), over the bins that hold more than
    one score; nothing where each score has a bin of its own. DeLong's variance is that of the binned placements.
    """
    from steelyard.probes.stats.auc import perfect_order, score_limits

    codes = found.bin[keep]
    sides = {}
    for side, mask in ((1, keep & positive), (0, keep & ~positive)):
        sides[side] = (
            Tally(
                n=int(found.rows[mask].sum()), weight=float(found.weight[mask].sum()),
                square=float(found.weight_square[mask].sum()), weighted=weighted,
            ),
            np.bincount(found.bin[mask], weights=found.weight[mask], minlength=found.bins),
            np.bincount(found.bin[mask], weights=found.weight_square[mask], minlength=found.bins),
        )  # fmt: skip
    (ups, up, up_squares), (downs, down, down_squares) = sides[1], sides[0]
    n = ups.n + downs.n
    if not ups.n or not downs.n:
        raise ProbeError(f"all {n} rows are of one class, so there is no pair to order")
    low, high = np.full(found.bins, np.inf), np.full(found.bins, -np.inf)
    np.minimum.at(low, codes, found.low[keep])
    np.maximum.at(high, codes, found.high[keep])
    if low.min() == high.max():
        raise ProbeError(f"the model gives all {n} rows the same score, so there is no order to judge")
    design = Tally(n=n, weight=ups.weight + downs.weight, square=ups.square + downs.square, weighted=weighted)
    beaten = (np.cumsum(down) - down / 2) / downs.weight
    above = 1 - (np.cumsum(up) - up / 2) / ups.weight
    value = min(max(float(up @ beaten) / ups.weight, 0.0), 1.0)
    value = round(value) * 1.0 if min(value, 1 - value) < 1e-13 else value
    hidden = float((up * down)[low < high].sum() / (2 * ups.weight * downs.weight))
    sizes = ups.kish, downs.kish
    if value in (0.0, 1.0):
        return perfect_order(value, min(sizes), design, level)
    parts = []
    for tally, squares, placed in ((ups, up_squares, beaten), (downs, down_squares, above)):
        if tally.n < 2:
            return linear(value, math.inf, 1.0, design, level=level, method="DeLong")
        spread = float(squares @ np.square(placed - value)) / tally.weight**2
        parts.append((tally.n / (tally.n - 1) * spread, tally.n - 1.0))
    variance = sum(part for part, _ in parts)
    df = variance**2 / sum(part**2 / one for part, one in parts) if variance > 0 else n - 1.0
    read = score_limits(value, variance, df, design, sizes=sizes, units=min(ups.n, downs.n), level=level)
    return read if hidden == 0 else _widened(read, hidden, df, found.bins)


def _widened(read: Measured, hidden: float, df: float, bins: int) -> Measured:
    from dataclasses import replace

    from scipy.special import stdtrit

    old = read.estimate
    assert old.low is not None  # noqa: S101 (score limits always exist)
    assert old.high is not None  # noqa: S101
    se = max(old.high - old.value, old.value - old.low) / float(stdtrit(df, 0.5 + old.level / 2))
    steps = np.append(np.linspace(0, 1, GRID)[:-1], tail())
    quantiles = np.minimum(hidden + se * np.asarray(stdtrit(df, 0.5 + steps / 2)), 1.0)
    estimate = replace(
        old,
        low=max(old.low - hidden, 0.0),
        high=min(old.high + hidden, 1.0),
        method=f"{old.method}; {bins:,} score bins, which hide at most {hidden:.2g} either way (in the interval)",
    )
    return Measured(estimate=estimate, basis=of_bounds(old.value, np.insert(quantiles, GRID - 1, 1.0)))
