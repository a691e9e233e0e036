"""The most exposed records: by id alone, as inert text, with what a list does and does not mean; lost ones are said."""

from __future__ import annotations

import json
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest

from steelyard.audit.types import Direction, Estimate, Evidence, Finding
from steelyard.reports.exposed import EXPOSED, exposed_of, shown_exposed
from steelyard.reports.render import render, render_bytes
from steelyard.reports.shareable import shareable

GOLDEN = Path(__file__).with_name("golden") / "exposed.txt"
SCRIPT = "<script>alert(1)</script>"
RECORDS = [
    {"id": SCRIPT, "held_out_rows_at_or_above": 0.0, "adjusted": 0.02, "p": 0.00004},
    {"id": "=cmd()\u202e7", "held_out_rows_at_or_above": 0.0125, "adjusted": 0.05, "p": 0.003},
    {"id": "person 3", "held_out_rows_at_or_above": 0.25, "adjusted": 0.4, "p": 0.2},
]
PLAIN = {
    "attack": "loss", "by": "id", "members": 1200, "held_out": 800, "false_discovery_rate": 0.05, "standing_out": 2,
    "records": RECORDS,
}  # fmt: skip
NOBODY = {**PLAIN, "standing_out": 0, "records": [{**r, "adjusted": 0.8} for r in RECORDS]}
CLUSTERS = {**PLAIN, "standing_out": None, "records": [{**r, "adjusted": None} for r in RECORDS]}


def evidence(plain) -> Evidence:
    data = plain if isinstance(plain, bytes) else json.dumps(plain).encode()
    return Evidence(name=EXPOSED, kind="json", data=data)


def found(target: str, attack: str, plain, value: float = 0.6, **where) -> Finding:
    estimate = Estimate(value=value, low=0.5, high=0.9, level=0.95, n=2000, method="by hand")
    return Finding(
        metric="privacy.membership.auc", target=target, estimate=estimate, definition="d", direction=Direction.LOWER,
        ideal=0.5, probe="privacy.membership", probe_version=1, where={"attack": attack, **where},
        evidence=(evidence(plain),), reading="attack",
    )  # fmt: skip


def shown(record, *rows: Finding):
    return exposed_of(shareable(record), rows, {})


@pytest.fixture
def candidate(record) -> str:
    return record.candidate().name


def test_a_row_says_at_which_rate_it_is_found_and_whether_it_stands_out(record, candidate):
    (one,) = shown(record, found(candidate, "lira", PLAIN))
    assert one.columns == (
        "Id", "False positive rate", "p by models without it", "Adjusted p", "Stands out",
    )  # fmt: skip
    assert one.rows[0] == (SCRIPT, "< 0.0013", "< 0.001", "0.020", "yes")
    assert one.rows[1] == ("'=cmd()\\u202e7", "0.013", "0.003", "0.050", "yes")
    assert one.rows[2] == ("person 3", "0.250", "0.200", "0.400", "no")
    assert one.lead.startswith(
        "2 of 1,200 training rows stand out: the attack is surer of them than of nearly all 800 held-out rows"
    )
    assert "does not mean that the model" in one.means


def test_a_list_without_exposed_records_says_so(record, candidate):
    (one,) = shown(record, found(candidate, "loss", NOBODY))
    assert one.lead.startswith("No single record stands out")
    assert {row[-1] for row in one.rows} == {"no"}
    (many,) = shown(record, found(candidate, "loss", {**PLAIN, "standing_out": 40}))
    assert many.lead.startswith("40 of 1,200 training rows stand out, the surest 3 of them listed: ")


def test_rows_in_clusters_have_no_p_of_their_own(record, candidate):
    (one,) = shown(record, found(candidate, "loss", CLUSTERS))
    assert "Adjusted p" not in one.columns
    assert "clusters" in one.lead


def test_the_attack_that_finds_most_is_first_and_only_the_candidate_is_shown(record, candidate):
    rows = [
        found(candidate, "weak", PLAIN, 0.55),
        found("baseline/boosting", "loss", PLAIN, 0.9),
        found(candidate, "strong", PLAIN, 0.7),
        found(candidate, "part", PLAIN, 0.8, attribute="sex", group="Female"),
    ]
    assert [e.attack for e in shown(record, *rows)] == ["strong", "weak"]
    assert {e.target for e in shown_exposed(shareable(record), rows, {})} == {candidate, "baseline/boosting"}


@pytest.mark.parametrize(
    "broken",
    [
        b"{",
        b"[]",
        {},
        {**PLAIN, "records": "many"},
        {**PLAIN, "records": [{"id": 7, "held_out_rows_at_or_above": 0.1, "adjusted": 0.1}]},
        {**PLAIN, "records": [{"id": "7", "held_out_rows_at_or_above": 1.1, "adjusted": 0.1}]},
        {**PLAIN, "records": [{"id": "7", "held_out_rows_at_or_above": 0.1}]},
        {**PLAIN, "records": [{**RECORDS[0], "p": float("nan")}]},
        {**PLAIN, "held_out": 0},
        {**PLAIN, "standing_out": True},
        {**PLAIN, "by": None},
    ],
)
def test_what_does_not_fit_is_said_to_be_missing(record, candidate, broken):
    (one,) = shown(record, found(candidate, "loss", broken))
    assert "are not shown" in one.lead
    assert one.rows == ()


def carrying(record, *rows: Finding):
    return replace(record, findings=(*record.findings, *rows)).sealed()


def test_the_program_s_report_has_all_targets_and_no_other_key_of_a_record(record, candidate):
    nosy = {**PLAIN, "records": [{**RECORDS[0], "salary": 9, "group": "Female"}]}
    rows = found(candidate, "loss", nosy), found("baseline/boosting", "loss", b"{")
    plain = json.loads(render_bytes(carrying(record, *rows), "json"))["exposed"]
    by_target = {entry["target"]: entry for entry in plain}
    assert by_target["baseline/boosting"]["found"] is None
    assert by_target[candidate]["found"]["records"] == [RECORDS[0]]
    assert by_target[candidate]["metric"] == "privacy.membership.auc"


def test_ids_are_text_and_longer_lists_are_cut(record, candidate):
    many = {**PLAIN, "records": [{**RECORDS[0], "id": f"{SCRIPT}{i}"} for i in range(30)]}
    page = render_bytes(carrying(record, found(candidate, "loss", many)), "html").decode()
    assert SCRIPT not in page
    assert page.count("&lt;script&gt;alert(1)&lt;/script&gt;") >= 20
    assert f"{SCRIPT}20".replace("<", "&lt;").replace(">", "&gt;") not in page


def test_the_bytes_come_from_the_run_folder_and_a_changed_file_is_not_shown(record, candidate, tmp_path):
    row = found(candidate, "loss", PLAIN)
    (item,) = row.evidence
    bare = carrying(record, replace(row, evidence=(replace(item, data=b"", digest=item.digest),)))
    (tmp_path / "evidence").mkdir()
    file = tmp_path / "evidence" / f"{item.digest}.json"
    file.write_bytes(item.data)
    assert "2 of 1,200 training rows stand out" in render(bare, ["html"], tmp_path)["html"].read_text()
    file.write_bytes(item.data.replace(b"person 3", b"person 4"))
    page = render(bare, ["html"], tmp_path)["html"].read_text()
    assert "The most exposed records are not shown" in page
    assert "person" not in page[page.index("The most exposed records are not shown") :][:600]


def test_golden(record, candidate):
    rows = found(candidate, "lira-online", PLAIN, 0.7), found(candidate, "loss", NOBODY)
    page = render_bytes(carrying(record, *rows), "html").decode()
    start = page.index('<details class="metric" id="m-privacy-membership-auc"')
    part = page[start : page.index("Table: AUC", start)]
    text = re.sub(r">\s*<", ">\n<", re.sub(r"<svg.*?</svg>", "<svg></svg>", part, flags=re.S))
    if os.environ.get("STEELYARD_UPDATE_GOLDEN"):
        GOLDEN.write_text(text, encoding="utf-8")
    assert text == GOLDEN.read_text(encoding="utf-8"), "run with STEELYARD_UPDATE_GOLDEN=1 if the change is meant"
