"""The report for programs: what may be shared of a record, as JSON under the schema id `steelyard.report/1`.

It has the record's own names, so that a reader of record.json reads it too, with these differences: the estimate of a
withheld finding or verdict is null and `withheld` is true; groups hidden are listed under `suppression` and carry no
count, nor do comparisons then; texts about them have their numbers masked; what a gate needs to be judged again
(`basis`), evidence bytes and names of machines are left out, but for the tables and the most exposed records behind
findings, which stand under `tables` and `exposed`. Strings are exact: no one pastes JSON into a spreadsheet,
so nothing is guarded.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from steelyard.audit.canonical import to_plain
from steelyard.audit.record import Record
from steelyard.audit.types import Estimate, Finding, Verdict
from steelyard.reports.exposed import shown_exposed
from steelyard.reports.scope_view import PRIVATE
from steelyard.reports.shareable import Shareable, shareable
from steelyard.reports.tables_view import shown_tables
from steelyard.reports.verdict_view import exit_meaning

__all__ = ["SCHEMA", "render_json"]

SCHEMA = "steelyard.report/1"


def render_json(record: Record, evidence: Mapping[str, bytes] | None = None) -> str:
    """report.json: keys sorted, one space of indent, a newline at the end; infinities are "inf" and "-inf"."""
    shared = shareable(record)
    plain = {
        "schema": SCHEMA,
        "record": {"schema": record.schema, "digest": record.digest or record.computed_digest()},
        "plan": record.plan,
        "plan_digest": record.plan_digest,
        "judged": record.judged,
        "exit_code": record.exit_code,
        "exit_meaning": exit_meaning(record),
        "exploratory": record.exploratory,
        "targets": record.targets,
        "sample": _sample(shared),
        "verdicts": [_verdict(shared, v) for v in record.verdicts],
        "uncovered": record.uncovered,
        "findings": [_finding(shared, f) for f in record.findings if not shared.hides_table(f.where)],
        "tables": _tables(shared, evidence or {}),
        "exposed": _exposed(shared, evidence or {}),
        "failures": _failures(shared),
        "inapplicable": record.inapplicable,
        "suppression": _suppression(shared),
        "versions": record.versions,
        "environment": {k: v for k, v in record.environment.items() if k.lower() not in PRIVATE},
    }
    text = json.dumps(to_plain(plain), sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "backslashreplace").decode("utf-8") + "\n"


def _sample(shared: Shareable) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(shared.record.sample)
    plain["groups"] = [g for g in plain["groups"] if g["attribute"] not in shared.hidden_tables]
    for entry in plain["groups"]:
        entry["withheld"] = (entry["attribute"], entry["group"]) in shared.hidden
        if entry["withheld"]:
            entry["n"] = None
    plain["notes"] = [shared.text(note) for note in shared.record.sample.notes]
    return plain


def _estimate(shared: Shareable, metric: str, estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    plain: dict[str, Any] = to_plain(estimate)
    return plain if shared.shows_n(metric) else {**plain, "n": None, "n_effective": None}


def _finding(shared: Shareable, finding: Finding) -> dict[str, Any]:
    estimate = shared.estimate(finding)
    plain: dict[str, Any] = to_plain(finding)
    plain.pop("basis")
    plain["estimate"] = _estimate(shared, finding.metric, estimate)
    plain["withheld"] = estimate is None
    plain["detail"] = shared.detail(finding.detail, finding.where)
    if shared.hides(finding.where):
        plain["evidence"] = []
    return plain


def _tables(shared: Shareable, evidence: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The tables that probes laid out, of every target, less what is hidden; null is a cell the table leaves empty."""
    found: list[dict[str, Any]] = []
    for table in shown_tables(shared, shared.record.findings, evidence):
        plain: dict[str, Any] = to_plain(table)
        plain["columns"] = [{"name": name, "kind": kind} for name, kind in table.columns]
        found.append(plain)
    return found


def _exposed(shared: Shareable, evidence: Mapping[str, bytes]) -> list[dict[str, Any]]:
    """The records that each attack finds first, of every target; `found` is null where the evidence is lost."""
    return [to_plain(item) for item in shown_exposed(shared, shared.record.findings, evidence)]


def _verdict(shared: Shareable, verdict: Verdict) -> dict[str, Any]:
    plain: dict[str, Any] = to_plain(verdict)
    estimate = shared.verdict_estimate(verdict)
    withheld = shared.withholds(verdict)
    plain["withheld"] = withheld
    plain["estimate"] = _estimate(shared, verdict.metric, estimate)
    plain["detail"] = shared.detail(verdict.detail, verdict.where)
    for key in ("reason", "explanation"):
        plain[key] = "" if withheld else shared.text(plain[key], verdict.where)
    if withheld:
        plain |= dict.fromkeys(("p_fail", "p_fail_adjusted", "p_pass", "n_needed", "n_needed_at_parity"))
    return plain


def _failures(shared: Shareable) -> list[dict[str, Any]]:
    found = []
    for failure in shared.record.failures:
        if shared.hides_table(failure.where):
            continue
        plain: dict[str, Any] = to_plain(failure)
        plain["reason"] = shared.text(failure.reason, failure.where)
        plain["hint"] = shared.text(failure.hint, failure.where)
        found.append(plain)
    return found


def _suppression(shared: Shareable) -> dict[str, Any]:
    """Which groups are hidden. Of a table hidden whole only the name is given: its empty cells would tell of others."""
    hidden = [
        {"scope": scope, "group": group} for scope, group in sorted(shared.hidden) if scope not in shared.hidden_tables
    ]
    return {"minimum": shared.minimum, "groups": hidden, "tables": sorted(shared.hidden_tables)}
