"""How do the rates of the groups differ? The part that every probe of group rates shares.

From one count table (group × label × decision) come, for each rate: the rate of every group with its own exact
interval; and for each set of groups compared jointly (each attribute, each intersection of two, all named
attributes, all of these together) the widest difference and the smallest ratio, with simultaneous intervals.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations, product
from typing import TYPE_CHECKING, Literal

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, Sample, Target
from steelyard.audit.types import (
    Binomial,
    Contrasts,
    Direction,
    Estimate,
    Evidence,
    Failure,
    Finding,
    MetricSpec,
    Scalar,
    Task,
)

if TYPE_CHECKING:
    from steelyard.probes.stats.table import CountTable

__all__ = ["MAX_PAIRWISE", "Statistic", "contrast_specs", "count_table", "measure"]

MAX_PAIRWISE = 20  # above this many groups, pairs are too many to say anything; contrasts are with the pooled rest

Form = Literal["difference", "ratio"]
Kind = Literal["pairwise", "rest", "reference"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One named comparison: which rates of `RATES`, in which form, against what."""

    metric: str
    rates: tuple[str, ...]
    form: Form
    contrast: Kind = "pairwise"


def contrast_specs(prefix: str, rate: str, symbol: str, source: str, not_shown: str) -> tuple[MetricSpec, ...]:
    """The metric ids of the comparisons of one rate. `prefix` ends where the statistic's name begins."""

    def spec(name: str, definition: str, *, ratio: bool, two_sided: bool = True) -> MetricSpec:
        return MetricSpec(
            id=f"{prefix}{name}",
            definition=definition,
            direction=Direction.HIGHER if ratio else Direction.LOWER,
            ideal=1.0 if ratio else 0.0,
            lower=0.0,
            upper=1.0 if two_sided or not ratio else float("inf"),
            source=source,
            not_shown=not_shown,
        )

    return (
        spec("difference", f"max − min over groups g of {symbol}", ratio=False),
        spec("ratio", f"min over groups g of {symbol}, divided by the max", ratio=True),
        spec(
            "difference-to-reference",
            f"largest |{symbol} − {symbol.replace('g)', 'ref)')}| of a group g to the reference group"
            " (the plan's, else the largest)",
            ratio=False,
        ),
        spec(
            "ratio-to-reference",
            f"smallest {rate} of a group divided by that of the reference group (the plan's, else the largest)",
            ratio=True,
            two_sided=False,
        ),
        spec("difference-to-rest", f"largest |{rate} of a group − {rate} of all other groups pooled|", ratio=False),
        spec(
            "mean-pair-difference",
            f"mean over all pairs of groups g, h of |{symbol} − {symbol.replace('g)', 'h)')}|: less than the widest,"
            " and the less the more groups are treated alike",
            ratio=False,
        ),
        spec(
            "mean-pair-ratio",
            f"mean over all pairs of groups of the smaller {rate} divided by the larger: more than the worst",
            ratio=True,
        ),
    )


def count_table(probe: Probe, target: Target, sample: Sample) -> CountTable:
    """The target's decisions on the sample as counts. Needs a binary task; labels are used where there are any."""
    from steelyard.probes.stats.table import CountTable

    if sample.task is not Task.BINARY:  # the runner asks `Probe.tasks` first; this guards direct use
        raise ProbeError(f"{probe.id} needs a binary task, and this one is {sample.task.value}")
    if sample.reduced is not None:
        from steelyard.probes.stats.cells import table_of_cells

        return table_of_cells(sample, target.predict(sample.inputs))
    return CountTable.from_rows(
        sample.groups,
        sample.labels,
        target.predict(sample.inputs),
        weights=sample.weights,
        clusters=sample.clusters,
    )


def scopes(attributes: tuple[str, ...], depth: int) -> list[tuple[dict[str, Scalar], tuple[tuple[str, ...], ...]]]:
    """What is compared jointly, with the `where` of its finding: each attribute, each pair, all, all to depth 2."""
    single = tuple((a,) for a in attributes)
    pairs = tuple(combinations(attributes, 2)) if depth >= 2 else ()
    found: list[tuple[dict[str, Scalar], tuple[tuple[str, ...], ...]]] = [
        ({"attribute": a}, ((a,),)) for a in attributes
    ]
    found += [({"intersection": "*".join(pair)}, (pair,)) for pair in pairs]
    found.append(({}, single))
    if pairs:
        found.append(({"intersections": 2}, single + pairs))
    return found


def measure(
    probe: Probe,
    target: Target,
    sample: Sample,
    table: CountTable,
    *,
    rates: dict[str, str],
    statistics: tuple[Statistic, ...],
    seed: int,
    level: float,
    draws: int,
    pairwise: bool,
    depth: int,
    mean_pairs: bool = False,
) -> Iterator[Finding | Failure]:
    """Every group's rates (`rates`: metric id -> rate name), then every statistic over every scope.

    `mean_pairs` adds the means over all pairs of groups, whose ids `contrast_specs` has.
    """
    attributes = tuple(sample.groups)
    evidence = Evidence(name="counts", kind="npz", data=table.to_bytes())
    tuples: list[tuple[str, ...]] = [(a,) for a in attributes]
    tuples += list(combinations(attributes, 2)) if depth >= 2 else []
    for metric, rate in rates.items():
        for names in tuples:
            yield from _group_rates(probe, target, table, metric, rate, names, level, evidence)
    if mean_pairs:
        yield from _mean_pairs(probe, target, sample, table, rates, seed, level, draws, tuples, evidence)
    reference = tuple((a, g.reference) for a, g in sample.groups.items() if g.reference)
    for where, scope in scopes(attributes, depth):
        for statistic in statistics:
            kind: Kind = statistic.contrast
            if kind == "pairwise" and not pairwise and any(_width(table, names) > MAX_PAIRWISE for names in scope):
                kind = "rest"
            basis = Contrasts(
                table=evidence.digest,
                rates=statistic.rates,
                scope=scope,
                form=statistic.form,
                contrast=kind,
                reference=reference if kind == "reference" else (),
                min_n=sample.min_n,
                draws=draws,
                seed=seed,
            )
            yield _contrast(probe, target, table, statistic, basis, where, level, evidence)


def _mean_pairs(
    probe: Probe,
    target: Target,
    sample: Sample,
    table: CountTable,
    rates: dict[str, str],
    seed: int,
    level: float,
    draws: int,
    tuples: list[tuple[str, ...]],
    evidence: Evidence,
) -> Iterator[Finding | Failure]:
    """The mean over pairs of each rate, as difference and as ratio, over each attribute and each intersection."""
    from steelyard.audit.canonical import generator
    from steelyard.probes.stats.mean_pair import mean_pair

    forms: tuple[Form, ...] = ("difference", "ratio")
    for names, (metric, rate), form in product(tuples, rates.items(), forms):
        prefix = metric.removesuffix("rate") if metric.endswith(".rate") else f"{metric}-"
        spec = probe.spec(f"{prefix}mean-pair-{form}")
        where: dict[str, Scalar] = {"attribute" if len(names) == 1 else "intersection": "*".join(names)}
        rng = generator(seed, f"mean-pair:{rate}:{'*'.join(names)}:{form}")
        try:
            found, detail = mean_pair(
                table, names, rate, form=form, min_n=sample.min_n, level=level, draws=draws, rng=rng
            )
        except ProbeError as error:
            yield Failure(
                probe=probe.id,
                target=target.name,
                reason=error.message,
                hint=error.hint,
                metrics=(spec.id,),
                where=where,
            )
            continue
        yield Finding(
            metric=spec.id,
            target=target.name,
            where=where,
            estimate=found.estimate,
            definition=spec.definition,
            direction=spec.direction,
            ideal=spec.ideal,
            probe=probe.id,
            probe_version=probe.version,
            basis=found.basis,
            detail=detail,
            evidence=(evidence,),
            not_shown=spec.not_shown,
            reading=spec.reading,
        )


def _width(table: CountTable, names: tuple[str, ...]) -> int:
    return len(table.groups(names).names)


def _group_rates(
    probe: Probe,
    target: Target,
    table: CountTable,
    metric: str,
    rate: str,
    names: tuple[str, ...],
    level: float,
    evidence: Evidence,
) -> Iterator[Finding | Failure]:
    from steelyard.probes.stats.arms import look_up_rates, measure_groups
    from steelyard.probes.stats.intervals import clopper_pearson

    spec = probe.spec(metric)
    key = "attribute" if len(names) == 1 else "intersection"
    groups = table.groups(names)
    arms = measure_groups(table, groups, look_up_rates((rate,), table))  # k of n, effective under weights or clusters
    lows, highs = clopper_pearson(arms.k, arms.n, level)
    for index, group in enumerate(groups.names):
        where: dict[str, Scalar] = {key: "*".join(names), "group": group}
        n, k = float(arms.n[index]), float(arms.k[index])
        if n <= 0:
            yield Failure(
                probe=probe.id,
                target=target.name,
                reason=f"{rate} of {'*'.join(names)} = {group} is 0 of 0: no such rows",
                hint="more data for this group",
                metrics=(metric,),
                where=where,
            )
            continue
        yield Finding(
            metric=metric,
            target=target.name,
            where=where,
            estimate=Estimate(
                value=k / n,
                low=float(lows[index]),
                high=float(highs[index]),
                level=level,
                n=int(arms.rows[index]),
                n_effective=None if table.moment is None else n,
                method="Clopper-Pearson, each group on its own",
            ),
            definition=spec.definition,
            direction=spec.direction,
            ideal=spec.ideal,
            probe=probe.id,
            probe_version=probe.version,
            basis=Binomial(successes=k, trials=n),
            detail={"unknown": True} if groups.unknown[index] else {},
            evidence=(evidence,),
            not_shown=spec.not_shown,
            reading=spec.reading,
        )


def _contrast(
    probe: Probe,
    target: Target,
    table: CountTable,
    statistic: Statistic,
    basis: Contrasts,
    where: dict[str, Scalar],
    level: float,
    evidence: Evidence,
) -> Finding | Failure:
    from steelyard.probes.stats.joint import detail_of, joint_of, reading_of

    spec = probe.spec(statistic.metric)
    try:
        joint = joint_of(basis, table, level)
        estimate = reading_of(joint)
    except ProbeError as error:
        return Failure(
            probe=probe.id,
            target=target.name,
            reason=error.message,
            hint=error.hint,
            metrics=(statistic.metric,),
            where=where,
        )
    definition = spec.definition
    if basis.contrast != statistic.contrast:
        definition += f" (more than {MAX_PAIRWISE} groups: the largest contrast of a group with the pooled rest)"
    return Finding(
        metric=statistic.metric,
        target=target.name,
        where=where,
        estimate=estimate,
        definition=definition,
        direction=spec.direction,
        ideal=spec.ideal,
        probe=probe.id,
        probe_version=probe.version,
        basis=basis,
        detail=detail_of(joint),
        evidence=(evidence,),
        not_shown=spec.not_shown,
        reading=spec.reading,
    )
