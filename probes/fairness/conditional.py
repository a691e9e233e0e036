"""Do groups get the favourable decision equally often, once what may explain it is held equal?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Scalar, Task
from steelyard.probes.fairness.drawn import known_groups
from steelyard.probes.quality.outputs import Scribe
from steelyard.probes.quality.slices import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.fairness.strata import Strata
    from steelyard.probes.stats.stratified import Stratified

__all__ = ["Conditional"]

ID = "fairness.conditional"
DIFFERENCE, RATIO, WORST = f"{ID}.difference", f"{ID}.ratio", f"{ID}.worst-stratum-difference"
KAMIRAN = "Kamiran, Žliobaitė, Calders 2013, DOI 10.1007/s10115-012-0584-8"
NOT_SHOWN = "whether the controls are themselves a fair reason: a control that carries the bias hides it"


@dataclass(frozen=True, kw_only=True)
class Conditional(Probe):
    """Do groups get the favourable decision equally often, once what may explain it is held equal?

    Rows are put into strata of equal values of the columns that `controls` names (a number with more than ten values
    is cut into `bins` quantile bins). Within stratum s the selection rates of groups a and b are p_sa and p_sb, from
    n_sa and n_sb rows; over the strata they are pooled with Mantel and Haenszel's w_s = n_sa n_sb / (n_sa + n_sb):

        difference  Σ w_s (p_sa − p_sb) / Σ w_s        ratio  Σ w_s p_sa / Σ w_s p_sb

    for every pair of groups; the number printed is the widest, its interval simultaneous over the pairs. 0 and 1 are
    parity. Variances: Sato 1989 (difference) and Greenland and Robins 1985, DOI 10.2307/2530643 (ratio), which hold for
    many small strata as for few large ones; under weights or clusters the linearised one. The Cochran-Mantel-Haenszel
    test of the widest pair stands in the detail (without continuity correction, rows independent).

    A pooled difference of 0 can hide strata that go opposite ways: the worst stratum is shown with its own interval,
    over strata where both groups have `data.min_n` rows. The difference of selection rates without controls is in
    `fairness.selection-rate`; that it shrinks here is no proof that the controls are a fair reason.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=DIFFERENCE,
            definition="max over pairs of groups of |Σ_s w_s (p_sa − p_sb) / Σ_s w_s|, w_s = n_sa n_sb / (n_sa + n_sb):"
            " the selection rates' difference within strata of the controls, pooled as by Mantel and Haenszel",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            upper=1.0,
            source=f"{KAMIRAN}; Greenland and Robins 1985, DOI 10.2307/2530643",
            not_shown=NOT_SHOWN,
        ),
        MetricSpec(
            id=RATIO,
            definition="min over ordered pairs of groups of Σ_s w_s p_sa / Σ_s w_s p_sb, "
            "w_s = n_sa n_sb / (n_sa + n_sb): "
            "the selection rates' ratio within strata of the controls, pooled as by Mantel and Haenszel",
            direction=Direction.HIGHER,
            ideal=1.0,
            lower=0.0,
            upper=1.0,
            source=f"{KAMIRAN}; Greenland and Robins 1985, DOI 10.2307/2530643",
            not_shown=NOT_SHOWN,
        ),
        MetricSpec(
            id=WORST,
            definition="max over strata s and pairs of groups of |p_sa − p_sb|, over strata where both have min_n rows",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            upper=1.0,
            source=KAMIRAN,
            not_shown=NOT_SHOWN,
        ),
    )

    reads_counts: ClassVar[bool] = True

    controls: tuple[str, ...] = ()
    bins: int = 5
    level: float = 0.95
    draws: int = 4000

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: with controls that were counted, no weights and no clusters."""
        from steelyard.probes.fairness.strata import counted_columns

        plain = sample.reduced.pairs is None and sample.reduced.weights is None
        return plain and set(self.controls) <= set(counted_columns(sample))

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield the pooled difference and ratio and the worst stratum of every attribute."""
        if not self.controls:
            raise NotApplicable(
                "no control is named", hint=f"probes: [{{{self.id}: {{controls: [column]}}}}] names what to hold equal"
            )
        from steelyard.probes.fairness.strata import stratify_sample

        strata = stratify_sample(sample, self.controls, self.bins)
        chosen = target.predict(sample.inputs) == 1
        seed = int(rng.integers(2**53))
        for attribute, groups in sample.groups.items():
            yield from self._attribute(target, sample, strata, chosen, attribute, groups, seed)

    def _attribute(
        self,
        target: Target,
        sample: Sample,
        strata: Strata,
        chosen: NDArray[np.bool_],
        attribute: str,
        groups: Groups,
        seed: int,
    ) -> Iterator[Finding | Failure]:
        from steelyard.audit.canonical import generator
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.stratified import Stratified

        scribe = Scribe(probe=self, target=target.name)
        where: dict[str, Scalar] = {"attribute": attribute}
        every = tuple(spec.id for spec in self.metrics)
        known = known_groups(groups, sample.min_n, times=None if sample.reduced is None else sample.reduced.rows)
        if known.small:
            left = LeftOut(where=where, groups=known.small, min_n=sample.min_n)
            yield scribe.failure(every, where, left.reason)
        if len(known.levels) < 2:
            yield scribe.failure(
                every, where, f"{attribute} has fewer than two groups with {sample.min_n} rows: nothing to compare"
            )
            return
        table = Stratified.of(
            strata.codes, groups.codes, chosen, Design.of(sample), levels=known.levels, strata=len(strata.names)
        )
        names = tuple(groups.levels[k] for k in known.levels)
        for metric, measure in ((DIFFERENCE, self._difference), (RATIO, self._ratio), (WORST, self._worst)):
            try:
                rng = generator(seed, f"{attribute}:{metric}")
                finding = measure(scribe, table, names, strata, sample.min_n, where, rng)
            except ProbeError as error:
                yield scribe.failure((metric,), where, error)
                continue
            extra: dict[str, Scalar] = {"controls": ", ".join(self.controls)}
            if known.unknown:
                extra["unknown_rows"] = known.unknown
            yield replace(finding, detail={**finding.detail, **extra})

    def _difference(
        self,
        scribe: Scribe,
        table: Stratified,
        names: tuple[str, ...],
        strata: Strata,
        min_n: int,
        where: dict[str, Scalar],
        rng: Generator,
    ) -> Finding:
        from steelyard.probes.stats.largest import joint_errors, largest

        pooled = table.differences()
        errors = joint_errors(pooled.covariance, table.df, self.draws, rng)
        measured = largest(
            pooled.values, errors, level=self.level, n=table.rows_compared, upper=1.0, n_effective=table.kish,
            method=f"Mantel-Haenszel difference, {table.variance_name('Sato')}, joint over pairs",
        )  # fmt: skip
        widest = int(abs(pooled.values).argmax())
        return scribe.finding(
            DIFFERENCE, measured, where, detail=_pair(table, names, widest, float(pooled.values[widest]))
        )

    def _ratio(
        self,
        scribe: Scribe,
        table: Stratified,
        names: tuple[str, ...],
        strata: Strata,
        min_n: int,
        where: dict[str, Scalar],
        rng: Generator,
    ) -> Finding:
        from steelyard.probes.stats.largest import joint_errors, smallest_ratio

        pooled = table.log_ratios()
        errors = joint_errors(pooled.covariance, table.df, self.draws, rng)
        measured = smallest_ratio(
            pooled.values, errors, level=self.level, n=table.rows_compared, n_effective=table.kish,
            method=f"Mantel-Haenszel ratio, {table.variance_name('Greenland-Robins')}, joint over pairs",
        )  # fmt: skip
        widest = int(abs(pooled.values).argmax())
        return scribe.finding(RATIO, measured, where, detail=_pair(table, names, widest, float(pooled.values[widest])))

    def _worst(
        self,
        scribe: Scribe,
        table: Stratified,
        names: tuple[str, ...],
        strata: Strata,
        min_n: int,
        where: dict[str, Scalar],
        rng: Generator,
    ) -> Finding:
        from steelyard.probes.stats.largest import largest

        worst = table.within_strata(min_n, self.draws, rng)
        measured = largest(
            worst.values, worst.errors, level=self.level, n=worst.rows, upper=1.0, n_effective=table.kish,
            method="largest of all contrasts within strata, parametric resamples of the counts",
        )  # fmt: skip
        at = int(abs(worst.values).argmax())
        s, a, b = worst.where[at]
        low, high = (a, b) if worst.values[at] <= 0 else (b, a)
        detail: dict[str, Scalar] = {
            "stratum": strata.names[s], "lowest": names[low], "highest": names[high], "contrasts": len(worst.values),
        }  # fmt: skip
        if worst.strata_left_out:
            detail["strata_left_out"] = worst.strata_left_out
        return scribe.finding(WORST, measured, where, detail=detail)


def _pair(table: Stratified, names: tuple[str, ...], widest: int, signed: float) -> dict[str, Scalar]:
    a, b = table.pairs[widest]
    low, high = (a, b) if signed <= 0 else (b, a)
    detail: dict[str, Scalar] = {
        "lowest": names[low],
        "highest": names[high],
        "contrasts": len(table.pairs),
        "strata": int(table.strata_of(widest)),
    }
    test = table.cmh(widest)
    if test is not None:
        detail["cmh_statistic"], detail["cmh_p"] = test
    return detail
