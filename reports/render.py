"""Which report is written where: every format of one record, each file whole or not at all."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.audit.errors import IntegrityError, PlanError
from steelyard.audit.record import Record
from steelyard.audit.store import read_evidence, write_atomic
from steelyard.reports.curves import CURVE
from steelyard.reports.exposed import EXPOSED
from steelyard.reports.roc import ROC
from steelyard.reports.tables_view import TABLE

if TYPE_CHECKING:
    from steelyard.reports.view import View

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
    shown = _Shown(record, _shown_bytes(record, out))
    written = {}
    for name in dict.fromkeys(formats):
        path = out / FILES[name]
        write_atomic(path, _RENDERERS[name](shown).encode("utf-8"))
        written[name] = path
    return written


def render_bytes(record: Record, name: str, evidence: Mapping[str, bytes] | None = None) -> bytes:
    """One report as the bytes of its file."""
    return _RENDERERS[name](_Shown(record, evidence or {})).encode("utf-8")


class _Shown:
    """A record with what its reports show of the evidence. Its view is made once for all of them."""

    def __init__(self, record: Record, evidence: Mapping[str, bytes]) -> None:
        self.record, self.evidence = record, evidence

    @cached_property
    def view(self) -> View:
        from steelyard.reports.view import build_view

        return build_view(self.record, self.evidence)


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


def _html(shown: _Shown) -> str:
    from steelyard.reports.html import render_html

    return render_html(shown.view)


def _json(shown: _Shown) -> str:
    from steelyard.reports.report_json import render_json

    return render_json(shown.record, shown.evidence)


def _junit(shown: _Shown) -> str:
    from steelyard.reports.junit import render_junit

    return render_junit(shown.record)


def _markdown(shown: _Shown) -> str:
    from steelyard.reports.markdown import render_markdown

    return render_markdown(shown.view)


_RENDERERS: dict[str, Callable[[_Shown], str]] = {
    "html": _html,
    "json": _json,
    "junit": _junit,
    "markdown": _markdown,
}
