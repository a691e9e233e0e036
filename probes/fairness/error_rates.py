"""Are the model's errors spread evenly over the groups?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Task
from steelyard.probes.fairness.between_groups import Statistic, contrast_specs, count_table, measure

if TYPE_CHECKING:
    from numpy.random import Generator

PREFIX = "fairness.error-rates."
HARDT = "Hardt, Price, Srebro 2016, arXiv:1610.02413"
CHOULDECHOVA = "Chouldechova 2017, arXiv:1610.07524"
NOT_SHOWN = "whether the labels themselves are fair: an error is a departure from the recorded outcome"

# rate: symbol, words, which way is better, source
RATES: dict[str, tuple[str, str, Direction, str]] = {
    "tpr": ("P(ŷ = 1 | y = 1, g)", "true positive rate", Direction.HIGHER, HARDT),
    "fpr": ("P(ŷ = 1 | y = 0, g)", "false positive rate", Direction.LOWER, HARDT),
    "fnr": ("P(ŷ = 0 | y = 1, g)", "false negative rate", Direction.LOWER, HARDT),
    "ppv": ("P(y = 1 | ŷ = 1, g)", "positive predictive value (precision)", Direction.HIGHER, CHOULDECHOVA),
    "npv": ("P(y = 0 | ŷ = 0, g)", "negative predictive value", Direction.HIGHER, CHOULDECHOVA),
    "accuracy": ("P(ŷ = y | g)", "accuracy", Direction.HIGHER, "Barocas, Hardt, Narayanan: fairmlbook.org"),
}


def _specs() -> tuple[MetricSpec, ...]:
    found: list[MetricSpec] = []
    for rate, (symbol, words, direction, source) in RATES.items():
        found.append(
            MetricSpec(
                id=f"{PREFIX}{rate}",
                definition=f"{symbol}: {words} of group g",
                direction=direction,
                ideal=1.0 if direction is Direction.HIGHER else 0.0,
                lower=0.0,
                upper=1.0,
                source=source,
                not_shown=NOT_SHOWN,
            )
        )
        found += contrast_specs(f"{PREFIX}{rate}-", words, symbol, source, NOT_SHOWN)
    named = (
        (
            "equalized-odds-difference",
            "the larger of the TPR and FPR differences (each max − min over g)",
            False,
        ),
        (
            "equalized-odds-ratio",
            "the smaller of the TPR and FPR ratios (each min / max over g)",
            True,
        ),
        ("equal-opportunity-difference", "max − min over groups g of P(ŷ = 1 | y = 1, g): the TPR difference", False),
    )
    for name, definition, ratio in named:
        found.append(
            MetricSpec(
                id=f"{PREFIX}{name}",
                definition=definition,
                direction=Direction.HIGHER if ratio else Direction.LOWER,
                ideal=1.0 if ratio else 0.0,
                lower=0.0,
                upper=1.0,
                source=HARDT,
                not_shown=NOT_SHOWN,
            )
        )
    return tuple(found)


def _statistics() -> tuple[Statistic, ...]:
    found: list[Statistic] = []
    for rate in RATES:
        one = (rate,)
        found += [
            Statistic(metric=f"{PREFIX}{rate}-difference", rates=one, form="difference"),
            Statistic(metric=f"{PREFIX}{rate}-ratio", rates=one, form="ratio"),
            Statistic(
                metric=f"{PREFIX}{rate}-difference-to-reference", rates=one, form="difference", contrast="reference"
            ),
            Statistic(metric=f"{PREFIX}{rate}-ratio-to-reference", rates=one, form="ratio", contrast="reference"),
            Statistic(metric=f"{PREFIX}{rate}-difference-to-rest", rates=one, form="difference", contrast="rest"),
        ]
    both = ("tpr", "fpr")
    return (
        *found,
        Statistic(metric=f"{PREFIX}equalized-odds-difference", rates=both, form="difference"),
        Statistic(metric=f"{PREFIX}equalized-odds-ratio", rates=both, form="ratio"),
        Statistic(metric=f"{PREFIX}equal-opportunity-difference", rates=("tpr",), form="difference"),
    )


@dataclass(frozen=True, kw_only=True)
class ErrorRates(Probe):
    """Are the model's errors spread evenly over the groups?

    TPR P(ŷ=1|y=1,g), FPR P(ŷ=1|y=0,g), FNR P(ŷ=0|y=1,g), PPV P(y=1|ŷ=1,g), NPV P(y=0|ŷ=0,g) and accuracy P(ŷ=y|g),
    all in [0, 1]; differences are 0 and ratios 1 at parity. Equalized odds asks it of TPR and FPR together, equal
    opportunity of TPR alone (Hardt, Price, Srebro 2016, arXiv:1610.02413). Where base rates differ, equal PPV and equal
    error rates cannot both hold (Chouldechova 2017, arXiv:1610.07524). Says nothing about whether the recorded labels
    are themselves fair.

    Settings as in `fairness.selection-rate`.
    """

    id: ClassVar[str] = "fairness.error-rates"
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.LABELS, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    reads_counts: ClassVar[bool] = True
    metrics: ClassVar[tuple[MetricSpec, ...]] = _specs()

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield each group's rates, then the comparisons."""
        yield from measure(
            self,
            target,
            sample,
            count_table(self, target, sample),
            rates={f"{PREFIX}{rate}": rate for rate in RATES},
            statistics=_statistics(),
            seed=int(rng.integers(2**53)),
            level=self.level,
            draws=self.draws,
            pairwise=self.pairwise,
            depth=self.depth,
            mean_pairs=True,
        )
