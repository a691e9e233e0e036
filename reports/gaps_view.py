"""What an audit does not cover, and why: what stands first in a report, and in full near its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

from steelyard.audit.record import Record
from steelyard.audit.types import Failure, Inapplicable, Status
from steelyard.reports.numbers import count
from steelyard.reports.reasons import failure_gaps, inapplicable_gaps
from steelyard.reports.sections import Gap, Untested
from steelyard.reports.shareable import LEFT_OUT, Shareable
from steelyard.reports.text import guard

__all__ = ["gaps", "untested"]

Row = TypeVar("Row", bound=Failure | Inapplicable)


def gaps(shared: Shareable) -> tuple[Gap, ...]:
    """What the audit does not cover, gravest first: families, gates without a number, crashes, groups left out."""
    record = shared.record
    found = [
        Gap(
            kind="Family not measured",
            subject=guard(name),
            reason="required by the plan, and nothing in it was measured",
        )
        for name in record.uncovered
    ]
    for v in record.verdicts:
        if v.status is Status.NOT_MEASURED:
            subject = f"gate {v.gate}: {guard(v.metric)}"
            found.append(Gap(kind="Gate not measured", subject=subject, reason=guard(shared.text(v.reason, v.where))))
    rest = untested(shared)
    if record.failures:
        probes = sorted({guard(f.probe) for f in record.failures})
        reason = f"{_tally(record, record.failures)} gave no number"
        found.append(Gap(kind="Could not be measured", subject=", ".join(probes), reason=reason, more=True))
    if record.inapplicable:
        measured = {(f.probe, f.target) for f in record.findings}
        partly = {i.probe: " (in part)" for i in record.inapplicable if (i.probe, i.target) in measured}
        names = sorted({guard(i.probe) + partly.get(i.probe, "") for i in record.inapplicable})
        found.append(Gap(kind="Does not apply", subject=", ".join(names), reason="what is missing", more=True))
    if rest.groups:
        groups = [part for gap in rest.groups for part in gap.subject.split("; ")]
        reason = "too few rows for inference in some or all comparisons"
        found.append(Gap(kind="Groups not tested", subject="; ".join(groups), reason=reason, more=True))
    if shared.hidden:
        reason = f"fewer than {shared.minimum} rows, or hidden to protect a group that has fewer"
        found.append(Gap(kind="Groups not shown", subject=rest.suppression.split(":")[0], reason=reason, more=True))
    return tuple(found)


def untested(shared: Shareable) -> Untested:
    """What gave no number and why, groups left out of comparisons, groups hidden."""
    record = shared.record
    own, theirs = _of_candidate(record, record.failures), _of_references(record, record.failures)
    own_unfit, their_unfit = _of_candidate(record, record.inapplicable), _of_references(record, record.inapplicable)
    return Untested(
        failures=failure_gaps(shared, own),
        inapplicable=inapplicable_gaps(shared, own_unfit),
        reference_failures=failure_gaps(shared, theirs),
        reference_inapplicable=inapplicable_gaps(shared, their_unfit),
        of_references=_both(len(theirs), len(their_unfit)),
        groups=_groups_left_out(shared),
        suppression=_suppression(shared),
        withheld=_withheld(shared),
    )


def _both(failed: int, unfit: int) -> str:
    """ "1,814 parts could not be measured, 18 times a probe did not apply"."""
    words = [f"{count(failed)} part{'s' * (failed != 1)} could not be measured"] if failed else []
    words += [f"{count(unfit)} time{'s' * (unfit != 1)} a probe did not apply"] if unfit else []
    return ", ".join(words)


def _of_candidate(record: Record, rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.target == record.candidate().name)


def _of_references(record: Record, rows: Iterable[Row]) -> tuple[Row, ...]:
    return tuple(row for row in rows if row.target != record.candidate().name)


def _tally(record: Record, rows: Sequence[Failure | Inapplicable]) -> str:
    """ "86 parts of it on the model under audit and 1,814 on 26 references", or one side alone."""
    own, theirs = len(_of_candidate(record, rows)), len(_of_references(record, rows))
    models = len({row.target for row in rows} - {record.candidate().name})
    beside = f"{models} reference{'s' * (models != 1)}"
    if not theirs:
        return f"{count(own)} part{'s' * (own != 1)} of it"
    if not own:
        return f"{count(theirs)} part{'s' * (theirs != 1)} of it on {beside}"
    return f"{count(own)} part{'s' * (own != 1)} of it on the model under audit and {count(theirs)} on {beside}"


def _groups_left_out(shared: Shareable) -> tuple[Gap, ...]:
    """The groups that comparisons of the candidate left out for their size, those of the same metrics together."""
    candidate = shared.record.candidate().name
    metrics: dict[str, dict[str, None]] = {}
    for finding in shared.record.findings:
        for key, value in finding.detail.items():
            if finding.target == candidate and key.startswith(LEFT_OUT) and isinstance(value, str):
                for group in filter(None, shared.text(value).split("; ")):
                    metrics.setdefault(group, {})[finding.metric] = None
    together: dict[tuple[str, ...], list[str]] = {}
    for group, names in metrics.items():
        together.setdefault(tuple(names), []).append(guard(group))
    gaps = []
    for shared_by, groups in together.items():
        first = guard(shared_by[0])
        such = first if len(shared_by) == 1 else f"{len(shared_by)} metrics, such as {first}"
        gaps.append(Gap(kind="Left out", subject=_by_scope(groups), reason=f"too few rows for inference in {such}"))
    return tuple(gaps)


def _by_scope(groups: Iterable[str]) -> str:
    """ "race = Black", "race = Other" as "race: Black, Other"; an entry without " = " stands as it is."""
    scopes: dict[str, list[str]] = {}
    for entry in groups:
        scope, found, group = entry.partition(" = ")
        scopes.setdefault(scope, []).extend([group] if found else [])
    return "; ".join(
        (f"{scope}: {', '.join(names)}" if names else scope).replace("*", " × " if "*" in scope else "*")
        for scope, names in scopes.items()
    )


def _suppression(shared: Shareable) -> str:
    n = len(shared.hidden)
    if not n:
        return ""
    return (
        f"{n} group{'s' * (n != 1)}: fewer than {shared.minimum} rows, or hidden with such a group so that its count"
        " cannot be worked out from the totals"
    )


def _withheld(shared: Shareable) -> tuple[str, ...]:
    """The groups hidden, by attribute; of a table hidden whole, which of its groups exist is not said."""
    scopes: dict[str, list[str]] = {}
    for scope, group in sorted(shared.hidden):
        scopes.setdefault(scope, []).append(guard(group))
    return tuple(
        f"{guard(scope).replace('*', ' × ')}: {'all groups' if scope in shared.hidden_tables else ', '.join(groups)}"
        for scope, groups in scopes.items()
    )
