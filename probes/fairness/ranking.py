"""Are the groups seen alike when the rows are put in order of their scores?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Estimate, Failure, Finding, MetricSpec, Scalar, Task
from steelyard.probes.fairness.estimates import Statistic, compare_groups
from steelyard.probes.fairness.partitions import Member, Partition, partitions
from steelyard.probes.quality.outputs import Scribe, ask, ask_proba

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.between import Arm
    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.ranks import Ranking

__all__ = ["Ranked"]

PREFIX = "fairness.ranking."
SINGH = "Singh and Joachims 2018, arXiv:1802.07281"
GEYIK = "Geyik, Ambler, Kenthapadi 2019, arXiv:1905.01989"
MERIT = "whether the groups deserve other places: no outcome enters"
TOP = "who is among the first k and who is not, in which order does not matter; " + MERIT
PLACES = "NDKL counts divergence in either direction, and no ranking of several groups can reach 0"
TIES = "ties share the places they hold"

METRICS: tuple[MetricSpec, ...] = (
    MetricSpec(
        id=f"{PREFIX}exposure", direction=Direction.NONE, lower=0.0, upper=1.0, source=SINGH, not_shown=MERIT,
        definition=f"mean over the rows of group g of 1 / log2(1 + rank), the highest score ranked 1; {TIES}",
    ),
    MetricSpec(
        id=f"{PREFIX}exposure-ratio", direction=Direction.HIGHER, ideal=1.0, lower=0.0, upper=1.0, source=SINGH,
        definition="min over groups g of the mean of 1 / log2(1 + rank), divided by the max", not_shown=MERIT,
    ),
    MetricSpec(
        id=f"{PREFIX}representation", direction=Direction.NONE, ideal=1.0, lower=0.0, source=GEYIK, not_shown=TOP,
        definition=f"share of group g among the first k, divided by its share of all ranked rows; {TIES}",
    ),
    MetricSpec(
        id=f"{PREFIX}representation-min", direction=Direction.HIGHER, ideal=1.0, lower=0.0, source=GEYIK,
        definition="min over groups g of the share among the first k, divided by the share of all ranked rows",
        not_shown=TOP,
    ),
    MetricSpec(
        id=f"{PREFIX}skew", direction=Direction.NONE, ideal=0.0, source=GEYIK, not_shown=TOP,
        definition="Skew@k: ln of (share of group g among the first k / its share of all ranked rows)",
    ),
    MetricSpec(
        id=f"{PREFIX}skew-min", direction=Direction.HIGHER, ideal=0.0, source=GEYIK, not_shown=TOP,
        definition="MinSkew@k: min over groups g of ln of (share among the first k / share of all ranked rows)",
    ),
    MetricSpec(
        id=f"{PREFIX}skew-max", direction=Direction.LOWER, ideal=0.0, source=GEYIK, not_shown=TOP,
        definition="MaxSkew@k: max over groups g of ln of (share among the first k / share of all ranked rows)",
    ),
    MetricSpec(
        id=f"{PREFIX}ndkl", direction=Direction.LOWER, ideal=0.0, lower=0.0, source=GEYIK, not_shown=PLACES,
        definition="Σ_i w_i KL(shares among the first i ‖ shares of all ranked rows) / Σ_i w_i, w_i = 1 / log2(1 + i), "
        "i from 1 to n; the detail holds its mean under random orders", reading="disclosure",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Ranked(Probe):
    """Are the groups seen alike when the rows are put in order of their scores?

    Rows are ranked by P(favourable class), or by a regressor's prediction, the highest first; rows of equal score share
    the places they hold, so that no number depends on the order of the file. Exposure 1 / log2(1 + rank), its ratio
    between groups (Singh and Joachims 2018, arXiv:1802.07281; 1 at parity); representation among the first k and its
    logarithm, Skew@k (0 at parity), and NDKL (Geyik et al. 2019, arXiv:1905.01989). Says nothing about merit.

    `k` is how many are at the top, `shuffles` how many random orders NDKL is compared with. Intervals of the top speak
    of k independent draws, which makes them a little wide where k is a large part of the rows. With clusters the k
    draws count as k / d, d the mean over the first k of how many of them are of the row's cluster (Kish's design effect
    at its largest, as if the rows of a cluster were one). A row with a survey weight has no one place in a ranking:
    weights are refused.
    """

    id: ClassVar[str] = "fairness.ranking"
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    needs_every_row: ClassVar[bool] = True  # the first k of a sample of rows are not the first k of all
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.REGRESSION})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS

    k: int = 100
    level: float = 0.95
    draws: int = 2000
    shuffles: int = 200
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield each group's readings, then the comparisons, attribute by attribute."""
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.ranks import rank

        if sample.weights is not None:
            raise ProbeError("weights are not supported", hint="a row that stands for several has no one place")
        if self.k < 1:
            raise ProbeError(f"k is {self.k}; it must be 1 or more")
        scribe, design = Scribe(probe=self, target=target.name), Design.of(sample)
        ranking = rank(_scores(target, sample))
        for part in partitions(sample, self.depth):

            def measure(rows: NDArray[np.int64]) -> Arm:
                return exposure_arm(ranking, rows, design, self.level)

            exposure = Statistic(
                reading=f"{PREFIX}exposure", contrast=f"{PREFIX}exposure-ratio", measure=measure, ratio=True
            )
            yield from compare_groups(
                scribe, part, (exposure,), design, rng, level=self.level, draws=self.draws, pairwise=True
            )
            yield from self._top(scribe, part, ranking, sample.clusters)
            yield self._ndkl(scribe, part, ranking, rng)

    def _top(
        self, scribe: Scribe, part: Partition, ranking: Ranking, clusters: NDArray[np.int64] | None
    ) -> Iterator[Finding | Failure]:
        """Representation and skew of each group among the first k, and the least and the most of them."""
        metrics = tuple(
            f"{PREFIX}{n}" for n in ("representation", "representation-min", "skew", "skew-min", "skew-max")
        )
        if self.k >= ranking.n:
            reason = f"k is {self.k} and there are {ranking.n} rows: everyone is at the top"
            yield scribe.failure(metrics, part.where, ProbeError(reason, hint="set a smaller k"))
            return
        if part.small:
            yield scribe.failure(metrics, part.where, part.left_out)
        seats = ranking.seats(self.k)[ranking.run]
        draws = self.k / crowding(seats, clusters)
        tops = []
        for member in part.members:
            top = _Top(
                name=member.name, seats=_whole(float(seats[member.rows].sum())), k=self.k,
                share=member.rows.size / ranking.n, n=member.rows.size, draws=draws,
            )  # fmt: skip
            tops += [] if member.unknown else [top]
            yield from self._group(scribe, part, member, top)
        if len(tops) < 2:
            yield scribe.failure((metrics[1], metrics[3], metrics[4]), part.where, part.too_few)
            return
        yield from self._extremes(scribe, part, tops)

    def _group(self, scribe: Scribe, part: Partition, member: Member, top: _Top) -> Iterator[Finding | Failure]:
        note: dict[str, Scalar] = {"k": self.k, "in_top": top.seats}
        if member.unknown:
            note["unknown"] = True
        yield scribe.finding(
            f"{PREFIX}representation", top_measured([top], "least", self.level), part.at(member), detail=note
        )
        if top.seats > 0:
            skew = top_measured([top], "least", self.level, log=True)
            yield scribe.finding(f"{PREFIX}skew", skew, part.at(member), detail=note)
        else:
            yield scribe.failure((f"{PREFIX}skew",), part.at(member), _none(member.name, self.k))

    def _extremes(self, scribe: Scribe, part: Partition, tops: Sequence[_Top]) -> Iterator[Finding | Failure]:
        least, most = min(tops, key=lambda t: t.ratio), max(tops, key=lambda t: t.ratio)
        low: dict[str, Scalar] = {"of": part.name, "lowest": least.name, "k": self.k, "in_top": least.seats}
        high: dict[str, Scalar] = {"of": part.name, "highest": most.name, "k": self.k, "in_top": most.seats}
        smallest = top_measured(tops, "least", self.level)
        yield scribe.finding(f"{PREFIX}representation-min", smallest, part.where, detail=low)
        if least.seats > 0:
            found = top_measured(tops, "least", self.level, log=True)
            yield scribe.finding(f"{PREFIX}skew-min", found, part.where, detail=low)
        else:
            yield scribe.failure((f"{PREFIX}skew-min",), part.where, _none(least.name, self.k))
        found = top_measured(tops, "most", self.level, log=True)
        yield scribe.finding(f"{PREFIX}skew-max", found, part.where, detail=high)

    def _ndkl(self, scribe: Scribe, part: Partition, ranking: Ranking, rng: Generator) -> Finding | Failure:
        import numpy as np

        from steelyard.probes.stats.means import Measured
        from steelyard.probes.stats.ranks import ndkl, rank

        metric, everyone = f"{PREFIX}ndkl", part.compared
        if part.too_few:
            return scribe.failure((metric,), part.where, part.too_few)
        rows = np.concatenate([m.rows for m in everyone])
        codes = np.repeat(np.arange(len(everyone)), [m.rows.size for m in everyone])
        value = ndkl(rank(-ranking.run[rows]), codes, len(everyone))
        order = rank(np.arange(rows.size))
        chance = [ndkl(order, rng.permutation(codes), len(everyone)) for _ in range(self.shuffles)]
        estimate = Estimate(
            value=value, low=None, high=None, level=self.level, n=rows.size, method="of this ranking, ties shared",
            no_interval="it hangs on who holds the very first places, of which one ranking is one draw",
        )  # fmt: skip
        beyond = 1 + sum(c >= value - 1e-12 for c in chance)
        detail: dict[str, Scalar] = {}
        if chance:
            detail["mean_of_random_orders"] = float(np.mean(chance))
            detail["share_of_random_orders_as_large"] = beyond / (1 + len(chance))
        found = scribe.finding(metric, Measured(estimate=estimate, basis=None), part.where, detail=detail)
        return replace(found, reading=self.spec(metric).reading)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Top:
    """One group's `seats` among the first `k` (a fraction where ties straddle k), and its `share` of all n rows.

    `draws` is how many independent draws the first k count as.
    """

    name: str
    seats: float
    k: int
    share: float
    n: int
    draws: float

    @property
    def ratio(self) -> float:
        """Share among the first k over the share of all."""
        return self.seats / self.k / self.share


def crowding(seats: NDArray[np.float64], clusters: NDArray[np.int64] | None) -> float:
    """Σ m² / Σ m over the clusters, m the seats (n,) that a cluster holds among the first k: 1 where each holds one.

    Kish 1965, Survey Sampling: the design effect of rows that are all alike within their cluster. At least 1.
    """
    import numpy as np

    if clusters is None:
        return 1.0
    held = np.bincount(clusters, weights=seats)
    return max(1.0, float((held**2).sum() / held.sum()))


def _limits(top: _Top, level: float) -> tuple[float, float]:
    """Clopper-Pearson of the group's share of the first k, as so many independent draws."""
    from steelyard.probes.stats.intervals import clopper_pearson

    low, high = clopper_pearson(top.seats * top.draws / top.k, top.draws, level)
    return float(low), float(high)


def _whole(seats: float) -> float:
    return float(round(seats)) if abs(seats - round(seats)) < 1e-9 else seats


def _none(group: str, k: int) -> ProbeError:
    reason = f"none of the first {k} is of group {group}, so the logarithm of its share is not a number"
    return ProbeError(reason, hint=f"{PREFIX}representation reads 0 there, with its interval")


def _scores(target: Target, sample: Sample) -> NDArray[Any]:
    if sample.task is Task.REGRESSION:
        return ask(target, sample).decisions
    if Capability.PREDICT_PROBA not in target.capabilities:
        raise NotApplicable("it ranks by the probability of the favourable class, and the model gives only decisions")
    return ask_proba(target, sample)[:, 1]


def exposure_arm(ranking: Ranking, rows: NDArray[np.int64], design: Any, level: float) -> Arm:
    """The mean exposure of some rows as an arm: its contributions come from every row of the ranking."""
    import numpy as np

    from steelyard.probes.stats.between import arm
    from steelyard.probes.stats.means import linear
    from steelyard.probes.stats.ranks import exposure_influence

    if ranking.size.size == 1:
        raise ProbeError("all rows have one score, so there is no order")
    group = np.zeros(ranking.n, dtype=bool)
    group[rows] = True
    influence = exposure_influence(ranking, group)
    worth = ranking.exposure[ranking.run[rows]]
    units = design.take(rows).units
    df = max(units - 1.0, 1.0)
    # The places are known, so what a row's exposure varies by is: a group with no row near the top shows too little.
    everyone = ranking.exposure[ranking.run]
    variance = max(design.variance(influence), float(everyone.var()) / units)
    measured = linear(
        float(worth.mean()), variance, df, design, level=level, scale="log", upper=1.0,
        method="linearised mean of a function of ranks, Student t on the log scale",
    )  # fmt: skip
    found = replace(measured.estimate, n=rows.size)
    return replace(
        arm(replace(measured, estimate=found), np.arange(ranking.n), influence, design, df=df), variance=variance
    )  # fmt: skip


def top_measured(tops: Sequence[_Top], which: str, level: float, *, log: bool = False) -> Measured:
    """The least (or most) representation over groups, with Clopper-Pearson limits of k draws, Bonferroni over groups.

    The share of the whole ranking is taken as it is: representation asks about this pool. The least of several truths
    lies between the least of their lower limits and the least of their upper limits.
    """
    import numpy as np

    from steelyard.probes.stats.grid import confidences
    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.pvalue_curve import from_limits

    pick = np.min if which == "least" else np.max
    p = confidences(level)
    wide = 1 - (1 - p) / len(tops)
    limits = np.array([np.array(_limits(t, float(w))) / t.share for t in tops for w in wide])
    low, high = (pick(side.reshape(len(tops), -1), axis=0) for side in limits.T)
    value = float(pick([t.ratio for t in tops]))
    if log:
        value, low, high = math.log(value), np.log(np.maximum(low, 1e-12)), np.log(high)
    least, most = float(low[-1]), float(high[-1])
    estimate = Estimate(
        value=value, low=min(least, value), high=max(most, value), level=level, n=sum(t.n for t in tops),
        method="Clopper-Pearson of k draws" + (", Bonferroni over groups" if len(tops) > 1 else ""),
    )  # fmt: skip
    return Measured(estimate=estimate, basis=from_limits(value, low[:-1], high[:-1]))
