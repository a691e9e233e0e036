"""Which report is written where: every format of one record, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from steelyard.audit.errors import IntegrityError, PlanError
from steelyard.audit.record import Record
from steelyard.audit.store import read_evidence, write_atomic
from steelyard.reports.curves import CURVE
from steelyard.reports.exposed import EXPOSED
from steelyard.reports.roc import ROC
from steelyard.reports.tables_view import TABLE

__all__ = ["FILES", "render", "render_bytes"]

FILES: dict[str, str] = {"html": "report.html", "json": "report.json", "junit": "junit.xml", "markdown": "report.md"}


def render(record: Record, formats: Sequence[str], out: Path) -> dict[str, Path]:
    """Write the reports of `record` into the run folder `out` and return format -> path.

    `formats` are keys of `FILES`; an unknown one raises PlanError, an unwritable folder StorageError. The curves and
    tables behind findings are read from `out`/evidence where the record does not carry their bytes; a changed file is
    not shown.
    """
    unknown = [name for name in formats if name not in FILES]
    if unknown:
        raise PlanError(f"report format {unknown[0]!r} is unknown", hint=f"allowed: {', '.join(FILES)}")
    evidence = _shown_bytes(record, out)
    written = {}
    for name in dict.fromkeys(formats):
        path = out / FILES[name]
        write_atomic(path, render_bytes(record, name, evidence))
        written[name] = path
    return written


def render_bytes(record: Record, name: str, evidence: Mapping[str, bytes] | None = None) -> bytes:
    """One report as the bytes of its file."""
    return _RENDERERS[name](record, evidence or {}).encode("utf-8")


def _shown_bytes(record: Record, out: Path) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for finding in record.findings:
        for item in finding.evidence:
            if item.name not in (CURVE, EXPOSED, ROC, TABLE) or item.data or item.digest in found:
                continue
            try:
                found[item.digest] = read_evidence(out, item.digest)
            except IntegrityError:
                found[item.digest] = b""  # the report says that it is not shown
    return found


def _html(record: Record, evidence: Mapping[str, bytes]) -> str:
    from steelyard.reports.html import render_html
    from steelyard.reports.view import build_view

    return render_html(build_view(record, evidence))


def _json(record: Record, evidence: Mapping[str, bytes]) -> str:
    from steelyard.reports.report_json import render_json

    return render_json(record, evidence)


def _junit(record: Record, evidence: Mapping[str, bytes]) -> str:
    from steelyard.reports.junit import render_junit

    return render_junit(record)


def _markdown(record: Record, evidence: Mapping[str, bytes]) -> str:
    from steelyard.reports.markdown import render_markdown
    from steelyard.reports.view import build_view

    return render_markdown(build_view(record, evidence))


_RENDERERS: dict[str, Callable[[Record, Mapping[str, bytes]], str]] = {
    "html": _html,
    "json": _json,
    "junit": _junit,
    "markdown": _markdown,
}
