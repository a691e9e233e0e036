"""Nothing about a hidden group reaches any report, and nothing else is lost."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from steelyard.audit.types import Estimate, Status
from steelyard.reports.render import render_bytes
from steelyard.reports.shareable import shareable


def test_the_small_group_and_its_protector_are_hidden(record):
    shared = shareable(record)
    assert ("race", "Rare") in shared.small
    assert {
        ("race", "Rare"),
        ("race", "Other"),
        ("sex*race", "Female*Rare"),
        ("sex*race", "Male*Other"),
    } <= shared.hidden


@pytest.mark.parametrize("name", ["html", "json", "junit", "markdown"])
def test_a_hidden_group_s_number_is_in_no_report(record, name):
    secret = Estimate(value=0.987654, low=0.1, high=0.99, level=0.95, n=7, method="x")
    hidden = ("Rare", "Other", "Female*Rare", "Male*Rare", "Female*Other", "Male*Other")
    findings = tuple(replace(f, estimate=secret) if f.where.get("group") in hidden else f for f in record.findings)
    assert sum(f.estimate is secret for f in findings) > 10
    verdict = replace(
        record.verdicts[3], estimate=secret, status=Status.FAIL, reason="0.987654 of 7", explanation="n 7"
    )
    text = render_bytes(replace(record, findings=findings, verdicts=(verdict,)), name).decode()
    assert "0.987" not in text
    assert "0.988" not in text
    assert "of 7" not in text
    assert "n = 7" not in text


def test_a_contrast_with_a_small_group_is_withheld_and_one_with_its_protector_loses_its_exact_fraction(record):
    shared = shareable(record)
    contrast = next(f for f in record.findings if f.metric == "fairness.selection-rate.ratio")
    exact = Estimate(value=18 / 103, low=0.1, high=0.3, level=0.95, n=15068, method="x")
    small = replace(contrast, estimate=exact, detail={"lowest": "Rare", "highest": "White"})
    protector = replace(
        contrast, estimate=exact, detail={"lowest": "Other", "highest": "White", "lowest_rate": 18 / 103}
    )
    assert shared.estimate(small) is None
    shown = shared.estimate(protector)
    assert shown is not None
    assert shown.value == 0.175
    assert "lowest_rate" not in shared.detail(protector.detail, protector.where)
    assert (
        shared.estimate(replace(contrast, detail={"lowest": "Female", "untested": "race = Rare"})) == contrast.estimate
    )


def test_comparisons_show_no_n_while_a_group_is_hidden(record):
    plain = json.loads(render_bytes(record, "json"))
    ratios = [f for f in plain["findings"] if f["metric"] == "fairness.selection-rate.ratio"]
    assert ratios
    assert all(f["estimate"]["n"] is None for f in ratios)
    accuracy = next(f for f in plain["findings"] if f["metric"] == "quality.performance.accuracy" and not f["where"])
    assert accuracy["estimate"]["n"] == 15075


def test_the_minimum_is_the_plan_s(record):
    open_plan = {**record.plan, "report": {"min_cell": 0}}
    shared = shareable(replace(record, plan=open_plan))
    assert not shared.hidden
    assert all(shared.estimate(f) is f.estimate for f in record.findings)


def test_texts_lose_counts_only_where_they_are_about_a_hidden_group(record):
    shared = shareable(record)
    assert shared.text("White has n = 12,970 and 0.25") == "White has n = 12,970 and 0.25"
    assert shared.text("Other has n = 103 and a rate of 0.25") == "Other has n = … and a rate of 0.25"
    assert shared.text("Rare has n = 7 and a rate of 0.25") == "Rare has n = … and a rate of …"
    assert shared.text("Another 7 rows") == "Another 7 rows"
