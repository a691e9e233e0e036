"""A mean of which a few rows carry most: the gate's errors stay at alpha, and the plain t's would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.probes.stats.claims import claim, interval
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import mean
from steelyard.probes.stats.skew import straighten, unstraighten


def log_loss(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.uniform(size=n) < 0.99, -np.log(0.99), -np.log(0.01))


def rare(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.uniform(size=n) < 0.02, rng.exponential(1.0, n), 0.0)


TRUTH = {log_loss: -(0.99 * np.log(0.99) + 0.01 * np.log(0.01)), rare: 0.02}


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "n"), [(log_loss, 500), (log_loss, 3000), (rare, 1000)])
def test_at_the_tolerance_neither_claim_is_made_more_often_than_alpha(draw, n):
    runs, truth = 1500, TRUTH[draw]
    fails, passes, plain = 0, 0, 0
    for seed in range(runs):
        basis = mean(draw(np.random.default_rng(seed), n), Design(n=n), level=0.95).basis
        if basis is None:  # no row of the rare kind was drawn: no spread, so no claim at all
            continue
        claimed = claim(basis, maximum=truth)
        fails += claimed.fail_p <= 0.05
        passes += claimed.pass_p <= 0.05
        plain += claim(replace(basis, skew=0.0), maximum=truth).pass_p <= 0.05
    limit = runs * 0.05 + 3.1 * np.sqrt(runs * 0.05 * 0.95)  # the 99.9 % point
    assert fails <= limit
    assert passes <= limit
    assert plain > limit  # what the correction is for


@given(st.floats(-8, 8), st.floats(-1.5, 1.5))
def test_the_transformation_is_monotone_and_inverted(t, skew):
    assert straighten(t + 0.01, skew) >= straighten(t, skew) - 1e-12
    if abs(1 + skew * t / 3) > 0.05:  # near its stationary point the cube root loses digits
        assert unstraighten(straighten(t, skew), skew) == pytest.approx(t, abs=1e-6)


def test_without_skew_it_is_students_t():
    values = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    found = mean(values, Design(n=5), level=0.95)
    assert found.basis.skew == 0
    assert found.estimate.high == pytest.approx(2.7764451 * np.sqrt(2.5 / 5))


def test_printed_limits_are_those_of_the_basis():
    values = rare(np.random.default_rng(3), 400)
    found = mean(values, Design(n=400), level=0.95)
    low, high = interval(found.basis, 0.95)
    assert (found.estimate.low, found.estimate.high) == pytest.approx((low, high))
    assert high - found.estimate.value > found.estimate.value - low  # the long tail is above


def test_weights_of_two_are_rows_written_twice_up_to_the_units():
    rng = np.random.default_rng(5)
    values = rng.exponential(1.0, 60)
    codes = np.repeat(np.arange(60), 2)
    once = mean(values, Design(n=60), level=0.95).basis
    twice = mean(np.repeat(values, 2), Design(n=120, clusters=codes), level=0.95).basis
    assert twice.skew == pytest.approx(once.skew)
