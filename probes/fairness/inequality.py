"""How unequally do errors fall on people, and how much of that lies between groups?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Task
from steelyard.probes.fairness.estimates import Statistic, compare_groups
from steelyard.probes.fairness.partitions import Partition, partitions
from steelyard.probes.quality.outputs import Scribe, ask

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.between import Arm
    from steelyard.probes.stats.linearised import Design

__all__ = ["Inequality"]

PREFIX = "fairness.inequality."
SPEICHER = "Speicher et al. 2018, arXiv:1807.00787"
BERK = "Berk et al. 2018, arXiv:1703.09207"
BENEFIT = "b = ŷ − y + 1 (a false positive 2, a right decision 1, a false negative 0)"
MEANT = "whether a favourable decision that was not due is a benefit, as b takes it to be"
WHO = f"which group has the greater benefit; {MEANT}"
LEAST = 10  # errors of each kind that a group's ratio of errors needs: with fewer its logarithm is not near normal


def _index(name: str, definition: str, not_shown: str, upper: float = math.inf) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=definition, direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=upper,
        source=SPEICHER, not_shown=not_shown,
    )  # fmt: skip


METRICS: tuple[MetricSpec, ...] = (
    _index("generalized-entropy", f"½ (mean of (b / μ)² − 1), the generalised entropy of order 2, {BENEFIT}, μ the "
           "mean of b", MEANT),
    _index("theil", f"mean of (b / μ) ln(b / μ), the Theil index, {BENEFIT}, μ the mean of b", MEANT),
    _index("between-group", f"½ Σ_g share_g (μ_g / μ − 1)²: the part of the generalised entropy of order 2 that lies "
           f"between the compared groups, μ_g the mean of b in group g, {BENEFIT}", WHO),
    _index("within-group", f"Σ_g share_g (μ_g / μ)² GE_g: the part of the generalised entropy of order 2 that lies "
           f"within the compared groups, {BENEFIT}; with between-group it sums to that of their rows", WHO),
    MetricSpec(
        id=f"{PREFIX}error-ratio", definition="FN / FP: false negatives for each false positive, in group g",
        direction=Direction.NONE, lower=0.0, source=BERK, not_shown="how many errors there are of either kind",
    ),
    MetricSpec(
        id=f"{PREFIX}treatment-equality", direction=Direction.HIGHER, ideal=1.0, lower=0.0, upper=1.0, source=BERK,
        definition="min over groups g of FN / FP, divided by the max (treatment equality)",
        not_shown="how many errors there are of either kind: see fairness.error-rates",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Inequality(Probe):
    """How unequally do errors fall on people, and how much of that lies between groups?

    A row's benefit is b = ŷ − y + 1. Its generalised entropy of order 2 and its Theil index, 0 where all benefit alike,
    overall and in each group; the first falls into a part between groups and a part within them (Speicher et al. 2018,
    arXiv:1807.00787). Treatment equality compares FN / FP between groups, 1 at parity (Berk et al. 2018,
    arXiv:1703.09207). Says nothing about whether the recorded labels are fair.

    `level`, `draws`, `pairwise` and `depth` as in `fairness.selection-rate`. A group with fewer than 10 errors of
    either kind is left out of treatment equality, by name. Clusters and survey weights enter all of them.
    """

    id: ClassVar[str] = "fairness.inequality"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.LABELS, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    reads_counts: ClassVar[bool] = True

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: not with clusters."""
        return sample.reduced.pairs is None

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield the indices of all rows, then of each group, then what lies between groups."""
        import numpy as np

        from steelyard.probes.stats import entropy
        from steelyard.probes.stats.linearised import Design

        scribe, design = Scribe(probe=self, target=target.name), Design.of(sample)
        decisions = np.asarray(ask(target, sample).decisions)
        benefits = (decisions - np.asarray(sample.labels) + 1).astype(np.float64)
        indices = (("generalized-entropy", entropy.generalized_entropy), ("theil", entropy.theil))
        for name, index in indices:
            yield scribe.attempt(f"{PREFIX}{name}", {}, lambda f=index: f(benefits, design, level=self.level))  # type: ignore[misc]

        def ratio(rows: NDArray[np.int64]) -> Arm:
            return error_ratio_arm(benefits, rows, design, level=self.level)

        treatment = Statistic(
            reading=f"{PREFIX}error-ratio", contrast=f"{PREFIX}treatment-equality", measure=ratio, ratio=True
        )
        for part in partitions(sample, self.depth):
            for name, index in indices:
                if part.small:
                    yield scribe.failure((f"{PREFIX}{name}",), part.where, part.left_out)
                for m in part.members:
                    within, rows = benefits[m.rows], design.take(m.rows)
                    row = scribe.attempt(
                        f"{PREFIX}{name}", part.at(m), lambda f=index, b=within, d=rows: f(b, d, level=self.level)  # type: ignore[misc]
                    )  # fmt: skip
                    yield row
            yield from self._parts(scribe, part, benefits, design, rng)
            yield from compare_groups(
                scribe, part, (treatment,), design, rng, level=self.level, draws=self.draws, pairwise=self.pairwise
            )

    def _parts(
        self, scribe: Scribe, part: Partition, benefits: NDArray[Any], design: Design, rng: Generator
    ) -> Iterator[Finding | Failure]:
        from steelyard.probes.stats.entropy import between_groups, within_groups

        ids = f"{PREFIX}between-group", f"{PREFIX}within-group"
        if part.too_few:
            yield scribe.failure(ids, part.where, part.too_few)
            return
        if part.small:
            yield scribe.failure(ids, part.where, part.left_out)
        members = [m.rows for m in part.compared]
        yield scribe.attempt(
            ids[0], part.where,
            lambda: between_groups(benefits, members, design, rng, level=self.level, draws=self.draws),
        )  # fmt: skip
        yield scribe.attempt(ids[1], part.where, lambda: within_groups(benefits, members, design, level=self.level))


def error_ratio_arm(benefits: NDArray[np.float64], rows: NDArray[np.int64], design: Design, *, level: float) -> Arm:
    """FN / FP of some rows as an arm, normal on the log scale. ProbeError with fewer than 10 errors of a kind."""
    import numpy as np

    from steelyard.probes.stats.between import arm
    from steelyard.probes.stats.means import linear

    mine, part = benefits[rows], design.take(rows)
    missed, raised = (mine == 0).astype(np.float64), (mine == 2).astype(np.float64)
    if min(part.total(missed), part.total(raised)) < LEAST:
        raise ProbeError(f"it has fewer than {LEAST} false negatives or false positives, too few for their ratio")
    fn, fp = part.average(missed), part.average(raised)
    influence = (fn / fp) * (missed / fn - raised / fp)
    df = part.units - 1.0
    measured = linear(
        fn / fp, part.variance(influence), df, part, level=level, scale="log", lower=0.0,
        method="delta method on the log scale, Student t",
    )  # fmt: skip
    # The ratio of two arms is formed on the log scale too: var / value^2 there is the variance that the interval uses.
    return replace(arm(measured, rows, influence, design, df=df), variance=part.variance(influence))
