"""Record → view: what a report says, section by section, for every format that people read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.audit.record import Record
from steelyard.audit.types import Status
from steelyard.reports.findings_view import families
from steelyard.reports.frontier import Frontier, frontiers
from steelyard.reports.gaps_view import gaps, untested
from steelyard.reports.references_view import ReferencesView, references_view
from steelyard.reports.risk import Risk, risk
from steelyard.reports.scope_view import reproduction, scope, thresholds, thresholds_set, waivers
from steelyard.reports.sections import Banner, Fact, Family, Gap, GateRow, Headline, Scope, Untested, Waiver
from steelyard.reports.shareable import plan_part, shareable
from steelyard.reports.text import guard
from steelyard.reports.verdict_view import banners, gates, headline
from steelyard.reports.words import INTERVALS, PROCEDURES, STATUS_MEANING, STATUS_WORD

__all__ = ["View", "build_view"]


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """A report before it takes a format: suppressed, worded, formatted, not yet escaped."""

    title: str
    candidate: str
    digest: str
    schema: str
    headline: Headline
    banners: tuple[Banner, ...]
    gaps: tuple[Gap, ...]
    gates: tuple[GateRow, ...]
    scope: Scope
    thresholds: tuple[tuple[str, str, str, str], ...]
    thresholds_set: str
    families: tuple[Family, ...]
    frontiers: tuple[Frontier, ...]
    risk: Risk | None
    references: ReferencesView
    untested: Untested
    waivers: tuple[Waiver, ...]
    reproduction: tuple[Fact, ...]
    statuses: tuple[tuple[Status, str, str], ...]
    intervals: str
    procedures: tuple[str, ...]
    suppressed: bool
    minimum: int


def build_view(record: Record, evidence: Mapping[str, bytes] | None = None) -> View:
    """Everything a report says. `evidence` maps digests to bytes, for the curves behind findings."""
    shared = shareable(record)
    return View(
        title=guard(str(plan_part(record, "audit").get("name") or "audit")),
        candidate=guard(record.candidate().name),
        digest=record.digest or record.computed_digest(),
        schema=record.schema,
        headline=headline(shared),
        banners=banners(shared),
        gaps=gaps(shared),
        gates=gates(shared),
        scope=scope(shared),
        thresholds=thresholds(shared),
        thresholds_set=thresholds_set(shared),
        families=families(shared, evidence or {}),
        frontiers=frontiers(shared),
        risk=risk(shared),
        references=references_view(shared),
        untested=untested(shared),
        waivers=waivers(shared),
        reproduction=reproduction(shared),
        statuses=tuple((s, STATUS_WORD[s], STATUS_MEANING[s]) for s in Status),
        intervals=INTERVALS,
        procedures=PROCEDURES,
        suppressed=bool(shared.hidden),
        minimum=shared.minimum,
    )
