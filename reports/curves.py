"""Reliability curves, from the evidence behind a calibration finding.

The evidence is JSON: `{"bins": [{"score", "rate", "low", "high", "n"}, …]}`, one entry a bin: mean score, observed rate
of the positive class, its limits, rows. The record holds only its digest; the bytes come from the run folder.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from steelyard.audit.types import Finding
from steelyard.reports.sections import Curve, CurvePoint
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import describe_where, guard

__all__ = ["CURVE", "curves_of"]

CURVE = "reliability-curve"
# The names other tools and older records give the same quantities.
_SCORE = ("score", "mean_score", "mean-score", "confidence", "mean_confidence")
_RATE = ("rate", "observed", "observed_rate", "observed-rate", "accuracy")


def curves_of(
    shared: Shareable, found: Sequence[Finding], evidence: Mapping[str, bytes]
) -> tuple[tuple[Curve, ...], str]:
    """The curves of a metric's findings over the whole sample, and a note where one cannot be drawn."""
    curves, lost = [], 0
    for finding in found:
        if shared.hides(finding.where) or "group" in finding.where:
            continue  # a curve for each group and target is more than a page can hold: the table has their figures
        for item in finding.evidence:
            if item.name != CURVE or item.kind != "json":
                continue
            points = _points(item.data or evidence.get(item.digest, b""))
            if not points:
                lost += 1
                continue
            curves.append(Curve(target=guard(finding.target), where=describe_where(finding.where), points=points))
    note = "The curve is not drawn: its evidence file is not beside the record, or does not fit it." if lost else ""
    return tuple(curves), note


def _points(data: bytes) -> tuple[CurvePoint, ...]:
    """The bins; empty where the bytes are absent or are no reliability curve."""
    try:
        plain = json.loads(data)
    except ValueError:
        return ()
    bins = plain.get("bins") if isinstance(plain, Mapping) else plain
    if isinstance(bins, Mapping):  # columns instead of rows
        lists = {k: v for k, v in bins.items() if isinstance(v, list)}
        width = min((len(v) for v in lists.values()), default=0)
        bins = [{k: v[i] for k, v in lists.items()} for i in range(width)]
    if not isinstance(bins, list):
        return ()
    points = [_point(entry) for entry in bins if isinstance(entry, Mapping)]
    return tuple(point for point in points if point is not None)


def _point(entry: Mapping[str, Any]) -> CurvePoint | None:
    score = _first(entry, _SCORE)
    rate = _first(entry, _RATE)
    if score is None or rate is None:
        return None
    n = _first(entry, ("n", "count", "rows")) or 0
    return CurvePoint(score=score, rate=rate, low=_first(entry, ("low",)), high=_first(entry, ("high",)), n=int(n))


def _first(entry: Mapping[str, Any], names: Sequence[str]) -> float | None:
    for name in names:
        value = entry.get(name)
        if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    return None
