"""What was audited, with which thresholds, and how to do it again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steelyard.audit.types import Capability
from steelyard.reports.findings_view import breadth
from steelyard.reports.numbers import count, limit, percent
from steelyard.reports.sections import Fact, GroupTable, Scope, Waiver
from steelyard.reports.shareable import WITHHELD, Shareable, plan_part
from steelyard.reports.text import describe_where, guard
from steelyard.reports.words import ABILITIES, ALWAYS_OPEN, MISSING_ACCESS

__all__ = ["PRIVATE", "reproduction", "scope", "thresholds", "thresholds_set", "waivers"]

PRIVATE = frozenset({"host", "hostname", "user", "username", "login", "cwd", "home"})
_COMMAND = "command"


def scope(shared: Shareable) -> Scope:
    """Model, access, data, groups, notes, and what this access cannot establish."""
    record, card = shared.record, shared.record.sample
    candidate = record.candidate()
    audit = plan_part(record, "audit")
    facts = [
        Fact(label="Purpose of the model", value=guard(str(audit.get("purpose") or "not stated in the plan"))),
        Fact(label="Answers for the audit", value=guard(str(audit.get("owner") or "not stated in the plan"))),
        Fact(label="Access to the model", value=_access(candidate.kind, candidate.capabilities)),
        Fact(label="Data", value=guard(card.source) + (f" (licence: {guard(card.licence)})" if card.licence else "")),
        Fact(label="Rows", value=count(card.n) + _training(card.n_train)),
        Fact(label="Task and modality", value=f"{guard(card.task)}, {guard(card.modality)}"),
    ]
    if card.classes:
        pairs = zip(card.classes, card.class_counts, strict=False)
        facts.append(Fact(label="Classes", value="; ".join(f"{guard(c)}: {count(n)}" for c, n in pairs)))
    if card.weighted:
        facts.append(Fact(label="Weights", value="survey weights enter every figure; effective n beside it"))
    if card.clusters is not None:
        facts.append(Fact(label="Clusters", value=f"{count(card.clusters)} units that rows belong to"))
    return Scope(
        facts=tuple(facts),
        targets=tuple(
            (
                guard(t.name),
                guard(t.role),
                guard(t.kind),
                guard(t.description) or "–",
                _abilities(t.capabilities),
            )
            for t in record.targets
        ),
        groups=_groups(shared),
        notes=tuple(guard(shared.text(note)) for note in card.notes),
        cannot=_cannot(candidate.kind, candidate.capabilities),
    )


def _training(n_train: int | None) -> str:
    return "" if n_train is None else f", beside {count(n_train)} training rows that no figure is measured on"


def _access(kind: str, capabilities: tuple[str, ...]) -> str:
    if kind == "predictions":
        return "predictions only: a table of what the model decided"
    level = "white box" if Capability.GRADIENTS in capabilities else "black box"
    again = ", and can be trained again" if Capability.FIT_AGAIN in capabilities else ""
    return f"{level}{again}"


def _abilities(capabilities: tuple[str, ...]) -> str:
    known = [words for ability, words in ABILITIES.items() if ability in capabilities]
    return ", ".join([*known, *(guard(c) for c in capabilities if c not in ABILITIES)]) or "–"


def _cannot(kind: str, capabilities: tuple[str, ...]) -> tuple[str, ...]:
    found = [text for capability, text in MISSING_ACCESS.items() if capability not in capabilities]
    if kind == "predictions":
        found.insert(0, "The model itself was not available: nothing is known of its answers to any other input.")
    return (*found, *ALWAYS_OPEN)


def _groups(shared: Shareable) -> tuple[GroupTable, ...]:
    card = shared.record.sample
    tables: dict[str, list[tuple[str, str, str]]] = {}
    for entry in card.groups:
        rows = tables.setdefault(entry.attribute, [])
        if (entry.attribute, entry.group) in shared.hidden:
            continue
        name = guard(entry.group) + (" (unknown)" if entry.unknown and entry.group != "unknown" else "")
        rows.append((name, count(entry.n), percent(entry.n / card.n) if card.n else "–"))
    for scope_name, rows in tables.items():
        n = sum(1 for s, _ in shared.hidden if s == scope_name)
        if n:
            rows.append((f"{n} group{'s' * (n != 1)} not shown", WITHHELD, WITHHELD))
    return tuple(GroupTable(attribute=guard(a).replace("*", " × "), rows=tuple(r)) for a, r in tables.items())


def thresholds(shared: Shareable) -> tuple[tuple[str, str, str, str], ...]:
    """The plan's gates: number or id, metric, where, tolerance."""
    gates = shared.record.plan.get("gates")
    measured = {verdict.gate: verdict.metric for verdict in shared.record.verdicts}  # the plan may write an alias
    rows = []
    for index, gate in enumerate(gates if isinstance(gates, (list, tuple)) else ()):
        if not isinstance(gate, Mapping):
            continue
        where = dict(gate.get("where") or {})
        if gate.get("intersections", 1) != 1:
            where["intersections"] = gate["intersections"]
        words = [f"at most {limit(gate['max'])}"] if gate.get("max") is not None else []
        words += [f"at least {limit(gate['min'])}"] if gate.get("min") is not None else []
        if gate.get("versus"):
            words.append(f"against {guard(str(gate['versus']))}")
        if gate.get("not_worse_by") is not None:
            words.append(f"not worse by more than {limit(gate['not_worse_by'])}")
        name = f"{index + 1}" + (f" ({guard(str(gate['id']))})" if gate.get("id") else "")
        metric = str(gate.get("metric", ""))
        place = (describe_where(where) if where else breadth(shared, measured.get(index + 1, metric))) or "–"
        rows.append((name, guard(metric), place, ", ".join(words) or "reported only"))
    return tuple(rows)


def thresholds_set(shared: Shareable) -> str:
    """When the thresholds were fixed, as far as the record knows."""
    record = shared.record
    date = record.environment.get("thresholds_set") or record.environment.get("started")
    moment = str(date).replace("T", " ").replace("+00:00", " UTC")
    said = f"fixed no later than {guard(moment)}, when the run began," if date else "fixed before the run"
    if record.exploratory:
        said = "changed after the run"
    return f"The thresholds were {said} and are part of what the plan digest {record.plan_digest[:16]}… covers."


def waivers(shared: Shareable) -> tuple[Waiver, ...]:
    """The plan's waivers."""
    entries = shared.record.plan.get("waivers")
    return tuple(
        Waiver(
            gate=guard(str(w.get("gate", ""))),
            owner=guard(str(w.get("owner", ""))),
            expires=guard(str(w.get("expires", ""))),
            reason=guard(str(w.get("reason", ""))),
        )
        for w in (entries if isinstance(entries, (list, tuple)) else ())
        if isinstance(w, Mapping)
    )


def reproduction(shared: Shareable) -> tuple[Fact, ...]:
    """Command, seed, digests, fingerprints, versions; names of machines and people are left out."""
    record = shared.record
    audit = plan_part(record, "audit")
    environment: Mapping[str, Any] = record.environment
    command = str(environment.get(_COMMAND) or "not recorded: audited from Python")
    facts = [
        Fact(label="Command", value=guard(command), code=True),
        Fact(label="Seed", value=str(audit.get("seed", 0)), code=True),
        Fact(label="Level of the tests (alpha)", value=str(audit.get("alpha", 0.05)), code=True),
        Fact(label="Record digest (SHA-256)", value=record.digest or record.computed_digest(), code=True),
        Fact(label="Plan digest", value=record.plan_digest, code=True),
        Fact(label="Data fingerprint", value=guard(record.sample.fingerprint), code=True),
    ]
    facts += [
        Fact(label=f"Fingerprint of {guard(t.name)}", value=guard(t.fingerprint), code=True) for t in record.targets
    ]
    facts += [
        Fact(label=f"Version of {guard(str(k))}", value=guard(str(v)), code=True) for k, v in record.versions.items()
    ]
    for key, value in sorted(environment.items()):
        if key.lower() in PRIVATE or key == _COMMAND or not isinstance(value, (str, int, float, bool)):
            continue
        facts.append(Fact(label=guard(key).replace("_", " ").capitalize(), value=guard(str(value)), code=True))
    return tuple(facts)
