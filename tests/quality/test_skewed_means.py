"""A mean of which a few rows carry most: the gate's errors stay at alpha, and the plain t's would not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.probes.quality.regression import rmse
from steelyard.probes.stats.between import Arm, arm, pairs, skewness, widest_difference, widest_ratio
from steelyard.probes.stats.claims import claim, interval
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured, mean
from steelyard.probes.stats.skew import straighten, unstraighten


def log_loss(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.uniform(size=n) < 0.99, -np.log(0.99), -np.log(0.01))


def rare(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.where(rng.uniform(size=n) < 0.02, rng.exponential(1.0, n), 0.0)


TRUTH = {log_loss: -(0.99 * np.log(0.99) + 0.01 * np.log(0.01)), rare: 0.02}


def most(runs: int) -> float:
    """How many claims an error rate of alpha makes in all but one of a thousand such simulations."""
    return runs * 0.05 + 3.1 * np.sqrt(runs * 0.05 * 0.95)


@pytest.mark.slow
@pytest.mark.parametrize(("draw", "n"), [(log_loss, 500), (log_loss, 3000), (rare, 1000)])
def test_rule_3_at_the_tolerance_a_skewed_mean_makes_neither_claim_more_often_than_alpha(draw, n):
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
    assert fails <= most(runs)
    assert passes <= most(runs)
    assert plain > most(runs)  # what the correction is for


@pytest.mark.slow
def test_rule_3_at_the_tolerance_a_root_mean_square_passes_no_more_often_than_alpha():
    """Laplace errors, whose squares have a skewness of 6; the delta method on the logarithm passes 7 to 8 % here."""
    runs, n, truth = 2000, 300, np.sqrt(2.0)
    fails, passes, plain = 0, 0, 0
    for seed in range(runs):
        basis = rmse(np.random.default_rng(seed).laplace(size=n), Design(n=n), level=0.95).basis
        claimed = claim(basis, maximum=truth)
        fails += claimed.fail_p <= 0.05
        passes += claimed.pass_p <= 0.05
        logarithm = replace(basis, scale="log", se=basis.se / (2 * basis.value**2), skew=0.0)
        plain += claim(logarithm, maximum=truth).pass_p <= 0.05
    assert fails <= most(runs)
    assert passes <= most(runs)
    assert plain > most(runs)


def means_of(seed: int, sizes: tuple[int, ...], tau: float) -> tuple[list[Arm], list[Arm], Design]:
    """Arms of log-normal losses whose first group has a mean greater by `tau` of the others', corrected and plain."""
    rng, n = np.random.default_rng(seed), sum(sizes)
    values = rng.lognormal(0, 1.5, n)
    values[: sizes[0]] *= 1 + tau
    corrected, plain = [], []
    for rows in np.split(np.arange(n), np.cumsum(sizes)[:-1]):
        own = Design(n=len(rows))
        found = mean(values[rows], own, level=0.95)
        low, high = interval(replace(found.basis, skew=0.0))
        bare = Measured(estimate=replace(found.estimate, low=low, high=high), basis=replace(found.basis, skew=0.0))
        off = values[rows] - found.estimate.value
        corrected.append(arm(found, rows, off, Design(n=n)))
        plain.append(arm(bare, rows, off, Design(n=n)))
    return corrected, plain, Design(n=n)


@pytest.mark.slow
def test_rule_3_at_the_tolerance_a_gap_of_skewed_means_passes_no_more_often_than_alpha():
    """The small group has the greater mean: where its few great losses are missed, the gap looks smaller than it is."""
    runs, tau = 500, 0.5
    truth = tau * np.exp(1.125)
    fails, passes, uncorrected = 0, 0, 0
    for seed in range(runs):
        corrected, plain, design = means_of(seed, (300, 2000), tau)
        for arms in (corrected, plain):
            rng = np.random.default_rng(seed + 10_000)
            basis = widest_difference(arms, pairs(2), design, rng, level=0.95, draws=300).measured.basis
            claimed = claim(basis, maximum=truth)
            if arms is corrected:
                fails += claimed.fail_p <= 0.05
                passes += claimed.pass_p <= 0.05
            else:
                uncorrected += claimed.pass_p <= 0.05
    assert fails <= most(runs)
    assert passes <= most(runs)
    assert uncorrected > most(runs)


def test_the_skewness_of_a_contrast_is_that_of_its_errors_unit_by_unit():
    """Once with every unit in one arm, once with clusters over both: the sums of cubes by hand."""
    rng = np.random.default_rng(2)
    values, codes = rng.exponential(1.0, 40), np.tile(np.arange(10), 4)
    for clusters in (None, codes):
        design = Design(n=40, clusters=clusters)
        halves = np.arange(15), np.arange(15, 40)
        arms = [
            arm(mean(values[r], design.take(r), level=0.95), r, values[r] - values[r].mean(), design) for r in halves
        ]
        error = np.zeros(40)
        for sign, rows in zip((1, -1), halves, strict=True):
            units = len(rows) if clusters is None else 10
            error[rows] = sign * (values[rows] - values[rows].mean()) / len(rows) * np.sqrt(units / (units - 1))
        units = error if clusters is None else np.bincount(codes, error)
        by_hand = (units**3).sum() / (units**2).sum() ** 1.5
        assert skewness(arms, pairs(2), design) == pytest.approx([by_hand], abs=1e-8)
        assert skewness(arms, -pairs(2), design) == pytest.approx([-by_hand], abs=1e-8)


def test_a_ratio_of_skewed_means_has_the_long_tail_of_the_group_that_has_one():
    rng = np.random.default_rng(4)
    values = np.concatenate([rng.normal(30, 0.1, 400), np.where(rng.uniform(size=100) < 0.05, 60.0, 1.0)])
    rows = np.arange(400), np.arange(400, 500)
    design = Design(n=500)
    arms = [arm(mean(values[r], design.take(r), level=0.95), r, values[r] - values[r].mean(), design) for r in rows]
    found = widest_ratio(arms, pairs(2), design, np.random.default_rng(1), level=0.95, draws=400).measured.estimate
    assert found.value == pytest.approx(values[400:].mean() / values[:400].mean())
    assert np.log(found.high / found.value) > np.log(found.value / found.low)  # the rare mean may be much greater


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
