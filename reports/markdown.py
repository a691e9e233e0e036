"""The report as Markdown, short enough for a pipeline's summary page: gaps, gates, the broadest figures, how to verify.

Nothing from data can become markup: every sign with a meaning in Markdown or HTML is escaped, addresses included, and
what a spreadsheet would run is guarded by an apostrophe (see `text.guard`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from steelyard.reports.risk import Risk
from steelyard.reports.sections import Family, Gap, GateRow, Untested
from steelyard.reports.text import clip
from steelyard.reports.view import View
from steelyard.reports.words import STATUS_SIGN

__all__ = ["escape", "render_markdown"]

_SIGNS = re.compile(r"([\\`*_{}\[\]()#+!|~$])")
_LINKS = re.compile(r"(https?|ftp|mailto)(:)|(www)(\.)|(@)", re.IGNORECASE)
_MAX = 120  # longer names are cut: the HTML report has them whole


def escape(text: str, length: int = 0) -> str:
    """`text` as inert Markdown. `length` cuts it first; 0 keeps it whole."""
    text = clip(text, length) if length else text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = _SIGNS.sub(r"\\\1", text)
    # GitHub turns bare addresses and @names into links: an entity in their middle stops it.
    return _LINKS.sub(lambda m: _unlink(m), text)


def _unlink(match: re.Match[str]) -> str:
    if match[1]:
        return f"{match[1]}&#58;"
    return f"{match[3]}&#46;" if match[3] else "&#64;"


def render_markdown(view: View) -> str:
    """report.md as text."""
    head = view.headline
    lines = [f"# Audit: {escape(view.title, _MAX)}", "", f"**{escape(head.sentence)}**", ""]
    lines += [f"Exit code {head.exit_code}: {head.exit_meaning}.", ""]
    for banner in view.banners:
        lines += [f"> **{escape(banner.title)}.** {escape(banner.text)}", ""]
    lines += ["## What this audit does not cover", "", *_gaps(view.gaps), ""]
    if view.gates:
        lines += ["## Gates", "", *_gates(view.gates), ""]
    for family in view.families:
        lines += [f"## {escape(family.title)}", "", *_family(family)]
    if view.frontiers:
        lines += ["## Accuracy against disparity", ""]
    for frontier in view.frontiers:
        columns = ("Model", "Accuracy", *frontier.scopes, "Better on both counts")
        places = [
            (p.name, f"{p.accuracy}; {p.idle}" if p.idle else p.accuracy, *p.disparities, p.better)
            for p in frontier.places
        ]
        if (one := frontier.one_answer) is not None:
            places.append((one.name, f"{one.text}, n = {one.n}", *("0" for _ in frontier.scopes), "–"))
        lines += [f"### {escape(frontier.title)}", "", *_table(columns, places), ""]
    if view.risk is not None:
        lines += ["## Membership risk against accuracy and groups", "", *_risk(view.risk)]
    if view.references.balances:
        head_words = ("Reference", "Beside", "Clearly better", "Clearly worse", "No clear difference", "Training")
        sides = [
            (b.name, b.against, "; ".join(b.gains) or "–", "; ".join(b.costs) or "–", b.open, b.price)
            for b in view.references.balances
        ]
        lines += ["## What each reference gains and what it costs", "", *_table(head_words, sides), ""]
    lines += ["## Not tested, and why", "", *_untested(view.untested), ""]
    if view.untested.suppression:
        lines += [f"Groups not shown: {escape(view.untested.suppression)}.", ""]
    if view.waivers:
        rows = [(w.gate, w.owner, w.expires, w.reason) for w in view.waivers]
        lines += ["## Waivers", "", *_table(("Gate", "Owner", "Until", "Reason"), rows), ""]
    lines += ["## Reproduction", "", *_table(("What", "Value"), [(f.label, f.value) for f in view.reproduction]), ""]
    lines += [
        "Figures are estimates with their intervals. The HTML report has every group and definition.",
        "",
    ]
    return "\n".join(lines)


def _gaps(gaps: Sequence[Gap]) -> list[str]:
    if not gaps:
        return ["Nothing that was planned is missing."]
    lines = []
    for g in gaps:
        hint = f"; {escape(g.hint, 300)}" if g.hint else ""
        subject = f"{g.subject}, {'; '.join(g.parts)}" if g.parts else g.subject
        lines.append(f"- **{escape(g.kind, _MAX)}**: {escape(subject, 300)}: {escape(g.reason, 300)}{hint}")
    return lines


def _untested(found: Untested) -> list[str]:
    """The candidate's reasons, and how often a reference was not tested; the HTML report names every part."""
    own = (*found.failures, *found.inapplicable)
    lines = _gaps(own) if own or not found.of_references else []
    if found.of_references:
        n = len(found.reference_failures) + len(found.reference_inapplicable)
        reasons = f"{n} reason{'s' * (n != 1)}, each in the HTML report"
        lines.append(f"- **Of the references**: {found.of_references}: {reasons}")
    return lines


def _gates(gates: Iterable[GateRow]) -> list[str]:
    rows = []
    for g in gates:
        verdict, metric = f"{STATUS_SIGN[g.status]} {g.word}", ", ".join(t for t in (g.name, g.where) if t)
        n = next((f.value for f in g.facts if f.label == "n"), "–")
        why = "; ".join(part for part in (g.reason, g.explanation, g.waiver) if part)
        rows.append((str(g.number), verdict, metric, g.threshold, g.estimate, n, why))
    return _table(("Gate", "Verdict", "Metric", "Tolerance", "Figure", "n", "Why"), rows)


def _risk(found: Risk) -> list[str]:
    at_fpr = (f"TPR at FPR {found.fpr}",) if found.fpr else ()
    head = ("Model", "Membership AUC", *at_fpr, "Accuracy", *found.columns, "Attacks")
    rows = []
    for s in found.standings:
        figures = (s.auc, *([s.tpr] if found.fpr else []), s.accuracy, *s.gaps)
        rows.append((s.name, *(f"{f.text}, {f.note}" if f.note else f.text for f in figures), str(s.tried)))
    lines = [escape(found.meaning), "", escape(found.caution), "", *_table(head, rows), ""]
    lines += [f"{escape(note, 400)}.\n" for note in found.notes]
    for p in found.prices:
        lead = f"**{escape(p.lead, 300)}.** " if p.lead else ""
        beside = f" beside {escape(p.against, _MAX)}" if p.against else ""
        lines.append(f"- {escape(p.name, _MAX)}{beside}: {lead}{escape('; '.join(p.parts), 600)}.")
    return [*lines, ""] if found.prices else lines


def _family(family: Family) -> list[str]:
    lines = []
    for question in family.questions:
        lines += [f"### {escape(question.title)} (`{question.id.replace('`', '')}`)", ""]
        rows = [(glance.name, *glance.cells) for glance in question.glance]
        lines += [*_table(("Metric", *question.columns), rows), ""]
        for table in question.tables:
            lines += [f"**{escape(table.title, _MAX)}**", ""]
            lines += [*_table(table.columns, table.rows), ""] if table.columns else []
            lines += [f"{escape(note)}.\n" for note in table.notes]
    return lines


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(escape(cell, 400) or " " for cell in cells) + " |"

    return [line(head), "|" + " --- |" * len(head), *(line(row) for row in rows)]
