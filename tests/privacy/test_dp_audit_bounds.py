"""Lower bounds on ε from guesses: published figures, closed forms, brute force, and the audit's own error rate."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr, ndtri
from scipy.stats import binom, norm

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.dp_audit import (
    audit_scores,
    epsilon_bound,
    epsilon_of_mu,
    gaussian_bound,
    guess_plans,
    one_run_p_value,
)

DELTA = 1e-5


def test_the_published_bound_comes_out():
    assert epsilon_bound(1000, 200, 180, DELTA) == pytest.approx(1.7963, abs=1e-4)


def test_the_bound_from_the_whole_curve_is_that_of_two_other_codes():
    assert 2.88 <= gaussian_bound(1000, 200, 180, DELTA) <= 2.9015
    assert gaussian_bound(1000, 200, 180, DELTA) == pytest.approx(2.901212027678, abs=1e-9)
    assert gaussian_bound(1000, 1000, 900, DELTA) == pytest.approx(3.779330205286, abs=1e-9)


@pytest.mark.parametrize(("r", "published"), [(100, 3.49), (1000, 5.81)])
def test_all_guesses_right_has_a_closed_form(r, published):
    right = 0.05 ** (1 / r)  # the probability of one right guess at which all r are right with 5 %
    assert epsilon_bound(1000, r, r, 0.0) == pytest.approx(math.log(right / (1 - right)), abs=1e-5)
    assert epsilon_bound(1000, r, r, 0.0) == pytest.approx(published, abs=0.005)


@pytest.mark.parametrize(("m", "r", "v", "eps"), [(60, 40, 31, 0.5), (200, 30, 30, 2.0), (50, 50, 27, 0.0)])
def test_p_values_are_those_of_the_theorem_term_by_term(m, r, v, eps):
    right = math.exp(eps) / (1 + math.exp(eps))
    alpha = max((binom.cdf(v - 1, r, right) - binom.cdf(v - i - 1, r, right)) / i for i in range(1, v + 1))
    expected = min(binom.sf(v - 1, r, right) + 2 * m * 0.001 * alpha, 1.0)
    assert one_run_p_value(m, r, v, eps, 0.001)[0] == pytest.approx(expected, rel=1e-9)


@given(st.integers(2, 80), st.integers(0, 80), st.floats(0, 0.01))
@settings(max_examples=60, deadline=None)
def test_p_values_grow_with_epsilon_and_fall_with_right_guesses(r, v, delta):
    v = min(v, r)
    grid = np.linspace(0, 8, 40)
    p = one_run_p_value(100, r, v, grid, delta)
    assert (np.diff(p) >= -1e-12).all()
    assert ((p >= 0) & (p <= 1)).all()
    if v > 0:
        assert (p <= one_run_p_value(100, r, v - 1, grid, delta) + 1e-12).all()


def test_epsilon_of_a_gaussian_mechanism_solves_its_equation():
    for mu, delta in [(0.5, 1e-5), (1.0, 1e-5), (3.0, 1e-2)]:
        eps = epsilon_of_mu(mu, delta)
        back = norm.cdf(mu / 2 - eps / mu) - math.exp(eps) * norm.cdf(-mu / 2 - eps / mu)
        assert back == pytest.approx(delta, rel=1e-6)
    assert epsilon_of_mu(0.1, 0.9) == 0.0
    assert epsilon_of_mu(1.0, 0.0) == math.inf


def test_nothing_is_refuted_by_guesses_no_better_than_a_coin():
    assert epsilon_bound(1000, 1000, 500, DELTA) == 0.0
    assert gaussian_bound(1000, 1000, 500, DELTA) == 0.0
    assert epsilon_bound(10, 10, 0, DELTA) == 0.0


def test_a_bound_takes_at_most_ten_milliseconds():
    epsilon_bound(1000, 200, 180, DELTA)  # the import of scipy.special is not the bound's
    for bound in (epsilon_bound, gaussian_bound):
        for r, v in ((200, 180), (1000, 900), (1000, 600)):
            spent = []
            for _ in range(3):
                before = time.process_time()
                bound(1000, r, v, DELTA)
                spent.append(time.process_time() - before)
            assert min(spent) <= 0.010, (bound, r, v)


def walked_to_the_end(m: int, r: int, v: int, mu: float, threshold: float) -> bool:
    """The recursion of arXiv:2410.22235 as it stands there, one outcome after the other, down to none right."""
    whole = r / m
    right, wrong = threshold * whole * v / r, threshold * whole * (r - v) / r
    masses = [right + wrong]
    for i in range(v - 1, -1, -1):
        before, wrong = wrong, max(wrong, float(ndtr(ndtri(min(right, 1.0)) - mu)))
        right += i / (r - i) * (wrong - before)
        masses.append(right + wrong)
    return max(masses) > whole


@pytest.mark.parametrize(("m", "r", "v"), [(1000, 200, 180), (1000, 1000, 900), (300, 100, 62), (50, 50, 50)])
def test_the_bound_of_a_gaussian_mechanism_is_that_of_the_whole_walk(m, r, v):
    low, high = 0.0, 20.0
    for _ in range(21):
        middle = (low + high) / 2
        low, high = (middle, high) if walked_to_the_end(m, r, v, middle, 0.05) else (low, middle)
    assert low > 0
    assert gaussian_bound(m, r, v, DELTA) == pytest.approx(epsilon_of_mu(low, DELTA), abs=1e-9)


def honest(rng, epsilon: float, m: int) -> tuple[np.ndarray, np.ndarray]:
    """Randomised response: each coin is told truly with probability e^ε / (1 + e^ε), the sharpest ε-DP mechanism."""
    coins = rng.random(m) < 0.5
    true = rng.random(m) < math.exp(epsilon) / (1 + math.exp(epsilon))
    return np.where(true, coins, ~coins).astype(float), coins


@pytest.mark.parametrize("correction", ["bonferroni", "split"])
def test_an_honest_epsilon_is_refuted_in_at_most_five_percent_of_audits(correction):
    rng = np.random.default_rng(7)
    refuted = 0
    for _ in range(250):
        scores, coins = honest(rng, 1.0, 1000)
        refuted += audit_scores(scores, coins, 0.0, correction=correction, rng=rng).epsilon > 1.0
    assert refuted <= binom.ppf(0.999, 250, 0.05)


def test_the_best_of_many_guess_counts_without_correction_would_not_be_honest():
    """The check above can fail: uncorrected, the best of many numbers of guesses refutes an honest ε far too often."""
    rng = np.random.default_rng(8)
    refuted = 0
    for _ in range(200):
        scores, coins = honest(rng, 1.0, 500)
        right = np.cumsum((scores > 0) == coins)
        refuted += any(epsilon_bound(500, r, int(right[r - 1]), 0.0) > 1.0 for r in range(20, 501, 20))
    assert refuted > binom.ppf(0.999, 200, 0.05)


def test_an_honest_gaussian_mechanism_is_refuted_by_neither_bound():
    rng = np.random.default_rng(9)
    mu = 0.27  # ε = 1 at δ = 1e-5
    truth = epsilon_of_mu(mu, DELTA)
    assert 0.9 < truth < 1.1
    plain = shaped = 0
    for _ in range(200):
        coins = rng.random(200) < 0.5
        found = audit_scores(mu * coins + rng.standard_normal(200), coins, DELTA)
        plain, shaped = plain + (found.epsilon > truth), shaped + (found.gaussian() > truth)
    assert plain <= binom.ppf(0.999, 200, 0.05)
    assert shaped <= binom.ppf(0.999, 200, 0.05)


def test_a_claim_without_noise_is_refuted():
    coins = np.random.default_rng(1).random(1000) < 0.5
    for correction in ("bonferroni", "split"):
        found = audit_scores(coins * 1.0, coins, DELTA, correction=correction, rng=np.random.default_rng(2))
        assert found.epsilon > 3.0
        assert found.right == found.guesses


def test_the_curve_of_bounds_goes_through_the_bound():
    rng = np.random.default_rng(3)
    coins = rng.random(1000) < 0.5
    found = audit_scores(2 * coins + rng.standard_normal(1000), coins, DELTA)
    levels = np.linspace(0, 1, 201)
    curve = found.curve(levels)
    assert 0.97 * found.epsilon <= curve[190] <= found.epsilon
    assert (np.diff(curve) <= 0).all()
    assert curve[-1] == 0.0


def test_what_cannot_be_is_refused():
    with pytest.raises(ProbeError, match="not possible"):
        epsilon_bound(10, 20, 5, 0.0)
    with pytest.raises(ProbeError, match="δ is 1"):
        epsilon_bound(10, 5, 5, 1.0)
    with pytest.raises(ProbeError, match="prove nothing"):
        audit_scores(np.zeros(10), np.zeros(10, dtype=bool), 0.0)
    with pytest.raises(ProbeError, match="one coin a canary"):
        audit_scores(np.full(30, np.nan), np.zeros(30, dtype=bool), 0.0)


def test_ways_to_guess_are_few_and_fixed_by_the_canaries():
    plans = guess_plans(1000)
    assert [p.guesses for p in plans if p.side == "both"] == [1000, 500, 200, 50]
    assert (
        [p.guesses for p in plans if p.side == "out"] == [p.guesses for p in plans if p.side == "in"] == [500, 200, 50]
    )
    assert all(2 <= p.guesses <= 21 for p in guess_plans(21))


def test_an_outcome_that_shows_at_one_end_only_is_found_there():
    """Included canaries always score 1, the others 1 or 0 at random: only "out" can be said for sure."""
    rng = np.random.default_rng(5)
    coins = rng.random(1000) < 0.5
    scores = np.where(coins, 1.0, rng.integers(0, 2, 1000))
    found = audit_scores(scores, coins, DELTA)
    assert found.right == found.guesses == 200
    assert found.epsilon > 3.0


def test_several_scores_are_all_tried_and_paid_for():
    rng = np.random.default_rng(6)
    coins = rng.random(400) < 0.5
    noise = rng.standard_normal(400)
    both = audit_scores(np.stack([noise, coins + 0.3 * noise]), coins, DELTA)
    alone = audit_scores(coins + 0.3 * noise, coins, DELTA)
    assert len(both.cases) == 2 * len(alone.cases)
    assert 0.8 * alone.epsilon < both.epsilon < alone.epsilon
