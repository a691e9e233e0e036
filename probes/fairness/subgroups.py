"""Is there a group of people, named by any few of their features, for whom the model does worse?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, PlanError, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Scalar, Task
from steelyard.probes.fairness.found import Search, ample, holm_detail, left_out, prepare, report, too_deep

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.lattice import Conjunction
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.part_rest import PartsAndRest

__all__ = ["Subgroups"]

PREFIX = "fairness.subgroups."
GAP, LARGEST, WEIGHTED = f"{PREFIX}gap", f"{PREFIX}largest-gap", f"{PREFIX}weighted-gap"
KEARNS = "Kearns, Neel, Roth, Wu 2018, arXiv:1711.05144"
RATES = {  # what is asked of a row's decision, and of which rows
    "error": "P(ŷ ≠ y)",
    "selection": "P(ŷ = 1)",
    "fpr": "P(ŷ = 1 | y = 0)",
    "fnr": "P(ŷ = 0 | y = 1)",
}
RANKINGS = ("weighted gap", "score statistic")
SCORE = "score limits (Miettinen-Nurminen)"
SQUARED = "score limits, joined with the error of the weight by squares"
KEEP = 400  # conjunctions kept from each ranking, from which `top` different ones are chosen


def _specs() -> tuple[MetricSpec, ...]:
    return (
        MetricSpec(
            id=GAP,
            definition="rate of the subgroup − rate of all other rows, for a subgroup found on the other half",
            direction=Direction.NONE,
            ideal=0.0,
            lower=-1.0,
            upper=1.0,
            source=KEARNS,
            not_shown="why the rates differ: a subgroup may be harder, or its base rate another",
        ),
        MetricSpec(
            id=LARGEST,
            definition="largest |rate of a subgroup − rate of all other rows| of the subgroups found on the other half",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            upper=1.0,
            source=KEARNS,
            not_shown="that no other subgroup has a larger gap: a search finds, it does not rule out",
            reading="attack",
        ),
        MetricSpec(
            id=WEIGHTED,
            definition="largest α(g)·|rate(g) − rate(all)| of the subgroups found on the other half, α(g) the share of "
            "all rows that are in g and count for the rate",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            upper=1.0,
            source=KEARNS,
            not_shown="that no other subgroup has a larger one; how badly a small group fares: its weight is small",
            reading="attack",
        ),
    )


@dataclass(frozen=True, kw_only=True)
class Subgroups(Probe):
    """Is there a group of people, named by up to three of their features, for whom the model does worse?

    All conjunctions of at most `depth` conditions over the protected attributes and every feature (numbers in `bins`
    quantile bins, categories with their `max_levels` most frequent levels) are counted on one random half of the rows.
    Those with the largest weighted gap α(g)·|rate(g) − rate(all)| (Kearns et al. 2018, arXiv:1711.05144) and those with
    the largest score statistic, `top` in all and no two nearly the same, are measured on the other half: score tests
    with Holm's correction, intervals simultaneous over the candidates. `rate` is error, selection, fpr or fnr. Gaps in
    [-1, 1], 0 is parity. Does not show that no other subgroup exists, nor why the rates differ.

    A subgroup needs `min_support` of the searched rows, and `data.min_n` rows on the other half. Above `max_rows` a
    seeded sample is used; above `max_conjunctions` the lattice is cut to a smaller depth; both are said.
    """

    id: ClassVar[str] = "fairness.subgroups"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = _specs()

    rate: str = "error"
    depth: int = 3
    top: int = 10
    bins: int = 5
    max_levels: int = 20
    min_support: float = 0.01
    overlap: float = 0.8
    max_rows: int = 200_000
    max_conjunctions: int = 1_000_000
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.rate not in RATES:
            raise PlanError(f"{self.id} has rate {self.rate!r}", hint=f"it may be {', '.join(RATES)}")
        if not 1 <= self.depth <= 4 or self.top < 1 or self.bins < 2 or self.max_levels < 2:
            raise PlanError(
                f"{self.id} has depth {self.depth}, top {self.top}, bins {self.bins}, max_levels {self.max_levels}",
                hint="depth is 1 to 4, top at least 1, bins and max_levels at least 2",
            )

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Search one half, test on the other."""
        import numpy as np

        decisions = np.asarray(target.predict(sample.inputs))
        hits, base = self._outcome(sample, decisions)
        search = prepare(
            sample, {"decision": decisions}, rng, bins=self.bins, max_levels=self.max_levels, depth=self.depth,
            max_rows=self.max_rows, max_conjunctions=self.max_conjunctions,
        )  # fmt: skip
        if search.depth < self.depth:
            yield too_deep(self, target, search, self.depth, (LARGEST, WEIGHTED))
        found = self._find(sample, search, hits, base)
        yield from self._test(target, sample, search, found, hits, base)

    def _outcome(self, sample: Sample, decisions: NDArray[Any]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """What the rate counts, and among which rows; (n,) each."""
        import numpy as np

        everyone = np.ones(sample.n, dtype=np.bool_)
        if self.rate != "error" and sample.task is not Task.BINARY:
            raise NotApplicable(f"rate {self.rate} is for binary tasks; the error rate is for all")
        if self.rate == "selection":
            return np.asarray(decisions == 1), everyone
        if sample.labels is None:
            raise NotApplicable(f"rate {self.rate} needs labels; rate selection does not")
        if self.rate == "error":
            return np.asarray(decisions != sample.labels), everyone
        hit = 1 if self.rate == "fpr" else 0
        return np.asarray(decisions == hit), np.asarray(sample.labels == 1 - hit)

    def _find(
        self, sample: Sample, search: Search, hits: NDArray[np.bool_], base: NDArray[np.bool_]
    ) -> list[Conjunction]:
        """The candidates. ProbeError where no conjunction has enough rows."""
        import numpy as np

        from steelyard.probes.stats.lattice import conjunctions, distinct, strongest

        rows = search.halves.search[base[search.halves.search]]
        axes, hit, n = search.within(rows), hits[rows], len(rows)
        weights = None if sample.weights is None else sample.weights[rows]
        whole = float(n) if weights is None else float(weights.sum())
        events = float(hit.sum()) if weights is None else float(weights @ hit)
        least = max(ample(sample.min_n), math.ceil(self.min_support * n))

        def scores(counts: NDArray[np.int64], totals: NDArray[np.float64]) -> NDArray[np.float64]:
            inside, mass = totals if len(totals) == 2 else (totals[0], counts)
            share, rate = mass / whole, events / whole
            gap = np.abs(inside / whole - share * rate)  # α(g) |rate(g) - rate(all)|
            spread = np.sqrt(np.maximum(rate * (1 - rate) * share * (1 - share) / n, 1e-300))
            fits = (counts >= least) & (n - counts >= least)
            return np.where(fits, np.stack([gap, gap / spread]), -np.inf)

        given = {"hits": hit} if weights is None else {"values": (weights * hit, weights)}
        blocks = conjunctions(axes, search.depth, **given) if n else iter(())
        found = distinct(axes, strongest(blocks, scores, keep=KEEP), top=self.top, overlap=self.overlap)
        if not found:
            raise ProbeError(
                f"no subgroup of at most {search.depth} conditions has enough rows",
                hint=f"of {n} searched rows that count for the rate it needs {least} inside and {least} outside",
            )
        return found

    def _test(
        self, target: Target, sample: Sample, search: Search, found: list[Conjunction], hits: NDArray[np.bool_],
        base: NDArray[np.bool_],
    ) -> Iterator[Finding | Failure]:  # fmt: skip
        """The findings, all of them from the held-out half."""
        import numpy as np

        held = search.halves.held_out
        axes, counted = search.within(held), base[held]
        kept: list[Conjunction] = []
        for candidate in found:
            inside = int(np.count_nonzero(candidate.members(axes) & counted))
            fewest = min(inside, int(np.count_nonzero(counted)) - inside)
            if fewest < sample.min_n:
                where = {"group": candidate.name(search.axes)}
                yield left_out(self, target, (GAP, LARGEST, WEIGHTED), where, fewest, sample.min_n)
            else:
                kept.append(candidate)
        if not kept:
            raise ProbeError("no subgroup that was found has enough held-out rows", hint="more data")
        yield from self._findings(target, sample, search, kept, hits, base)

    def _findings(
        self, target: Target, sample: Sample, search: Search, kept: list[Conjunction], hits: NDArray[np.bool_],
        base: NDArray[np.bool_],
    ) -> Iterator[Finding]:  # fmt: skip
        """One finding per candidate, then the two overall."""
        import numpy as np

        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.multiplicity import holm
        from steelyard.probes.stats.part_rest import weight_of
        from steelyard.probes.stats.searched import largest, scaled, single

        everyone, held = Design.of(sample), search.halves.held_out
        design, rows = everyone.take(held[base[held]]), held[base[held]]
        before = _measure(search, kept, hits, search.halves.search[base[search.halves.search]], everyone)
        after = _measure(search, kept, hits, rows, everyone)
        axes = search.within(held)
        weighed = [weight_of(c.members(axes), base[held], everyone.take(held)) for c in kept]
        weights, wobble = np.array(weighed).T
        gaps, p, limits = after.gap, after.p_values, after.limits
        adjusted, names = holm(p), [c.name(search.axes) for c in kept]
        said = (f"rate {self.rate}: {RATES[self.rate]}", search.halves.sampled)
        counts = [int(np.count_nonzero(c.members(search.within(rows)))) for c in kept]
        every = single(gaps, limits, design, after.n_in + after.n_out, level=self.level, what=SCORE)
        for j, candidate in enumerate(kept):
            detail: dict[str, Scalar] = {
                "rate_inside": float(after.rate_in[j]),
                "rate_outside": float(after.rate_out[j]),
                "rows_inside": counts[j],
                "weighted_gap": float(weights[j] * gaps[j]),
                "searched_gap": float(before.gap[j]),
                "found_by": RANKINGS[candidate.ranking],
            }
            detail |= holm_detail(float(p[j]), float(adjusted[j]), len(kept))
            yield report(self, target, GAP, every[j], {"group": names[j]}, detail, said)
        heavy_limits = scaled(gaps, limits, weights, wobble)
        shown = search.detail() | {"tested": len(kept), "significant": int((adjusted <= 1 - self.level).sum())}
        joint = largest(gaps, limits, design, level=self.level, what=SCORE)
        yield report(self, target, LARGEST, joint, {}, {"group": names[int(np.abs(gaps).argmax())]} | shown, said)
        heavy = largest(weights * gaps, heavy_limits, design, level=self.level, what=SQUARED)
        heaviest = names[int(np.abs(weights * gaps).argmax())]
        yield report(self, target, WEIGHTED, heavy, {}, {"group": heaviest} | shown, said)


def _measure(
    search: Search, kept: list[Conjunction], hits: NDArray[np.bool_], rows: NDArray[np.int64], design: Design
) -> PartsAndRest:
    """The candidates on some rows (indices)."""
    from steelyard.probes.stats.part_rest import PartsAndRest

    axes = search.within(rows)
    return PartsAndRest.measure(hits[rows], [c.members(axes) for c in kept], design.take(rows))
