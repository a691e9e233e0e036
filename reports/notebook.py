"""The record in a notebook: a compact HTML fragment without style sheet or script, every string escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from steelyard.audit.record import Record
from steelyard.reports.text import clip
from steelyard.reports.view import View, build_view
from steelyard.reports.words import STATUS_SIGN

__all__ = ["render_notebook"]

_MAX_ROWS = 40


def render_notebook(record: Record) -> str:
    """Verdict, gaps, gates (or, without gates, the broadest figures) as a fragment for `_repr_html_`."""
    view = build_view(record)
    parts = [
        "<div>",
        f"<p><strong>{_text(view.title)}</strong>: {_text(view.headline.sentence)}"
        f" Exit code {view.headline.exit_code} ({_text(view.headline.exit_meaning)}).</p>",
    ]
    parts += [f"<p><strong>{_text(b.title)}.</strong> {_text(b.text)}</p>" for b in view.banners]
    if view.gaps:
        items = [f"<li><strong>{_text(g.kind)}</strong>: {_text(f'{g.subject}: {g.reason}')}</li>" for g in view.gaps]
        parts.append(f"<p>What this audit does not cover:</p><ul>{''.join(items)}</ul>")
    parts.append(_gates(view) if view.gates else _figures(view))
    parts.append(f"<p>Record <code>{_text(view.digest[:16])}…</code></p></div>")
    return "".join(parts)


def _gates(view: View) -> str:
    rows = []
    for g in view.gates:
        metric = ", ".join(part for part in (g.name, g.where) if part)
        rows.append((str(g.number), f"{STATUS_SIGN[g.status]} {g.word}", metric, g.threshold, g.estimate, g.reason))
    return _table(("Gate", "Verdict", "Metric", "Tolerance", "Figure", "Why"), rows)


def _figures(view: View) -> str:
    rows = []
    for family in view.families:
        for question in family.questions:
            rows += [(question.title, glance.name, glance.cells[0]) for glance in question.glance if glance.cells]
    rest = len(rows) - _MAX_ROWS
    more = f"<p>and {rest} more in the report</p>" if rest > 0 else ""
    return _table(("Question", "Metric", view.candidate), rows[:_MAX_ROWS]) + more


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    top = "".join(f'<th scope="col">{_text(cell)}</th>' for cell in head)
    body = "".join("<tr>" + "".join(f"<td><bdi>{_text(cell)}</bdi></td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><thead><tr>{top}</tr></thead><tbody>{body}</tbody></table>"


def _text(text: str) -> str:
    return escape(clip(text, 300), quote=True)
