"""Which of two figures is clearly better: the one nearer to its ideal, where the metric has one.

A direction alone misleads beyond the ideal: the favourable decision 1.8 times as often as the reference group gets it
is no better than 0.9 times, though "higher is better" up to 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

from steelyard.audit.types import Direction, Estimate, Finding

__all__ = ["beyond_ideal", "clearly_better"]

Span = tuple[float, float]


def clearly_better(mine: Finding, one: Estimate, two: Estimate) -> Literal[-1, 0, 1]:
    """1 where `one` is better than `two` beyond both intervals, -1 where worse, 0 where they meet or one has none.

    `mine` says what is better. With an ideal c it is the distance from c: |x − c|, or |log(x / c)| of a ratio, for
    which half and double are as far. The interval of the distance holds 0 where that of the figure holds c. An attack
    that does worse than chance has found nothing, so beyond its ideal it is at a distance of 0. Without an ideal the
    direction decides.
    """
    a, b = _span(one), _span(two)
    if a is None or b is None:
        return 0
    if mine.ideal is not None:
        a, b = _distance(mine, a), _distance(mine, b)
    lower_is_better = mine.ideal is not None or mine.direction is Direction.LOWER
    better, worse = (a[1] < b[0], a[0] > b[1]) if lower_is_better else (a[0] > b[1], a[1] < b[0])
    return 1 if better else -1 if worse else 0


def beyond_ideal(found: Iterable[Finding]) -> bool:
    """Has a metric figures on the far side of its ideal, where more of the better is worse? Not so of an attack."""
    for finding in found:
        if finding.ideal is None or finding.reading == "attack":
            continue
        past = finding.estimate.value - finding.ideal
        if (finding.direction is Direction.HIGHER and past > 0) or (finding.direction is Direction.LOWER and past < 0):
            return True
    return False


def _span(estimate: Estimate) -> Span | None:
    return None if estimate.low is None or estimate.high is None else (estimate.low, estimate.high)


def _distance(finding: Finding, span: Span) -> Span:
    """The least and the greatest distance from the ideal within an interval."""
    ideal = finding.ideal
    assert ideal is not None  # noqa: S101 (the caller has looked)
    low, high = (_from(finding, limit, ideal) for limit in span)
    if finding.reading == "attack":
        better = -1 if finding.direction is Direction.HIGHER else 1
        low, high = sorted((max(0.0, better * low), max(0.0, better * high)))
        return low, high
    ends = sorted((abs(low), abs(high)))
    return (0.0 if low <= 0 <= high else ends[0]), ends[1]


def _from(finding: Finding, value: float, ideal: float) -> float:
    """How far beyond the ideal, below it if negative."""
    if "ratio" in finding.metric.rsplit(".", 1)[-1].split("-") and ideal > 0 and value >= 0:
        return math.log(value / ideal) if value > 0 else -math.inf
    return value - ideal
