"""Does a score mean the same for every group of people, named by any few of their features?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Scalar, Task
from steelyard.probes.fairness.found import Search, ample, holm_detail, left_out, prepare, report, too_deep

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.lattice import Axis, Conjunction
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.searched import Limits

__all__ = ["Multicalibration"]

PREFIX = "fairness.multicalibration."
GAP, LARGEST, WEIGHTED = f"{PREFIX}gap", f"{PREFIX}largest-gap", f"{PREFIX}weighted-gap"
SOURCE = "Hébert-Johnson, Kim, Reingold, Rothblum 2018, arXiv:1711.08513; weight: Kearns et al. 2018, arXiv:1711.05144"
RANKINGS = ("weighted gap", "score statistic")
EXACT = "Clopper-Pearson limits of the rate, given the scores"
SQUARED = "Clopper-Pearson limits, joined with the error of the weight by squares"
KEEP = 400
EVERYONE = "everyone"

METRICS = (
    MetricSpec(
        id=GAP,
        definition="P(y = 1 | g, b) − mean score in (g, b), for a subgroup g and a bin b of the score found on the "
        "other half",
        direction=Direction.NONE,
        ideal=0.0,
        lower=-1.0,
        upper=1.0,
        source=SOURCE,
        not_shown="errors that cancel within the bin",
    ),
    MetricSpec(
        id=LARGEST,
        definition="largest |P(y = 1 | g, b) − mean score in (g, b)| of the subgroups g and bins b of the score found "
        "on the other half",
        direction=Direction.LOWER,
        ideal=0.0,
        lower=0.0,
        upper=1.0,
        source=SOURCE,
        not_shown="that no other subgroup has a larger gap: a search finds, it does not rule out",
        reading="attack",
    ),
    MetricSpec(
        id=WEIGHTED,
        definition="largest α(g, b)·|P(y = 1 | g, b) − mean score in (g, b)| of the subgroups g and bins b of the "
        "score found on the other half, α(g, b) the share of all rows in both",
        direction=Direction.LOWER,
        ideal=0.0,
        lower=0.0,
        upper=1.0,
        source=SOURCE,
        not_shown="that no other subgroup has a larger one; how badly a small group fares: its weight is small",
        reading="attack",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Multicalibration(Probe):
    """Does a score mean the same for every group of people, named by up to two of their features?

    A score is multicalibrated where P(y = 1 | score, g) is the score for every subgroup g. All conjunctions of at most
    `depth` conditions over the protected attributes and every feature, in each of `score_bins` bins of P(positive) with
    equal numbers of rows (fewer bins where rows are few), are counted on one random half. Those with the largest
    weighted gap α(g, b)·|gap| and those with the largest score statistic, `top` in all, are measured on the other half:
    exact tests with Holm's correction, simultaneous intervals. Gaps in [-1, 1], 0 is calibrated; above 0 the score is
    too low.

    Hébert-Johnson et al. 2018, arXiv:1711.08513. Conditions, sizes and limits are those of `fairness.subgroups`; a cell
    needs `min_support` of the rows. Does not show that no other subgroup exists, nor errors that cancel within a bin.
    """

    id: ClassVar[str] = "fairness.multicalibration"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT_PROBA, Data.LABELS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS

    depth: int = 2
    top: int = 10
    score_bins: int = 10
    bins: int = 5
    max_levels: int = 20
    min_support: float = 0.005
    overlap: float = 0.8
    max_rows: int = 200_000
    max_conjunctions: int = 1_000_000
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 1 <= self.depth <= 3 or self.top < 1 or min(self.bins, self.max_levels) < 2 or self.score_bins < 1:
            raise PlanError(
                f"{self.id} has depth {self.depth}, top {self.top}, score_bins {self.score_bins}, bins {self.bins}, "
                f"max_levels {self.max_levels}",
                hint="depth is 1 to 3, top and score_bins at least 1, bins and max_levels at least 2",
            )

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Search one half, test on the other."""
        import numpy as np

        from steelyard.probes.fairness.conditions import cut
        from steelyard.probes.quality.outputs import ask_proba

        scores = ask_proba(target, sample)[:, 1]
        hits = np.asarray(sample.labels == 1)

        def score_axis(rows: NDArray[np.int64]) -> Axis:
            fitting = len(rows) // (2 * ample(sample.min_n))  # or no half of a bin had enough rows
            return cut("score", scores, rows, max(1, min(self.score_bins, fitting)))

        search = prepare(
            sample, {"score": scores}, rng, bins=self.bins, max_levels=self.max_levels, depth=self.depth,
            max_rows=self.max_rows, max_conjunctions=self.max_conjunctions, first=score_axis,
        )  # fmt: skip
        if search.depth < self.depth:
            yield too_deep(self, target, search, self.depth, (LARGEST, WEIGHTED))
        found = self._find(sample, search, scores, hits)
        kept: list[Conjunction] = []
        axes = search.within(search.halves.held_out)
        for candidate in found:
            n = int(np.count_nonzero(candidate.members(axes)))
            if n < sample.min_n:
                where = _where(search, candidate)
                yield left_out(self, target, (GAP, LARGEST, WEIGHTED), where, n, sample.min_n)
            else:
                kept.append(candidate)
        if not kept:
            raise ProbeError("nothing that was found has enough held-out rows", hint="more data")
        yield from self._findings(target, sample, search, kept, scores, hits)

    def _find(
        self, sample: Sample, search: Search, scores: NDArray[np.float64], hits: NDArray[np.bool_]
    ) -> list[Conjunction]:
        """The candidates. ProbeError where no cell has enough rows."""
        import numpy as np

        from steelyard.probes.stats.lattice import conjunctions, distinct, strongest

        rows = search.halves.search
        n, axes, s = len(rows), search.within(rows), scores[rows]
        weights = np.ones(n) if sample.weights is None else sample.weights[rows]
        whole, least = float(weights.sum()), max(ample(sample.min_n), math.ceil(self.min_support * n))

        def rank(counts: NDArray[np.int64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
            gap = np.abs(totals[0]) / whole  # α(g, b) |gap|
            spread = np.sqrt(np.maximum(totals[1], 1e-300)) / whole  # of a calibrated score, independent rows
            return np.where(counts >= least, np.stack([gap, np.minimum(gap / spread, 1e12)]), -np.inf)

        values = (weights * (hits[rows] - s), np.square(weights) * s * (1 - s))
        blocks = conjunctions(axes, search.depth, values=values, required=1) if n else iter(())
        found = distinct(axes, strongest(blocks, rank, keep=KEEP), top=self.top, overlap=self.overlap)
        if not found:
            raise ProbeError(
                "no bin of the score has enough rows",
                hint=f"of {n} searched rows a bin needs {least}; fewer score_bins",
            )
        return found

    def _findings(
        self, target: Target, sample: Sample, search: Search, kept: list[Conjunction], scores: NDArray[np.float64],
        hits: NDArray[np.bool_],
    ) -> Iterator[Finding]:  # fmt: skip
        """One finding per candidate, then the two overall, all from the held-out half."""
        import numpy as np

        from steelyard.probes.stats.intervals import binomial_p_above, binomial_p_below
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.multiplicity import holm
        from steelyard.probes.stats.part_rest import share_of
        from steelyard.probes.stats.searched import largest, scaled, single

        everyone, held = Design.of(sample), search.halves.held_out
        design, axes = everyone.take(held), search.within(held)
        parts = [candidate.members(axes) for candidate in kept]
        k, n, mean = _cells(hits[held], scores[held], parts, design)
        seen, seen_axes = search.halves.search, search.within(search.halves.search)
        before = _cells(hits[seen], scores[seen], [c.members(seen_axes) for c in kept], everyone.take(seen))
        gaps, searched = k / n - mean, before[0] / before[1] - before[2]
        p = np.minimum(1.0, 2 * np.minimum(binomial_p_above(k, n, mean), binomial_p_below(k, n, mean)))
        adjusted, limits = holm(p), _limits(k, n, mean)
        weights, wobble = np.array([share_of(part, design) for part in parts]).T
        counts = np.array([np.count_nonzero(part) for part in parts])
        said = (search.halves.sampled,)
        every = single(gaps, limits, design, n, level=self.level, what=EXACT, rows=counts)
        for j, candidate in enumerate(kept):
            detail: dict[str, Scalar] = {
                "rate": float(k[j] / n[j]),
                "mean_score": float(mean[j]),
                "weighted_gap": float(weights[j] * gaps[j]),
                "searched_gap": float(searched[j]),
                "found_by": RANKINGS[candidate.ranking],
            }
            detail |= holm_detail(float(p[j]), float(adjusted[j]), len(kept))
            yield report(self, target, GAP, every[j], _where(search, candidate), detail, said)
        shown = search.detail() | {
            "score_bins": len(search.axes[0].levels),
            "tested": len(kept),
            "significant": int((adjusted <= 1 - self.level).sum()),
        }
        joint = largest(gaps, limits, design, level=self.level, what=EXACT)
        there = _where(search, kept[int(np.abs(gaps).argmax())])
        yield report(self, target, LARGEST, joint, {}, there | shown, said)
        heavy_limits = scaled(gaps, limits, weights, wobble)
        heavy = largest(weights * gaps, heavy_limits, design, level=self.level, what=SQUARED)
        there = _where(search, kept[int(np.abs(weights * gaps).argmax())])
        yield report(self, target, WEIGHTED, heavy, {}, there | shown, said)


def _where(search: Search, candidate: Conjunction) -> dict[str, Scalar]:
    """The subgroup and the bin of the score, which is the first term."""
    from dataclasses import replace

    bin_of = search.axes[0].levels[candidate.terms[0][1]]
    group = replace(candidate, terms=candidate.terms[1:]).name(search.axes)
    return {"group": group or EVERYONE, "score": bin_of}


def _cells(
    hits: NDArray[np.bool_], scores: NDArray[np.float64], parts: list[NDArray[np.bool_]], design: Design
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Effective events and trials and the mean score of each part, (m,) each."""
    import numpy as np

    from steelyard.probes.stats.linearised import effective_counts

    read: list[Any] = []
    for part in parts:
        inner = design.take(part)
        read.append((*effective_counts(hits[part], inner), inner.average(scores[part])))
    k, n, mean = np.array(read).T
    return k, n, mean


def _limits(k: NDArray[np.float64], n: NDArray[np.float64], mean: NDArray[np.float64]) -> Limits:
    """Exact limits of the rate less the mean score.

    Given the scores, the hits of a calibrated model are independent with unequal chances; their number is less spread
    than a binomial with the mean chance (Hoeffding 1956, doi:10.1214/aoms/1177728178), so that the limits are safe.
    """

    def of(error: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        import numpy as np

        from steelyard.probes.stats.intervals import clopper_pearson_lower, clopper_pearson_upper

        low = clopper_pearson_lower(k, n, error / 2) - mean
        high = clopper_pearson_upper(k, n, error / 2) - mean
        return np.asarray(low), np.asarray(high)

    return of
