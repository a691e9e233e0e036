"""Telling members from others: hand cases, scikit-learn, and the coverage of what is judged on held-out rows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom, norm

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.intervals import clopper_pearson
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.roc import Told, best_cut, log_points, split_units, tpr_at, tpr_beyond


def told(members, others, clusters=None) -> Told:
    scores = np.concatenate([members, others]).astype(float)
    member = np.arange(scores.size) < len(members)
    return Told(scores=scores, member=member, design=Design(n=scores.size, clusters=clusters))


def test_auc_is_that_of_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    case = told(rng.normal(0.4, 1, 300).round(1), rng.normal(0, 1, 500).round(1))
    assert case.auc(level=0.95).estimate.value == pytest.approx(roc_auc_score(case.member, case.scores), abs=1e-12)


def test_log_points_are_on_the_curve_of_scikit_learn():
    from sklearn.metrics import roc_curve

    rng = np.random.default_rng(1)
    case = told(rng.normal(1, 1, 400), rng.normal(0, 1, 700))
    fpr, tpr = log_points(case)
    known = set(
        zip(*(np.round(x, 9) for x in roc_curve(case.member, case.scores, drop_intermediate=False)[:2]), strict=True)
    )
    assert set(zip(np.round(fpr, 9), np.round(tpr, 9), strict=True)) <= known
    assert fpr[0] == pytest.approx(1 / 700)
    assert fpr[-1] == tpr[-1] == 1.0
    assert (np.diff(fpr) > 0).all()


def test_one_half_sets_the_threshold_and_the_other_judges_it():
    """Non-members 0 … 99 twice over: half of them puts the top tenth at one score, and the exact limits are scipy's."""
    case = told(np.full(50, 200.0), np.repeat(np.arange(100), 2))
    found = tpr_at(case, 0.1, np.random.default_rng(3), level=0.95)
    assert found.tpr.estimate.value == 1.0
    assert found.tpr.estimate.low == pytest.approx(clopper_pearson(50, 50)[0])
    assert found.realised.estimate.n == 100
    assert 85 <= found.threshold <= 97
    above = 2 * (99 - found.threshold)  # of both halves; a tenth of the first at most, so the second has the rest
    assert above - 10 <= found.realised.basis.successes <= above


def test_the_interval_of_the_tpr_covers_at_the_realised_rate():
    """Equal scores: the TPR at the threshold is the FPR at it, whatever the threshold; its interval covers that."""
    rng = np.random.default_rng(4)
    covered = 0
    for _ in range(300):
        found = tpr_at(told(rng.normal(size=200), rng.normal(size=400)), 0.05, rng, level=0.95)
        covered += found.tpr.estimate.low <= norm.sf(found.threshold) <= found.tpr.estimate.high
    assert covered >= binom.ppf(0.001, 300, 0.95)


def test_a_rate_without_enough_non_members_is_refused_with_the_number():
    with pytest.raises(ProbeError, match="needs 1,000 non-members, there are 999"):
        tpr_at(told(np.ones(5), np.zeros(999)), 0.01, np.random.default_rng(0), level=0.95)
    clusters = np.arange(1010) // 2
    with pytest.raises(ProbeError, match="there are 503"):  # five members, and one cluster of both
        tpr_at(told(np.ones(5), np.zeros(1005), clusters), 0.01, np.random.default_rng(0), level=0.95)


def test_ties_at_the_top_are_no_rate_of_zero():
    rng = np.random.default_rng(8)
    with pytest.raises(ProbeError, match="share the highest score"):
        tpr_at(told(np.ones(300), rng.integers(0, 2, 400)), 0.05, rng, level=0.95)
    above = tpr_at(told(np.full(300, 2.0), rng.integers(0, 2, 400)), 0.05, rng, level=0.95)
    assert above.tpr.estimate.value == 1.0


def test_a_threshold_from_elsewhere_is_checked_on_all_non_members():
    rng = np.random.default_rng(9)
    p = rng.random(1000)
    found = tpr_beyond(told(np.full(50, 9.0), -np.log(p)), -np.log(0.05), 0.05, level=0.95)
    assert found.realised.estimate.value == (p < 0.05).mean()
    assert found.realised.estimate.n == 1000
    with pytest.raises(ProbeError, match=r"calibrated to a false-positive rate of 0\.05, it reaches"):
        tpr_beyond(told(np.full(50, 9.0), -np.log(p / 2)), -np.log(0.05), 0.05, level=0.95)


def test_the_best_cut_of_noise_claims_nothing():
    rng = np.random.default_rng(5)
    claimed = 0
    for _ in range(300):
        found = best_cut(told(rng.normal(size=100), rng.normal(size=100)), rng, level=0.95)
        claimed += found.advantage.estimate.low > 0
    assert claimed <= binom.ppf(0.999, 300, 0.025)


def test_the_best_cut_finds_the_planted_gap():
    rng = np.random.default_rng(6)
    found = best_cut(told(rng.normal(2, 1, 3000), rng.normal(0, 1, 3000)), rng, level=0.95)
    truth = norm.cdf(1) - norm.cdf(-1)  # at the middle between the two means
    assert found.threshold == pytest.approx(1.0, abs=0.25)
    assert found.advantage.estimate.value == pytest.approx(truth, abs=0.03)
    assert found.balanced.estimate.value == pytest.approx((1 + found.advantage.estimate.value) / 2)
    assert found.advantage.estimate.low <= truth <= found.advantage.estimate.high


def test_halves_do_not_know_the_order_of_rows_and_keep_clusters_together():
    rng = np.random.default_rng(7)
    scores, clusters = rng.normal(size=60), np.arange(60) // 3
    order = rng.permutation(60)
    for c in (None, clusters):
        first, _ = split_units(np.arange(60), scores, Design(n=60, clusters=c), np.random.default_rng(1))
        moved = None if c is None else c[order]
        again, _ = split_units(np.arange(60), scores[order], Design(n=60, clusters=moved), np.random.default_rng(1))
        assert sorted(scores[first]) == sorted(scores[order][again])
    first, second = split_units(np.arange(60), scores, Design(n=60, clusters=clusters), np.random.default_rng(1))
    assert not set(clusters[first]) & set(clusters[second])


def test_no_number_from_nothing():
    with pytest.raises(ProbeError, match="no members"):
        told([], [1.0, 2.0])
    with pytest.raises(ProbeError, match="1 of 3 scores"):
        told([np.nan], [1.0, 2.0])
    with pytest.raises(ProbeError, match="same score"):
        told(np.ones(30), np.ones(30)).auc(level=0.95)
    with pytest.raises(ProbeError, match="too few"):
        best_cut(told(np.ones(19), np.zeros(30)), np.random.default_rng(0), level=0.95)
