"""Counts are whole, a gate's card and the scope are in plain words, a price is never rounded to nothing."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from steelyard.audit.types import Capability, Estimate
from steelyard.reports.charts import forest
from steelyard.reports.details import detail_facts, detail_words
from steelyard.reports.numbers import estimate_text
from steelyard.reports.references_view import references_view
from steelyard.reports.render import render_bytes
from steelyard.reports.shareable import shareable
from steelyard.reports.view import build_view
from steelyard.reports.words import ABILITIES


def counted(n: int) -> Estimate:
    return Estimate(
        value=float(n), low=None, high=None, level=0.95, n=n, method="counted",
        no_interval="a count of these rows, read literally",
    )  # fmt: skip


def test_a_count_is_whole_wherever_it_stands(record):
    first = record.findings[0]
    found = tuple(
        replace(first, metric="fairness.ll144.unknown", estimate=counted(n), where={"attribute": name, "group": "?"})
        for name, n in (("sex", 143), ("race", 1367))
    )
    metric = build_view(replace(record, findings=found)).families[0].questions[0]
    assert metric.glance[0].cells == ("143 to 1,367 (2 readings)",)
    assert [row.cells[0].text for part in metric.metrics[0].parts for row in part.rows] == ["143", "1,367"]
    assert ">143<" in forest(metric.metrics[0])
    alone = build_view(replace(record, findings=found[:1])).families[0].questions[0].glance[0]
    assert alone.cells == ("143",)


def test_a_figure_that_is_no_count_keeps_its_digits():
    bare = replace(counted(3), no_interval="the rule reads it literally")
    assert estimate_text(bare) == "3.000 (no interval)"
    assert estimate_text(replace(counted(3), value=2.5)) == "2.500 (no interval)"


@pytest.mark.parametrize(
    ("spent", "wanted"),
    [
        ({"cpu_seconds": 0.31, "cost": {"peak_memory": 402.0}}, "0.3 CPU-s; the whole process held up to 0.4 GiB"),
        ({"cpu_seconds": 0.02, "cost": {"peak_memory": 12.0}}, "< 0.1 CPU-s; the whole process held up to < 0.1 GiB"),
        ({"cpu_seconds": 1234.5}, "1,234.5 CPU-s"),
        ({"cpu_seconds": 0}, "0.0 CPU-s"),
        ({}, "–"),
    ],
)
def test_what_a_training_cost(record, spent, wanted):
    changed = replace(record, environment={"training": {"baseline/logistic": spent}})
    (balance, *_) = [b for b in references_view(shareable(changed)).balances if b.name == "baseline/logistic"]
    assert balance.price == wanted


def test_a_gate_beside_several_references_says_which_decides(record):
    verdict = replace(record.verdicts[1], versus="baseline", detail={"references": 2, "versus": "baseline/logistic"})
    (row,) = build_view(replace(record, verdicts=(verdict,))).gates
    facts = {fact.label: fact.value for fact in row.facts}
    assert facts["compared with"] == "baseline/logistic, of 2 references the one it does worst against"
    assert "also" not in facts
    assert detail_facts({"references": 1, "versus": "a"}) == (("compared with", "a"),)


def test_a_detail_is_told_by_its_own_name():
    detail = {"lowest": "f", "highest": "m", "contrasts": 3, "bins": 15, "exact": True, "sampled": ""}
    assert detail_facts(detail) == (
        ("widest between", "f, m"), ("compared", "3 comparisons"), ("bins", "15"), ("exact", "yes"),
    )  # fmt: skip
    assert detail_words(detail) == ("f, m", "3 comparisons", "bins: 15", "exact")


def test_every_ability_has_plain_words(record):
    assert set(ABILITIES) == set(Capability)
    assert not any("_" in words for words in ABILITIES.values())
    rows = build_view(record).scope.targets
    assert {row[4] for row in rows} == {"decides, gives probabilities"}
    odd = replace(record.targets[0], capabilities=("fit_again", "predict", "of_a_later_version"))
    changed = build_view(replace(record, targets=(odd, *record.targets[1:]))).scope.targets[0]
    assert changed[4] == "decides, can be trained again, of_a_later_version"


def test_on_a_phone_each_cell_of_the_scope_table_says_what_it_is(record):
    """The head is out of sight there and the cells stand one below the other, so none is cut off at the edge."""
    html = render_bytes(record, "html").decode()
    table = html[html.index('<table class="stack"') :]
    table = table[: table.index("</table>")]
    heads = re.findall(r'<th role="columnheader" scope="col">([^<]+)</th>', table)
    assert heads == ["Name", "Role", "Kind", "Description", "What it can do"]
    rows = table.split('<tr role="row">')[2:]
    assert len(rows) == len(record.targets)
    for row in rows:
        assert re.findall(r'<td role="cell" data-label="([^"]+)">', row) == heads[1:]
    style = html[html.index("@media (max-width: 40rem)") : html.index("@media (prefers-reduced-motion")]
    assert re.search(r"table\.stack td\s*\{[^}]*display: block", style)
    assert "attr(data-label)" in style
