"""Which findings does a gate speak of, and how strong are its two claims on them?"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.errors import ProbeError
from steelyard.audit.plan import GatePart
from steelyard.audit.types import Contrasts, Estimate, Finding, MetricSpec, Scalar

if TYPE_CHECKING:
    from steelyard.audit.judge import Measured

__all__ = ["Weighed", "absolute", "basis_for", "matching", "scalars", "scope_of", "why_missing"]


REST = "With this many groups each is compared with the pooled rest, not with every other group."


@dataclass(frozen=True, slots=True, kw_only=True)
class Weighed:
    """A gate's two p-values and the estimate that decides.

    `missing` says why nothing was measured, or beside an estimate which part of what the gate covers was not: such a
    gate can fail, and never pass.
    """

    estimate: Estimate | None = None
    p_fail: float | None = None
    p_pass: float | None = None
    detail: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    notes: tuple[str, ...] = ()
    missing: str = ""
    needed: Callable[[], Any] | None = None


def absolute(gate: GatePart, spec: MetricSpec, alpha: float, measured: Measured) -> Weighed:
    """Weigh `max` and `min` of a gate against the candidate's findings."""
    mine = [
        f
        for f in measured.findings
        if f.metric == spec.id and f.target == measured.candidate and "versus" not in f.where
    ]
    joint = [f for f in mine if isinstance(f.basis, Contrasts)]
    if joint:
        return _contrasts(gate, joint, alpha, measured)
    chosen = matching(gate, mine)
    if not chosen:
        return Weighed(missing=why_missing(gate, spec, mine, measured))
    if dict(chosen[0].where) == dict(gate.where):  # the very number asked for: nothing is missing from it
        return scalars(gate, chosen, alpha, ())
    weighed = scalars(gate, chosen, alpha, _left_out(gate, spec, measured))
    return weighed if weighed.missing else replace(weighed, missing=_holes(gate, spec, chosen, measured))


def matching(gate: GatePart, findings: Sequence[Finding]) -> list[Finding]:
    """The finding whose `where` is the gate's, else all that it narrows (each group of an attribute, say).

    With `intersections: 2` the gate covers the groups, not the one number over all rows, and intersections with them.
    """
    wanted = dict(gate.where)
    exact = [f for f in findings if dict(f.where) == wanted]
    if exact and gate.intersections == 1:
        return exact
    inside = [f for f in findings if _covers(wanted, f.where, crossed=gate.intersections == 2)]
    return [f for f in inside if not f.detail.get("unknown")] or inside


def _covers(wanted: Mapping[str, Scalar], have: Mapping[str, Scalar], *, crossed: bool) -> bool:
    """Does a gate on `wanted` speak of a reading at `have`? `crossed`: also of intersections with its attribute."""
    if "intersection" in have and "intersection" not in wanted:
        if not crossed:
            return False
        named = wanted.get("attribute")
        if named is not None and named not in str(have["intersection"]).split("*"):
            return False
        wanted = {key: value for key, value in wanted.items() if key != "attribute"}
    return wanted.items() <= dict(have).items()


def why_missing(gate: GatePart, spec: MetricSpec, mine: Sequence[Finding], measured: Measured) -> str:
    """Why a gate has nothing to look at, from the rows that say what went wrong."""
    for failure in measured.failures:
        if failure.target != measured.candidate:
            continue
        covers = spec.id in failure.metrics or (not failure.metrics and spec.id.startswith(f"{failure.probe}."))
        if covers and _overlaps(gate.where, failure.where):
            return failure.reason
    for row in measured.inapplicable:
        if row.target == measured.candidate and spec.id in row.metrics:
            return f"{row.probe} does not apply: {row.reason}"
    if mine:
        places = sorted({", ".join(f"{k}: {v}" for k, v in f.where.items()) or "overall" for f in mine})
        shown = "; ".join(places[:6]) + ("; …" if len(places) > 6 else "")
        return f"measured, but not where this gate looks; measured at {shown}"
    return f"no probe of this run measured {spec.id}"


def _overlaps(wanted: Mapping[str, Scalar], have: Mapping[str, Scalar]) -> bool:
    return all(have[key] == value for key, value in wanted.items() if key in have)


def _left_out(gate: GatePart, spec: MetricSpec, measured: Measured) -> tuple[str, ...]:
    """Failures inside what the gate covers: parts it says nothing about."""
    found = [
        f.reason
        for f in measured.failures
        if f.target == measured.candidate
        and spec.id in f.metrics
        and f.where
        and _overlaps(gate.where, f.where)
        and (gate.intersections == 2 or "intersection" not in f.where or "intersection" in gate.where)
    ]
    return tuple(f"Not covered: {reason}." for reason in dict.fromkeys(found))


def _holes(gate: GatePart, spec: MetricSpec, chosen: Sequence[Finding], measured: Measured) -> str:
    """Whole parts of what the gate covers that have no number: the probe broke off, or an attribute gave none.

    Such a gate can fail by what was measured, but not pass.
    """
    mine = [f for f in measured.failures if f.target == measured.candidate]
    broke = [f.reason for f in mine if not f.metrics and spec.id.startswith(f"{f.probe}.")]
    for failure in mine:
        there = dict(failure.where)
        if spec.id not in failure.metrics or "group" in there or not there:
            continue  # a group left out is a note; what is missing over all rows is another gate's
        crossed = "intersection" in there and "intersection" not in gate.where
        covered = (
            _overlaps(gate.where, there) if not crossed else _covers(gate.where, there, crossed=gate.intersections == 2)
        )
        if covered and not any(there.items() <= dict(f.where).items() for f in chosen):
            broke.append(failure.reason)
    return "; ".join(dict.fromkeys(broke))


def scalars(gate: GatePart, chosen: Sequence[Finding], alpha: float, notes: tuple[str, ...]) -> Weighed:
    """One number, or several at once: Bonferroni for the fail claim, intersection-union for the pass."""
    from steelyard.probes.stats.claims import claim, needed_n_scalar

    if gate.max is None and gate.min is None:
        return Weighed(estimate=chosen[0].estimate, notes=notes)
    bases = [f.basis for f in chosen if f.basis is not None and not isinstance(f.basis, Contrasts)]
    if len(bases) < len(chosen):
        return Weighed(missing="measured without an interval, so no claim can be made")
    claims = [claim(basis, maximum=gate.max, minimum=gate.min) for basis in bases]
    if any(c.fail_p <= alpha / len(claims) for c in claims):
        worst = min(range(len(claims)), key=lambda i: claims[i].fail_p)
    else:
        worst = max(range(len(claims)), key=lambda i: claims[i].pass_p)
    finding, basis = chosen[worst], bases[worst]
    detail: dict[str, Scalar] = {key: value for key, value in finding.where.items() if key not in gate.where}
    return Weighed(
        estimate=finding.estimate,
        p_fail=min(1.0, len(claims) * min(c.fail_p for c in claims)),
        p_pass=max(c.pass_p for c in claims),
        detail=detail | ({"readings": len(claims)} if len(claims) > 1 else {}),
        notes=notes,
        needed=lambda: needed_n_scalar(basis, n=finding.estimate.n, maximum=gate.max, minimum=gate.min, alpha=alpha),
    )


def scope_of(gate: GatePart, attributes: tuple[str, ...]) -> tuple[tuple[str, ...], ...]:
    """The sets of groups a gate on a contrast covers, jointly."""
    if "intersection" in gate.where:
        return (tuple(str(gate.where["intersection"]).split("*")),)
    named = (str(gate.where["attribute"]),) if "attribute" in gate.where else attributes
    single = tuple((a,) for a in named)
    if gate.intersections == 1:
        return single
    return single + tuple(pair for pair in combinations(attributes, 2) if set(pair) & set(named))


def _contrasts(gate: GatePart, findings: Sequence[Finding], alpha: float, measured: Measured) -> Weighed:
    """All contrasts in the gate's scope, from the count table behind the findings."""
    from steelyard.probes.stats.joint import detail_of, joint_of, reading_of
    from steelyard.probes.stats.table import CountTable

    beyond = set(gate.where) - {"attribute", "intersection"}
    if beyond:
        return Weighed(missing=f"a contrast between groups cannot be narrowed by {', '.join(sorted(beyond))}")
    scope = scope_of(gate, measured.attributes)
    basis = basis_for(findings, scope)
    table = CountTable.from_bytes(measured.table(basis.table))
    try:
        joint = joint_of(basis, table, 1 - alpha)
        estimate = reading_of(joint)
        if gate.max is None and gate.min is None:
            return Weighed(estimate=estimate, detail=detail_of(joint))
        tolerance = gate.max if basis.form == "difference" else gate.min
        if tolerance is None:
            side = "max" if basis.form == "difference" else "min"
            return Weighed(missing=f"a {basis.form} between groups is gated by `{side}`")
        claimed = joint.claim(tolerance, alpha / measured.gates)
    except ProbeError as error:
        return Weighed(missing=str(error))
    printed = next((f for f in findings if f.basis == basis), None)
    if printed is not None and printed.estimate.level == 1 - alpha:
        estimate = printed.estimate
    detail = detail_of(joint)
    left_out = str(detail.get("untested", ""))
    rest = basis.contrast == "rest" and not findings[0].metric.endswith("-to-rest")
    return Weighed(
        estimate=estimate,
        p_fail=claimed.fail_p,
        p_pass=claimed.pass_p,
        detail=detail,
        notes=(*((REST,) if rest else ()), *((f"Not covered, too few rows: {left_out}.",) if left_out else ())),
        missing="; ".join(reason for _, reason in joint.skipped),
        needed=lambda: joint.needed_n(tolerance, alpha),
    )


def basis_for(findings: Sequence[Finding], scope: tuple[tuple[str, ...], ...]) -> Contrasts:
    """The basis printed for exactly this scope, else the widest one cut to it."""
    bases = [f.basis for f in findings if isinstance(f.basis, Contrasts)]
    for basis in bases:
        if set(basis.scope) == set(scope):
            return basis
    return replace(max(bases, key=lambda b: len(b.scope)), scope=scope)
