"""The mean over all pairs of groups: hand cases, OxonFair's formula, coverage, and a gate that keeps its level."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Groups
from steelyard.audit.types import Deviation
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.mean_pair import mean_pair
from steelyard.probes.stats.table import CountTable


def table(counts: list[tuple[int, int]]) -> CountTable:
    """Groups of n rows with k positive decisions each."""
    codes = np.repeat(np.arange(len(counts)), [n for _, n in counts])
    decisions = np.concatenate([np.arange(n) < k for k, n in counts]).astype(np.int64)
    groups = {"g": Groups(codes=codes, levels=tuple(f"g{i}" for i in range(len(counts))))}
    return CountTable.from_rows(groups, None, decisions)


def read(counts, form="difference", draws=1000, seed=0):
    rng = np.random.default_rng(seed)
    found, detail = mean_pair(
        table(counts), ("g",), "selection-rate", form=form, min_n=30, level=0.95, draws=draws, rng=rng
    )
    return found, detail


def test_hand_case():
    """Rates .2, .3 and .4: differences .1, .1, .2, ratios 2/3, 3/4, 1/2."""
    found, detail = read([(20, 100), (30, 100), (40, 100)])
    assert found.estimate.value == pytest.approx(0.4 / 3)
    assert detail["pairs"] == 3
    assert found.estimate.n == 300
    assert read([(20, 100), (30, 100), (40, 100)], "ratio")[0].estimate.value == pytest.approx(
        (2 / 3 + 3 / 4 + 0.5) / 3
    )


def test_oracle_every_pair_written_out():
    rng = np.random.default_rng(5)
    for _ in range(20):
        counts = [(int(rng.binomial(80, rng.uniform(0.1, 0.9))), 80) for _ in range(rng.integers(2, 9))]
        p = [k / n for k, n in counts]
        assert read(counts)[0].estimate.value == pytest.approx(np.mean([abs(a - b) for a, b in combinations(p, 2)]))
        ratios = [min(a, b) / max(a, b) for a, b in combinations(p, 2)]
        assert read(counts, "ratio")[0].estimate.value == pytest.approx(np.mean(ratios))


def test_two_groups_have_one_pair_and_alike_groups_dilute():
    two = read([(20, 100), (40, 100)])[0].estimate.value
    five = read([(20, 100), *[(40, 100)] * 4])[0].estimate.value
    assert two == pytest.approx(0.2)
    assert five == pytest.approx(0.2 * 4 / 10)


def test_nobody_selected_has_a_spread_and_no_ratio():
    found, _ = read([(0, 40), (0, 40), (0, 40)])
    assert found.estimate.value == 0
    assert found.estimate.high > 0.01
    with pytest.raises(ProbeError, match="two groups have the rate 0, and 0 / 0 is no ratio"):
        read([(0, 40), (0, 40), (9, 40)], "ratio")
    with pytest.raises(ProbeError, match="at most 60"):
        read([(9, 40)] * 61, "ratio")


@pytest.mark.parametrize("rates", [(0.3, 0.4), (0.1, 0.2, 0.3, 0.4), (0.02,) * 5 + (0.05,)])
def test_the_interval_covers_and_a_gate_at_the_truth_keeps_alpha(rates):
    """Binomial limit for 400 runs at 5 %: 34 misses have a probability of 0.1 %."""
    rng = np.random.default_rng(11)
    truth = float(np.mean([abs(a - b) for a, b in combinations(rates, 2)]))
    missed = passed = failed = 0
    for run in range(400):
        found, _ = read([(int(rng.binomial(150, rate)), 150) for rate in rates], draws=400, seed=run)
        missed += not found.estimate.low <= truth <= found.estimate.high
        assert isinstance(found.basis, Deviation)
        weighed = claim(found.basis, maximum=truth)
        passed += weighed.pass_p <= 0.05
        failed += weighed.fail_p <= 0.05
    assert max(missed, passed, failed) <= 34


def test_a_wide_gap_is_told_from_a_narrow_tolerance():
    found, _ = read([(100, 1000), (300, 1000), (500, 1000)])
    assert claim(found.basis, maximum=0.1).fail_p <= 0.05
    assert claim(found.basis, maximum=0.4).pass_p <= 0.05
