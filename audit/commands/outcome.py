"""What a judged record says in a terminal: its gates, its gaps, its exit code."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from steelyard.audit.canonical import to_plain
from steelyard.audit.console import Console, clean
from steelyard.audit.policy import explain_exit
from steelyard.audit.record import Record
from steelyard.audit.types import Failure, Verdict

__all__ = ["outcome_json", "print_outcome"]

SCHEMA = "steelyard.outcome/1"
SHOWN_FAILURES = 5
LONGEST = 400


def print_outcome(
    record: Record, console: Console, *, folder: Path, reports: Mapping[str, Path], as_json: bool = False
) -> None:
    """Print the gates with estimate, interval, n and reason, then what is missing, then the exit code and why."""
    if as_json:
        console.json(outcome_json(record, folder=folder, reports=reports))
        return
    if record.verdicts:
        rows = [_row(verdict) for verdict in record.verdicts]
        console.table(("gate", "verdict", "estimate", "n", "tolerance, and why"), rows)
    if not record.judged:
        console.out("Measured, not judged: the audit has no gates.")
    if record.exploratory:
        console.out(f"Exploratory: {record.exploratory}.")
    _print_gaps(record, console)
    for name, path in reports.items():
        console.out(f"{name} report: {path}")
    console.out(f"run folder: {folder}")
    console.out(f"record digest: {record.digest}")
    console.out(f"exit code {record.exit_code}: {explain_exit(record.exit_code)}")


def outcome_json(record: Record, *, folder: Path, reports: Mapping[str, Path]) -> dict[str, Any]:
    """The same for a program. Infinite limits are the strings "inf" and "-inf"."""
    return {
        "schema": SCHEMA,
        "exit_code": record.exit_code,
        "meaning": explain_exit(record.exit_code),
        "judged": record.judged,
        "exploratory": record.exploratory,
        "verdicts": to_plain(record.verdicts),
        "uncovered": list(record.uncovered),
        "failures": to_plain(record.failures),
        "inapplicable": to_plain(record.inapplicable),
        "folder": str(folder),
        "reports": {name: str(path) for name, path in reports.items()},
        "plan_digest": record.plan_digest,
        "record_digest": record.digest,
    }


def _row(verdict: Verdict) -> tuple[str, ...]:
    from steelyard.reports.numbers import count, estimate_text

    estimate = verdict.estimate
    lines = (verdict.threshold, _cut(_why(verdict)), _cut(verdict.explanation))
    n = round(estimate.n) if estimate is not None else None  # as in the reports: rows, not their effective number
    return (
        str(verdict.gate),
        verdict.status.value.replace("_", " ").upper(),
        estimate_text(estimate) if estimate is not None else "–",
        count(n) if n is not None else "–",
        "\n".join(clean(line) for line in lines if line),
    )


def _why(verdict: Verdict) -> str:
    parts = [verdict.reason]
    if verdict.waived_from is not None:
        parts = [f"{verdict.waived_from.value}, {verdict.waiver}"]
    if verdict.n_needed is not None:
        parts.append(f"about {verdict.n_needed:,} per group would decide if the estimate is the truth")
    if verdict.n_needed_at_parity is not None:
        parts.append(f"about {verdict.n_needed_at_parity:,} per group if there is no gap")
    if verdict.exploratory:
        parts.append("exploratory")
    return "; ".join(parts)


def _print_gaps(record: Record, console: Console) -> None:
    for family in record.uncovered:
        console.out(f"required family '{family}' has nothing measured")
    holes = Counter(f"{hole.probe} on {hole.target}: {_place(hole)}{hole.reason}" for hole in record.failures)
    for text, times in [*holes.items()][:SHOWN_FAILURES]:
        console.out(f"not measured: {_cut(text)}" + (f" ({times} metrics)" if times > 1 else ""))
    more = sum([*holes.values()][SHOWN_FAILURES:])
    if more > 0:
        console.out(f"not measured: {more:,} more; the report lists them")
    skipped = {(row.probe, row.reason) for row in record.inapplicable if row.target == record.candidate().name}
    for probe, reason in sorted(skipped):
        console.out(f"not applicable: {probe}: {reason}")


def _place(hole: Failure) -> str:
    """Where a hole is, where its reason does not say it."""
    group = hole.where.get("group")
    if group is None or str(group) in hole.reason:
        return ""
    return f"{hole.where.get('attribute', hole.where.get('intersection', 'group'))} = {group}: "


def _cut(text: str) -> str:
    """`text`, or the beginning of a long one: three hundred small groups are for the report."""
    return text if len(text) <= LONGEST else f"{text[:LONGEST].rsplit(' ', 1)[0]} … (the report has all of it)"
