"""Tables that a probe laid out: shown as they are in every format, and never a word about a hidden group."""

from __future__ import annotations

import json
from dataclasses import replace
from html.parser import HTMLParser
from typing import Any

import pytest

from steelyard.audit.canonical import canonical_json
from steelyard.audit.types import Evidence
from steelyard.reports.render import render, render_bytes

COLUMNS = [
    {"name": "race", "kind": "text"},
    {"name": "# of applicants", "kind": "count"},
    {"name": "Selection rate", "kind": "share"},
    {"name": "Impact ratio", "kind": "ratio"},
    {"name": "95 % interval of the ratio", "kind": "interval"},
]


def table(*rows: tuple[str, int, float, float | None], highest: str = "White", **more: Any) -> dict[str, Any]:
    return {
        "title": "Selection rates and impact ratios by race", "scope": "race", "columns": COLUMNS, "highest": highest,
        "rows": [
            {"group": race, "cells": [race, n, rate, ratio, None if ratio is None else [ratio - 0.01, 1.0]]}
            for race, n, rate, ratio in rows
        ],
        "relative": [3, 4], "notes": ["Small categories are left out (–)"], "totals": ["Data on 31 individuals"],
        **more,
    }  # fmt: skip


RACES = (("White", 12970, 0.312345, 1.0), ("Black", 1411, 0.2, 0.640334), ("Asian", 480, 0.25, None))
SMALL = (("Rare", 7, 0.987654, 0.9), ("Other", 103, 0.77134, 0.9))


def carrying(record, plain, data: bytes | None = None, kept: bytes | None = None):
    """The record whose first finding of the selection rate carries the table."""
    data = canonical_json(plain) if data is None else data
    item = Evidence(name="table", kind="json", data=data)
    if kept is not None:
        item = replace(item, data=kept)
    index = next(i for i, f in enumerate(record.findings) if f.metric == "fairness.selection-rate.rate")
    findings = list(record.findings)
    assert findings[index].target == record.candidate().name
    findings[index] = replace(findings[index], evidence=(item,))
    return replace(record, findings=tuple(findings)), item


class Cells(HTMLParser):
    """The words of every cell of the table whose caption is the title."""

    def __init__(self) -> None:
        super().__init__()
        self.inside = self.found = False
        self.cells: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.inside = tag in ("td", "th") or (self.inside and tag == "bdi")

    def handle_endtag(self, tag):
        self.inside = self.inside and tag == "bdi"
        self.found = self.found and tag != "table"

    def handle_data(self, data):
        self.found = self.found or data == "Selection rates and impact ratios by race"
        if self.found and self.inside:
            self.cells.append(data)


def cells(text: str) -> list[str]:
    parser = Cells()
    parser.feed(text)
    return parser.cells


def test_the_table_is_the_same_in_every_format(record):
    shown, _ = carrying(record, table(*RACES))
    html = render_bytes(shown, "html").decode()
    head = [c["name"] for c in COLUMNS]
    rows = [
        ["White", "12,970", "31.2 %", "1.000", "[0.990, 1.000]"],
        ["Black", "1,411", "20 %", "0.640", "[0.630, 1.000]"],
        ["Asian", "480", "25 %", "–", "–"],
    ]
    assert cells(html) == [*head, *(cell for row in rows for cell in row)]
    markdown = render_bytes(shown, "markdown").decode()
    for row in rows:
        assert "| " + " | ".join(row).replace("[", "\\[").replace("]", "\\]") + " |" in markdown
    assert "Small categories are left out (–)" in html
    (plain,) = json.loads(render_bytes(shown, "json"))["tables"]
    assert [c["name"] for c in plain["columns"]] == head
    assert plain["rows"][2] == ["Asian", 480, 0.25, None, None]
    assert plain["target"] == "candidate"


@pytest.mark.parametrize("name", ["html", "json", "markdown"])
def test_rows_of_hidden_groups_and_totals_that_tell_of_them_are_withheld(record, name):
    text = render_bytes(carrying(record, table(*RACES, *SMALL))[0], name).decode()
    assert "Black" in text
    for secret in ("0.987", "98.8 %", "0.771", "77.1 %", "31 individuals"):
        assert secret not in text
    assert "Groups with fewer than 10 rows are not shown" in text


def test_totals_are_shown_where_nothing_is_hidden(record):
    open_plan = replace(record, plan={**record.plan, "report": {"min_cell": 0}})
    text = render_bytes(carrying(open_plan, table(*RACES, *SMALL))[0], "html").decode()
    assert "Data on 31 individuals" in text
    assert "98.8 %" in text
    assert "rows are not shown, nor" not in text


def test_a_ratio_to_a_small_group_is_withheld_and_one_to_its_protector_rounded(record):
    small, _ = carrying(record, table(*RACES, highest="Rare"))
    (plain,) = json.loads(render_bytes(small, "json"))["tables"]
    assert plain["rows"][1] == ["Black", 1411, 0.2, "withheld", "withheld"]
    assert plain["rows"][2] == ["Asian", 480, 0.25, None, None]
    assert "0.640" not in "".join(cells(render_bytes(small, "html").decode()))
    protector, _ = carrying(record, table(*RACES, highest="Other"))
    (plain,) = json.loads(render_bytes(protector, "json"))["tables"]
    assert plain["rows"][1][3] == 0.64


def test_only_the_candidate_s_table_is_in_the_reports_people_read(record):
    shown, item = carrying(record, table(*RACES))
    findings = [
        replace(f, evidence=(item,))
        if f.metric == "fairness.selection-rate.rate" and f.where.get("group") == "Female"
        else f
        for f in shown.findings
    ]
    several = replace(shown, findings=tuple(findings))
    tables = json.loads(render_bytes(several, "json"))["tables"]
    assert len(tables) == len({t["target"] for t in tables}) > 1
    assert render_bytes(several, "markdown").decode().count("**Selection rates and impact ratios by race**") == 1


def test_names_from_data_stay_text(record):
    hostile = table(("<script>alert(1)</script>|", 50, 0.5, 1.0), title="=cmd()<b>", notes=["<img src=x>"])
    shown, _ = carrying(record, hostile)
    html = render_bytes(shown, "html").decode()
    assert "<script>alert(1)" not in html
    assert "<img src=x" not in html
    assert "&#39;=cmd()&lt;b&gt;" in html
    assert "\\|" in render_bytes(shown, "markdown").decode()


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {**table(*RACES), "rows": [{"group": "White", "cells": ["White", "many", 0.1, 1.0, None]}]},
        {**table(*RACES), "rows": [{"group": "White", "cells": ["White"]}]},
        {**table(*RACES), "rows": [{"cells": []}]},
        {**table(*RACES), "columns": [{"name": "race", "kind": "drawing"}]},
        {**table(*RACES), "relative": [0]},
        {**table(*RACES), "notes": [1]},
        {**table(*RACES), "scope": None},
    ],
)
def test_what_is_no_table_is_said_to_be_missing(record, broken):
    for name in ("html", "markdown", "json"):
        assert "The table is not shown" in render_bytes(carrying(record, broken)[0], name).decode()


def test_bytes_come_from_the_run_folder_and_a_changed_file_is_not_shown(record, tmp_path):
    data = canonical_json(table(*RACES))
    shown, item = carrying(record, None, data=data, kept=b"")
    (tmp_path / "evidence").mkdir()
    file = tmp_path / "evidence" / f"{item.digest}.json"
    file.write_bytes(data)
    html = render(shown, ["html"], tmp_path)["html"]
    assert cells(html.read_text())[5] == "White"
    file.write_bytes(data.replace(b"12970", b"12971"))
    render(shown, ["html"], tmp_path)
    assert "The table is not shown" in html.read_text()
