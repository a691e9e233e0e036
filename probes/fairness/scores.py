"""Do the scores mean, rank and spread the same for every group, whatever threshold is later put on them?"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Direction,
    Estimate,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Scalar,
    Task,
)
from steelyard.probes.fairness.between_groups import MAX_PAIRWISE
from steelyard.probes.fairness.estimates import Statistic, compare_groups, mean_arm
from steelyard.probes.fairness.partitions import Member, Partition, partitions
from steelyard.probes.quality.outputs import Scribe, ask_proba

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.between import Arm, Widest
    from steelyard.probes.stats.linearised import Design

__all__ = ["Scores", "pair_of"]

PREFIX = "fairness.scores."
LEAST = 10  # rows of each class that a group's ROC curve needs: with fewer its spread is not to be seen
CITL = "calibration-in-the-large"
HANLEY = "Hanley and McNeil 1982, doi:10.1148/radiology.143.1.7063747; DeLong et al. 1988, doi:10.2307/2531595"
BRIER = "Brier 1950, doi:10.1175/1520-0493(1950)078<0001:VOFEIT>2.0.CO;2"
COX = "Cox 1958, doi:10.1093/biomet/45.3-4.562; by group: Pleiss et al. 2017, arXiv:1709.02012"
PARITY = "Coston et al. 2019, doi:10.1145/3306618.3314236"
ABROCA = "Gardner, Brooks, Baker 2019, doi:10.1145/3303772.3303791"
W1 = "Vallender 1974, doi:10.1137/1118101; in fairness: Jiang et al. 2020, arXiv:1907.12059"
SMD = "Cohen 1988, Statistical Power Analysis, chapter 2"
LABELLED = "whether the labels themselves are fair"
UNLABELLED = "whether the scores are right: groups may differ in the outcome itself"

QUOTIENTS = ("auc", "brier", "mean-score")  # what is above 0 by nature, and so has a ratio


def _two(
    name: str, symbol: str, source: str, not_shown: str, *, direction: Direction, ideal: float | None,
    lower: float, upper: float,
) -> tuple[MetricSpec, ...]:  # fmt: skip
    reading = MetricSpec(
        id=f"{PREFIX}{name}", definition=f"{symbol} of group g", direction=direction, ideal=ideal, lower=lower,
        upper=upper, source=source, not_shown=not_shown,
    )  # fmt: skip
    found = [
        reading,
        _gap(f"{name}-difference", f"max − min over groups g of {symbol}", source, not_shown, upper - lower),
        _gap(
            f"{name}-difference-to-reference", f"largest difference of {symbol} between a group and the reference group"
            " (the plan's, else the largest)", source, not_shown, upper - lower,
        ),
    ]  # fmt: skip
    if name in QUOTIENTS:
        found.append(MetricSpec(
            id=f"{PREFIX}{name}-ratio", definition=f"min over groups g of {symbol}, divided by the max",
            direction=Direction.HIGHER, ideal=1.0, lower=0.0, upper=1.0, source=source, not_shown=not_shown,
        ))  # fmt: skip
    return tuple(found)


def _gap(name: str, definition: str, source: str, not_shown: str, upper: float) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=definition, direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=upper,
        source=source, not_shown=not_shown,
    )  # fmt: skip


METRICS: tuple[MetricSpec, ...] = (
    *_two("auc", "P(score of a positive > score of a negative | g) + P(equal | g) / 2", HANLEY,
          "whether the curves are alike: see abroca; or how groups are ranked against each other",
          direction=Direction.HIGHER, ideal=1.0, lower=0.0, upper=1.0),
    *_two("brier", "mean of (s − y)²", BRIER, "calibration and sharpness apart: a group with a base rate near ½ reads "
          "worse under the same quality", direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=1.0),
    *_two(CITL, "mean of s − y (positive: scored too high)", COX, "errors that cancel within the group",
          direction=Direction.NONE, ideal=0.0, lower=-1.0, upper=1.0),
    *_two("mean-score", "mean of s", PARITY, UNLABELLED, direction=Direction.NONE, ideal=None, lower=0.0, upper=1.0),
    _gap("abroca", "largest over pairs of groups of ∫ |ROC_a(t) − ROC_b(t)| dt, t from 0 to 1: the area between the "
         "ROC curves", ABROCA, LABELLED, 1.0),
    _gap("wasserstein", "largest over pairs of groups of ∫ |F_a(s) − F_b(s)| ds: how far the scores of one group must "
         "be moved, on average, to have the distribution of the other's", W1, UNLABELLED, 1.0),
    _gap("smd", "largest over pairs of groups of |mean s_a − mean s_b| / SD, SD² the variance of s within the compared "
         "groups, pooled by their rows (the standardised mean difference)", SMD, UNLABELLED, float("inf")),
)  # fmt: skip
NEED_LABELS = tuple(s.id for s in METRICS if not s.id.startswith((f"{PREFIX}mean", f"{PREFIX}wass", f"{PREFIX}smd")))


@dataclass(frozen=True, kw_only=True)
class Scores(Probe):
    """Do the scores mean, rank and spread the same for every group, whatever threshold is put on them?

    s is P(favourable class), y the label (0 or 1). By group: AUC, Brier score, calibration in the large (mean s − y)
    and mean s; between groups the max − min of each, the area between ROC curves (ABROCA, Gardner et al. 2019,
    doi:10.1145/3303772.3303791), the Wasserstein-1 distance of the score distributions and the standardised mean
    difference; all are 0 at parity. Says nothing about the decisions made from the scores: see `fairness.error-rates`.

    `level`, `draws`, `pairwise` and `depth` as in `fairness.selection-rate`. A group with fewer than 10 rows of a class
    has no AUC here and is left out, by name. Clusters and survey weights enter all of them.
    """

    id: ClassVar[str] = "fairness.scores"
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT_PROBA, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield each group's readings, then the comparisons, attribute by attribute."""
        import numpy as np

        from steelyard.probes.stats.linearised import Design

        scribe, design = Scribe(probe=self, target=target.name), Design.of(sample)
        scores = np.ascontiguousarray(ask_proba(target, sample)[:, 1])
        labels = None if sample.labels is None else np.asarray(sample.labels)
        if labels is None:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the data has no labels", missing=(Data.LABELS.value,),
                metrics=NEED_LABELS,
            )  # fmt: skip
        statistics = self._statistics(scores, labels, design)
        for part in partitions(sample, self.depth):
            yield from compare_groups(
                scribe, part, statistics, design, rng, level=self.level, draws=self.draws, pairwise=self.pairwise
            )
            yield from self._curves(scribe, part, scores, labels, design, rng)

    def _statistics(
        self, scores: NDArray[np.float64], labels: NDArray[Any] | None, design: Design
    ) -> tuple[Statistic, ...]:
        def of(name: str, values: NDArray[np.float64], lower: float = 0.0) -> Statistic:
            measure = mean_arm(values, design, level=self.level, lower=lower, upper=1.0)
            return _statistic(name, measure, upper=1.0 - lower)

        mean_score = of("mean-score", scores)
        if labels is None:
            return (mean_score,)

        def auc(rows: NDArray[np.int64]) -> Arm:
            return auc_arm(scores, labels == 1, rows, design, level=self.level)

        return (
            _statistic("auc", auc, upper=1.0),
            of("brier", (scores - labels) ** 2),
            of(CITL, scores - labels, -1.0),
            mean_score,
        )

    def _curves(
        self, scribe: Scribe, part: Partition, scores: NDArray[np.float64], labels: NDArray[Any] | None, design: Design,
        rng: Generator,
    ) -> Iterator[Finding | Failure]:  # fmt: skip
        from steelyard.probes.stats.curves import widest_area_between
        from steelyard.probes.stats.distances import widest_wasserstein

        everyone = part.compared

        def moved(rows: Sequence[NDArray[np.int64]]) -> Widest:
            return widest_wasserstein(scores, rows, design, rng, level=self.level, draws=self.draws, upper=1.0)

        def standardised(rows: Sequence[NDArray[np.int64]]) -> Widest:
            return widest_smd(scores, rows, design, rng, level=self.level, draws=self.draws)

        yield pair_of(scribe, part, f"{PREFIX}wasserstein", everyone, moved)
        yield pair_of(scribe, part, f"{PREFIX}smd", everyone, standardised)
        if labels is None:
            return
        positive = labels == 1

        def between(rows: Sequence[NDArray[np.int64]]) -> Widest:
            return widest_area_between(scores, positive, rows, design, rng, level=self.level, draws=self.draws)

        both = tuple(m for m in everyone if LEAST <= positive[m.rows].sum() <= m.rows.size - LEAST)
        yield pair_of(scribe, part, f"{PREFIX}abroca", both, between)


def _statistic(name: str, measure: Callable[[NDArray[np.int64]], Arm], *, upper: float) -> Statistic:
    gap = f"{PREFIX}{name}-difference"
    return Statistic(
        reading=f"{PREFIX}{name}", contrast=gap, measure=measure, upper=upper, to_reference=f"{gap}-to-reference",
        quotient=f"{PREFIX}{name}-ratio" if name in QUOTIENTS else "",
    )  # fmt: skip


def pair_of(
    scribe: Scribe, part: Partition, metric: str, members: Sequence[Member],
    measure: Callable[[Sequence[NDArray[np.int64]]], Widest],
) -> Finding | Failure:  # fmt: skip
    """The widest of all pairs of `members`, by a `measure` of their rows; groups left out are named in the detail."""
    if len(members) > MAX_PAIRWISE:
        reason = f"{part.name} has {len(members)} groups: more than {MAX_PAIRWISE} are too many to compare as pairs"
        return scribe.failure((metric,), part.where, ProbeError(reason, hint="merge groups in the data"))
    if len(members) < 2:
        reason = part.too_few or f"{part.name} has fewer than two groups with {LEAST} rows of each class"
        return scribe.failure((metric,), part.where, reason)
    try:
        widest = measure([m.rows for m in members])
    except ProbeError as error:
        return scribe.failure((metric,), part.where, error)
    first, second = _pair(widest.index, len(members))
    detail: dict[str, Scalar] = {
        "of": part.name, "first": members[first].name, "second": members[second].name, "contrasts": widest.contrasts,
    }  # fmt: skip
    kept = {m.name for m in members}
    left = [name for name, _ in part.small] + [m.name for m in part.compared if m.name not in kept]
    if left:
        detail["untested"] = "; ".join(f"{part.name} = {name}" for name in left)
    return replace(scribe.finding(metric, widest.measured, part.where), detail=detail)


def _pair(index: int, groups: int) -> tuple[int, int]:
    from itertools import combinations

    return list(combinations(range(groups), 2))[index]


def auc_arm(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], rows: NDArray[np.int64], design: Design, *, level: float
) -> Arm:
    """The AUC of some rows as an arm. ProbeError with fewer than 10 rows of a class."""
    from steelyard.probes.stats.auc import area, auc
    from steelyard.probes.stats.between import arm

    part, mine = design.take(rows), positive[rows]
    ones = int(mine.sum())
    if min(ones, rows.size - ones) < LEAST:
        raise ProbeError(f"it has fewer than {LEAST} rows of one of the classes, too few for a ROC curve")
    found = area(scores[rows], mine, part)
    measured = auc(scores[rows], mine, part, level=level)
    return arm(measured, rows, found.contributions(part), design, df=found.variance(part)[1])


def widest_smd(
    scores: NDArray[np.float64], members: Sequence[NDArray[np.int64]], design: Design, rng: Generator,
    *, level: float, draws: int,
) -> Widest:  # fmt: skip
    """max over pairs of |mean_a − mean_b| / SD, with the error of SD: d' = (e_a − e_b) / SD − d e_SD / SD."""
    import numpy as np

    from steelyard.probes.stats.between import arm, pairs, widest_difference
    from steelyard.probes.stats.means import Measured, mean

    rows = np.concatenate(list(members))
    part = design.take(rows)
    centred = np.concatenate([scores[m] - design.take(m).average(scores[m]) for m in members])
    variance = part.average(centred**2)
    if variance <= 1e-18:
        raise ProbeError("the scores do not vary within the groups, so there is no SD to divide by")
    sd = variance**0.5
    arms = []
    for m in members:
        found = mean(scores[m] / sd, design.take(m), level=level, lower=0.0, upper=1.0 / sd)
        arms.append(arm(found, m, scores[m] / sd - found.estimate.value, design))
    contrasts = pairs(len(arms))
    d = contrasts @ np.array([a.value for a in arms])
    nothing = Estimate(value=0.0, low=0.0, high=0.0, level=level, n=rows.size, method="error of the SD alone")
    spread = arm(Measured(estimate=nothing, basis=None), rows, (centred**2 - variance) / (2 * variance), design)
    return widest_difference(
        [*arms, spread], np.column_stack([contrasts, -d]), design, rng, level=level, draws=draws
    )  # fmt: skip
