"""The dot-and-interval chart: each group's estimate with its interval, candidate beside references.

Drawn as inline SVG without any style attribute (the page's policy forbids them); colours come from the page's
classes, which hold for light and dark, and targets differ in shape as well. A table with the same figures stands
beside each chart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from steelyard.reports.numbers import figure_text, fixed, interval, number
from steelyard.reports.sections import Line, Mark, Metric, Part
from steelyard.reports.text import clip

__all__ = ["MAX_ROWS", "forest", "shape", "ticks"]

MAX_ROWS = 60  # beyond it a chart is a wall: the table has every row

_WIDTH, _LEFT, _RIGHT = 760, 210, 590  # plot area between _LEFT and _RIGHT; names before it, figures after it
_STEP = 8  # between the marks of one row
_PAD = 7


def ticks(low: float, high: float, wanted: int = 5) -> tuple[float, ...]:
    """Round values that cover [low, high], about `wanted` steps of 1, 2 or 5 times a power of ten."""
    span = high - low
    if span <= 0:
        return (low,)
    raw = span / wanted
    power = 10.0 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 5, 10) if m * power >= raw * 0.999)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return tuple(round(i * step, 12) for i in range(first, last + 1))


def shape(target: int, x: float, y: float) -> str:
    """The mark of a target: the candidate's is a filled circle, a reference's a hollow square, diamond or triangle."""
    css = "k0" if target == 0 else "k1"
    if target == 0:
        return f'<circle class="{css}" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
    kind = (target - 1) % 3
    if kind == 0:
        return f'<rect class="{css}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
    points = ((0, -4), (4, 0), (0, 4), (-4, 0)) if kind == 1 else ((0, -4), (4, 3), (-4, 3))
    path = " ".join(f"{x + dx:.1f},{y + dy:.1f}" for dx, dy in points)
    return f'<polygon class="{css}" points="{path}"/>'


class _Scale:
    """From a value to a place on the horizontal axis; infinite limits sit on the edge."""

    def __init__(self, marks: Sequence[Mark], lines: Sequence[Line]) -> None:
        values = [v for m in marks for v in (m.value, m.low, m.high) if v is not None and math.isfinite(v)]
        reach = (max(values) - min(values)) or abs(values[0]) or 1.0
        values += [k.value for k in lines if k.kind == "limit"]
        near = [k.value for k in lines if min(values) - 2 * reach <= k.value <= max(values) + 2 * reach]
        self.ticks = ticks(min(values + near), max(values + near))
        if len(self.ticks) == 1:
            self.ticks = (self.ticks[0] - 0.5, self.ticks[0], self.ticks[0] + 0.5)
        self.low, self.high = self.ticks[0], self.ticks[-1]

    def __call__(self, value: float) -> float:
        if math.isinf(value):
            return _RIGHT + 4 if value > 0 else _LEFT - 4
        return _LEFT + (value - self.low) / (self.high - self.low) * (_RIGHT - _LEFT)

    def holds(self, value: float) -> bool:
        return self.low <= value <= self.high


def forest(metric: Metric) -> str:
    """The chart of one metric; an empty string where there is nothing to draw, or too much (`MAX_ROWS`)."""
    parts = tuple(
        Part(title=p.title, rows=tuple(r for r in p.rows if r.marks))
        for p in metric.parts
        if any(r.marks for r in p.rows)
    )
    rows = [row for part in parts for row in part.rows]
    if not rows or len(rows) > MAX_ROWS:
        return ""
    lines = metric.lines if rows else ()
    scale = _Scale([m for row in rows for m in row.marks], lines)
    row_height = max(24, _STEP * len(metric.columns) + 8)
    shown_lines = [line for line in lines if scale.holds(line.value)]
    top = 24 + 15 * len(shown_lines)
    body: list[str] = []
    y = top
    for part in parts:
        if len(parts) > 1:
            y += 22
            body.append(f'<text class="h" x="0" y="{y - 6}">{escape(clip(part.title, 60))}</text>')
        for row in part.rows:
            body.append(_row(row.label, row.marks, scale, y, row_height))
            y += row_height
    grid = _grid(scale, top, y) + _reference_lines(shown_lines, scale, top, y)
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {y + 24}" width="{_WIDTH}" height="{y + 24}" role="img"'
        f' aria-labelledby="{metric.anchor}-t {metric.anchor}-d">'
        f'<title id="{metric.anchor}-t">{escape(metric.name)}: estimates with intervals</title>'
        f'<desc id="{metric.anchor}-d">{escape(_describe(metric, len(rows), shown_lines))}</desc>'
        f"{_legend(metric.columns)}{grid}{''.join(body)}</svg>"
    )


def _describe(metric: Metric, rows: int, lines: Sequence[Line]) -> str:
    drawn = "; ".join(f"{line.label} at {number(line.value)}" for line in lines)
    return (
        f"{rows} row{'s' * (rows != 1)}, {', '.join(clip(c, 40) for c in metric.columns)}."
        f" {'Reference lines: ' + drawn + '. ' if drawn else ''}The table below holds the same figures."
    )


def _row(label: str, marks: Sequence[Mark], scale: _Scale, y: float, height: float) -> str:
    middle = y + height / 2
    parts = [f'<text x="{_LEFT - 12}" y="{middle + 4:.1f}" text-anchor="end">{escape(clip(label, 26))}</text>']
    first = middle - _STEP * (len(marks) - 1) / 2
    for index, mark in enumerate(marks):
        at = first + index * _STEP
        if mark.low is not None and mark.high is not None:
            left, right = scale(mark.low), scale(mark.high)
            css = "i0" if mark.target == 0 else "i1"
            parts.append(f'<path class="{css}" d="M{left:.1f} {at:.1f}H{right:.1f}"/>')
        parts.append(shape(mark.target, scale(mark.value), at))
    lead = marks[0]
    figure = figure_text(lead.value, counted=lead.counted)
    if lead.low is not None and lead.high is not None:
        figure += f" {interval(lead.low, lead.high)}"
    parts.append(f'<text class="f" x="{_RIGHT + 14}" y="{middle + 4:.1f}">{escape(figure)}</text>')
    return "".join(parts)


def _grid(scale: _Scale, top: float, bottom: float) -> str:
    step = scale.ticks[1] - scale.ticks[0]
    decimals = max(0, min(9, -math.floor(math.log10(step) + 1e-9)))
    parts = []
    for tick in scale.ticks:
        x = scale(tick)
        parts.append(f'<path class="g" d="M{x:.1f} {top}V{bottom}"/>')
        text = fixed(tick, decimals)
        parts.append(f'<text class="t" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{text}</text>')
    return "".join(parts)


def _reference_lines(lines: Sequence[Line], scale: _Scale, top: float, bottom: float) -> str:
    parts = []
    for index, line in enumerate(lines):
        x = scale(line.value)
        at = 24 + 15 * index + 9
        anchor, shift = ("end", -5) if x > (_LEFT + _RIGHT) / 2 else ("start", 5)
        css = "l" if line.kind == "limit" else "d"
        parts.append(
            f'<path class="{css}" d="M{x:.1f} {at - 8}V{bottom}"/>'
            f'<text class="t" x="{x + shift:.1f}" y="{at}" text-anchor="{anchor}">{escape(clip(line.label, 40))}</text>'
        )
    return "".join(parts)


def _legend(columns: Sequence[str]) -> str:
    parts, x = [], 8.0
    for index, name in enumerate(columns):
        text = clip(name, 28)
        parts.append(f'{shape(index, x, 8)}<text class="t" x="{x + 9:.1f}" y="12">{escape(text)}</text>')
        x += 34 + 6.6 * len(text)
    return "".join(parts)
