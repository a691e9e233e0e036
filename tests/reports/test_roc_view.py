"""ROC curves on logarithmic axes: the right points, in their place, from the candidate's evidence alone."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest

from steelyard.audit.types import Direction, Estimate, Evidence, Finding
from steelyard.reports.render import render_bytes
from steelyard.reports.roc import ROC, draw_roc, rocs_of
from steelyard.reports.sections import Metric, RocCurve
from steelyard.reports.shareable import shareable


def evidence(**plain) -> Evidence:
    return Evidence(name=ROC, kind="json", data=json.dumps(plain).encode())


def found(target: str, attack: str, item: Evidence, **where) -> Finding:
    estimate = Estimate(value=0.6, low=0.5, high=0.7, level=0.95, n=100, method="by hand")
    return Finding(
        metric="privacy.membership.auc", target=target, estimate=estimate, definition="d", direction=Direction.LOWER,
        ideal=0.5, probe="privacy.membership", probe_version=1, where={"attack": attack, **where}, evidence=(item,),
        reading="attack",
    )  # fmt: skip


GOOD = evidence(fpr=[0.001, 0.01, 0.1, 1.0], tpr=[0.01, 0.05, 0.2, 1.0])


def metric(*curves: RocCurve) -> Metric:
    return Metric(
        id="m", name="AUC", anchor="m", definition="", direction="", not_shown="", level="", methods=(), columns=(),
        parts=(), lines=(), gates=(), rocs=curves,
    )  # fmt: skip


def test_only_the_candidates_whole_curves_are_taken(record):
    candidate = record.candidate().name
    rows = [
        found(candidate, "loss", GOOD),
        found("baseline/boosting", "loss", GOOD),
        found(candidate, "lira", GOOD, attribute="sex", group="Female"),
        found(candidate, "short", evidence(fpr=[0.1], tpr=[])),
        found(candidate, "odd", evidence(fpr=[0.1, 2.0], tpr=[0.1, 0.2])),
        found(candidate, "broken", Evidence(name=ROC, kind="json", data=b"{")),
    ]
    (one,) = rocs_of(shareable(record), rows, {})
    assert one.name == "loss"
    assert one.points[1] == (0.01, 0.05)


def test_the_four_that_find_most_are_drawn(record):
    rows = [found(record.candidate().name, name, GOOD) for name in "abcdef"]
    rows = [replace(r, estimate=replace(r.estimate, value=0.5 + 0.03 * i)) for i, r in enumerate(rows)]
    assert [curve.name for curve in rocs_of(shareable(record), rows, {})] == ["f", "e", "d", "c"]


def test_the_bytes_come_from_the_run_folder(record):
    bare = replace(GOOD, data=b"", digest=GOOD.digest)
    row = found(record.candidate().name, "loss", bare)
    assert rocs_of(shareable(record), [row], {}) == ()
    assert len(rocs_of(shareable(record), [row], {GOOD.digest: GOOD.data})) == 1


def test_places_on_the_axes():
    """From .001 to 1 in three decades of 100 each: (.01, .1) lies one decade across and two up."""
    drawn = draw_roc(metric(RocCurve(name="<b>", points=((0.001, 0.001), (0.01, 0.1), (1.0, 1.0)))))
    root = ET.fromstring(drawn)
    path = next(p.attrib["d"] for p in root.iter("path") if p.attrib["class"] == "i0")
    places = [tuple(map(float, pair.split())) for pair in re.split("[ML]", path)[1:]]
    assert places == [(60.0, 324.0), (160.0, 124.0), (360.0, 24.0)]
    assert "<b>" not in drawn


@pytest.mark.parametrize("points", [(), ((0.0, 0.0),), ((1.0, 1.0),)])
def test_nothing_to_draw_is_nothing(points):
    assert draw_roc(metric(RocCurve(name="loss", points=points))) == ""


def test_it_stands_in_the_page(record):
    weighed = replace(record, findings=(*record.findings, found(record.candidate().name, "loss", GOOD))).sealed()
    page = render_bytes(weighed, "html").decode()
    assert page.count("ROC curves on logarithmic axes") == 1
    assert "ROC curves on logarithmic axes" not in render_bytes(record, "html").decode()
