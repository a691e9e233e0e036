"""Binned calibration error, by hand, by its definition and by its symmetries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit.types import Deviation
from steelyard.probes.stats.bins import assign, bounded, debiased_ece, deviations, tabulate
from steelyard.probes.stats.claims import interval
from steelyard.probes.stats.linearised import Design


def test_hand_worked_table():
    # low bin: scores .1 .2 .3, hits 0 1 0 -> gap 1/3 - .2; high bin: .7 .9, hits 1 1 -> gap 1 - .8
    scores, hits = np.array([0.1, 0.2, 0.3, 0.7, 0.9]), np.array([0, 1, 0, 1, 1], bool)
    table = tabulate(scores, hits, assign(scores, 2, "equal-width"), Design(n=5))
    assert table.gap == pytest.approx([1 / 3 - 0.2, 0.2])
    assert table.ece == pytest.approx(0.6 * (1 / 3 - 0.2) + 0.4 * 0.2)
    assert table.mce == pytest.approx(0.2)


def test_weights_stand_for_copies_in_the_values():
    rng = np.random.default_rng(1)
    scores, copies = rng.random(200), rng.integers(1, 4, 200)
    hits = rng.random(200) < scores**2
    codes = assign(scores, 5, "equal-mass")
    heavy = tabulate(scores, hits, codes, Design(n=200, weights=copies.astype(float)))
    rows = np.repeat(np.arange(200), copies)
    plain = tabulate(scores[rows], hits[rows], codes[rows], Design(n=len(rows)))
    assert heavy.ece == pytest.approx(plain.ece, abs=1e-12)
    assert heavy.mce == pytest.approx(plain.mce, abs=1e-12)


def test_agrees_with_the_usual_loop_over_equal_width_bins():
    rng = np.random.default_rng(2)
    scores = rng.random(1000)
    hits = rng.random(1000) < scores**1.5
    total = 0.0
    for k in range(10):
        inside = (scores >= k / 10) & (scores < (k + 1) / 10)
        total += inside.mean() * abs(hits[inside].mean() - scores[inside].mean())
    assert tabulate(scores, hits, assign(scores, 10, "equal-width"), Design(n=1000)).ece == pytest.approx(total)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=80), st.integers(1, 15))
@settings(max_examples=100, deadline=None)
def test_equal_mass_bins_keep_ties_together_and_order(values, bins):
    scores = np.array(values) / 12
    codes = assign(scores, bins, "equal-mass")
    assert set(codes) == set(range(codes.max() + 1))
    assert codes.max() < bins
    for value in set(values):
        assert len(set(codes[scores == value / 12])) == 1
    order = np.argsort(scores, kind="stable")
    assert (np.diff(codes[order]) >= 0).all()


def test_equal_mass_bins_have_equal_mass():
    codes = assign(np.random.default_rng(3).random(3000), 15, "equal-mass")
    assert set(np.bincount(codes)) == {200}


def test_debiased_is_the_folded_normal_mean_by_simulation():
    rng = np.random.default_rng(4)
    scores = rng.random(600)
    hits = rng.random(600) < scores
    design = Design(n=600)
    table = tabulate(scores, hits, assign(scores, 6, "equal-mass"), design)
    se = np.array([0.01, 0.05, 0.03, 0.02, 0.04, 0.05])
    noisy = abs(table.gap + se * rng.standard_normal((400_000, 6))).mean(axis=0)
    expected = (table.share * (2 * abs(table.gap) - noisy)).sum()
    assert debiased_ece(table, se) == pytest.approx(max(expected, 0), abs=3e-4)
    assert debiased_ece(table, np.zeros(6)) == pytest.approx(table.ece)


@pytest.mark.parametrize("clustered", [False, True])
def test_resampled_deviations_have_the_error_of_the_gaps(clustered):
    """One bin: L is |error of a mean|, so its 95 % quantile is 1.96 standard errors."""
    rng = np.random.default_rng(5)
    n = 2000
    scores = rng.random(n)
    hits = rng.random(n) < scores
    design = Design(n=n, clusters=np.arange(n) if clustered else None)
    table = tabulate(scores, hits, np.zeros(n, dtype=int), design)
    found = deviations(table, scores, hits, design, draws=20_000, rng=rng)
    error = (hits - scores).std(ddof=1) / np.sqrt(n)
    assert np.quantile(found.ece, 0.95) == pytest.approx(1.96 * error, rel=0.03)
    assert np.quantile(found.mce, 0.95) == pytest.approx(1.96 * error, rel=0.03)
    assert found.se[0] == pytest.approx(error, rel=0.01)


def test_copies_in_clusters_add_no_certainty():
    rng = np.random.default_rng(6)
    scores = rng.random(400)
    hits = rng.random(400) < scores
    rows = np.repeat(np.arange(400), 4)
    codes = assign(scores, 5, "equal-mass")
    single, many = Design(n=400), Design(n=1600, clusters=rows)
    table = tabulate(scores, hits, codes, single)
    copies = tabulate(scores[rows], hits[rows], codes[rows], many)
    one = deviations(table, scores, hits, single, draws=4000, rng=rng)
    four = deviations(copies, scores[rows], hits[rows], many, draws=4000, rng=rng)
    assert np.quantile(four.ece, 0.95) == pytest.approx(np.quantile(one.ece, 0.95), rel=0.08)


def test_a_bin_without_an_event_still_has_an_error():
    scores, hits = np.full(50, 0.01), np.zeros(50, bool)
    design = Design(n=50)
    table = tabulate(scores, hits, np.zeros(50, dtype=int), design)
    found = deviations(table, scores, hits, design, draws=2000, rng=np.random.default_rng(0))
    assert np.quantile(found.ece, 0.95) > 0.02


def test_interval_and_basis_say_the_same():
    errors = np.random.default_rng(7).random(2000) / 10
    measured = bounded(0.08, errors, Design(n=500), level=0.95, method="m")
    assert isinstance(measured.basis, Deviation)
    assert len(measured.basis.quantiles) == 201
    low, high = interval(measured.basis, 0.95)
    assert max(low, 0) == pytest.approx(measured.estimate.low, abs=1e-12)
    assert high == pytest.approx(measured.estimate.high, abs=1e-12)
    around = bounded(0.05, errors, Design(n=500), level=0.95, method="m", around=0.08)
    assert around.estimate.high == pytest.approx(measured.estimate.high)
    assert interval(around.basis, 0.95)[1] == pytest.approx(measured.estimate.high, abs=1e-12)
