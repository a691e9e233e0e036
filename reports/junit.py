"""JUnit XML, for the test pages of continuous integration.

Three suites. `gates`: a pass is a passed case; fail is a failure; not measured is an error; inconclusive, not refuted
and waived are skipped with a message (a failure where the plan makes inconclusive fail, passed where it accepts an
attack that did not succeed); reported is a passed case. `coverage`: every required family without a number is an
error. `probes`: a probe that crashed is an error, as it makes the audit incomplete; a part of one that gave no number
(a group with too few rows, say), and what does not apply, is skipped: where a gate needed it, that gate is the error.
Names and texts are exact but for signs XML cannot carry, which are written out.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from steelyard.audit.record import Record
from steelyard.audit.types import Status, Verdict
from steelyard.reports.numbers import estimate_text
from steelyard.reports.shareable import WITHHELD, Shareable, plan_part, shareable
from steelyard.reports.text import describe_where, visible
from steelyard.reports.words import STATUS_WORD

__all__ = ["render_junit"]


def render_junit(record: Record) -> str:
    """junit.xml as text, without times or host names: the same record gives the same bytes."""
    shared = shareable(record)
    name = visible(str(plan_part(record, "audit").get("name") or "audit"))
    root = ET.Element("testsuites", {"name": f"steelyard: {name}"})
    suites = {suite: ET.SubElement(root, "testsuite", {"name": suite}) for suite in ("gates", "coverage", "probes")}
    for verdict in record.verdicts:
        _gate(suites["gates"], shared, verdict)
    for family in record.uncovered:
        case = _case(suites["coverage"], "coverage", f"required family {family}")
        _outcome(case, "error", "not measured: the plan requires this family and has no figure in it", "uncovered")
    _probes(suites["probes"], shared)
    for suite in suites.values():
        _tally(suite)
    _tally(root)
    ET.indent(root, " ")
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, group: str, name: str) -> ET.Element:
    return ET.SubElement(suite, "testcase", {"classname": f"steelyard.{group}", "name": visible(name), "time": "0"})


def _outcome(case: ET.Element, kind: str, message: str, category: str) -> None:
    attributes = {"message": visible(message)}
    if kind != "skipped":
        attributes["type"] = category
    ET.SubElement(case, kind, attributes)


def _gate(suite: ET.Element, shared: Shareable, v: Verdict) -> None:
    where = f" [{describe_where(v.where)}]" if v.where else ""
    case = _case(suite, "gates", f"gate {v.gate}: {v.metric}{where}: {v.threshold}")
    estimate = shared.verdict_estimate(v)
    withheld = shared.withholds(v)
    reason = "the figures rest on a group too small to show" if withheld else shared.text(v.reason, v.where)
    properties = {"status": v.status.value, "metric": v.metric, "threshold": v.threshold}
    if estimate is not None:
        properties["estimate"] = estimate_text(estimate)
        if shared.shows_n(v.metric):
            properties["n"] = str(estimate.n)
    elif withheld:
        properties["estimate"] = WITHHELD
    if v.waiver:
        properties["waiver"] = v.waiver
    if v.exploratory:
        properties["exploratory"] = "true"
    listed = ET.SubElement(case, "properties")
    for key, value in properties.items():
        ET.SubElement(listed, "property", {"name": key, "value": visible(value)})
    kind = _kind(v)
    if kind:
        said = f"{STATUS_WORD[v.status].lower()}: {reason}" + (f" ({v.waiver})" if v.waiver else "")
        _outcome(case, kind, said, v.status.value)


def _kind(v: Verdict) -> str:
    """The JUnit element for a verdict; an empty string is a passed case."""
    if v.status is Status.FAIL or (v.status is Status.INCONCLUSIVE and v.on_inconclusive == "fail"):
        return "failure"
    if v.status is Status.NOT_MEASURED:
        return "error"
    if v.status is Status.NOT_REFUTED and v.on_not_refuted == "accept":
        return ""
    return "" if v.status in (Status.PASS, Status.REPORTED) else "skipped"


def _probes(suite: ET.Element, shared: Shareable) -> None:
    for failure in shared.record.failures:
        hides = shared.hides(failure.where)
        place = "a group too small to show" if hides else describe_where(failure.where)
        metrics = ", ".join(failure.metrics) or "all metrics"
        case = _case(suite, "probes", f"{failure.probe} of {failure.target}: {metrics} ({place})")
        hint = f"; {shared.text(failure.hint, failure.where)}" if failure.hint else ""
        kind = "skipped" if failure.metrics else "error"
        _outcome(case, kind, shared.text(failure.reason, failure.where) + hint, "failure")
    for row in shared.record.inapplicable:
        case = _case(suite, "probes", f"{row.probe} of {row.target}")
        missing = f" (missing: {', '.join(row.missing)})" if row.missing else ""
        _outcome(case, "skipped", f"does not apply: {row.reason}{missing}", "inapplicable")


def _tally(element: ET.Element) -> None:
    counts = {"tests": "testcase", "failures": "failure", "errors": "error", "skipped": "skipped"}
    for attribute, tag in counts.items():
        element.set(attribute, str(sum(1 for _ in element.iter(tag))))
