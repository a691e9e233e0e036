"""Joint contrasts: against independent codes, against each other, and under relabelling."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Groups
from steelyard.probes.stats.arms import look_up_rates, measure
from steelyard.probes.stats.contrasts import JointContrasts, joint_contrasts
from steelyard.probes.stats.design import design_covariance
from steelyard.probes.stats.table import CountTable

Tables = Callable[..., CountTable]


def joint(table: CountTable, form: str = "difference", **settings: object) -> JointContrasts:
    return joint_contrasts(table, ("selection-rate",), (("g",),), form, rng=generator(1, "contrasts"), **settings)


def two_attributes(n: int = 4000, seed: int = 2) -> CountTable:
    rng = np.random.default_rng(seed)
    groups = {
        "sex": Groups(codes=rng.integers(0, 2, n), levels=("F", "M")),
        "race": Groups(codes=rng.choice(4, n, p=[0.5, 0.3, 0.15, 0.05]), levels=("A", "B", "C", "?"), unknown=3),
    }
    labels = rng.integers(0, 2, n)
    decisions = (rng.random(n) < 0.3 + 0.2 * labels + 0.1 * groups["sex"].codes).astype(int)
    return CountTable.from_rows(groups, labels, decisions)


@given(st.lists(st.integers(12, 88), min_size=2, max_size=5), st.floats(0.0, 0.5))
@settings(max_examples=25, deadline=None)
def test_a_fail_agrees_with_the_joint_lower_limit(k: list[int], tau: float) -> None:
    counts = np.zeros((len(k), 2, 2))
    counts[:, 0, 1], counts[:, 0, 0] = k, 100 - np.array(k)
    table = CountTable(
        attributes=("g",), levels=(tuple(map(str, range(len(k)))),), unknown=(-1,), compare_unknown=(False,),
        cells=np.arange(len(k))[:, None], counts=counts, rows=counts.astype(np.int64), labelled=False, weighted=False,
    )  # fmt: skip
    compared = joint(table)
    assert not compared.small.any()
    assert (compared.claim(tau).fail_p <= 0.05 + 1e-12) == (compared.estimate.low > tau)
    wider = compared.claim(tau + 0.02)
    assert wider.fail_p >= compared.claim(tau).fail_p
    assert wider.pass_p <= compared.claim(tau).pass_p


def test_small_rates_fail_where_their_joint_limit_says_so(plain_table: Tables) -> None:
    compared = joint(plain_table([2, 20, 4], 60))
    assert compared.small.all()
    low = compared.estimate.low
    assert compared.claim(low - 1e-6).fail_p <= 0.05
    assert compared.claim(low + 1e-6).fail_p > 0.05


@given(st.permutations(range(5)))
@settings(max_examples=15, deadline=None)
def test_relabelling_groups_changes_no_more_than_the_draws(order: list[int]) -> None:
    k, n = np.array([30, 44, 3, 63, 51]), np.array([150, 160, 90, 200, 170])

    def table(order: list[int]) -> CountTable:
        counts = np.zeros((5, 2, 2))
        counts[:, 0, 1], counts[:, 0, 0] = k[order], (n - k)[order]
        return CountTable(
            attributes=("g",), levels=(tuple(str(i) for i in order),), unknown=(-1,), compare_unknown=(False,),
            cells=np.arange(5)[:, None], counts=counts, rows=counts.astype(np.int64), labelled=False, weighted=False,
        )  # fmt: skip

    for form, tau in (("difference", 0.1), ("ratio", 0.8)):
        one, other = joint(table(list(range(5))), form), joint(table(order), form)
        assert one.claim(tau).pass_p == pytest.approx(other.claim(tau).pass_p)
        assert (one.estimate.first, one.estimate.second) == (other.estimate.first, other.estimate.second)
        assert one.estimate.value == pytest.approx(other.estimate.value)
        assert one.estimate.low == pytest.approx(other.estimate.low, abs=0.03)
        assert one.claim(tau).fail_p == pytest.approx(other.claim(tau).fail_p, abs=0.05)


def test_refusing_instead_of_choosing_turns_the_sign_alone() -> None:
    table = two_attributes()
    tpr = joint_contrasts(table, ("tpr",), (("sex",),), rng=generator(1, "a"))
    fnr = joint_contrasts(table, ("fnr",), (("sex",),), rng=generator(1, "a"))
    assert fnr.estimate.value == pytest.approx(tpr.estimate.value)
    assert (fnr.estimate.low, fnr.estimate.high) == pytest.approx((tpr.estimate.low, tpr.estimate.high))
    assert (fnr.estimate.first, fnr.estimate.second) == (tpr.estimate.second, tpr.estimate.first)


def test_resampled_counts_have_the_spread_of_resampled_rows() -> None:
    """Oracle: a bootstrap of rows, one at a time."""
    rng = np.random.default_rng(0)
    n = 400
    codes, labels = rng.integers(0, 3, n), rng.integers(0, 2, n)
    decisions = (rng.random(n) < 0.3 + 0.3 * labels).astype(int)
    groups = {"g": Groups(codes=codes, levels=("a", "b", "c"))}
    table = CountTable.from_rows(groups, labels, decisions)
    compared = joint_contrasts(table, ("tpr",), (("g",),), draws=4000, rng=generator(1, "a"))
    assert compared.replicates is not None
    slow = np.empty((3, 2000))
    for b in range(2000):
        rows = rng.integers(0, n, n)
        for g in range(3):
            own = rows[(codes[rows] == g) & (labels[rows] == 1)]
            slow[g, b] = decisions[own].mean()
    fast = compared.replicates.rates
    np.testing.assert_allclose(fast.std(axis=1), slow.std(axis=1), rtol=0.06)
    np.testing.assert_allclose(np.corrcoef(fast) - np.eye(3), 0, atol=0.06)


@pytest.mark.parametrize("weighted", [False, True])
def test_linearised_covariance_is_the_cluster_sandwich_of_statsmodels(weighted: bool) -> None:
    """Group rates are the coefficients of a regression on group dummies; their cluster-robust covariance is ours."""
    import statsmodels.api as sm

    rng = np.random.default_rng(1)
    n, units = 900, 150
    codes, clusters = rng.integers(0, 3, n), rng.integers(0, units, n)
    decisions = (rng.random(n) < 0.2 + 0.4 * (clusters % 2)).astype(int)
    weights = rng.gamma(2.0, 1.0, n) + 0.1 if weighted else np.ones(n)
    table = CountTable.from_rows(
        {"g": Groups(codes=codes, levels=("a", "b", "c"))}, None, decisions,
        weights=weights if weighted else None, clusters=clusters,
    )  # fmt: skip
    arms = measure(table, np.eye(3), look_up_rates(("selection-rate",), table), np.zeros(3, dtype=np.int64))
    fit = sm.WLS(decisions, np.eye(3)[codes], weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    used = np.unique(clusters).size
    np.testing.assert_allclose(arms.p, fit.params, rtol=1e-9)
    np.testing.assert_allclose(
        design_covariance(table, arms), fit.cov_params() * used / (used - 1), rtol=1e-7, atol=1e-12
    )


def test_the_rest_and_the_reference() -> None:
    table = two_attributes()
    rest = joint_contrasts(table, ("selection-rate",), (("race",),), contrast="rest", rng=generator(1, "a"))
    counts = table.counts.sum(axis=1)  # (C, 2)
    race = table.cells[:, 1]
    for c in range(rest.m):
        own = ["A", "B", "C"].index(rest.layout.names[rest.first[c]])
        mine, others = counts[race == own].sum(axis=0), counts[(race != own) & (race != 3)].sum(axis=0)
        assert rest.arms.p[rest.first[c]] == pytest.approx(mine[1] / mine.sum())
        assert rest.arms.p[rest.second[c]] == pytest.approx(others[1] / others.sum())
        assert rest.layout.names[rest.second[c]] == "rest"
    largest = joint_contrasts(table, ("tpr", "fpr"), (("race",),), contrast="reference", rng=generator(1, "a"))
    assert {largest.layout.names[b] for b in largest.second} == {"A"}
    assert largest.m == 4
    named = joint_contrasts(
        table, ("tpr",), (("sex", "race"),), "ratio", "reference", {"sex": "M", "race": "B"}, rng=generator(1, "a")
    )
    assert {named.layout.names[b] for b in named.second} == {"M*B"}
    for wrong in ("?", "Z"):
        with pytest.raises(ProbeError, match="reference group"):
            joint_contrasts(
                table, ("tpr",), (("race",),), contrast="reference", reference={"race": wrong}, rng=generator(1, "a")
            )


def test_a_reference_ratio_is_one_sided(plain_table: Tables) -> None:
    """A group that does better than its reference breaks no "at least .8 of the reference"."""
    better = joint(plain_table([300, 450], [1000, 1001]), "ratio", contrast="reference", reference={"g": "0"})
    assert better.claim(0.8).pass_p < 1e-6
    assert better.estimate.value == pytest.approx(450 / 1001 / 0.3)
    assert joint(plain_table([300, 450], [1000, 1001]), "ratio").claim(0.8).fail_p < 0.01


def test_unknown_groups_stay_out_unless_compared(plain_table: Tables) -> None:
    table = two_attributes()
    compared = joint_contrasts(table, ("selection-rate",), (("race",), ("sex", "race")), rng=generator(1, "a"))
    assert not any("?" in name for name in compared.layout.names)
    assert compared.m == 3 + 15
    assert not any("?" in name for _, name, _ in compared.untested)


def test_a_part_without_two_groups_is_listed_not_lost() -> None:
    rng = np.random.default_rng(0)
    codes = np.repeat([0, 1], [295, 5])
    groups = {
        "small": Groups(codes=codes, levels=("most", "few")),
        "fine": Groups(codes=rng.integers(0, 2, 300), levels=("a", "b")),
    }
    table = CountTable.from_rows(groups, None, rng.integers(0, 2, 300))
    compared = joint_contrasts(table, ("selection-rate",), (("small",), ("fine",)), rng=generator(1, "a"))
    assert compared.m == 1
    assert [attributes for attributes, _ in compared.skipped] == [("small",)]
    assert "most 295, few 5" in compared.skipped[0][1]
    assert compared.untested == ((("small",), "few", 5.0),)


def test_a_planted_gap_is_found_and_its_clean_twin_passes(plain_table: Tables) -> None:
    biased = joint(plain_table([900, 900, 600], 3000))
    assert biased.claim(0.05).fail_p < 0.001
    assert biased.estimate.second == "2"
    clean = joint(plain_table([900, 905, 898], 3000))
    assert clean.claim(0.05).pass_p < 0.05


def test_seven_hundred_and_twenty_groups_pairwise() -> None:
    """258,840 pairs: in pieces, so that memory stays small."""
    import tracemalloc

    rng = np.random.default_rng(0)
    n = 200
    k = rng.binomial(n, 0.3, 720)
    counts = np.zeros((720, 2, 2))
    counts[:, 0, 1], counts[:, 0, 0] = k, n - k
    table = CountTable(
        attributes=("g",), levels=(tuple(map(str, range(720))),), unknown=(-1,), compare_unknown=(False,),
        cells=np.arange(720)[:, None], counts=counts, rows=counts.astype(np.int64), labelled=False, weighted=False,
    )  # fmt: skip
    tracemalloc.start()
    compared = joint(table, draws=200)
    claim, widest = compared.claim(0.1), compared.estimate
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert compared.m == 258_840
    assert claim.fail_p > 0.05
    assert widest.low < 0.1 < widest.value
    assert peak < 500e6


def test_negative_tolerances_are_refused_and_trivial_ones_hold(plain_table: Tables) -> None:
    for form in ("difference", "ratio"):
        compared = joint(plain_table([30, 60], 100), form)
        with pytest.raises(ProbeError, match="must be 0 or more"):
            compared.claim(-0.1)
    assert joint(plain_table([0, 100], 100)).claim(1.0).pass_p == 0.0
    assert joint(plain_table([0, 100], 100), "ratio").claim(0.0).pass_p == 0.0


def test_needed_n_decides_what_it_promises(plain_table: Tables) -> None:
    """At the n it names, the gate decides in about 80 % of simulated audits."""
    rng = np.random.default_rng(5)
    for p, tau, form in (
        ((0.3, 0.3), 0.1, "difference"),
        ((0.3, 0.45), 0.1, "difference"),
        ((0.3, 0.27), 0.8, "ratio"),
    ):
        p = np.array(p)
        needed = joint(plain_table(np.round(1000 * p), 1000), form).needed_n(tau)
        n = needed.at_estimate
        assert n is not None
        decided = 0
        for k in rng.binomial(n, p, size=(200, 2)):
            claim = joint(plain_table(k, n), form, draws=400).claim(tau)
            decided += min(claim.fail_p, claim.pass_p) <= 0.05
        assert decided / 200 == pytest.approx(0.8, abs=0.12)
    at_the_tolerance = joint(plain_table([300, 400], 1000)).needed_n(0.1)
    assert at_the_tolerance.at_estimate is None or at_the_tolerance.at_estimate > 1_000_000
    assert joint(plain_table([300, 400], 1000)).needed_n(0.0).at_parity is None


def test_four_times_the_counts_halve_the_standard_errors(plain_table: Tables) -> None:
    one, four = joint(plain_table([30, 45, 60], 150)), joint(plain_table([120, 180, 240], 600))
    np.testing.assert_allclose(four.standard_error, one.standard_error / 2)
    assert four.estimate.value == pytest.approx(one.estimate.value)
    assert four.estimate.high - four.estimate.low == pytest.approx((one.estimate.high - one.estimate.low) / 2, rel=0.1)


@pytest.mark.parametrize("form", ["difference", "ratio"])
def test_many_groups_that_do_not_decide_need_more_rows(form: str, plain_table: Tables) -> None:
    """Above 200 contrasts only the extremes are followed, and the n must still lie above what did not decide."""
    k = np.random.default_rng(3).binomial(200, 0.3, 60)
    compared = joint(plain_table(k, 200), form)
    claim = compared.claim(0.1 if form == "difference" else 0.8)
    assert min(claim.fail_p, claim.pass_p) > 0.05
    needed = compared.needed_n(0.1 if form == "difference" else 0.8)
    assert needed.at_estimate is not None
    assert needed.at_parity is not None
    assert min(needed.at_estimate, needed.at_parity) > 200
