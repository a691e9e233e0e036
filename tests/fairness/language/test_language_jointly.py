"""Several categories at one joint level: hand cases, and the error rates that a gate inherits."""

from __future__ import annotations

import numpy as np
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate
from steelyard.probes.fairness.language.jointly import furthest, jointly
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.intervals import clopper_pearson
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured, mean, proportion


def shares(*counts):
    return [proportion(np.arange(n) < k, Design(n=n), level=0.95) for k, n in counts]


def test_joint_intervals_are_bonferronis():
    first, second = jointly(shares((30, 60), (10, 80)), level=0.95, lower=0.0, upper=1.0)
    assert (first.estimate.low, first.estimate.high) == pytest.approx(clopper_pearson(30, 60, 0.975))
    assert (second.estimate.low, second.estimate.high) == pytest.approx(clopper_pearson(10, 80, 0.975))
    assert first.estimate.level == 0.95
    [alone] = jointly(shares((30, 60)), level=0.95, lower=0.0, upper=1.0)
    assert (alone.estimate.low, alone.estimate.high) == pytest.approx(clopper_pearson(30, 60, 0.95))


def test_the_furthest_by_hand():
    low, high = clopper_pearson(10, 80, 0.975)
    worst = furthest(shares((30, 60), (10, 80)), ideal=0.5, level=0.95, upper=0.5, method="x")
    assert worst.estimate.value == 0.375
    assert worst.estimate.low == pytest.approx(0.5 - high)
    assert worst.estimate.high == pytest.approx(0.5 - low)
    assert worst.estimate.n == 140
    near = furthest(shares((32, 60)), ideal=0.5, level=0.95, upper=0.5, method="x")
    assert near.estimate.low == 0.0
    # a pass is each category's own one-sided claim: the exact p-values of the two tolerances of the wider one
    from steelyard.probes.stats.intervals import binomial_p_above

    assert claim(near.basis, maximum=0.2).pass_p == pytest.approx(float(1 - binomial_p_above(33, 60, 0.7)), abs=0.006)


def test_a_part_without_an_interval_leaves_no_number():
    bare = Estimate(value=0.4, low=None, high=None, level=0.95, n=3, method="m", no_interval="one unit only")
    with pytest.raises(ProbeError, match="one unit only"):
        furthest([Measured(estimate=bare, basis=None)], ideal=0.5, level=0.95, upper=0.5, method="x")
    [same] = jointly([Measured(estimate=bare, basis=None)], level=0.95, lower=0.0, upper=1.0)
    assert same.estimate is bare


@pytest.mark.parametrize("sizes", [(300,), (516, 262, 105, 60)])
def test_null_unbiased_models_fail_a_tolerance_in_at_most_alpha_of_the_runs(sizes):
    """Shares of exactly one half against a tolerance of 0, and of one half + the tolerance against the tolerance."""
    rng = np.random.default_rng(7)
    runs, alarms, wrong_pass = 300, 0, 0
    for _ in range(runs):
        parts = shares(*((int(rng.binomial(n, 0.5)), n) for n in sizes))
        worst = furthest(parts, ideal=0.5, level=0.95, upper=0.5, method="")
        alarms += claim(worst.basis, maximum=0.0).fail_p <= 0.05
        edge = shares((int(rng.binomial(sizes[0], 0.6)), sizes[0]), *((n // 2, n) for n in sizes[1:]))
        worst = furthest(edge, ideal=0.5, level=0.95, upper=0.5, method="")
        wrong_pass += claim(worst.basis, maximum=0.1).pass_p <= 0.05
    assert alarms <= 26  # the 99.8 % point of a binomial of 300 at .05
    assert wrong_pass <= 26


def test_power_a_biased_model_fails_and_a_fair_one_of_many_pairs_passes():
    rng = np.random.default_rng(8)
    biased = [furthest(shares(*((int(rng.binomial(n, 0.7)), n) for n in (516, 262, 172))), ideal=0.5, level=0.95,
                       upper=0.5, method="") for _ in range(20)]  # fmt: skip
    assert all(claim(one.basis, maximum=0.1).fail_p <= 0.05 for one in biased)
    fair = furthest(shares((500, 1000), (510, 1000)), ideal=0.5, level=0.95, upper=0.5, method="")
    assert claim(fair.basis, maximum=0.1).pass_p <= 0.05


def test_joint_intervals_of_clustered_means_cover():
    rng = np.random.default_rng(9)
    held = 0
    for _ in range(100):
        parts = []
        for _ in range(4):
            clusters = np.repeat(np.arange(25), 20)
            p = np.repeat(rng.beta(4, 4, 25), 20)
            values = np.where(rng.uniform(size=500) < p, 1.0, -1.0)
            parts.append(mean(values, Design(n=500, clusters=clusters), level=0.95, lower=-1.0, upper=1.0))
        joint = jointly(parts, level=0.95, lower=-1.0, upper=1.0)
        held += all(part.estimate.low <= 0.0 <= part.estimate.high for part in joint)
    assert held >= 88  # of 100 at 95 %: the .5 % point is 89
