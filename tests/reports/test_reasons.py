"""What was not tested: one entry for each reason, the references' apart, and no figure lost."""

from __future__ import annotations

import itertools
import json
import re
from dataclasses import replace
from html import unescape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.types import Failure, Inapplicable
from steelyard.reports.gaps_view import gaps, untested
from steelyard.reports.reasons import _lines
from steelyard.reports.render import render_bytes
from steelyard.reports.shareable import shareable

METRICS = ("a.b.x", "a.b.y")
MODELS = ("candidate", "baseline/logistic", "baseline/boosting")


def failure(target: str, reason: str, attribute: str, metrics: tuple[str, ...] = METRICS) -> Failure:
    return Failure(
        probe="a.b", target=target, reason=reason, metrics=metrics, where={"attribute": attribute} if attribute else {}
    )


@pytest.fixture
def many(record):
    """Every model fails in two places for one reason; one reference fails for another one."""
    rows = [failure(t, "too few rows", place) for t in MODELS for place in ("sex", "race")]
    rows.append(failure("baseline/boosting", "0 of 0", ""))
    unfit = tuple(
        Inapplicable(probe=probe, target=target, reason="needs gradients", missing=("gradients",))
        for target in MODELS
        for probe in ("c.d", "e.f")
    )
    return replace(record, failures=tuple(rows), inapplicable=unfit)


def test_one_entry_for_each_reason_with_its_figures_counted_and_listed(many):
    found = untested(shareable(many))
    (own,) = found.failures
    assert (own.kind, own.subject) == ("a.b", "a.b.x, a.b.y (sex; race)")  # one line says all of it
    assert own.parts == ()
    shared, alone = found.reference_failures
    assert shared.subject == "a.b.x, a.b.y (sex; race) of baseline/logistic, baseline/boosting"
    assert alone.subject == "a.b.x, a.b.y (everywhere) of baseline/boosting"
    assert found.of_references == "5 parts could not be measured, 4 times a probe did not apply"
    assert [gap.subject for gap in found.inapplicable] == ["c.d, e.f"]
    assert [g.subject for g in found.reference_inapplicable] == ["c.d, e.f of baseline/logistic, baseline/boosting"]
    (first,) = [gap for gap in gaps(shareable(many)) if gap.kind == "Could not be measured"]
    assert first.reason == "2 parts of it on the model under audit and 5 on 2 references gave no number"


def test_uneven_figures_under_one_reason_are_counted_and_listed(record):
    rows = (failure("candidate", "why", "sex"), failure("candidate", "why", "race", METRICS[:1]))
    (gap,) = untested(shareable(replace(record, failures=rows))).failures
    assert gap.subject == "2 metrics in 2 places"
    assert gap.parts == ("a.b.x, a.b.y (sex)", "a.b.x (race)")


def test_a_long_list_is_counted_and_folded(record):
    names = tuple(f"a.b.metric-{i}" for i in range(40))
    (gap,) = untested(shareable(replace(record, failures=(failure("candidate", "why", "sex", names),)))).failures
    assert gap.subject == "40 metrics in 1 place"
    assert gap.parts == (", ".join(names) + " (sex)",)


parts = st.lists(
    st.tuples(st.sampled_from("pqr"), st.sampled_from("stu"), st.sampled_from("vwx")), min_size=1, unique=True
)


@given(parts)
def test_the_lines_name_every_part_and_no_other(given_parts):
    told = []
    for line in _lines(given_parts, set()):
        names, places, who = re.fullmatch(r"(.+) \((.+)\) of (.+)", line).groups()
        told += itertools.product(names.split(", "), places.split("; "), who.split(", "))
    assert sorted(told) == sorted(given_parts)


def test_nothing_is_lost_in_the_page_and_the_references_are_folded(many):
    html = unescape(render_bytes(many, "html").decode())
    section = html[html.index('<h2 id="untested"') : html.index('<h2 id="waivers"')]
    folded = section[section.index('<details class="folded"') :]
    for wanted in ("a.b.x", "sex; race", "baseline/logistic", "baseline/boosting", "everywhere", "c.d", "0 of 0"):
        assert wanted in folded
    assert '<details class="folded" open' in section
    own = section[: section.index('<details class="folded"')]
    assert "baseline/" not in own
    assert "a.b.x, a.b.y (sex; race)" in own
    plain = json.loads(render_bytes(many, "json"))
    assert len(plain["failures"]) == len(many.failures)
    assert len(plain["inapplicable"]) == len(many.inapplicable)


def test_a_wall_of_failures_stays_short(record):
    """26 references by 24 figures by three places are a few lines, in the page and in the summary."""
    names = [f"reference/{i}" for i in range(26)]
    cards = (record.targets[0], *(replace(record.targets[1], name=name, training=None) for name in names))
    rows = tuple(
        failure(name, "race has fewer than two groups", place, (f"a.b.m{i}",))
        for name in ("candidate", *names)
        for i in range(24)
        for place in ("sex", "race", "age")
    )
    wall = replace(record, targets=cards, failures=rows, inapplicable=())
    assert len(rows) == 1944
    html = render_bytes(wall, "html").decode()
    section = html[html.index('<h2 id="untested"') : html.index('<h2 id="waivers"')]
    assert section.count("<li>") < 20
    assert '<details class="folded" open' in section  # one reason needs no folding
    assert all(f"a.b.m{i}" in section for i in range(24))
    assert all(name in section for name in names)
    markdown = render_bytes(wall, "markdown").decode()
    assert markdown.count("fewer than two groups") == 1
    assert "1,872 parts could not be measured: 1 reason, each in the HTML report" in markdown


def test_many_reasons_of_references_are_folded_and_those_of_the_candidate_never(record):
    rows = tuple(failure(target, f"reason {i}", "sex") for target in MODELS for i in range(9))
    html = render_bytes(replace(record, failures=rows), "html").decode()
    section = html[html.index('<h2 id="untested"') : html.index('<h2 id="waivers"')]
    assert '<details class="folded"><summary>18 parts could not be measured' in section
    own = section[: section.index('<details class="folded"')]
    assert "<details" not in own
    assert all(f"reason {i}" in own for i in range(9))
