"""What does each gate say of what was measured?

A gate makes two claims (docs/statistics.md, rule 3): *fail*, that its tolerance is broken somewhere, with an error
of at most alpha over everything it covers and, by Holm, over the gates of its family; and *pass*, that it holds
everywhere.
Neither proven is inconclusive. Nothing measured is not_measured, whatever the reason.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from steelyard.audit.plan import GatePart, Plan
from steelyard.audit.policy import apply_waivers, describe_gate
from steelyard.audit.types import Failure, Finding, Inapplicable, MetricSpec, Status, Verdict
from steelyard.audit.versus import versus
from steelyard.audit.weigh import Weighed, absolute

__all__ = ["Measured", "judge"]

NARROW = "Narrow the gate with where.attribute, merge the small groups, or measure on more rows."


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """All that the gates may look at. `table` fetches the bytes of an evidence digest.

    `gates` is how many share the error rate: Holm may ask of one of them a p-value as small as alpha / gates.
    `references` are the models beside the candidate, whether or not anything was measured of them.
    """

    findings: Sequence[Finding]
    failures: Sequence[Failure]
    inapplicable: Sequence[Inapplicable]
    attributes: tuple[str, ...]
    candidate: str
    table: Callable[[str], bytes]
    gates: int = 1
    references: tuple[str, ...] = ()


def judge(
    plan: Plan, measured: Measured, specs: Mapping[str, MetricSpec], *, today: dt.date | None = None
) -> tuple[Verdict, ...]:
    """The verdicts of the plan's gates, in order; waivers applied as of `today`."""
    measured = replace(measured, gates=len(plan.gates))
    weighed = [_weigh(gate, specs[gate.metric], plan, measured) for gate in plan.gates]
    adjusted = _holm_by_family([specs[gate.metric].id for gate in plan.gates], weighed)
    verdicts = []
    for number, (gate, seen, p_fail) in enumerate(zip(plan.gates, weighed, adjusted, strict=True), start=1):
        spec = specs[gate.metric]
        verdicts.append(_verdict(number, gate, spec, plan, seen, p_fail, measured.attributes))
    return apply_waivers(tuple(verdicts), plan.waivers, plan.gates, today or dt.date.today())


def _weigh(gate: GatePart, spec: MetricSpec, plan: Plan, measured: Measured) -> Weighed:
    weigh = absolute if gate.versus is None else versus
    return weigh(gate, spec, plan.audit.alpha, measured)


def _holm_by_family(metrics: Sequence[str], weighed: Sequence[Weighed]) -> list[float | None]:
    """Holm over the fail claims of the gates of one family (rule 4)."""
    from steelyard.probes.stats.multiplicity import holm

    families = [metric.split(".", 1)[0] for metric in metrics]
    adjusted: list[float | None] = [None] * len(weighed)
    for family in sorted(set(families)):
        claims = {i: w.p_fail for i, w in enumerate(weighed) if families[i] == family and w.p_fail is not None}
        if claims:
            for index, p in zip(claims, holm(list(claims.values())), strict=True):
                adjusted[index] = float(p)
    return adjusted


def _verdict(
    number: int,
    gate: GatePart,
    spec: MetricSpec,
    plan: Plan,
    seen: Weighed,
    p_fail: float | None,
    attributes: tuple[str, ...],
) -> Verdict:
    status, reason = _status(gate, spec, plan.audit.alpha, seen, p_fail)
    if status is Status.NOT_MEASURED:  # a figure of a part would read as one of the whole
        seen, p_fail = Weighed(notes=(NARROW,) if seen.estimate is not None else ()), None
    verdict = Verdict(
        gate=number,
        metric=spec.id,
        status=status,
        threshold=describe_gate(gate, spec, attributes),
        reason=reason,
        where=gate.where,
        versus=gate.versus or "",
        estimate=seen.estimate,
        p_fail=seen.p_fail,
        p_fail_adjusted=p_fail,
        p_pass=seen.p_pass,
        on_inconclusive=gate.on_inconclusive,
        on_not_refuted=gate.on_not_refuted,
        detail={**seen.detail, "incomplete": True} if seen.missing and status is Status.FAIL else seen.detail,
    )
    notes = [*_explain(verdict, gate, plan.audit.alpha), *seen.notes]
    if status is Status.INCONCLUSIVE and seen.needed is not None:
        needed = seen.needed()
        verdict = replace(verdict, n_needed=needed.at_estimate, n_needed_at_parity=needed.at_parity)
        notes += [_sentence(needed.note)] if needed.note else []
    return replace(verdict, explanation=" ".join(notes))


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _status(gate: GatePart, spec: MetricSpec, alpha: float, seen: Weighed, p_fail: float | None) -> tuple[Status, str]:
    if seen.estimate is None or (p_fail is None and spec.reading != "disclosure" and _has_tolerance(gate)):
        return Status.NOT_MEASURED, seen.missing or "nothing measured"
    hole = f"nothing was compared in a part of what it covers: {seen.missing}"
    if not _has_tolerance(gate) or spec.reading == "disclosure":
        if seen.missing:
            return Status.NOT_MEASURED, hole
        why = "the metric has no pass mark" if _has_tolerance(gate) else "this gate sets no tolerance"
        return Status.REPORTED, f"measured and shown; {why}"
    if p_fail is not None and p_fail <= alpha:
        return (
            Status.FAIL,
            f"the tolerance is broken (p {_p(p_fail)}, and {alpha:g} is enough)",
        )
    if seen.missing:
        return Status.NOT_MEASURED, hole
    if spec.reading == "attack":
        return Status.NOT_REFUTED, "the attack did not break the tolerance, which does not prove that it holds"
    if seen.p_pass is not None and seen.p_pass <= alpha:
        return (
            Status.PASS,
            f"the tolerance holds (p {_p(seen.p_pass)}, and {alpha:g} is enough)",
        )
    return Status.INCONCLUSIVE, "too few rows to tell whether the tolerance holds or is broken"


def _has_tolerance(gate: GatePart) -> bool:
    return gate.max is not None or gate.min is not None or gate.versus is not None


def _p(p: float) -> str:
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"


def _explain(verdict: Verdict, gate: GatePart, alpha: float) -> Iterable[str]:
    """Why a verdict and its printed interval seem to disagree, where they do (rule 3)."""
    estimate, status = verdict.estimate, verdict.status
    if estimate is None or estimate.low is None or estimate.high is None or gate.versus is not None:
        return
    inside = (gate.max is None or estimate.high <= gate.max) and (gate.min is None or estimate.low >= gate.min)
    outside = (gate.max is not None and estimate.low > gate.max) or (gate.min is not None and estimate.high < gate.min)
    if status is Status.PASS and not inside:
        yield (
            "The printed interval covers every comparison at once and reaches past the tolerance; a pass needs only"
            f" that each comparison, on its own one-sided {1 - alpha:.0%} limit, stays within it."
        )
    if status is Status.FAIL and not outside:
        yield (
            "The printed interval still touches the tolerance; the fail rests on the one-sided test of this tolerance,"
            " which is sharper than a two-sided interval."
        )
    if status is Status.INCONCLUSIVE and outside:
        yield (
            "The printed interval alone would break the tolerance; with the other gates of this family counted"
            f" (Holm: p {_p(verdict.p_fail_adjusted or 1.0)}) the evidence does not reach {alpha:g}."
        )
