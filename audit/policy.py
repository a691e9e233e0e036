"""What the verdicts mean for the one who asked: gates in words, waivers, and the exit code.

Exit codes, the same everywhere: 0 every gate passed; 1 a gate failed; 3 a gate is inconclusive (or an attack merely
did not succeed) and the policy asks for a review; 4 incomplete. 1 beats 4 beats 3: a failure is certain whatever else
is missing, and a hole is worse than a doubt. `reported` and `waived` never change the code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import combinations

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import GatePart, Plan, WaiverPart
from steelyard.audit.types import Direction, MetricSpec, Scalar, Status, Verdict

__all__ = [
    "ResolvedGate",
    "apply_waivers",
    "describe_gate",
    "exit_code",
    "explain_exit",
    "gate_number",
    "resolve_gates",
]

WAIVABLE = frozenset({Status.FAIL, Status.INCONCLUSIVE, Status.NOT_REFUTED})

EXIT_MEANING = {
    0: "every gate passed, or its policy accepts its verdict",
    1: "a gate failed",
    2: "the plan or the call is wrong",
    3: "a gate needs review: its verdict is inconclusive or not refuted",
    4: "incomplete: something required crashed or was not measured",
    5: "the record's integrity check failed",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedGate:
    """A gate with its metric found: `number` counts from 1, `metric` is the canonical id, `threshold` is in words."""

    number: int
    metric: str
    spec: MetricSpec
    threshold: str
    part: GatePart


def resolve_gates(plan: Plan, metrics: Mapping[str, MetricSpec]) -> tuple[ResolvedGate, ...]:
    """The plan's gates with their metrics; `metrics` maps ids and aliases. Raises PlanError for an unknown metric."""
    found = []
    for number, part in enumerate(plan.gates, start=1):
        spec = metrics.get(part.metric)
        if spec is None:
            raise PlanError(f"gates[{number - 1}].metric {part.metric!r} is unknown", hint="see 'steelyard probes'")
        words = describe_gate(part, spec, plan.data.groups)
        gate = ResolvedGate(number=number, metric=spec.id, spec=spec, threshold=words, part=part)
        found.append(gate)
    return tuple(found)


def gate_number(wanted: int | str, gates: Sequence[GatePart]) -> int | None:
    """The number, from 1, of the gate that a waiver names by number or by id; None where there is none."""
    if isinstance(wanted, str):
        named = [i for i, gate in enumerate(gates, start=1) if gate.id == wanted]
        if named:
            return named[0]
        if not wanted.isdecimal():
            return None
        wanted = int(wanted)
    return wanted if 1 <= wanted <= len(gates) else None


def apply_waivers(
    verdicts: Iterable[Verdict], waivers: Iterable[WaiverPart], gates: Sequence[GatePart], today: date
) -> tuple[Verdict, ...]:
    """The verdicts with those that somebody answers for marked as waived.

    A waiver accepts a known result: it covers fail, inconclusive and not_refuted, up to and including the day it
    expires. A gate that was not measured, in whole or in part, has no result to accept, so it is never waived. Of
    several waivers of one gate the one that lasts longest counts.
    """
    valid: dict[int, WaiverPart] = {}
    for waiver in sorted(waivers, key=lambda w: w.expires):
        number = gate_number(waiver.gate, gates)
        if number is not None and today <= waiver.expires:
            valid[number] = waiver
    return tuple(_waived(v, valid[v.gate]) if v.gate in valid else v for v in verdicts)


def _waived(verdict: Verdict, waiver: WaiverPart) -> Verdict:
    if verdict.status not in WAIVABLE or verdict.detail.get("incomplete"):
        return verdict
    text = f"waived by {waiver.owner} until {waiver.expires.isoformat()}: {waiver.reason}"
    return replace(verdict, status=Status.WAIVED, waived_from=verdict.status, waiver=text)


def exit_code(verdicts: Iterable[Verdict], uncovered: Sequence[str], *, incomplete: bool, judged: bool = True) -> int:
    """The audit's exit code: 0, 1, 3 or 4, of which 1 beats 4 beats 3.

    `uncovered` are required families with nothing measured; `incomplete` says that something required crashed. An
    audit that claims to be judged and has no verdict is incomplete, never a pass.
    """
    codes = {_code(verdict) for verdict in verdicts}
    if incomplete or uncovered or (judged and not codes):
        codes.add(4)
    return next((code for code in (1, 4, 3) if code in codes), 0)


def _code(verdict: Verdict) -> int:
    match verdict.status:
        case Status.PASS | Status.REPORTED | Status.WAIVED:
            return 0
        case Status.FAIL:
            return 1
        case Status.NOT_MEASURED:
            return 4
        case Status.INCONCLUSIVE:
            return {"review": 3, "fail": 1, "accept": 0}[verdict.on_inconclusive]
        case Status.NOT_REFUTED:
            return 0 if verdict.on_not_refuted == "accept" else 3


def explain_exit(code: int) -> str:
    """What an exit code means, for people."""
    return EXIT_MEANING.get(code, "Steelyard itself broke")


def describe_gate(gate: GatePart, spec: MetricSpec, groups: Sequence[str] = ()) -> str:
    """The gate in words: `fairness.selection-rate.ratio ≥ 0.8, between all groups of sex, race`.

    `groups` are the plan's protected attributes, which a gate without `where` covers jointly.
    """
    if gate.versus is not None:
        margin = gate.not_worse_by or 0.0
        tolerance = "no worse than" if margin == 0 else f"at most {_number(margin)} worse than"
        claim = f"{spec.id} {tolerance} {gate.versus}"
    elif gate.min is not None and gate.max is not None:
        claim = f"{_number(gate.min)} ≤ {spec.id} ≤ {_number(gate.max)}"
    elif gate.min is not None:
        claim = f"{spec.id} ≥ {_number(gate.min)}"
    elif gate.max is not None:
        claim = f"{spec.id} ≤ {_number(gate.max)}"
    else:
        claim = spec.id
    scope = _scope(gate, spec, groups)
    return f"{claim}, {scope}" if scope else claim


def is_contrast(metric: str) -> bool:
    """Whether a metric compares groups with each other, by its name: `….difference`, `….tpr-ratio`."""
    family, _, rest = metric.partition(".")
    return family == "fairness" and rest.endswith(("difference", "ratio"))


def _scope(gate: GatePart, spec: MetricSpec, groups: Sequence[str]) -> str:
    where = dict(gate.where)
    named = where.pop("attribute", None) or where.pop("intersection", None)
    others = [f"{key} {_number(value)}" for key, value in where.items() if key != "group"]
    if "group" in where:
        first = [f"for the group {where['group']} of {named}" if named else f"for the group {where['group']}"]
    elif is_contrast(spec.id):
        covered = [str(named)] if named else [*groups]
        if gate.intersections == 2 and "intersection" not in gate.where:
            covered += [f"{a}*{b}" for a, b in combinations(groups, 2) if not named or named in (a, b)]
        first = [f"between all groups of {', '.join(covered)}"] if covered else ["between all groups"]
    else:
        first = [f"for every group of {named}"] if named else []
    return ", ".join([*first, *others])


def _number(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return str(value)


def better(spec: MetricSpec) -> str | None:
    """The key that bounds the bad side of a metric: `max` where lower is better, `min` where higher is, else None."""
    return {Direction.LOWER: "max", Direction.HIGHER: "min"}.get(spec.direction)
