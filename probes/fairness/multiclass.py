"""Does each group get each class as often as the others, and as rightly?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Binomial,
    Capability,
    Contrasts,
    Data,
    Direction,
    Estimate,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Scalar,
    Task,
)
from steelyard.probes.fairness.between_groups import MAX_PAIRWISE
from steelyard.probes.quality.outputs import Scribe, ask

if TYPE_CHECKING:
    from numpy.random import Generator

    from steelyard.probes.stats.contrasts import JointContrasts
    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.table import CountTable

__all__ = ["Multiclass"]

PREFIX = "fairness.multiclass."
DENIS = "Denis et al. 2021, arXiv:2109.13642"
HARDT = "Hardt, Price, Srebro 2016, arXiv:1610.02413, each class against the rest"
NOT_SHOWN = "which class a row should have had, and which wrong class it got instead"

# rate: symbol, words, direction of a group's reading, source
RATES: dict[str, tuple[str, Direction, str]] = {
    "selection-rate": ("P(ŷ = c | g)", Direction.NONE, DENIS),
    "tpr": ("P(ŷ = c | y = c, g)", Direction.HIGHER, HARDT),
    "fpr": ("P(ŷ = c | y ≠ c, g)", Direction.LOWER, HARDT),
}


def _specs() -> tuple[MetricSpec, ...]:
    found: list[MetricSpec] = []
    for rate, (symbol, direction, source) in RATES.items():
        ideal = {Direction.HIGHER: 1.0, Direction.LOWER: 0.0}.get(direction)
        gap = f"max − min over groups g of {symbol}"
        rows = (
            (rate, f"{symbol}, c the class named in `where`", direction, ideal),
            (f"{rate}-difference", f"{gap}, c the class named in `where`", Direction.LOWER, 0.0),
            (f"worst-{rate}-difference", f"largest over classes c of {gap}", Direction.LOWER, 0.0),
        )
        found += [
            MetricSpec(
                id=f"{PREFIX}{name}", definition=words, direction=way, ideal=best, lower=0.0, upper=1.0, source=source,
                not_shown=NOT_SHOWN,
            )
            for name, words, way, best in rows
        ]  # fmt: skip
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Multiclass(Probe):
    """Does each group get each class as often as the others, and as rightly?

    Each class c against the rest: selection rate P(ŷ = c | g), TPR P(ŷ = c | y = c, g), FPR P(ŷ = c | y ≠ c, g), with
    the max − min over groups for every class, and the largest of these over the classes. All in [0, 1]; differences are
    0 at parity. Denis et al. 2021, arXiv:2109.13642; Hardt, Price, Srebro 2016, arXiv:1610.02413. Says nothing about
    which wrong class a row got.

    `level`, `draws`, `pairwise` and `depth` as in `fairness.selection-rate`; clusters and survey weights as well.
    """

    id: ClassVar[str] = "fairness.multiclass"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = _specs()

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield each group's rates class by class, the widest difference of each class, then the worst class."""
        scribe = Scribe(probe=self, target=target.name)
        rates = tuple(RATES) if sample.labels is not None else ("selection-rate",)
        if sample.labels is None:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the data has no labels", missing=(Data.LABELS.value,),
                metrics=tuple(s.id for s in self.metrics if "selection" not in s.id),
            )  # fmt: skip
        tables = _tables(target, sample)
        singles = [(a,) for a in sample.groups]
        scopes = singles + (list(combinations(sample.groups, 2)) if self.depth >= 2 else [])
        seed = int(rng.integers(2**53))
        for names in scopes:
            for rate in rates:
                joints: list[tuple[str, JointContrasts]] = []
                lost: list[str] = []
                for label, table in tables.items():
                    yield from self._groups(scribe, label, table, rate, names)
                    row, joint = self._widest(scribe, label, table, rate, names, sample.min_n, seed)
                    yield row
                    joints += [] if joint is None else [(label, joint)]
                    lost += [label] if joint is None else []
                yield self._worst(scribe, rate, names, joints, lost)

    def _groups(
        self, scribe: Scribe, label: str, table: CountTable, rate: str, names: tuple[str, ...]
    ) -> Iterator[Finding | Failure]:
        from steelyard.probes.stats.arms import look_up_rates, measure_groups
        from steelyard.probes.stats.intervals import clopper_pearson
        from steelyard.probes.stats.means import Measured

        groups = table.groups(names)
        arms = measure_groups(table, groups, look_up_rates((rate,), table))
        for i, group in enumerate(groups.names):
            where = {**_where(names), "group": group, "class": label}
            n, k = float(arms.n[i]), float(arms.k[i])
            if n <= 0:
                reason = f"{rate} of class {label} in {'*'.join(names)} = {group} is 0 of 0: no such rows"
                yield scribe.failure((f"{PREFIX}{rate}",), where, reason)
                continue
            low, high = (float(x) for x in clopper_pearson(k, n, self.level))
            estimate = Estimate(
                value=min(k / n, 1.0), low=low, high=high, level=self.level, n=int(arms.rows[i]),
                n_effective=None if table.moment is None else n, method="Clopper-Pearson, each group on its own",
            )  # fmt: skip
            measured = Measured(estimate=estimate, basis=Binomial(successes=k, trials=n))
            detail = {"unknown": True} if groups.unknown[i] else {}
            yield scribe.finding(f"{PREFIX}{rate}", measured, where, detail=detail)

    def _widest(
        self, scribe: Scribe, label: str, table: CountTable, rate: str, names: tuple[str, ...], min_n: int, seed: int
    ) -> tuple[Finding | Failure, JointContrasts | None]:
        from steelyard.probes.stats.joint import detail_of, joint_of

        metric, where = f"{PREFIX}{rate}-difference", {**_where(names), "class": label}
        evidence = Evidence(name=f"counts of {label}", kind="npz", data=table.to_bytes())
        many = len(table.groups(names).names) > MAX_PAIRWISE and not self.pairwise
        asked = Contrasts(
            table=evidence.digest, rates=(rate,), scope=(names,), form="difference",
            contrast="rest" if many else "pairwise", min_n=min_n, draws=self.draws, seed=seed,
        )  # fmt: skip
        try:
            joint = joint_of(asked, table, self.level)
            measured = curve_of([joint], self.level)
        except ProbeError as error:
            return scribe.failure((metric,), where, error), None
        return scribe.finding(metric, measured, where, detail=detail_of(joint), evidence=(evidence,)), joint

    def _worst(
        self, scribe: Scribe, rate: str, names: tuple[str, ...], joints: Sequence[tuple[str, JointContrasts]],
        lost: Sequence[str],
    ) -> Finding | Failure:  # fmt: skip
        from steelyard.probes.stats.joint import detail_of

        metric, where = f"{PREFIX}worst-{rate}-difference", _where(names)
        if lost:  # the largest of some classes is not the largest of all
            return scribe.failure((metric,), where, f"the groups cannot be compared for class {', '.join(lost)}")
        worst = max(range(len(joints)), key=lambda i: joints[i][1].estimate.value)
        detail = {"class": joints[worst][0], "classes": len(joints), **detail_of(joints[worst][1])}
        measured = curve_of([joint for _, joint in joints], self.level)
        return scribe.finding(metric, measured, where, detail=detail)


def _where(names: tuple[str, ...]) -> dict[str, Scalar]:
    return {"attribute" if len(names) == 1 else "intersection": "*".join(names)}


def _tables(target: Target, sample: Sample) -> dict[str, CountTable]:
    """The count table of every class against the rest, by its name."""
    import numpy as np

    from steelyard.probes.stats.table import CountTable

    decisions = np.asarray(ask(target, sample).decisions)
    return {
        label: CountTable.from_rows(
            sample.groups,
            None if sample.labels is None else (np.asarray(sample.labels) == code).astype(np.int64),
            (decisions == code).astype(np.int64),
            weights=sample.weights,
            clusters=sample.clusters,
        )
        for code, label in enumerate(sample.classes)
    }


def curve_of(joints: Sequence[JointContrasts], level: float) -> Measured:
    """The largest difference over several joint sets of contrasts, Bonferroni between the sets.

    The basis is a curve of the sets' own claims and not `Contrasts`, which names one table: a gate over all classes
    then takes every class into account.
    """
    from dataclasses import replace

    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.pvalue_curve import from_claims

    m = len(joints)
    each = joints if m == 1 else [replace(joint, level=1 - (1 - level) / m) for joint in joints]
    widest = [joint.estimate for joint in each]
    value = max(w.value for w in widest)
    rows = [int(joint.arms.rows[joint.layout.rate_of == 0].sum()) for joint in joints]
    linear = joints[0].arms.linear is not None
    estimate = Estimate(
        value=value, low=min(max(w.low for w in widest), value), high=max(max(w.high for w in widest), value),
        level=level, n=max(rows), n_effective=max(float(j.arms.n.sum()) for j in joints) if linear else None,
        method="simultaneous over all contrasts: max-T of count resamples, score limits for small cells"
        + ("" if m == 1 else ", Bonferroni over classes"),
    )  # fmt: skip

    def fail(x: float) -> float:
        tau = value - x
        if tau < 0:
            return 0.0  # no tolerance lies there, so nothing is to be claimed
        return min(1.0, m * min(joint.claim(tau).fail_p for joint in joints))

    def passes(x: float) -> float:
        return max(joint.claim(min(value + x, 1.0)).pass_p for joint in joints)

    return Measured(estimate=estimate, basis=from_claims(value, fail, passes, lower=0.0, upper=1.0))
