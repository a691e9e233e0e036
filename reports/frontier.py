"""Accuracy against disparity: the candidate and every reference as points, with intervals both ways.

Computed from the findings of the record alone. A disparity says little by itself: beside references that were trained
on the same rows, some of them told to treat groups alike, it shows whether it could have been smaller, and at what
cost in accuracy. A model that gives everybody the same answer has no disparity at all and is right as often as its
answer is, so that its accuracy is drawn too: beside it, a small gap is no merit of a model that hardly ever says yes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.audit.types import Estimate, Finding, Scalar
from steelyard.reports.numbers import estimate_text, number
from steelyard.reports.one_answer import OneAnswer, one_answer
from steelyard.reports.scatter import Dot, Scatter, draw_scatter
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.text import describe_where, guard

__all__ = ["ACCURACY", "DISPARITIES", "Frontier", "Place", "draw", "frontiers"]

ACCURACY = "quality.performance.accuracy"
DISPARITIES = {
    "fairness.selection-rate.difference": "Difference of selection rates",
    "fairness.error-rates.equalized-odds-difference": "Equalized odds difference",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One model: its accuracy, its disparity in each scope (the first is drawn), and who is better on both counts."""

    index: int  # in the order of the record's targets: 0 is the candidate
    name: str
    accuracy: str
    idle: str  # how the accuracy stands to that of one answer for all; "" where that is not known
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
    one_answer: OneAnswer | None


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
    floor = one_answer(shared, accuracy[candidate].estimate.level)
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
                idle=_idle(shared.estimate(accuracy[name]), floor),
                disparities=tuple(_text(shared, gaps[scope].get(name)) for scope in shown),
                better=_better(shared, name, points),
                x=shared.estimate(points[name][0]),
                y=shared.estimate(points[name][1]),
            )
            for name in there
        ),
        absent=tuple(guard(name) for name in names if name not in there),
        one_answer=floor,
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


def _idle(accuracy: Estimate | None, floor: OneAnswer | None) -> str:
    """In words where a model is no better than one answer for all, by the estimates, or not clearly so."""
    if accuracy is None or floor is None:
        return ""
    if accuracy.value <= floor.share.value:
        return "no better than one answer for all"
    return "" if _below(floor.share, accuracy) else "not clearly better than one answer for all"


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
    scope, answer = frontier.scopes[0], frontier.one_answer
    return draw_scatter(
        Scatter(
            anchor=frontier.anchor,
            title=f"Accuracy against {frontier.title.lower()}",
            words=f"accuracy against the {frontier.title.lower()} ({scope}), with intervals."
            " Better is up and to the left. The table below holds the same figures.",
            across=f"{frontier.title}, {scope} (0 is parity)",
            up="accuracy",
            mark=0.0,
            dots=tuple(Dot(index=place.index, name=place.name, x=place.x, y=place.y) for place in frontier.places),
            floor=None if answer is None else (answer.share.value, f"{answer.name}: {number(answer.share.value)}"),
        )
    )
