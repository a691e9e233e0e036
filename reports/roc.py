"""How much does an attack find at which rate of false alarms? ROC curves on logarithmic axes, from the evidence.

The evidence is JSON: `{"fpr": […], "tpr": […]}`, rates in [0, 1] of the same length. On plain axes the part that
matters, the few rows that are found almost surely, is a point in the corner (Carlini et al. 2022, arXiv:2112.03570).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from steelyard.audit.types import Finding
from steelyard.reports.charts import shape
from steelyard.reports.sections import Metric, RocCurve
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import clip, describe_where, guard

__all__ = ["ROC", "draw_roc", "rocs_of"]

ROC = "membership-roc"
_SIDE, _LEFT, _TOP, _PAD = 300, 60, 24, 44
_MOST = 4  # curves in one chart: so many marks can be told apart
_LEAST = 1e-5  # where the axes begin at the lowest


def rocs_of(shared: Shareable, found: Sequence[Finding], evidence: Mapping[str, bytes]) -> tuple[RocCurve, ...]:
    """The candidate's curves of the attacks that find most; none where the evidence is absent or does not fit."""
    candidate = shared.record.candidate().name
    curves = []
    for finding in sorted(found, key=lambda f: -f.estimate.value):
        if finding.target != candidate or "group" in finding.where:
            continue
        for item in finding.evidence:
            if item.name == ROC and item.kind == "json":
                points = _points(item.data or evidence.get(item.digest, b""))
                name = guard(str(finding.where.get("attack", ""))) or describe_where(finding.where) or "all rows"
                curves += [RocCurve(name=name, points=points)] if points else []
    return tuple(curves[:_MOST])


def _points(data: bytes) -> tuple[tuple[float, float], ...]:
    try:
        plain = json.loads(data)
    except ValueError:
        return ()
    fpr, tpr = (plain.get(key) for key in ("fpr", "tpr")) if isinstance(plain, Mapping) else (None, None)
    if not isinstance(fpr, list) or not isinstance(tpr, list) or len(fpr) != len(tpr):
        return ()
    if not all(_is_rate(value) for value in (*fpr, *tpr)):
        return ()
    return tuple((float(x), float(y)) for x, y in zip(fpr, tpr, strict=True))


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


def draw_roc(metric: Metric) -> str:
    """The curves of a metric on logarithmic axes; an empty string where none has two points to draw."""
    seen = [value for curve in metric.rocs for point in curve.points for value in point if value > 0]
    low = max(_LEAST, 10.0 ** math.floor(math.log10(min(seen)))) if seen else 1.0
    if low >= 1:
        return ""
    curves = [(curve.name, [p for p in curve.points if min(p) >= low]) for curve in metric.rocs]
    if not any(len(points) > 1 for _, points in curves):
        return ""
    anchor = f"{metric.anchor}-roc"
    width, height = _LEFT + _SIDE + 200, _TOP + _SIDE + _PAD
    body = "".join(_curve(i, points, low) for i, (_, points) in enumerate(curves))
    legend = "".join(
        f'{shape(i, _LEFT + _SIDE + 24, _TOP + 12 + 22 * i)}<text class="t" x="{_LEFT + _SIDE + 36}"'
        f' y="{_TOP + 16 + 22 * i}">{escape(clip(name, 22))}</text>'
        for i, (name, _) in enumerate(curves)
    )
    return (
        f'<svg class="chart curve" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img"'
        f' aria-labelledby="{anchor}-t {anchor}-d"><title id="{anchor}-t">ROC curves on logarithmic axes</title>'
        f'<desc id="{anchor}-d">True positive rate against false positive rate of'
        f" {escape(', '.join(clip(name, 40) for name, _ in curves))}. On the dashed line an attack only guesses."
        f" A picture without limits: rates with intervals are under the true positive rate.</desc>"
        f"{_frame(low)}{body}{legend}</svg>"
    )


def _place(value: float, low: float) -> float:
    """From a rate to its share of the logarithmic axis from `low` to 1."""
    return min(1.0, max(0.0, 1 - math.log10(max(value, low)) / math.log10(low)))


def _x(value: float, low: float) -> float:
    return _LEFT + _place(value, low) * _SIDE


def _y(value: float, low: float) -> float:
    return _TOP + _SIDE - _place(value, low) * _SIDE


def _frame(low: float) -> str:
    parts = []
    for power in range(round(math.log10(low)), 1):
        v = 10.0**power
        text = f"{v:g}" if power >= -3 else f"1e−{-power}"
        parts.append(
            f'<path class="g" d="M{_x(v, low):.1f} {_TOP + _SIDE}V{_TOP}M{_LEFT} {_y(v, low):.1f}H{_LEFT + _SIDE}"/>'
            f'<text class="t" x="{_x(v, low):.1f}" y="{_TOP + _SIDE + 16}" text-anchor="middle">{text}</text>'
            f'<text class="t" x="{_LEFT - 8}" y="{_y(v, low) + 4:.1f}" text-anchor="end">{text}</text>'
        )
    parts.append(f'<path class="d" d="M{_LEFT} {_TOP + _SIDE}L{_LEFT + _SIDE} {_TOP}"/>')
    middle, under = _LEFT + _SIDE / 2, _TOP + _SIDE + 36
    parts.append(
        f'<text class="t" x="{middle}" y="{under}" text-anchor="middle">false positive rate</text>'
        f'<text class="t" x="4" y="{_TOP - 10}">true positive rate</text>'
    )
    return "".join(parts)


def _curve(index: int, points: Sequence[tuple[float, float]], low: float) -> str:
    if not points:
        return ""
    css = "i0" if index == 0 else "i1"
    path = "L".join(f"{_x(x, low):.1f} {_y(y, low):.1f}" for x, y in points)
    marks = points[:: max(1, len(points) // 6)]
    return f'<path class="{css}" d="M{path}"/>' + "".join(shape(index, _x(x, low), _y(y, low)) for x, y in marks)
