"""One answer for all: how often it is right, and which models are no better."""

from __future__ import annotations

from dataclasses import replace

import pytest
from statsmodels.stats.proportion import proportion_confint

from steelyard.audit.types import Estimate
from steelyard.reports.frontier import ACCURACY, draw, frontiers
from steelyard.reports.markdown import render_markdown
from steelyard.reports.one_answer import one_answer
from steelyard.reports.shareable import shareable
from steelyard.reports.view import build_view


def test_the_share_and_its_interval_are_wilsons(record):
    found = one_answer(shareable(record), 0.95)
    low, high = proportion_confint(11360, 15075, alpha=0.05, method="wilson")
    assert found is not None
    assert found.name == "always “<=50K”"
    assert found.share.value == pytest.approx(11360 / 15075, abs=1e-15)
    assert (found.share.low, found.share.high) == pytest.approx((low, high), abs=1e-12)
    assert found.n == "15,075"


@pytest.mark.parametrize("change", [{"weighted": True}, {"clusters": 40}, {"classes": (), "class_counts": ()}])
def test_where_the_counts_are_not_the_rows_of_the_accuracy_there_is_none(record, change):
    assert one_answer(shareable(replace(record, sample=replace(record.sample, **change))), 0.95) is None


def test_a_sample_of_one_class_alone_has_a_limit_of_one(record):
    card = replace(record.sample, classes=("no", "yes"), class_counts=(50, 0))
    found = one_answer(shareable(replace(record, sample=card)), 0.95)
    assert found is not None
    assert (found.share.value, found.share.high) == (1.0, 1.0)
    assert found.share.low == pytest.approx(proportion_confint(50, 50, method="wilson")[0])


@pytest.fixture
def idle(record):
    """The candidate has the accuracy of one answer for all, baseline/logistic hardly more, baseline/boosting more."""
    share = 11360 / 15075
    given = {"candidate": share, "baseline/logistic": share + 0.002, "baseline/boosting": 0.86}

    def changed(f):
        if f.metric != ACCURACY or f.where:
            return f
        value = given[f.target]
        low_high = Estimate(value=value, low=value - 0.006, high=value + 0.006, level=0.95, n=15075, method="m")
        return replace(f, estimate=low_high)

    return replace(record, findings=tuple(changed(f) for f in record.findings))


def test_a_model_no_better_than_one_answer_is_said_to_be(idle):
    (frontier, *_) = frontiers(shareable(idle))
    assert {place.name: place.idle for place in frontier.places} == {
        "candidate": "no better than one answer for all",
        "baseline/logistic": "not clearly better than one answer for all",
        "baseline/boosting": "",
    }


def test_the_line_is_in_the_chart_and_its_figure_in_both_tables(idle):
    view = build_view(idle)
    drawing = draw(view.frontiers[0])
    assert "always “&lt;=50K”: 0.754" in drawing
    plain = draw(replace(view.frontiers[0], one_answer=None))
    assert drawing.count('class="d"') == plain.count('class="d"') + 1
    from steelyard.reports.html import render_html

    html, markdown = render_html(view), render_markdown(view)
    for text in (html, markdown):
        assert "no better than one answer for all" in text
        assert "n = 15,075" in text
    assert "always “&lt;=50K”" in html
    assert "0.754 [0.747, 0.760]" in html
