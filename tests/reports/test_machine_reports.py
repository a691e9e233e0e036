"""JSON, JUnit XML and Markdown: read back by the programs they are for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from junitparser import Error, Failure, JUnitXml, Skipped

from steelyard.audit.types import Status
from steelyard.reports.markdown import escape
from steelyard.reports.render import render_bytes


def cases(record) -> dict[str, object]:
    suites = JUnitXml.fromstring(render_bytes(record, "junit"))
    return {case.name: case.result for suite in suites for case in suite}


def kind(record, status, **policy) -> str:
    verdict = replace(record.verdicts[1], status=status, **policy)
    found = next(iter(cases(replace(record, verdicts=(verdict,), failures=(), uncovered=())).values()))
    return "passed" if not found else type(found[0]).__name__.lower()


@pytest.mark.parametrize(
    ("status", "policy", "expected"),
    [
        (Status.PASS, {}, "passed"),
        (Status.FAIL, {}, "failure"),
        (Status.INCONCLUSIVE, {"on_inconclusive": "review"}, "skipped"),
        (Status.INCONCLUSIVE, {"on_inconclusive": "accept"}, "skipped"),
        (Status.INCONCLUSIVE, {"on_inconclusive": "fail"}, "failure"),
        (Status.NOT_MEASURED, {}, "error"),
        (Status.NOT_REFUTED, {"on_not_refuted": "accept"}, "passed"),
        (Status.NOT_REFUTED, {"on_not_refuted": "review"}, "skipped"),
        (Status.REPORTED, {}, "passed"),
        (Status.WAIVED, {}, "skipped"),
    ],
)
def test_each_verdict_is_what_a_pipeline_takes_it_for(record, status, policy, expected):
    assert kind(record, status, **policy) == expected


def test_junit_counts_and_messages(record):
    suites = JUnitXml.fromstring(render_bytes(record, "junit"))
    assert {suite.name: suite.tests for suite in suites} == {"gates": 7, "coverage": 1, "probes": 3}
    found = cases(record)
    crash = next(v for k, v in found.items() if k.startswith("fairness.error-rates of baseline/logistic"))
    assert isinstance(crash[0], Error)
    assert isinstance(found["required family privacy"][0], Error)
    fail = next(v for k, v in found.items() if k.startswith("gate 1"))
    assert isinstance(fail[0], Failure)
    assert "joint upper limit 0.390" in fail[0].message
    unsure = next(v for k, v in found.items() if k.startswith("gate 3"))
    assert isinstance(unsure[0], Skipped)
    assert unsure[0].message.startswith("inconclusive: ")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(max_size=80))
def test_any_text_gives_well_formed_xml_and_json_that_reads_back(record, text):
    verdict = replace(record.verdicts[1], reason=text, threshold=text or "x")
    finding = replace(record.findings[0], where={"attribute": "a", "group": text}, detail={"note": text})
    changed = replace(record, verdicts=(verdict,), findings=(finding,))
    ET.fromstring(render_bytes(changed, "junit"))
    plain = json.loads(render_bytes(changed, "json"))
    assert plain["findings"][0]["where"]["group"] == text


def test_json_is_the_record_less_what_must_not_be_shared(record):
    plain = json.loads(render_bytes(record, "json"))
    assert plain["schema"] == "steelyard.report/1"
    assert plain["record"] == {"schema": record.schema, "digest": record.digest}
    assert [v["status"] for v in plain["verdicts"]] == [v.status.value for v in record.verdicts]
    withheld = [f for f in plain["findings"] if f["withheld"]]
    assert withheld
    assert all(f["estimate"] is None for f in withheld)
    assert {g["group"] for g in plain["suppression"]["groups"] if g["scope"] == "race"} == {"Rare", "Other"}
    assert [g["n"] for g in plain["sample"]["groups"] if g["group"] == "Rare"] == [None]
    assert all("basis" not in f for f in plain["findings"])
    assert "hostname" not in plain["environment"]


def test_markdown_tables_hold_their_columns_and_no_name_is_markup(record, sample):
    text = render_bytes(record, "markdown").decode()
    table: list[int] = []
    for line in text.splitlines():
        if line.startswith("|"):
            table.append(len(re.findall(r"(?<!\\)\|", line)))
            assert table[0] == table[-1], line
        else:
            table = []
    assert "<script" not in text
    assert "http://" not in text
    assert "\\`tick\\`" in escape(sample.HOSTILE[6])


@given(st.text(max_size=60))
def test_escaped_markdown_has_no_live_sign(text):
    found = escape(text)
    assert "<" not in found
    assert not re.search(r"(?:^|[^\\\\])(?:\\\\\\\\)*[`*_\[\]|~]", found)


@pytest.mark.parametrize("text", ["http://x.example", "HTTPS://x", "www.x.example", "mail@x.example", "@team"])
def test_an_address_does_not_become_a_link(text):
    assert not re.search(r"https?:|www\.|@", escape(text), re.IGNORECASE)
