"""Findings → families, questions and metrics. Reads only the fields of `Finding`, so any future metric id renders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from steelyard.audit.types import Direction, Finding, Scalar, Verdict
from steelyard.reports.curves import curves_of
from steelyard.reports.details import detail_words
from steelyard.reports.exposed import exposed_of
from steelyard.reports.nearer import beyond_ideal
from steelyard.reports.numbers import count, estimate_text, figure_text, is_count, limit, percent
from steelyard.reports.roc import rocs_of
from steelyard.reports.sections import Cell, Family, Glance, Line, Mark, Metric, Part, Question, Row
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.tables_view import tables_of
from steelyard.reports.text import describe_where, guard, humanise
from steelyard.reports.words import FAMILY_TITLES, STATUS_WORD

__all__ = ["anchor_of", "breadth", "families", "full_name", "metric_name"]

EvidenceBytes = Mapping[str, bytes]

_DIRECTION = {
    Direction.LOWER: "lower is better",
    Direction.HIGHER: "higher is better",
    Direction.NONE: "neither high nor low is better by itself",
}
_OVERALL, _COMPARISONS = "Overall", "Comparisons"
_MISSING = Cell(text="–", n="–")


def anchor_of(metric: str) -> str:
    """The HTML id of a metric's section."""
    return "m-" + re.sub(r"[^a-z0-9]+", "-", metric.lower()).strip("-")


def metric_name(metric: str) -> str:
    """The last part of a metric id in words: `fairness.error-rates.tpr-difference` is "TPR difference"."""
    return humanise(guard(metric.rsplit(".", 1)[-1]))


def full_name(metric: str) -> str:
    """The question and the statistic: `fairness.selection-rate.ratio` is "Selection rate: ratio"."""
    question = humanise(guard(metric.rsplit(".", 1)[0].rsplit(".", 1)[-1]))
    name = metric_name(metric)
    return f"{question}: {name if name[:2].isupper() else name[:1].lower() + name[1:]}"


def breadth(shared: Shareable, metric: str) -> str:
    """What an empty `where` means for a metric: the whole sample, all attributes jointly; "" if not measured."""
    wheres = [f.where for f in shared.record.findings if f.metric == metric]
    compares = any("group" not in w and ("attribute" in w or "intersection" in w) for w in wheres)
    if not wheres:
        return ""
    return "all attributes jointly" if compares else "overall"


def families(shared: Shareable, evidence: EvidenceBytes) -> tuple[Family, ...]:
    """All findings, by family, question (the probe's id) and metric, in the order they were measured."""
    grouped: dict[str, dict[str, dict[str, list[Finding]]]] = {}
    for finding in shared.record.findings:
        family = finding.metric.split(".", 1)[0]
        question = finding.metric.rsplit(".", 1)[0]
        grouped.setdefault(family, {}).setdefault(question, {}).setdefault(finding.metric, []).append(finding)
    return tuple(
        Family(
            id=anchor_of(family),
            title=FAMILY_TITLES.get(family, humanise(guard(family))),
            questions=tuple(_question(shared, name, metrics, evidence) for name, metrics in questions.items()),
        )
        for family, questions in grouped.items()
    )


def _question(
    shared: Shareable, name: str, metrics: Mapping[str, Sequence[Finding]], evidence: EvidenceBytes
) -> Question:
    built = tuple(_metric(shared, metric, found, evidence) for metric, found in metrics.items())
    columns = tuple(guard(t.name) for t in shared.record.targets)
    columns = tuple(c for c in columns if any(c in m.columns for m in built))
    glance = tuple(_glance(metric, columns) for metric in built)
    title = humanise(guard(name.rsplit(".", 1)[-1]))
    tables = tables_of(shared, (f for found in metrics.values() for f in found), evidence)
    return Question(id=guard(name), title=title, columns=columns, glance=glance, metrics=built, tables=tables)


def _glance(metric: Metric, columns: tuple[str, ...]) -> Glance:
    """The broadest figure of each target; where there is none, the span of its groups."""
    broadest = metric.headline
    cells = []
    for column in columns:
        if column not in metric.columns:
            cells.append("–")
        elif broadest is not None:
            cells.append(broadest[metric.columns.index(column)].text)
        else:
            cells.append(_span(metric, metric.columns.index(column)))
    return Glance(name=metric.name, anchor=metric.anchor, cells=tuple(cells))


def _span(metric: Metric, index: int) -> str:
    """The one figure of a column, or from the least to the greatest of its groups' values."""
    rows = [row for part in metric.parts for row in part.rows]
    marks = [mark for row in rows for mark in row.marks if mark.target == index]
    if len(marks) == 1:
        return next(row.cells[index].text for row in rows if any(mark.target == index for mark in row.marks))
    if not marks:
        return "–"
    whole = all(mark.counted for mark in marks)
    least, most = (figure_text(f(mark.value for mark in marks), counted=whole) for f in (min, max))
    return f"{least} to {most} ({len(marks)} readings)"


def _metric(shared: Shareable, metric: str, found: Sequence[Finding], evidence: EvidenceBytes) -> Metric:
    first = found[0]
    names = [t.name for t in shared.record.targets]
    targets = sorted({f.target for f in found}, key=lambda t: names.index(t) if t in names else len(names))
    gates = tuple(v for v in shared.record.verdicts if v.metric == metric)
    shown = [e for f in found if (e := shared.estimate(f)) is not None]
    curves, note = curves_of(shared, found, evidence)
    levels = sorted({e.level for e in shown if e.low is not None})
    no_interval = sorted({e.no_interval for e in shown if e.no_interval})
    return Metric(
        id=guard(metric),
        name=metric_name(metric),
        anchor=anchor_of(metric),
        definition=guard(first.definition),
        direction=_better(found),
        not_shown=guard(first.not_shown.rstrip(".")),
        level=" and ".join(percent(level) for level in levels),
        methods=tuple(sorted({guard(e.method) for e in shown if e.method})),
        columns=tuple(guard(t) for t in targets),
        parts=_parts(shared, found, targets),
        lines=_lines(first, gates, shared),
        gates=tuple((v.gate, v.status, STATUS_WORD[v.status]) for v in gates),
        curves=curves,
        curve_note=note,
        rocs=rocs_of(shared, found, evidence),
        exposed=exposed_of(shared, found, evidence),
        notes=_notes(found, no_interval),
    )


def _better(found: Sequence[Finding]) -> str:
    """Which way is better. The ideal itself, where figures lie on both sides of it."""
    first = found[0]
    if first.ideal is None:
        return _DIRECTION[first.direction]
    ideal = limit(first.ideal)
    if beyond_ideal(found):
        return f"the nearer to {ideal} the better"
    return f"{_DIRECTION[first.direction]}; ideal {ideal}"


def _notes(found: Sequence[Finding], no_interval: Iterable[str]) -> tuple[str, ...]:
    notes = [f"No interval: {guard(reason)}." for reason in no_interval]
    if any(f.exploratory for f in found):
        notes.append("Exploratory: chosen after looking at the data, so the error rates do not hold for it.")
    if any(f.reading == "attack" for f in found):
        notes.append("From an attack: it can refute a claim of safety and cannot prove one.")
    if any(f.reading == "disclosure" for f in found):
        notes.append("A disclosure: it has no pass mark.")
    definitions = {f.definition for f in found}
    notes += [f"For some rows: {guard(text)}." for text in sorted(definitions - {found[0].definition})]
    return tuple(notes)


def _lines(first: Finding, gates: Sequence[Verdict], shared: Shareable) -> tuple[Line, ...]:
    lines = [] if first.ideal is None else [Line(value=first.ideal, label="ideal", kind="ideal")]
    plan = shared.record.plan.get("gates")
    for verdict in gates:
        entry = plan[verdict.gate - 1] if isinstance(plan, (list, tuple)) and len(plan) >= verdict.gate else {}
        if not isinstance(entry, Mapping) or "group" in verdict.where:
            continue  # a limit for one group alone would read as one for every row
        lines += [
            Line(value=float(entry[key]), label=f"{key} {limit(entry[key])} (gate {verdict.gate})", kind="limit")
            for key in ("max", "min")
            if isinstance(entry.get(key), (int, float))
        ]
    return tuple(lines)


def _parts(shared: Shareable, found: Sequence[Finding], targets: Sequence[str]) -> tuple[Part, ...]:
    """Rows by scope, each with one cell for each target. Hidden groups have no row; the report says so elsewhere."""
    rows: dict[str, dict[str, dict[str, Finding]]] = {}
    grouped = any("group" not in f.where and ("attribute" in f.where or "intersection" in f.where) for f in found)
    for finding in found:
        if shared.hides(finding.where):
            continue
        title, label = _place(finding.where, compares=grouped or "intersections" in finding.where)
        rows.setdefault(title, {}).setdefault(label, {})[finding.target] = finding
    return tuple(
        Part(title=title, rows=tuple(_row(shared, label, by_target, targets) for label, by_target in labels.items()))
        for title, labels in rows.items()
    )


def _place(where: Mapping[str, Scalar], *, compares: bool) -> tuple[str, str]:
    """Which part a finding belongs to and what its row is called."""
    if "group" in where:
        scope = where.get("attribute", where.get("intersection", "group"))
        rest = {k: v for k, v in where.items() if k not in ("attribute", "intersection", "group")}
        more = f", {describe_where(rest)}" if rest else ""
        group = guard(str(where["group"]))
        group = group.replace("*", " × ") if "intersection" in where else group
        return guard(str(scope)).replace("*", " × "), group + more
    if compares:
        label = "all attributes jointly" if not where else describe_where(where)
        return _COMPARISONS, label.replace("all attributes and their", "all attributes and")
    return (_OVERALL, "all rows") if not where else ("In part", describe_where(where))


def _row(shared: Shareable, label: str, by_target: Mapping[str, Finding], targets: Sequence[str]) -> Row:
    cells, marks = [], []
    for index, name in enumerate(targets):
        finding = by_target.get(name)
        if finding is None:
            cells.append(_MISSING)
            continue
        estimate = shared.estimate(finding)
        if estimate is None:
            cells.append(Cell(text=WITHHELD, n="–", note="rests on a group too small to show"))
            continue
        n = count(estimate.n) if shared.shows_n(finding.metric) else "–"
        if n != "–" and estimate.n_effective is not None:
            n += f" (effective {count(round(estimate.n_effective))})"
        cells.append(Cell(text=estimate_text(estimate), n=n, note=_note(shared, finding)))
        marks.append(
            Mark(target=index, value=estimate.value, low=estimate.low, high=estimate.high, counted=is_count(estimate))
        )
    return Row(label=label, cells=tuple(cells), marks=tuple(marks))


def _note(shared: Shareable, finding: Finding) -> str:
    return "; ".join(detail_words(shared.detail(finding.detail, finding.where)))
