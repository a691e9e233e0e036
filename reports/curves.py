"""Reliability curves, from the evidence behind a calibration finding.

The evidence is JSON: `{"bins": [{"score", "rate", "rate_low", "rate_high", "n"}, …]}`, one entry a bin: mean score,
observed rate and its limits, rows. The record holds only its digest; the bytes come from the run folder.
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
    bins = plain.get("bins") if isinstance(plain, Mapping) else None
    if not isinstance(bins, list):
        return ()
    points = [_point(entry) for entry in bins if isinstance(entry, Mapping)]
    return tuple(point for point in points if point is not None)


def _point(entry: Mapping[str, Any]) -> CurvePoint | None:
    score, rate, n = _number(entry, "score"), _number(entry, "rate"), _number(entry, "n")
    if score is None or rate is None or n is None:
        return None
    return CurvePoint(
        score=score, rate=rate, low=_number(entry, "rate_low"), high=_number(entry, "rate_high"), n=round(n)
    )


def _number(entry: Mapping[str, Any], name: str) -> float | None:
    value = entry.get(name)
    if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    return None
