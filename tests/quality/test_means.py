"""Means, proportions and linearised variances, against closed forms and statsmodels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit.types import Binomial, Deviation, Normal
from steelyard.probes.quality.paired import accuracy_gain, tango
from steelyard.probes.stats.claims import interval
from steelyard.probes.stats.linearised import Design, effective_counts
from steelyard.probes.stats.means import mean, proportion, unseen

BENTUR = (1, 7, 21)  # discordant and all pairs: airway hyper-responsiveness before and after transplantation


def test_mean_of_symmetric_data_is_students_t_interval():
    values = np.array([1.0, 3.0, 5.0, 7.0, 9.0])  # mean 5, s^2 = 10, t_4 = 2.776, no skewness
    measured = mean(values, Design(n=5), level=0.95)
    assert measured.estimate.low == pytest.approx(5 - 2.776445 * np.sqrt(10 / 5), abs=1e-5)
    assert measured.basis == Normal(value=5.0, se=pytest.approx(np.sqrt(2)), df=4.0)


def test_clustered_mean_is_statsmodels_cluster_robust_mean():
    sm = pytest.importorskip("statsmodels.api")
    rng = np.random.default_rng(1)
    clusters = np.repeat(np.arange(25), 4)
    values = rng.normal(size=25)[clusters] + rng.normal(size=100)
    weights = rng.random(100) + 0.5
    robust = sm.WLS(values, np.ones(100), weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    measured = mean(values, Design(n=100, weights=weights, clusters=clusters), level=0.95)
    assert measured.estimate.value == pytest.approx(robust.params[0], rel=1e-10)
    assert measured.basis.se == pytest.approx(robust.bse[0] * np.sqrt(25 / 24), rel=1e-10)
    assert measured.basis.df == 24


def test_proportion_is_clopper_pearson():
    measured = proportion(np.arange(20) < 7, Design(n=20), level=0.95)
    assert (measured.estimate.low, measured.estimate.high) == pytest.approx((0.1539, 0.5922), abs=5e-5)
    assert measured.basis == Binomial(successes=7.0, trials=20.0)


def test_copies_in_a_cluster_count_once_and_equal_weights_do_not_matter():
    hits = np.random.default_rng(2).random(80) < 0.3
    _, trials = effective_counts(np.repeat(hits, 5), Design(n=400, clusters=np.repeat(np.arange(80), 5)))
    assert 70 < trials <= 80
    _, trials = effective_counts(hits, Design(n=80, weights=np.full(80, 3.0)))
    assert trials == pytest.approx(79, abs=0.01)  # 80 / (80 / 79): the linearised variance has n - 1
    assert Design(n=4, weights=np.array([1.0, 1, 1, 3])).kish == pytest.approx(36 / 12)


def test_all_right_in_clusters_counts_clusters():
    measured = proportion(np.ones(50, bool), Design(n=50, clusters=np.repeat(np.arange(10), 5)), level=0.95)
    assert measured.basis == Binomial(successes=10.0, trials=10.0)
    assert measured.estimate.low == pytest.approx(0.025**0.1)


def test_a_mean_without_spread_is_bounded_where_its_values_are():
    flat = mean(np.zeros(100), Design(n=100), level=0.95, lower=0, upper=1)
    assert flat.estimate.high == pytest.approx(1 - 0.05**0.01)
    assert isinstance(flat.basis, Deviation)
    assert interval(flat.basis, 0.95)[1] == pytest.approx(flat.estimate.high)
    unbounded = mean(np.zeros(100), Design(n=100), level=0.95)
    assert unbounded.estimate.low is None
    assert "same value" in unbounded.estimate.no_interval


def test_one_cluster_gives_no_interval():
    measured = mean(np.arange(5.0), Design(n=5, clusters=np.zeros(5, dtype=int)), level=0.95)
    assert measured.estimate.low is None
    assert "one independent unit" in measured.estimate.no_interval


def test_rule_of_three_is_in_the_basis():
    basis = unseen(0.0, 1.0, 300, Design(n=300), level=0.95, lower=-1, upper=1).basis
    assert basis.quantiles[190] == pytest.approx(1 - 0.05 ** (1 / 300))
    assert len(basis.quantiles) == 201
    assert basis.quantiles[-1] == 1


def test_tango_published_example():
    """Fagerland, Lydersen and Laake 2014, Statistics in Medicine 33, 2850-2875: -0.517 to -0.026."""
    b, c, n = BENTUR
    assert tango(b, c, n, level=0.95) == pytest.approx((-0.517, -0.026), abs=5e-4)


def test_tango_limits_solve_its_own_equation():
    b, c, n, z = 12, 5, 90, 1.959963985
    for d in tango(b, c, n, level=0.95):
        # restricted maximum likelihood of q = P(second only), by brute force on the trinomial likelihood
        q = np.linspace(max(0, -d) + 1e-9, (1 - d) / 2 - 1e-9, 400001)
        likelihood = b * np.log(q + d) + c * np.log(q) + (n - b - c) * np.log(1 - 2 * q - d)
        best = q[np.argmax(likelihood)]
        score = (b - c - n * d) / np.sqrt(n * (2 * best + d * (1 - d)))
        assert abs(score) == pytest.approx(z, abs=1e-3)


def test_models_that_never_disagree_are_not_known_to_be_equal():
    low, high = tango(0, 0, 100, level=0.95)
    assert high == pytest.approx(3.841459 / 103.841459)
    assert low == -high
    right = np.random.default_rng(0).random(100) < 0.8
    measured = accuracy_gain(right, right, Design(n=100), level=0.95)
    assert measured.estimate.value == 0
    assert interval(measured.basis, 0.95)[1] == pytest.approx(high)


@given(st.integers(0, 30), st.integers(0, 30), st.integers(0, 200))
@settings(max_examples=80, deadline=None)
def test_tango_contains_the_estimate_and_flips_sign_with_the_pair(b, c, same):
    n = b + c + same + 1
    low, high = tango(b, c, n, level=0.95)
    assert -1 <= low < (b - c) / n < high <= 1
    assert tango(c, b, n, level=0.95) == pytest.approx((-high, -low), abs=1e-12)


def test_clustered_gain_is_wider():
    rng = np.random.default_rng(9)
    right, other = rng.random(60) < 0.8, rng.random(60) < 0.7
    rows = np.repeat(np.arange(60), 4)
    once = accuracy_gain(right, other, Design(n=60), level=0.95).estimate
    copied = accuracy_gain(right[rows], other[rows], Design(n=240, clusters=rows), level=0.95).estimate
    assert copied.value == pytest.approx(once.value)
    assert copied.high - copied.low >= 0.98 * (once.high - once.low)
