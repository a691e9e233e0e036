"""Does each group get the favourable decision as often as the others?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Task
from steelyard.probes.fairness.between_groups import Statistic, contrast_specs, count_table, measure

if TYPE_CHECKING:
    from numpy.random import Generator

SOURCE = "Dwork et al. 2012, arXiv:1104.3913"
NOT_SHOWN = "whether the decisions are right: see fairness.error-rates"
PREFIX = "fairness.selection-rate."


@dataclass(frozen=True, kw_only=True)
class SelectionRate(Probe):
    """Does each group get the favourable decision as often as the others?

    P(ŷ = 1 | g), in [0, 1]. Demographic (statistical) parity: the difference is 0 and the ratio 1 at parity. The ratio
    is what the four-fifths rule and NYC LL144 call the impact ratio. Dwork et al. 2012, arXiv:1104.3913.
    Says nothing about whether the decisions are right: see `fairness.error-rates`.

    `level` is that of the printed intervals, `draws` the resamples of the joint ones, `pairwise` compares all pairs
    also where an attribute has more than 20 groups, `depth` 2 measures intersections of two attributes.
    """

    id: ClassVar[str] = "fairness.selection-rate"
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    reads_counts: ClassVar[bool] = True
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=f"{PREFIX}rate",
            definition="P(ŷ = 1 | g): the share of group g with the favourable decision",
            direction=Direction.NONE,
            lower=0.0,
            upper=1.0,
            source=SOURCE,
            not_shown=NOT_SHOWN,
        ),
        *contrast_specs(PREFIX, "selection rate", "P(ŷ = 1 | g)", SOURCE, NOT_SHOWN),
    )

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield each group's rate, then the comparisons."""
        rate = ("selection-rate",)
        yield from measure(
            self,
            target,
            sample,
            count_table(self, target, sample),
            rates={f"{PREFIX}rate": "selection-rate"},
            statistics=(
                Statistic(metric=f"{PREFIX}difference", rates=rate, form="difference"),
                Statistic(metric=f"{PREFIX}ratio", rates=rate, form="ratio"),
                Statistic(
                    metric=f"{PREFIX}difference-to-reference", rates=rate, form="difference", contrast="reference"
                ),
                Statistic(metric=f"{PREFIX}ratio-to-reference", rates=rate, form="ratio", contrast="reference"),
                Statistic(metric=f"{PREFIX}difference-to-rest", rates=rate, form="difference", contrast="rest"),
            ),
            seed=int(rng.integers(2**53)),
            level=self.level,
            draws=self.draws,
            pairwise=self.pairwise,
            depth=self.depth,
            mean_pairs=True,
        )
