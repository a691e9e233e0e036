"""A scatter of models with intervals both ways: what it costs against what it brings, candidate beside references.

Drawn as inline SVG without any style attribute (the page's policy forbids them); colours come from the page's
classes, which hold for light and dark. A table with the same figures stands beside each chart.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from steelyard.audit.types import Estimate
from steelyard.reports.charts import shape, ticks
from steelyard.reports.numbers import fixed
from steelyard.reports.text import clip

__all__ = ["MOST", "Dot", "Scatter", "draw_scatter"]

MOST = 12  # models in one chart; the table has all of them
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 380, 64, 460, 30, 326


@dataclass(frozen=True, slots=True, kw_only=True)
class Dot:
    """One model at (x, y). `index` is its place among the record's targets, and its number plus one: 0 is drawn apart.

    None where a figure is not shown; the model then has no place.
    """

    index: int
    name: str
    x: Estimate | None
    y: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scatter:
    """Up is `up`, across is `across`, with a dashed line at `mark` (parity, chance), which is always in sight."""

    anchor: str
    title: str
    words: str  # for who cannot see it; the number of models is put before them
    across: str
    up: str
    mark: float
    dots: tuple[Dot, ...]
    floor: tuple[float, str] | None = None  # a dashed line across, always in sight, and what it says


def draw_scatter(scatter: Scatter) -> str:
    """The scatter as inline SVG; an empty string where fewer than two models can be drawn."""
    drawn = [(dot, dot.x, dot.y) for dot in scatter.dots[:MOST] if dot.x is not None and dot.y is not None]
    if len(drawn) < 2:
        return ""
    across = _Axis([x for _, x, _ in drawn], _LEFT, _RIGHT, also=(scatter.mark,))
    up = _Axis([y for _, _, y in drawn], _BOTTOM, _TOP, also=() if scatter.floor is None else scatter.floor[:1])
    body = "".join(_point(dot, x, y, across, up) for dot, x, y in reversed(drawn))  # the candidate on top
    a = scatter.anchor
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img"'
        f' aria-labelledby="{a}-t {a}-d"><title id="{a}-t">{escape(scatter.title)}</title>'
        f'<desc id="{a}-d">{escape(f"{len(drawn)} models, {scatter.words}")}</desc>'
        f"{_frame(scatter, across, up)}{body}{_legend([dot for dot, _, _ in drawn])}</svg>"
    )


class _Axis:
    """From values to places between `start` and `end`; limits beyond the axis sit on its edge."""

    def __init__(
        self, estimates: Sequence[Estimate], start: float, end: float, *, also: tuple[float, ...] = ()
    ) -> None:
        values = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
        values += also
        least, most = min(values), max(values)
        if most - least < 1e-9:
            least, most = least - 0.01, most + 0.01
        self.ticks = ticks(least, most)
        self.low, self.high, self.start, self.end = self.ticks[0], self.ticks[-1], start, end

    def __call__(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return self.start + share * (self.end - self.start)

    def texts(self) -> list[tuple[float, str]]:
        """Each tick's place and figure."""
        step = self.ticks[1] - self.ticks[0]
        decimals = next((d for d in range(9) if abs(round(step, d) - step) < step * 1e-6), 9)
        return [(self(tick), fixed(tick, decimals)) for tick in self.ticks]


def _point(dot: Dot, x: Estimate, y: Estimate, across: _Axis, up: _Axis) -> str:
    at, height = across(x.value), up(y.value)
    css = "i0" if dot.index == 0 else "i1"
    parts = []
    if x.low is not None and x.high is not None:
        parts.append(f'<path class="{css}" d="M{across(x.low):.1f} {height:.1f}H{across(x.high):.1f}"/>')
    if y.low is not None and y.high is not None:
        parts.append(f'<path class="{css}" d="M{at:.1f} {up(y.low):.1f}V{up(y.high):.1f}"/>')
    parts.append(shape(dot.index, at, height))
    # The candidate's number stands below and to the left, so that both can be read where a reference is at its place.
    dx, dy, anchor = (-7, 15, "end") if dot.index == 0 else (7, -7, "start")
    parts.append(
        f'<text class="t" x="{at + dx:.1f}" y="{height + dy:.1f}" text-anchor="{anchor}">{dot.index + 1}</text>'
    )
    return "".join(parts)


def _frame(scatter: Scatter, across: _Axis, up: _Axis) -> str:
    parts = []
    for x, text in across.texts():
        parts.append(f'<path class="g" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(f'<text class="t" x="{x:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{text}</text>')
    for y, text in up.texts():
        parts.append(f'<path class="g" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(f'<text class="t" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<path class="d" d="M{across(scatter.mark):.1f} {_TOP}V{_BOTTOM}"/>')
    if scatter.floor is not None:
        y = up(scatter.floor[0])
        parts.append(f'<path class="d" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        words = escape(clip(scatter.floor[1], 60))
        parts.append(f'<text class="t" x="{_RIGHT - 4}" y="{y - 5:.1f}" text-anchor="end">{words}</text>')
    middle, below = (_LEFT + _RIGHT) / 2, escape(clip(scatter.across, 70))
    parts.append(
        f'<text class="t" x="{middle}" y="{_BOTTOM + 38}" text-anchor="middle">{below}</text>'
        f'<text class="t" x="4" y="{_TOP - 14}">{escape(scatter.up)}</text>'
    )
    return "".join(parts)


def _legend(dots: Sequence[Dot]) -> str:
    parts = []
    for row, dot in enumerate(dots):
        y = _TOP + 10 + 22 * row
        parts.append(
            f'{shape(dot.index, _RIGHT + 28, y)}<text class="t" x="{_RIGHT + 40}" y="{y + 4}">'
            f"{dot.index + 1} {escape(clip(dot.name, 32))}</text>"
        )
    return "".join(parts)
