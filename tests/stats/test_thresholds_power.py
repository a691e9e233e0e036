"""Split thresholds keep their false-positive rate; exact power agrees with simulation."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.claims import interval
from steelyard.probes.stats.intervals import score_z_ratio
from steelyard.probes.stats.power import (
    minimum_detectable_difference,
    n_per_group_difference,
    n_per_group_ratio,
    power_difference,
    power_ratio,
)
from steelyard.probes.stats.thresholds import least_non_members, tpr_at_fpr


def test_split_thresholds_cover_where_chosen_ones_do_not() -> None:
    """The interval of the realised FPR holds the truth; an in-sample threshold always reads the wanted rate."""
    from scipy.special import ndtr

    rng = np.random.default_rng(1)
    runs, covered, above = 400, 0, 0.0
    for _ in range(runs):
        split = tpr_at_fpr(rng.normal(1, 1, 200), rng.normal(0, 1, 1000), fpr=0.05, rng=rng)
        low, high = interval(split.realised_fpr, 0.95)
        truth = float(ndtr(-split.threshold))
        covered += low <= truth <= high
        above += truth
    assert covered / runs > 0.93
    assert above / runs == pytest.approx(0.05, abs=0.004)


def test_the_threshold_does_not_depend_on_the_order_of_rows() -> None:
    rng = np.random.default_rng(2)
    members, others = rng.normal(1, 1, 50), rng.normal(0, 1, 300)
    first = tpr_at_fpr(members, others, fpr=0.1, rng=generator(1, "a"))
    again = tpr_at_fpr(members[::-1], rng.permutation(others), fpr=0.1, rng=generator(1, "a"))
    assert first == again


def test_constant_scores_find_no_member() -> None:
    split = tpr_at_fpr(np.ones(50), np.ones(300), fpr=0.1, rng=generator(1, "a"))
    assert (split.tpr.successes, split.realised_fpr.successes) == (0.0, 0.0)


def test_what_cannot_be_measured_is_refused() -> None:
    assert least_non_members(0.001) == 10_000
    rng = generator(1, "a")
    for call, words in (
        (lambda: tpr_at_fpr([1.0], np.zeros(99), fpr=0.1, rng=rng), "needs 100 non-members"),
        (lambda: tpr_at_fpr([], np.zeros(100), fpr=0.1, rng=rng), "no members"),
        (lambda: tpr_at_fpr([np.nan], np.zeros(100), fpr=0.1, rng=rng), "NaN"),
        (lambda: tpr_at_fpr([1.0], np.zeros(100), fpr=1.0, rng=rng), "between 0 and 1"),
        (lambda: n_per_group_ratio(0.3, 0.8), "undecidable"),
        (lambda: n_per_group_difference(0.3, 0.1, tau=0.1), "undecidable"),
        (lambda: n_per_group_ratio(0.0, 1.0), "between 0 and 1"),
        (lambda: minimum_detectable_difference(2, 0.5), "cannot show"),
    ):
        with pytest.raises(ProbeError, match=words):
            call()


def test_exact_power_agrees_with_simulation() -> None:
    rng = np.random.default_rng(3)
    k1, k2 = rng.binomial(400, 0.27, 20_000), rng.binomial(400, 0.3, 20_000)
    simulated = (score_z_ratio(k1, 400, k2, 400, 0.8) > 1.6448536).mean()
    assert power_ratio(400, 0.3, 0.9) == pytest.approx(simulated, abs=0.012)
    assert power_ratio(400, 0.3, 0.79999) == pytest.approx(0.05, abs=0.01)


def test_difference_sizes_are_the_textbook_ones() -> None:
    """.3 against .4, two-sided 5 %, power 80 %: 356 per group (normal approximation); equivalence within .1: 360."""
    from statsmodels.stats.power import NormalIndPower
    from statsmodels.stats.proportion import proportion_effectsize

    textbook = NormalIndPower().solve_power(proportion_effectsize(0.4, 0.3), alpha=0.05, power=0.8)
    assert n_per_group_difference(0.3, 0.1) == pytest.approx(textbook, rel=0.02)
    assert n_per_group_difference(0.3, 0.0, tau=0.1) == pytest.approx(2 * 0.21 * (1.645 + 1.282) ** 2 / 0.01, rel=0.03)
    n = n_per_group_difference(0.3, 0.1)
    assert minimum_detectable_difference(n, 0.3) == pytest.approx(0.1, abs=0.002)
    assert power_difference(n, 0.3, 0.1) >= 0.8 > power_difference(n - 40, 0.3, 0.1)
