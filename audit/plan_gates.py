"""Can each gate of a plan be judged, and does its tolerance point the right way?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import GatePart, Plan, ReferencePart
from steelyard.audit.plan_source import PlanSource, did_you_mean
from steelyard.audit.policy import better, is_contrast
from steelyard.audit.types import Direction, MetricSpec

__all__ = ["WHERE_KEYS", "gate_errors", "gate_warnings", "reference_members"]

WHERE_KEYS = (
    "attribute", "group", "intersection", "class", "severity", "eps", "fpr", "reference",
    "category", "term", "quantile", "score", "stratum",
    "attack", "budget", "canary", "kind", "recogniser", "split",
)  # fmt: skip


def gate_errors(
    plan: Plan,
    source: PlanSource,
    *,
    metrics: Mapping[str, MetricSpec],
    chosen: Iterable[str],
    known: Sequence[str],
    recipes: Sequence[str],
) -> Iterator[PlanError]:
    """Everything that keeps a gate from being judged as it was meant.

    `chosen` are the ids of the probes in the plan, `known` those of all probes.
    """
    chosen = list(chosen)
    for i, gate in enumerate(plan.gates):
        spec = metrics.get(gate.metric)
        if spec is None:
            yield _unknown_metric(source, i, gate.metric, metrics)
        else:
            yield from _unmeasured(source, i, spec, chosen, known)
            yield from _tolerance_errors(source, i, gate, spec)
            yield from _contrast_errors(plan, source, i, gate, spec)
        yield from _versus_errors(plan, source, i, gate, spec, recipes)
        yield from _where_errors(plan, source, i, gate)
        yield from _id_errors(plan, source, i, gate)


def reference_members(name: str, recipes: Sequence[str]) -> frozenset[str]:
    """The recipes that a reference's name stands for: itself, its family's, or the one of that last name."""
    return frozenset(r for r in recipes if r == name or r.startswith(f"{name}/") or r.endswith(f"/{name}"))


def _called(entry: ReferencePart, recipes: Sequence[str]) -> frozenset[str]:
    """What findings call the members of one entry of `references`."""
    members = reference_members(entry.name, recipes)
    return (
        members
        if not entry.called
        else frozenset({entry.called, *(f"{entry.called}/{m.rpartition('/')[2]}" for m in members)})
    )


def gate_warnings(plan: Plan, source: PlanSource, metrics: Mapping[str, MetricSpec]) -> Iterator[str]:
    """Tolerances that no result can break."""
    for i, gate in enumerate(plan.gates):
        spec = metrics.get(gate.metric)
        if spec is None:
            continue
        for key, given, limit in (("max", gate.max, spec.upper), ("min", gate.min, spec.lower)):
            if given is not None and given == limit:
                yield (
                    f"{source.where(('gates', i, key))}: gates[{i}].{key} {given:g} is the limit of {spec.id}: "
                    "this gate can never fail"
                )


def _unknown_metric(source: PlanSource, i: int, metric: str, metrics: Mapping[str, MetricSpec]) -> PlanError:
    hint = did_you_mean(metric, sorted(metrics), "'steelyard probes' lists the metrics")
    return source.error(("gates", i, "metric"), f"gates[{i}].metric {metric!r} is unknown", hint)


def _unmeasured(
    source: PlanSource, i: int, spec: MetricSpec, chosen: Sequence[str], known: Sequence[str]
) -> Iterator[PlanError]:
    owners = [probe for probe in known if spec.id.startswith(f"{probe}.")]
    probe = max(owners, key=len, default="")
    if probe and probe not in chosen:
        message = f"gates[{i}].metric '{spec.id}' is measured by {probe}, which the plan does not ask for"
        yield source.error(("gates", i, "metric"), message, f"add {probe} to probes")


def _tolerance_errors(source: PlanSource, i: int, gate: GatePart, spec: MetricSpec) -> Iterator[PlanError]:
    at = ("gates", i)
    bare = gate.versus is None and gate.max is None and gate.min is None
    if not bare and spec.reading == "disclosure":
        message = f"gates[{i}] sets a tolerance on {spec.id}, a disclosure without a pass mark"
        yield source.error(at, message, "leave the tolerance out: the gate then asks that it be measured")
    if bare and spec.reading != "disclosure" and spec.direction is not Direction.NONE:
        key = better(spec) or "max or min"
        yield source.error(at, f"gates[{i}] has no tolerance", f"give it {key}, or versus with not_worse_by")
    if gate.max is not None and gate.min is not None and gate.min > gate.max:
        yield source.error((*at, "min"), f"gates[{i}].min {gate.min:g} is above its max {gate.max:g}", "swap them")
    wrong, right = {Direction.HIGHER: ("max", "min"), Direction.LOWER: ("min", "max")}.get(spec.direction, ("", ""))
    if wrong and getattr(gate, wrong) is not None:
        message = f"gates[{i}].{wrong} is on {spec.id}, of which {spec.direction.value} is better"
        yield source.error((*at, wrong), message, f"use {right}")
    for key in ("max", "min"):
        value = getattr(gate, key)
        if value is not None and not spec.lower <= value <= spec.upper:
            message = f"gates[{i}].{key} is {value:g}, outside the range of {spec.id}"
            yield source.error((*at, key), message, f"it lies between {spec.lower:g} and {spec.upper:g}")
    width = spec.upper - spec.lower
    if gate.not_worse_by is not None and gate.not_worse_by >= width:
        message = f"gates[{i}].not_worse_by is {gate.not_worse_by:g}, as wide as the range of {spec.id}"
        yield source.error((*at, "not_worse_by"), message, f"it must be less than {width:g}")


def _versus_errors(
    plan: Plan,
    source: PlanSource,
    i: int,
    gate: GatePart,
    spec: MetricSpec | None,
    recipes: Sequence[str],
) -> Iterator[PlanError]:
    at = ("gates", i)
    if gate.versus is None:
        if gate.not_worse_by is not None:
            message = f"gates[{i}].not_worse_by has nothing to be compared with"
            yield source.error((*at, "not_worse_by"), message, "add versus: a name from references")
        return
    if gate.max is not None or gate.min is not None:
        hint = "make it two gates: one with the limit, one with versus"
        yield source.error((*at, "versus"), f"gates[{i}] has both versus and a limit", hint)
    if gate.not_worse_by is None:
        message = f"gates[{i}].not_worse_by is missing beside versus"
        yield source.error((*at, "versus"), message, "say how much worse is still acceptable, such as 0.01, or 0")
    entries = plan.named_references
    listed_names = [entry.called or entry.name for entry in entries]
    there = frozenset[str]().union(*(_called(entry, recipes) for entry in entries))
    named = frozenset(name for name in there if name == gate.versus or name.startswith(f"{gate.versus}/"))
    if not named:
        listed = ", ".join(listed_names) or "none"
        hint = did_you_mean(gate.versus, sorted({*listed_names, *there}), f"these are {listed}; add it there")
        yield source.error((*at, "versus"), f"gates[{i}].versus {gate.versus!r} is not in references", hint)
    if spec is not None and spec.direction is Direction.NONE:
        message = f"gates[{i}].versus is on {spec.id}, which has no better direction"
        yield source.error((*at, "versus"), message, "nothing can be worse there; use max and min")


def _where_errors(plan: Plan, source: PlanSource, i: int, gate: GatePart) -> Iterator[PlanError]:
    groups, where = plan.data.groups, gate.where
    known = bool(groups) or plan.data.dataset is None  # a bundled data set brings its own groups
    at = ("gates", i, "where")
    for key in where:
        if key not in WHERE_KEYS:
            hint = did_you_mean(key, WHERE_KEYS, f"it is one of {', '.join(WHERE_KEYS)}")
            yield source.error((*at, key), f"gates[{i}].where.{key} is an unknown key", hint)
    attribute, intersection = where.get("attribute"), where.get("intersection")
    if attribute is not None and known and attribute not in groups:
        hint = did_you_mean(str(attribute), groups, f"these are {', '.join(groups) or 'none'}")
        yield source.error((*at, "attribute"), f"gates[{i}].where.attribute {attribute!r} is not in data.groups", hint)
    pairs = [f"{a}*{b}" for a, b in combinations(groups, 2)]
    if intersection is not None and known and intersection not in pairs:
        hint = did_you_mean(str(intersection), pairs, f"these are {', '.join(pairs) or 'none'}")
        message = f"gates[{i}].where.intersection {intersection!r} is no intersection of data.groups"
        yield source.error((*at, "intersection"), message, hint)
    if attribute is not None and intersection is not None:
        hint = "keep one; where: {intersection: a*b} stands alone"
        yield source.error(at, f"gates[{i}].where has both attribute and intersection", hint)
    found_by_search = "=" in str(where.get("group", ""))  # a subgroup such as "age=(20, 30] & sex=f" names its columns
    if "group" in where and attribute is None and intersection is None and not found_by_search:
        yield source.error(at, f"gates[{i}].where.group has no attribute", "say of which attribute the group is")
    if gate.intersections == 2 and known and len(groups) < 2:
        message = f"gates[{i}].intersections is 2, but data.groups has {len(groups) or 'no'} attribute"
        yield source.error(("gates", i, "intersections"), message, "an intersection takes two")


def _contrast_errors(plan: Plan, source: PlanSource, i: int, gate: GatePart, spec: MetricSpec) -> Iterator[PlanError]:
    if not is_contrast(spec.id):
        return
    if not plan.data.groups and plan.data.dataset is None:
        yield source.error(("gates", i, "metric"), f"gates[{i}] compares groups, but data.groups is empty", "name them")
    for key in sorted(set(gate.where) & set(WHERE_KEYS) - {"attribute", "intersection"}):
        message = f"gates[{i}].where.{key} cannot narrow {spec.id}, which compares all groups of an attribute"
        yield source.error(("gates", i, "where", key), message, "it takes attribute or intersection")


def _id_errors(plan: Plan, source: PlanSource, i: int, gate: GatePart) -> Iterator[PlanError]:
    if gate.id is None:
        return
    if gate.id in [other.id for other in plan.gates[:i]]:
        yield source.error(("gates", i, "id"), f"gates[{i}].id {gate.id!r} is there twice", "ids are unique")
    if gate.id.isdecimal() or not gate.id:
        hint = "a number is a gate's place in the list; use a name"
        yield source.error(("gates", i, "id"), f"gates[{i}].id {gate.id!r} is not a name", hint)
