"""Is the candidate no worse than its references? The two claims of a gate with `versus` and `not_worse_by`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.plan import GatePart
from steelyard.audit.types import Contrasts, Direction, Estimate, MetricSpec
from steelyard.audit.weigh import Weighed, basis_for, matching, scalars, scope_of, why_missing

if TYPE_CHECKING:
    from steelyard.audit.judge import Measured

__all__ = ["versus"]


def versus(gate: GatePart, spec: MetricSpec, alpha: float, measured: Measured) -> Weighed:
    """Weigh "not worse than the reference by more than …", against each reference the gate names.

    A fail claims that the candidate is worse than some reference (Bonferroni over them); a pass that it is not worse
    than any. Where the probe measured the paired gain on the same rows, that decides; else the intervals of the two
    models do, each at half of alpha, which is valid whatever their correlation, and wider.
    """
    margin = gate.not_worse_by or 0.0
    beside = {*measured.references, *(f.target for f in measured.findings)} - {measured.candidate}
    names = sorted(name for name in beside if name == gate.versus or name.startswith(f"{gate.versus}/"))
    if not names:
        return Weighed(missing=f"no reading of a reference called {gate.versus!r}")
    weighed = [_versus_one(gate, spec, name, margin, alpha, measured) for name in names]
    for name, one in zip(names, weighed, strict=True):
        if one.p_fail is None or one.p_pass is None:
            return replace(one, estimate=None, missing=f"versus {name}: {one.missing or 'nothing to compare'}")
    worst = min(range(len(names)), key=lambda i: (weighed[i].p_fail or 0.0, -(weighed[i].p_pass or 0.0)))
    return replace(
        weighed[worst],
        p_fail=min(1.0, len(names) * min(w.p_fail for w in weighed if w.p_fail is not None)),
        p_pass=max(w.p_pass for w in weighed if w.p_pass is not None),
        detail={**weighed[worst].detail, "versus": names[worst], "references": len(names)},
        missing="; ".join(dict.fromkeys(w.missing for w in weighed if w.missing)),
    )


def _versus_one(
    gate: GatePart, spec: MetricSpec, name: str, margin: float, alpha: float, measured: Measured
) -> Weighed:
    wanted = {**gate.where, "versus": name}
    gain = [
        f
        for f in measured.findings
        if f.metric == f"{spec.id}-gain" and f.target == measured.candidate and dict(f.where) == wanted
    ]
    if gain:
        return scalars(gate.model_copy(update={"min": -margin, "max": None}), gain, alpha, ())
    return _unpaired(gate, spec, name, margin, alpha, measured)


def _unpaired(gate: GatePart, spec: MetricSpec, name: str, margin: float, alpha: float, measured: Measured) -> Weighed:
    """Candidate against reference from their separate intervals; p-values by bisection on alpha."""
    if spec.direction is Direction.NONE:
        return Weighed(missing=f"{spec.id} has no better direction, so nothing can be worse")
    theirs = replace(measured, candidate=name)
    try:
        mine, limits, left_out = _limits_of(gate, spec, measured)
        other, limits_other, left_out_there = _limits_of(gate, spec, theirs)
    except ProbeError as error:
        return Weighed(missing=error.message)
    if left_out != left_out_there:
        apart = ", ".join(sorted(left_out ^ left_out_there))
        return Weighed(missing=f"different groups are large enough to compare in the two models: {apart}")
    sign = 1.0 if spec.direction is Direction.LOWER else -1.0

    def excess(level: float) -> tuple[float, float]:
        """Limits of how much worse the candidate is, at joint confidence `level`."""
        each = 1 - (1 - level) / 2
        (a, b), (c, d) = limits(each), limits_other(each)
        low, high = (a - d, b - c) if sign > 0 else (c - b, d - a)
        return low, high

    low, high = excess(1 - alpha)
    value = sign * (mine.value - other.value)
    return Weighed(
        estimate=Estimate(
            value=value,
            low=low,
            high=high,
            level=1 - alpha,
            n=mine.n,
            method="difference of two intervals, each at half of alpha; positive is worse than the reference",
        ),
        p_fail=_smallest_alpha(lambda level: excess(level)[0] > margin),
        p_pass=_smallest_alpha(lambda level: excess(level)[1] <= margin),
        notes=(
            "Compared from two separate intervals, not row by row, so the evidence is weaker than it could be.",
            *((f"Not covered, too few rows: {'; '.join(sorted(left_out))}.",) if left_out else ()),
        ),
    )


def _smallest_alpha(holds: Callable[[float], bool]) -> float:
    """The smallest alpha of a grid at which a claim holds at confidence 1 - alpha; 1 where it never does."""
    grid = [0.0005, 0.001, 0.002, 0.005, 0.01, 0.015, 0.02, 0.025, 0.03, 0.035, 0.04, 0.045, 0.05, 0.1, 0.2, 0.5]
    return next((a for a in grid if holds(1 - a)), 1.0)


def _limits_of(
    gate: GatePart, spec: MetricSpec, measured: Measured
) -> tuple[Estimate, Callable[[float], tuple[float, float]], frozenset[str]]:
    """The reading of one model, its limits at any confidence, the groups left out. Raises ProbeError without one."""
    from steelyard.probes.stats.claims import interval
    from steelyard.probes.stats.joint import joint_of, reading_of
    from steelyard.probes.stats.table import CountTable

    own = [f for f in measured.findings if f.metric == spec.id and f.target == measured.candidate]
    mine = [f for f in own if "versus" not in f.where]
    joint = [f for f in mine if isinstance(f.basis, Contrasts)]
    if joint:
        contrasts = basis_for(joint, scope_of(gate, measured.attributes))
        table = CountTable.from_bytes(measured.table(contrasts.table))
        reading = joint_of(contrasts, table, 0.95)
        if reading.skipped:
            raise ProbeError("; ".join(reason for _, reason in reading.skipped), where=spec.id)

        def limits(level: float) -> tuple[float, float]:
            estimate = reading_of(joint_of(contrasts, table, level))
            if estimate.low is None or estimate.high is None:
                raise ProbeError("the contrast has no interval", where=spec.id)
            return estimate.low, estimate.high

        left_out = {f"{'*'.join(names)} = {group}" for names, group, _ in reading.untested}
        return reading_of(reading), limits, frozenset(left_out)
    chosen = [f for f in matching(gate, mine) if dict(f.where) == dict(gate.where)]
    basis = chosen[0].basis if len(chosen) == 1 else None
    if basis is None or isinstance(basis, Contrasts):
        raise ProbeError(why_missing(gate, spec, mine, measured))
    return chosen[0].estimate, lambda level: interval(basis, level), frozenset()
