"""How large could the disparity be, whatever the groups of the people whose attribute is missing?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.quality.outputs import Scribe, ask

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design

__all__ = ["MissingAttributes"]

PREFIX = "fairness.missing-attributes."
MANSKI = "Manski 2003, Partial Identification of Probability Distributions; in fairness: Kallus et al. 2022, "
SOURCE = MANSKI + "doi:10.1287/mnsc.2020.3850"
NOT_SHOWN = "how likely the worst case is: it is what the data cannot rule out, not what is so"
EVERY = "largest that any assignment of the rows with a missing attribute to the known groups gives of"

# rate: symbol, which rows it is read on (the label they need, None for all)
RATES: dict[str, tuple[str, int | None]] = {
    "selection-rate": ("P(ŷ = 1 | g)", None),
    "tpr": ("P(ŷ = 1 | y = 1, g)", 1),
    "fpr": ("P(ŷ = 1 | y = 0, g)", 0),
}


def _spec(name: str, definition: str, *, ratio: bool = False) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=definition, direction=Direction.HIGHER if ratio else Direction.LOWER,
        ideal=1.0 if ratio else 0.0, lower=0.0, upper=1.0, source=SOURCE, not_shown=NOT_SHOWN,
    )  # fmt: skip


METRICS: tuple[MetricSpec, ...] = (
    *(_spec(f"{rate}-difference", f"{EVERY} max − min over groups g of {s}") for rate, (s, _) in RATES.items()),
    _spec(
        "selection-rate-ratio", f"{EVERY.replace('largest', 'smallest')} min over groups g of P(ŷ = 1 | g), divided by "
        "the max", ratio=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class MissingAttributes(Probe):
    """How large could the disparity be, whatever the groups of the people whose attribute is missing?

    Over all assignments of the rows with a missing attribute to the known groups: the largest difference of selection
    rates P(ŷ = 1 | g), of TPR and of FPR, and the smallest ratio of selection rates. For an ordered pair (i, j) the
    worst case gives i every missing row that was chosen and j every one that was not: (k_i + a) / (n_i + a) against
    k_j / (n_j + b), which no assignment exceeds. The interval is that of this bound as a quantity of the population:
    the two rates are of different rows, so score tests of two proportions apply. Manski 2003; Kallus, Mao, Zhou 2022,
    doi:10.1287/mnsc.2020.3850. Does not say how likely the worst case is.

    A gate judges the worst case. An attribute without missing rows has its plain disparity here. Known groups with
    fewer than `data.min_n` rows are left out, by name. Intersections are not measured.
    """

    id: ClassVar[str] = "fairness.missing-attributes"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    reads_counts: ClassVar[bool] = True

    level: float = 0.95

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: not with clusters."""
        return sample.reduced.pairs is None

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the worst case of each rate for each attribute. Draws nothing from `rng`."""
        import numpy as np

        from steelyard.probes.stats.linearised import Design

        if not any(g.unknown >= 0 and (g.codes == g.unknown).any() for g in sample.groups.values()):
            raise NotApplicable(
                "no attribute has a missing value: see fairness.selection-rate and fairness.error-rates"
            )
        scribe, design = Scribe(probe=self, target=target.name), Design.of(sample)
        chosen = np.asarray(ask(target, sample).decisions) == 1
        if sample.labels is None:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the data has no labels", missing=(Data.LABELS.value,),
                metrics=(f"{PREFIX}tpr-difference", f"{PREFIX}fpr-difference"),
            )  # fmt: skip
        for attribute, groups in sample.groups.items():
            for rate, (_, label) in RATES.items():
                if label is not None and sample.labels is None:
                    continue
                rows = np.arange(len(chosen)) if label is None else np.flatnonzero(np.asarray(sample.labels) == label)
                forms = ("difference", "ratio") if rate == "selection-rate" else ("difference",)
                for form in forms:
                    yield from self._bound(
                        scribe, f"{PREFIX}{rate}-{form}", {"attribute": attribute}, groups, rows, chosen, design,
                        sample.min_n, ratio=form == "ratio",
                    )  # fmt: skip

    def _bound(
        self, scribe: Scribe, metric: str, where: dict[str, Scalar], groups: Groups, rows: NDArray[Any],
        chosen: NDArray[Any], design: Design, min_n: int, *, ratio: bool,
    ) -> Iterator[Finding | Failure]:  # fmt: skip
        from steelyard.probes.stats.missing import worst_case

        codes = groups.codes[rows]
        known = [c for c in range(len(groups.levels)) if c != groups.unknown]
        size = {c: design.take(rows[codes == c]).n for c in known}
        kept = [c for c in known if size[c] >= max(min_n, 1)]
        left = [groups.levels[c] for c in known if c not in kept]
        if left:
            reason = f"fewer than {min_n} rows (data.min_n) in the denominator, and so not compared: {', '.join(left)}"
            yield scribe.failure((metric,), where, reason)
        if len(kept) < 2:
            if not left:
                yield scribe.failure((metric,), where, "fewer than two known groups")
            return
        try:
            members = [rows[codes == c] for c in kept]
            found = worst_case(chosen, members, rows[codes == groups.unknown], design, level=self.level, ratio=ratio)
        except ProbeError as error:
            yield scribe.failure((metric,), where, error)
            return
        detail: dict[str, Scalar] = {
            "of": str(where["attribute"]), "raised": groups.levels[kept[found.first]],
            "lowered": groups.levels[kept[found.second]], "missing": found.missing,
            "with_the_missing_left_out": found.known,
        }  # fmt: skip
        if left:
            detail["untested"] = "; ".join(f"{where['attribute']} = {name}" for name in left)
        yield scribe.finding(metric, found.measured, where, detail=detail)
