"""The reliability chart: observed rate against mean score, bin by bin, candidate beside references."""

from __future__ import annotations

from html import escape

from steelyard.reports.charts import shape
from steelyard.reports.numbers import fixed
from steelyard.reports.sections import Curve, Metric
from steelyard.reports.text import clip

__all__ = ["reliability"]

_SIDE, _LEFT, _TOP, _PAD = 300, 52, 24, 44


def reliability(metric: Metric) -> str:
    """The chart of the metric's curves over the whole sample; an empty string where there are none."""
    curves = [c for c in metric.curves if c.points][:6]
    if not curves:
        return ""
    anchor = f"{metric.anchor}-curve"
    width, height = _LEFT + _SIDE + 200, _TOP + _SIDE + _PAD
    body = "".join(_curve(i, curve) for i, curve in enumerate(curves))
    legend = "".join(
        f'{shape(i, _LEFT + _SIDE + 24, _TOP + 12 + 22 * i)}<text class="t" x="{_LEFT + _SIDE + 36}"'
        f' y="{_TOP + 16 + 22 * i}">{escape(clip(curve.target, 22))}</text>'
        for i, curve in enumerate(curves)
    )
    return (
        f'<svg class="chart curve" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-labelledby="{anchor}-t {anchor}-d"><title id="{anchor}-t">Reliability curve</title>'
        f'<desc id="{anchor}-d">Observed rate against mean score in {len(curves[0].points)} bins for'
        f" {escape(', '.join(clip(c.target, 40) for c in curves))}. On the diagonal the score is the rate."
        f" The table below holds the same figures.</desc>{_frame()}{body}{legend}</svg>"
    )


def _x(value: float) -> float:
    return _LEFT + min(1.0, max(0.0, value)) * _SIDE


def _y(value: float) -> float:
    return _TOP + _SIDE - min(1.0, max(0.0, value)) * _SIDE


def _frame() -> str:
    parts = []
    for step in range(6):
        v = step / 5
        parts.append(
            f'<path class="g" d="M{_x(v):.1f} {_y(0):.1f}V{_y(1):.1f}M{_x(0):.1f} {_y(v):.1f}H{_x(1):.1f}"/>'
            f'<text class="t" x="{_x(v):.1f}" y="{_y(0) + 16:.1f}" text-anchor="middle">{fixed(v, 1)}</text>'
            f'<text class="t" x="{_LEFT - 8}" y="{_y(v) + 4:.1f}" text-anchor="end">{fixed(v, 1)}</text>'
        )
    parts.append(f'<path class="d" d="M{_x(0):.1f} {_y(0):.1f}L{_x(1):.1f} {_y(1):.1f}"/>')
    parts.append(
        f'<text class="t" x="{_x(0.5):.1f}" y="{_y(0) + 36:.1f}" text-anchor="middle">mean score of the bin</text>'
    )
    parts.append(f'<text class="t" x="4" y="{_TOP - 10}">observed rate</text>')
    return "".join(parts)


def _curve(index: int, curve: Curve) -> str:
    points = curve.points
    css = "i0" if index == 0 else "i1"
    path = "L".join(f"{_x(p.score):.1f} {_y(p.rate):.1f}" for p in points)
    parts = [f'<path class="{css}" d="M{path}"/>']
    for p in points:
        if index == 0 and p.low is not None and p.high is not None:
            parts.append(f'<path class="{css}" d="M{_x(p.score):.1f} {_y(p.low):.1f}V{_y(p.high):.1f}"/>')
        parts.append(shape(index, _x(p.score), _y(p.rate)))
    return "".join(parts)
