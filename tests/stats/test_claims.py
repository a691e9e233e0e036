"""Claims on one number: against scipy.stats, and consistent with the interval beside them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.types import Binomial, Deviation, Normal, Status
from steelyard.probes.stats.claims import claim, decide, interval, needed_n_scalar

GRID = tuple(np.linspace(0, 0.2, 201))


def test_binomial_claims_are_the_exact_tests() -> None:
    from scipy.stats import binomtest

    basis = Binomial(successes=37, trials=200)
    weighed = claim(basis, maximum=0.15)
    assert weighed.fail_p == pytest.approx(binomtest(37, 200, 0.15, "greater").pvalue)
    assert weighed.pass_p == pytest.approx(binomtest(37, 200, 0.15, "less").pvalue)
    turned = claim(basis, minimum=0.15)
    assert (turned.fail_p, turned.pass_p) == (weighed.pass_p, weighed.fail_p)


def test_normal_claims_are_student_tests_on_their_scale() -> None:
    from scipy.stats import t

    plain = claim(Normal(value=0.3, se=0.1, df=9), maximum=0.1)
    assert plain.fail_p == pytest.approx(t.sf(2.0, 9))
    assert plain.pass_p == pytest.approx(t.cdf(2.0, 9))
    logit = claim(Normal(value=0.8, se=0.25, df=math.inf, scale="logit"), minimum=0.7)
    z = (math.log(4) - math.log(7 / 3)) / 0.25
    assert logit.pass_p == pytest.approx(t.sf(z, 1e9), rel=1e-6)
    log = claim(Normal(value=20.0, se=0.1, df=50, scale="log"), maximum=30.0)
    assert log.pass_p == pytest.approx(t.cdf((math.log(20) - math.log(30)) / 0.1, 50))


def test_deviation_claims_round_against_the_claim() -> None:
    basis = Deviation(value=0.5, quantiles=GRID)
    assert claim(basis, maximum=0.4).fail_p == pytest.approx((1 + 101) / 202)
    assert claim(basis, maximum=0.4).pass_p == 1.0
    assert claim(basis, minimum=0.2).pass_p == pytest.approx(1 / 202)
    assert interval(basis, 0.95) == pytest.approx((0.31, 0.69))


@given(st.floats(0.05, 0.95), st.sampled_from([0.9, 0.95]))
def test_a_fail_agrees_with_the_one_sided_limit(bound: float, level: float) -> None:
    for basis in (
        Binomial(successes=31, trials=80),
        Normal(value=0.4, se=0.07, df=30),
        Normal(value=0.4, se=0.3, df=30, scale="logit"),
    ):
        low, high = interval(basis, level)
        alpha = (1 - level) / 2
        if min(abs(bound - low), abs(bound - high)) > 1e-9:
            assert (claim(basis, maximum=bound).fail_p < alpha) == (low > bound)
            assert (claim(basis, maximum=bound).pass_p < alpha) == (high < bound)


def test_both_bounds_are_two_tests() -> None:
    basis = Normal(value=3.5, se=1.0, df=math.inf)
    upper, lower = claim(basis, maximum=2.0), claim(basis, minimum=-1.0)
    both = claim(basis, maximum=2.0, minimum=-1.0)
    assert both.fail_p == pytest.approx(2 * min(upper.fail_p, lower.fail_p))
    assert both.pass_p == pytest.approx(max(upper.pass_p, lower.pass_p))
    with pytest.raises(ValueError, match="needs a maximum"):
        claim(basis)


def test_decide() -> None:
    assert decide(0.05, 0.9, 0.05) is Status.FAIL
    assert decide(0.06, 0.05, 0.05) is Status.PASS
    assert decide(0.06, 0.06, 0.05) is Status.INCONCLUSIVE


def test_a_number_without_spread_is_decided_by_its_side() -> None:
    exact = Normal(value=0.3, se=0.0, df=10)
    assert claim(exact, maximum=0.2).fail_p == 0.0
    assert claim(exact, maximum=0.4).pass_p == 0.0
    assert claim(exact, maximum=0.3) == claim(exact, minimum=0.3)


def test_needed_n_of_one_rate_gives_the_promised_power() -> None:
    rng = np.random.default_rng(0)
    needed = needed_n_scalar(Binomial(successes=80, trials=100), n=100, minimum=0.75)
    assert needed.at_estimate is not None
    k = rng.binomial(needed.at_estimate, 0.8, 2000)
    decided = np.mean([claim(Binomial(successes=x, trials=needed.at_estimate), minimum=0.75).pass_p <= 0.05 for x in k])
    assert decided == pytest.approx(0.8, abs=0.05)
    assert needed_n_scalar(Normal(value=1.0, se=0.1, df=99), n=100, maximum=1.0).at_estimate is None
    mean = needed_n_scalar(Normal(value=1.0, se=0.1, df=99), n=100, maximum=1.05)
    assert mean.at_estimate == pytest.approx(100 * ((1.645 + 0.842) * 0.1 / 0.05) ** 2, rel=0.01)
