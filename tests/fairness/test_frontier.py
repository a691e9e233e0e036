"""The frontier: every model's place beside the others, from the record alone."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from steelyard.audit.record import GroupCount, Record, SampleCard, TargetCard
from steelyard.audit.types import Direction, Estimate, Finding, Scalar
from steelyard.reports.frontier import ACCURACY, DISPARITIES, draw, frontiers
from steelyard.reports.render import render_bytes
from steelyard.reports.shareable import shareable

GAP, ODDS = DISPARITIES
NAMES = ("candidate", "baseline/boosting", "fair/<b>reduction</b>")


def finding(
    metric: str, target: str, value: float, half: float | None, where: dict[str, Scalar], **more: Any
) -> Finding:
    limits = (None, None) if half is None else (value - half, value + half)
    estimate = Estimate(
        value=value, low=limits[0], high=limits[1], level=0.95, n=900, method="by hand",
        no_interval="" if half is not None else "none here",
    )  # fmt: skip
    return Finding(
        metric=metric, target=target, estimate=estimate, definition="d", direction=Direction.LOWER, ideal=0.0,
        probe=metric.rsplit(".", 1)[0], probe_version=1, where=where, **more,
    )  # fmt: skip


def record_of(findings: list[Finding], names: tuple[str, ...] = NAMES) -> Record:
    cards = tuple(
        TargetCard(
            name=name, role="candidate" if name == "candidate" else "reference", kind="recipe", task="binary",
            fingerprint=name, capabilities=("predict",),
        )
        for name in names
    )  # fmt: skip
    sample = SampleCard(
        source="s", fingerprint="f", n=900, n_train=None, task="binary", modality="tabular", classes=("0", "1"),
        class_counts=(450, 450),
        groups=(GroupCount(attribute="sex", group="f", n=450), GroupCount(attribute="sex", group="m", n=450)),
    )  # fmt: skip
    return Record(
        plan={"audit": {"name": "x"}}, plan_digest="0", targets=cards, sample=sample, findings=tuple(findings),
        failures=(), inapplicable=(), verdicts=(), uncovered=(), exit_code=0, judged=False, versions={}, evidence={},
    ).sealed()  # fmt: skip


def places(values: dict[str, tuple[float, float]], half: float | None = 0.01) -> list[Finding]:
    """A finding of accuracy and one of the joint gap and one by sex for each model: (gap, accuracy)."""
    found = []
    for name, (gap, accuracy) in values.items():
        found.append(finding(ACCURACY, name, accuracy, half, {}))
        found.append(finding(ACCURACY, name, 0.1, half, {"attribute": "sex", "group": "f"}))  # no place of its own
        found.append(finding(GAP, name, gap / 2, half, {"attribute": "sex"}))
        found.append(finding(GAP, name, gap, half, {}))
        found.append(finding(GAP, name, gap * 2, half, {"intersections": 2}))
    return found


@pytest.fixture
def record() -> Record:
    return record_of(places({NAMES[0]: (0.20, 0.80), NAMES[1]: (0.19, 0.84), NAMES[2]: (0.05, 0.83)}))


def test_hand_case(record: Record) -> None:
    (found,) = frontiers(shareable(record))
    assert (found.metric, found.scopes) == (GAP, ("all attributes jointly", "sex"))
    candidate, plain, fair = found.places
    assert candidate.accuracy == "0.800 [0.790, 0.810]"
    assert candidate.disparities == ("0.200 [0.190, 0.210]", "0.100 [0.090, 0.110]")
    # boosting: intervals of the gap overlap, so it is better but not clearly; the reduction is clearly better on both
    assert candidate.better == "baseline/boosting, fair/<b>reduction</b> (clearly)"
    assert plain.better == fair.better == "none"  # each of them has something the other has not


def test_who_dominates_whom_is_an_order() -> None:
    """Planted: along a line of trade-offs nobody is better on both; a model inside is named as worse, a tie is not."""
    line = {f"r{i}": (0.05 * i, 0.8 + 0.01 * i) for i in range(5)}
    record = record_of(
        places({"candidate": line["r2"], **line, "inside": (0.21, 0.81)}), ("candidate", *line, "inside")
    )
    (found,) = frontiers(shareable(record))
    better = {place.name: place.better for place in found.places}
    assert {better[name] for name in ("candidate", *line)} == {"none"}
    assert better["inside"].split(", ")[0] == "candidate"
    assert "r4" in better["inside"]
    assert "r0" not in better["inside"]


def test_what_was_not_measured_has_no_place(record: Record) -> None:
    without = [f for f in record.findings if not (f.target == NAMES[1] and f.metric == GAP)]
    (found,) = frontiers(shareable(record_of(without)))
    assert [p.name for p in found.places] == [NAMES[0], NAMES[2]]
    assert found.absent == (NAMES[1],)
    alone = [f for f in record.findings if f.target == NAMES[0]]
    assert frontiers(shareable(record_of(alone))) == ()
    no_accuracy = [f for f in record.findings if f.metric != ACCURACY]
    assert frontiers(shareable(record_of(no_accuracy))) == ()
    page = render_bytes(record_of(alone), "html").decode()
    assert 'id="frontier"' not in page


def test_without_a_joint_gap_an_attribute_is_drawn(record: Record) -> None:
    by_sex = [f for f in record.findings if f.metric != GAP or f.where == {"attribute": "sex"}]
    (found,) = frontiers(shareable(record_of(by_sex)))
    assert found.scopes == ("sex",)
    assert found.places[0].x is not None
    assert found.places[0].x.value == 0.1


def test_the_drawing(record: Record) -> None:
    (found,) = frontiers(shareable(record))
    text = draw(found)
    root = ET.fromstring(text)
    circles = list(root.iter("circle"))
    assert [c.attrib["class"] for c in circles] == ["k0", "k0"]  # the candidate, and its sign in the legend
    boxes, diamonds = list(root.iter("rect")), list(root.iter("polygon"))
    assert (len(boxes), len(diamonds)) == (2, 2)
    at = {"candidate": (float(circles[0].attrib["cx"]), float(circles[0].attrib["cy"]))}
    at["boosting"] = (float(boxes[0].attrib["x"]) + 3, float(boxes[0].attrib["y"]) + 3)
    assert at["boosting"][0] < at["candidate"][0]  # a smaller gap is further left
    assert at["boosting"][1] < at["candidate"][1]  # a higher accuracy is higher up
    bars = [p.attrib["d"] for p in root.iter("path") if p.attrib["class"].startswith("i")]
    assert len(bars) == 6  # two for each model
    for bar in bars:
        assert "H" in bar or "V" in bar
    assert "style=" not in text
    assert "<b>" not in text
    assert "&lt;b&gt;reduction" in text


def test_points_without_intervals_and_at_one_place_are_drawn() -> None:
    same = record_of(places(dict.fromkeys(NAMES, (0.0, 1.0)), half=None))
    (found,) = frontiers(shareable(same))
    assert {place.better for place in found.places} == {"none"}
    root = ET.fromstring(draw(found))
    assert not [p for p in root.iter("path") if p.attrib["class"].startswith("i")]
    for node in root.iter():
        for value in node.attrib.values():
            assert "nan" not in value
            assert "inf" not in value


def test_what_is_withheld_is_neither_written_nor_drawn() -> None:
    found = places({NAMES[0]: (0.20, 0.80), NAMES[1]: (0.19, 0.84), NAMES[2]: (0.05, 0.83)})
    found = [replace(f, detail={"lowest": "rare"}) if f.metric == GAP and f.target == NAMES[2] else f for f in found]
    record = record_of(found)
    counts = (
        *record.sample.groups,
        *(GroupCount(attribute="race", group=g, n=n) for g, n in (("rare", 3), ("w", 897))),
    )
    record = replace(record, sample=replace(record.sample, groups=counts)).sealed()
    (shown,) = frontiers(shareable(record))
    assert shown.places[2].disparities[0] == "withheld"
    assert shown.places[2].x is None
    assert shown.places[0].better == "baseline/boosting"
    assert "0.05" not in re.sub(r"<text[^>]*>-?[\d.]+</text>", "", draw(shown))


def test_it_stands_in_the_reports(record: Record, tmp_path: Path) -> None:
    page = render_bytes(record, "html").decode()
    assert page.count('href="#frontier"') == page.count('id="frontier"') == 1
    assert page.index('id="m-fairness"') < page.index('id="frontier"') < page.index('id="untested"')
    assert "fair/&lt;b&gt;reduction" in page
    assert "<b>reduction" not in page
    text = render_bytes(record, "markdown").decode()
    assert "## Accuracy against disparity" in text
    assert "baseline/boosting, fair/&lt;b&gt;reduction" in text
