"""Accuracy against disparity: the candidate and every reference as points, with intervals both ways.

Computed from the findings of the record alone. A disparity says little by itself: beside references that were trained
on the same rows, some of them told to treat groups alike, it shows whether it could have been smaller, and at what
cost in accuracy.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from steelyard.audit.types import Estimate, Finding, Scalar
from steelyard.reports.charts import shape, ticks
from steelyard.reports.numbers import estimate_text, fixed
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.text import clip, describe_where, guard

__all__ = ["ACCURACY", "DISPARITIES", "Frontier", "Place", "draw", "frontiers"]

ACCURACY = "quality.performance.accuracy"
DISPARITIES = {
    "fairness.selection-rate.difference": "Difference of selection rates",
    "fairness.error-rates.equalized-odds-difference": "Equalized odds difference",
}
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 720, 380, 64, 460, 30, 326
_MOST = 12  # models in one chart; the table has all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One model: its accuracy, its disparity in each scope (the first is drawn), and who is better on both counts."""

    index: int  # in the order of the record's targets: 0 is the candidate
    name: str
    accuracy: str
    disparities: tuple[str, ...]
    better: str
    x: Estimate | None  # None where it is not shown
    y: Estimate | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Frontier:
    """One disparity against accuracy. `scopes` say what each column compares; the models in `absent` have no place."""

    metric: str
    title: str
    anchor: str
    scopes: tuple[str, ...]
    places: tuple[Place, ...]
    absent: tuple[str, ...]


def frontiers(shared: Shareable) -> tuple[Frontier, ...]:
    """One for each disparity that was measured of the candidate and at least one reference; none where none was."""
    found = (_frontier(shared, metric, title) for metric, title in DISPARITIES.items())
    return tuple(frontier for frontier in found if frontier is not None)


def _frontier(shared: Shareable, metric: str, title: str) -> Frontier | None:
    names = [card.name for card in shared.record.targets]
    candidate = shared.record.candidate().name
    accuracy = {f.target: f for f in shared.record.findings_of(ACCURACY) if not f.where}
    gaps: dict[str, dict[str, Finding]] = {}
    for finding in shared.record.findings_of(metric):
        scope = _scope(finding.where)
        if scope is not None:
            gaps.setdefault(scope, {})[finding.target] = finding
    shown = [scope for scope, of in gaps.items() if candidate in of and len(of) > 1]
    shown.sort(key=lambda scope: scope != _JOINTLY)
    if candidate not in accuracy or not shown:
        return None
    there = [name for name in names if name in accuracy and name in gaps[shown[0]]]
    if len(there) < 2:
        return None
    points = {name: (gaps[shown[0]][name], accuracy[name]) for name in there}
    return Frontier(
        metric=metric,
        title=title,
        anchor="frontier-" + metric.rsplit(".", 1)[-1] + "-" + metric.split(".")[1],
        scopes=tuple(shown),
        places=tuple(
            Place(
                index=names.index(name),
                name=guard(name),
                accuracy=_text(shared, accuracy[name]),
                disparities=tuple(_text(shared, gaps[scope].get(name)) for scope in shown),
                better=_better(shared, name, points),
                x=shared.estimate(points[name][0]),
                y=shared.estimate(points[name][1]),
            )
            for name in there
        ),
        absent=tuple(guard(name) for name in names if name not in there),
    )


_JOINTLY = "all attributes jointly"


def _scope(where: Mapping[str, Scalar]) -> str | None:
    """Over which groups a contrast is taken; None for intersections, which have no column here."""
    if not where:
        return _JOINTLY
    return describe_where(where) if where.keys() == {"attribute"} else None


def _text(shared: Shareable, finding: Finding | None) -> str:
    if finding is None:
        return "–"
    estimate = shared.estimate(finding)
    return WITHHELD if estimate is None else estimate_text(estimate)


def _better(shared: Shareable, name: str, points: Mapping[str, tuple[Finding, Finding]]) -> str:
    """Who is at least as good on both counts and better on one, by the estimates; "clearly" where no interval overlaps.

    Intervals that do not overlap are more than a test would ask for; those that do overlap leave the matter open.
    """
    x, y = (shared.estimate(finding) for finding in points[name])
    if x is None or y is None:
        return "–"
    found = []
    for other, pair in points.items():
        their_x, their_y = (shared.estimate(finding) for finding in pair)
        if other == name or their_x is None or their_y is None:
            continue
        if (
            their_x.value <= x.value
            and their_y.value >= y.value
            and (their_x.value, their_y.value) != (x.value, y.value)
        ):
            apart = _below(their_x, x) and _below(y, their_y)
            found.append(guard(other) + (" (clearly)" if apart else ""))
    return ", ".join(found) or "none"


def _below(one: Estimate, other: Estimate) -> bool:
    return one.high is not None and other.low is not None and one.high < other.low


def draw(frontier: Frontier) -> str:
    """The scatter as inline SVG; an empty string where fewer than two models can be drawn."""
    drawn = [(p, p.x, p.y) for p in frontier.places[:_MOST] if p.x is not None and p.y is not None]
    if len(drawn) < 2:
        return ""
    across = _Axis([x for _, x, _ in drawn], _LEFT, _RIGHT, zero=True)
    up = _Axis([y for _, _, y in drawn], _BOTTOM, _TOP)
    body = "".join(_point(place, x, y, across, up) for place, x, y in reversed(drawn))  # the candidate on top
    words = (
        f"{len(drawn)} models, accuracy against the {frontier.title.lower()} ({frontier.scopes[0]}), with intervals."
        " Better is up and to the left. The table below holds the same figures."
    )
    a = frontier.anchor
    return (
        f'<svg class="chart" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img"'
        f' aria-labelledby="{a}-t {a}-d"><title id="{a}-t">Accuracy against {escape(frontier.title.lower())}</title>'
        f'<desc id="{a}-d">{escape(words)}</desc>{_frame(frontier, across, up)}{body}{_legend(drawn)}</svg>'
    )


class _Axis:
    """From values to places between `start` and `end`; limits beyond the axis sit on its edge."""

    def __init__(self, estimates: Sequence[Estimate], start: float, end: float, *, zero: bool = False) -> None:
        values = [v for e in estimates for v in (e.value, e.low, e.high) if v is not None]
        values += [0.0] if zero else []
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


def _point(place: Place, x: Estimate, y: Estimate, across: _Axis, up: _Axis) -> str:
    at, height = across(x.value), up(y.value)
    css = "i0" if place.index == 0 else "i1"
    parts = []
    if x.low is not None and x.high is not None:
        parts.append(f'<path class="{css}" d="M{across(x.low):.1f} {height:.1f}H{across(x.high):.1f}"/>')
    if y.low is not None and y.high is not None:
        parts.append(f'<path class="{css}" d="M{at:.1f} {up(y.low):.1f}V{up(y.high):.1f}"/>')
    parts.append(shape(place.index, at, height))
    # The candidate's number stands below and to the left, so that both can be read where a reference is at its place.
    dx, dy, anchor = (-7, 15, "end") if place.index == 0 else (7, -7, "start")
    parts.append(
        f'<text class="t" x="{at + dx:.1f}" y="{height + dy:.1f}" text-anchor="{anchor}">{place.index + 1}</text>'
    )
    return "".join(parts)


def _frame(frontier: Frontier, across: _Axis, up: _Axis) -> str:
    parts = []
    for x, text in across.texts():
        parts.append(f'<path class="g" d="M{x:.1f} {_TOP}V{_BOTTOM}"/>')
        parts.append(f'<text class="t" x="{x:.1f}" y="{_BOTTOM + 16}" text-anchor="middle">{text}</text>')
    for y, text in up.texts():
        parts.append(f'<path class="g" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(f'<text class="t" x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{text}</text>')
    parts.append(f'<path class="d" d="M{across(0.0):.1f} {_TOP}V{_BOTTOM}"/>')
    title = f"{frontier.title}, {frontier.scopes[0]} (0 is parity)"
    middle = (_LEFT + _RIGHT) / 2
    parts.append(
        f'<text class="t" x="{middle}" y="{_BOTTOM + 38}" text-anchor="middle">{escape(clip(title, 70))}</text>'
        f'<text class="t" x="4" y="{_TOP - 14}">accuracy</text>'
    )
    return "".join(parts)


def _legend(drawn: Sequence[tuple[Place, Estimate, Estimate]]) -> str:
    parts = []
    for row, (place, _, _) in enumerate(drawn):
        y = _TOP + 10 + 22 * row
        parts.append(
            f'{shape(place.index, _RIGHT + 28, y)}<text class="t" x="{_RIGHT + 40}" y="{y + 4}">'
            f"{place.index + 1} {escape(clip(place.name, 32))}</text>"
        )
    return "".join(parts)
