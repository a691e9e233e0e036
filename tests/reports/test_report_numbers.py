"""Numbers as a reader sees them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.types import Estimate
from steelyard.reports.charts import ticks
from steelyard.reports.details import detail_words
from steelyard.reports.numbers import count, estimate_text, fixed, limit, number, p_value, percent
from steelyard.reports.text import clip, describe_where, guard, humanise, visible


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.17249, "0.172"),
        (0.0, "0.000"),
        (-0.05, "−0.050"),
        (12.3456, "12.346"),
        (0.000123, "0.00012"),
        (12345.678, "12,345.7"),
        (1e-9, "1.00e−9"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_number(value, text):
    assert number(value) == text


@given(st.floats(allow_nan=False, allow_infinity=False, min_value=-1e6, max_value=1e6))
def test_a_number_reads_back_to_within_its_digits(value):
    text = number(value).replace("−", "-").replace(",", "")
    assert float(text) == pytest.approx(value, rel=0.051, abs=5e-4 if abs(value) >= 0.01 else 1e-9)


def test_other_figures():
    estimate = Estimate(value=0.1724, low=0.16, high=0.185, level=0.95, n=10, method="m")
    assert estimate_text(estimate) == "0.172 [0.160, 0.185]"
    ratio = Estimate(value=1.5, low=0.3, high=math.inf, level=0.95, n=10, method="m")
    assert estimate_text(ratio) == "1.500 [0.300, ∞]"
    bare = Estimate(value=0.5, low=None, high=None, level=0.95, n=10, method="m", no_interval="one row")
    assert estimate_text(bare) == "0.500 (no interval)"
    assert (count(45222), count(12.25), percent(0.05), percent(0.125)) == ("45,222", "12.2", "5 %", "12.5 %")
    assert (p_value(None), p_value(0.0001), p_value(0.0132)) == ("–", "< 0.001", "0.013")
    assert (fixed(0.2, 1), fixed(-0.04, 1), fixed(1.0, 0), limit(0.8), limit(-1)) == ("0.2", "0.0", "1", "0.8", "−1")


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_cover_the_range_in_few_steps(low, span):
    found = ticks(low, low + span)
    slack = 1e-6 * max(1.0, abs(low), span)
    assert found[0] <= low + slack
    assert found[-1] >= low + span - slack
    assert 2 <= len(found) <= 12


def test_names_from_data_cannot_hide_or_run():
    assert guard('=HYPERLINK("x")') == '\'=HYPERLINK("x")'
    assert guard(" +1") == "' +1"
    assert guard("Female") == "Female"
    assert visible("a\u202eb\x07c\nd") == "a\\u202eb\\u0007c d"
    assert visible("\ud800") == "\\ud800"
    assert humanise("tpr-difference") == "TPR difference"


def test_where_in_words():
    assert describe_where({}) == "overall"
    assert describe_where({"attribute": "sex", "group": "Female"}) == "sex: Female"
    assert describe_where({"intersection": "sex*race", "group": "Female*Black"}) == "sex × race: Female × Black"
    assert describe_where({"intersections": 2}) == "all attributes and their intersections"
    assert describe_where({"versus": "baseline/logistic", "eps": 0.1}) == "against baseline/logistic, eps = 0.1"


def test_the_detail_of_a_contrast_in_words():
    detail = {
        "of": "sex*race",
        "rate": "tpr",
        "lowest": "F*B",
        "highest": "M*W",
        "lowest_rate": 0.1,
        "highest_rate": 0.3,
    }
    words = detail_words(
        {**detail, "contrast": "pairwise", "contrasts": 45, "small_contrasts": 3, "untested": "x", "bins": 15}
    )
    assert words == (
        "sex × race: F × B 0.100, M × W 0.300 (tpr)",
        "45 comparisons, all pairs, 3 of them with few cases",
        "bins: 15",
    )
    assert detail_words({"unknown": True, "other": False, "note": ""}) == ("unknown",)


def test_clip_keeps_within_the_width():
    assert clip("short", 5) == "short"
    assert clip("longer", 5) == "long…"
    assert clip("漢族漢族", 8) == "漢族漢族"
    assert clip("漢族漢族", 6) == "漢族…"
