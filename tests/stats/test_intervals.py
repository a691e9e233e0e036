"""Intervals and score tests against statsmodels, brute-force likelihoods, and closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.probes.stats.intervals import (
    binomial_p_above,
    binomial_p_below,
    clopper_pearson,
    clopper_pearson_upper,
    difference_limits,
    newcombe,
    ratio_limits,
    score_z_difference,
    score_z_ratio,
    wilson,
)

PAIRS = [(7, 34, 1, 34), (56, 70, 48, 80), (9, 10, 3, 10), (10, 10, 0, 20), (5, 56, 0, 29), (200, 900, 260, 1000)]


@pytest.mark.parametrize(("k", "n"), [(0, 10), (1, 1000), (5, 10), (10, 10), (180, 200)])
@pytest.mark.parametrize("level", [0.9, 0.95, 0.999])
def test_one_proportion_agrees_with_statsmodels(k: int, n: int, level: float) -> None:
    from statsmodels.stats.proportion import proportion_confint

    assert clopper_pearson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, "beta"), abs=1e-12)
    assert wilson(k, n, level) == pytest.approx(proportion_confint(k, n, 1 - level, "wilson"), abs=1e-12)


@pytest.mark.parametrize(
    ("counts", "published"),
    [
        ((56, 70, 48, 80), (0.0528, 0.3382)),
        ((9, 10, 3, 10), (0.1700, 0.8406)),
        ((6, 7, 2, 7), (0.0342, 0.8534)),
        ((5, 56, 0, 29), (-0.0326, 0.1933)),
        ((0, 10, 0, 20), (-0.1658, 0.2844)),
        ((10, 10, 0, 20), (0.7156, 1.0)),
    ],
)
def test_difference_limits_are_the_published_ones(
    counts: tuple[int, int, int, int], published: tuple[float, float]
) -> None:
    """Newcombe 1998 (doi:10.1002/sim.779), table II, method 6, Miettinen-Nurminen.

    statsmodels 0.14 is no oracle here: its cubic has x0 where the paper has n0, off its likelihood's maximum.
    """
    assert difference_limits(*counts) == pytest.approx(published, abs=5.1e-5)


@pytest.mark.parametrize("counts", PAIRS)
def test_equality_of_two_rates_agrees_with_statsmodels(counts: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep, score_test_proportions_2indep

    expected = score_test_proportions_2indep(*counts, value=0.0, compare="diff", correction=True).statistic
    assert score_z_difference(*counts, 0.0) == pytest.approx(expected, rel=1e-9)
    if 0 < counts[0] < counts[1] and 0 < counts[2] < counts[3]:
        limits = confint_proportions_2indep(*counts, method="newcomb", compare="diff")
        assert newcombe(*counts) == pytest.approx(limits, abs=1e-9)


@pytest.mark.parametrize("counts", [(7, 34, 1, 34), (56, 70, 48, 80), (9, 10, 3, 10), (200, 900, 260, 1000)])
def test_ratio_limits_agree_with_statsmodels(counts: tuple[int, int, int, int]) -> None:
    from statsmodels.stats.proportion import confint_proportions_2indep

    expected = confint_proportions_2indep(*counts, method="score", compare="ratio", correction=True)
    assert ratio_limits(*counts) == pytest.approx(expected, rel=2e-6)


def test_newcombe_1998_published_example() -> None:
    """Newcombe 1998, table II, method 10: 56/70 - 48/80 is .0524 to .3339; 9/10 - 3/10 is .1705 to .8090."""
    assert newcombe(56, 70, 48, 80) == pytest.approx((0.0524, 0.3339), abs=5e-5)
    assert newcombe(9, 10, 3, 10) == pytest.approx((0.1705, 0.8090), abs=5e-5)


@pytest.mark.parametrize("counts", [(3, 30, 0, 30), (1, 12, 7, 40), (0, 25, 0, 40), (30, 30, 20, 25)])
@pytest.mark.parametrize("null", [0.0, 0.05, -0.2, 0.3])
def test_restricted_estimate_maximises_the_likelihood(counts: tuple[int, int, int, int], null: float) -> None:
    from scipy.special import xlog1py, xlogy

    k1, n1, k2, n2 = counts
    grid = np.linspace(max(0.0, null), min(1.0, 1 + null), 400_001)
    other = np.clip(grid - null, 0, 1)
    log = xlogy(k1, grid) + xlog1py(n1 - k1, -grid) + xlogy(k2, other) + xlog1py(n2 - k2, -other)
    p1 = grid[np.argmax(log)]
    p2 = p1 - null
    variance = (p1 * (1 - p1) / n1 + p2 * (1 - p2) / n2) * (n1 + n2) / (n1 + n2 - 1)
    gap = k1 / n1 - k2 / n2 - null
    expected = gap / np.sqrt(variance) if abs(gap) > 1e-12 else 0.0
    assert score_z_difference(*counts, null) == pytest.approx(expected, rel=1e-3, abs=1e-9)


@pytest.mark.parametrize("counts", [(3, 30, 0, 30), (1, 12, 7, 40), (0, 25, 5, 40), (30, 30, 20, 25)])
@pytest.mark.parametrize("theta", [0.5, 0.8, 1.0, 1.7])
def test_ratio_estimate_maximises_the_likelihood(counts: tuple[int, int, int, int], theta: float) -> None:
    from scipy.special import xlog1py, xlogy

    k1, n1, k2, n2 = counts
    grid = np.linspace(0.0, min(1.0, 1 / theta), 400_001)
    top = np.clip(theta * grid, 0, 1)
    log = xlogy(k1, top) + xlog1py(n1 - k1, -top) + xlogy(k2, grid) + xlog1py(n2 - k2, -grid)
    p2 = grid[np.argmax(log)]
    p1 = theta * p2
    variance = (p1 * (1 - p1) / n1 + theta**2 * p2 * (1 - p2) / n2) * (n1 + n2) / (n1 + n2 - 1)
    gap = k1 / n1 - theta * k2 / n2
    expected = gap / np.sqrt(variance) if abs(gap) > 1e-12 else 0.0
    assert score_z_ratio(*counts, theta) == pytest.approx(expected, rel=1e-3, abs=1e-9)


def test_nothing_is_undefined_at_zero_and_one() -> None:
    assert score_z_difference(0, 30, 0, 30, 0.0) == 0.0
    assert score_z_ratio(0, 30, 0, 30, 0.8) == 0.0
    assert ratio_limits(0, 30, 0, 30) == (0.0, np.inf)
    assert ratio_limits(3, 30, 0, 30)[1] == np.inf
    assert ratio_limits(0, 30, 3, 30)[0] == 0.0
    assert clopper_pearson(0, 0) == (0.0, 1.0)
    low, high = difference_limits(0, 30, 0, 30)
    assert low == pytest.approx(-high)
    assert 0.05 < high < 0.2


def test_one_in_a_thousand_non_members() -> None:
    """When 1,000 non-members read an FPR of .1 %, the one-sided 95 % Clopper-Pearson bound is .47 %."""
    assert clopper_pearson_upper(1, 1000, 0.05) == pytest.approx(0.0047, abs=5e-5)


@pytest.mark.parametrize(("k", "n", "p0"), [(0, 10, 0.2), (3, 10, 0.2), (10, 10, 0.9), (47, 300, 0.12)])
def test_binomial_tails_agree_with_scipy(k: int, n: int, p0: float) -> None:
    from scipy.stats import binom

    assert binomial_p_above(k, n, p0) == pytest.approx(binom.sf(k - 1, n, p0), abs=1e-12)
    assert binomial_p_below(k, n, p0) == pytest.approx(binom.cdf(k, n, p0), abs=1e-12)


counts = st.tuples(st.integers(1, 200), st.integers(0, 200)).map(lambda x: (min(x[1], x[0]), x[0]))


@given(counts, counts)
@settings(max_examples=40, deadline=None)
def test_swapping_the_groups_turns_the_limits(one: tuple[int, int], two: tuple[int, int]) -> None:
    low, high = difference_limits(*one, *two)
    assert difference_limits(*two, *one) == pytest.approx((-high, -low), abs=1e-9)
    assert low - 1e-12 <= one[0] / one[1] - two[0] / two[1] <= high + 1e-12
    low, high = ratio_limits(*one, *two)
    back_low, back_high = ratio_limits(*two, *one)
    assert back_low == pytest.approx(0.0 if high == np.inf else 1 / high, rel=1e-6, abs=1e-9)
    assert (back_high == np.inf) if low == 0 else back_high == pytest.approx(1 / low, rel=1e-6)


@given(counts, counts, st.floats(0, 0.9), st.floats(0.01, 0.09))
@settings(max_examples=40, deadline=None)
def test_a_wider_tolerance_is_easier_to_keep(
    one: tuple[int, int], two: tuple[int, int], tau: float, step: float
) -> None:
    assert score_z_difference(*one, *two, tau + step) <= score_z_difference(*one, *two, tau) + 1e-6
    assert score_z_ratio(*one, *two, tau + step) <= score_z_ratio(*one, *two, tau) + 1e-6
