"""The area under the curve, against sklearn and against the definition, pair by pair."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Binomial, Deviation, Normal
from steelyard.probes.stats.auc import area, auc, auc_difference, independent_pairs, macro_auc, macro_auc_difference
from steelyard.probes.stats.claims import interval
from steelyard.probes.stats.linearised import Design


def pairwise(scores: np.ndarray, positive: np.ndarray) -> np.ndarray:
    """psi (m, n) of the definition: 1 where the positive is above, 1/2 where equal."""
    a, b = scores[positive][:, None], scores[~positive][None, :]
    return (a > b) + 0.5 * (a == b)


def test_value_and_variance_equal_the_u_statistic_summed_over_all_pairs():
    rng = np.random.default_rng(3)
    positive = rng.random(80) < 0.4
    scores = np.round(rng.normal(size=80) + positive, 1)  # with ties
    psi = pairwise(scores, positive)
    m, n = psi.shape
    variance = psi.mean(axis=1).var(ddof=1) / m + psi.mean(axis=0).var(ddof=1) / n
    found = area(scores, positive, Design(n=80))
    assert found.value == pytest.approx(psi.mean(), abs=1e-14)
    assert found.variance(Design(n=80))[0] == pytest.approx(variance, rel=1e-12)


def test_paired_variance_equals_delongs_covariance_matrix():
    rng = np.random.default_rng(4)
    positive = rng.random(60) < 0.5
    first, second = rng.normal(size=60) + positive, rng.normal(size=60) + 0.5 * positive
    one, two = pairwise(first, positive), pairwise(second, positive)
    cover = np.cov(one.mean(axis=1), two.mean(axis=1)) / positive.sum()
    cover += np.cov(one.mean(axis=0), two.mean(axis=0)) / (~positive).sum()
    expected = cover[0, 0] + cover[1, 1] - 2 * cover[0, 1]
    measured = auc_difference(first, second, positive, Design(n=60), level=0.95)
    assert measured.estimate.value == pytest.approx(one.mean() - two.mean(), abs=1e-14)
    assert isinstance(measured.basis, Normal)
    assert measured.basis.se**2 == pytest.approx(expected, rel=1e-10)


def test_hand_worked_area():
    # positives .9 .4, negatives .5 .4 .1: pairs 1 1 1 | 0 .5 1 = 4.5 of 6
    found = area(np.array([0.9, 0.4, 0.5, 0.4, 0.1]), np.array([1, 1, 0, 0, 0], bool), Design(n=5))
    assert found.value == pytest.approx(0.75)


def test_agrees_with_sklearn_weighted_and_multiclass():
    rng = np.random.default_rng(5)
    labels = rng.integers(0, 4, 300)
    proba = rng.dirichlet(np.ones(4), 300)
    proba[np.arange(300), labels] += 0.3
    proba /= proba.sum(axis=1, keepdims=True)
    weights = rng.random(300) + 0.2
    plain, weighted = Design(n=300), Design(n=300, weights=weights)
    assert area(proba[:, 1], labels == 1, weighted).value == pytest.approx(
        roc_auc_score(labels == 1, proba[:, 1], sample_weight=weights), abs=1e-12
    )
    assert macro_auc(proba, labels, plain, level=0.95).estimate.value == pytest.approx(
        roc_auc_score(labels, proba, multi_class="ovr", average="macro"), abs=1e-12
    )


@given(
    st.lists(st.tuples(st.integers(0, 9), st.booleans()), min_size=6, max_size=40).filter(
        lambda rows: sum(y for _, y in rows) >= 2 <= sum(not y for _, y in rows) and len({s for s, _ in rows}) > 1
    ),
    st.randoms(use_true_random=False),
)
@settings(max_examples=60, deadline=None)
def test_symmetries(rows, random):
    scores, positive = np.array([s for s, _ in rows], float), np.array([y for _, y in rows])
    design = Design(n=len(rows))
    here = auc(scores, positive, design, level=0.9).estimate
    flipped = auc(scores, ~positive, design, level=0.9).estimate
    assert flipped.value == pytest.approx(1 - here.value, abs=1e-12)
    assert flipped.low == pytest.approx(1 - here.high, abs=1e-9)
    stretched = auc(np.exp(scores / 3), positive, design, level=0.9).estimate
    assert (stretched.value, stretched.low) == pytest.approx((here.value, here.low), abs=1e-12)
    order = list(range(len(rows)))
    random.shuffle(order)
    shuffled = auc(scores[order], positive[order], design, level=0.9).estimate
    assert (shuffled.value, shuffled.low, shuffled.high) == pytest.approx((here.value, here.low, here.high), abs=1e-9)
    doubled = np.repeat(np.arange(len(rows)), 2)
    heavy = area(scores, positive, Design(n=len(rows), weights=np.full(len(rows), 2.0)))
    assert heavy.value == pytest.approx(
        area(scores[doubled], positive[doubled], Design(n=2 * len(rows))).value, abs=1e-12
    )


def test_copies_of_a_row_in_one_cluster_add_no_certainty():
    rng = np.random.default_rng(6)
    positive = rng.random(100) < 0.5
    scores = rng.normal(size=100) + positive
    rows = np.repeat(np.arange(100), 3)
    single = area(scores, positive, Design(n=100, clusters=np.arange(100)))
    copies = area(scores[rows], positive[rows], Design(n=300, clusters=rows))
    naive = area(scores[rows], positive[rows], Design(n=300))
    assert copies.value == pytest.approx(single.value, abs=1e-12)
    variance = single.variance(Design(n=100, clusters=np.arange(100)))[0]
    assert copies.variance(Design(n=300, clusters=rows))[0] == pytest.approx(variance, rel=1e-10)
    assert naive.variance(Design(n=300))[0] < variance / 2


def test_perfect_order_is_not_certainty():
    positive = np.arange(30) >= 20
    measured = auc(np.arange(30.0), positive, Design(n=30), level=0.95)
    assert measured.estimate.value == 1
    assert measured.estimate.low == pytest.approx(0.025 ** (1 / 10))  # 10 independent pairs, all in order
    assert measured.basis == Binomial(successes=10.0, trials=10.0)
    worst = auc(-np.arange(30.0), positive, Design(n=30), level=0.95).estimate
    assert (worst.value, worst.high) == (0, pytest.approx(1 - 0.025 ** (1 / 10)))


def test_independent_pairs_share_no_cluster():
    positive = np.array([1, 1, 1, 0, 0, 0], bool)
    assert independent_pairs(positive, Design(n=6)) == 3
    assert independent_pairs(positive, Design(n=6, clusters=np.array([0, 1, 2, 0, 1, 2]))) == 1


def test_equal_orders_leave_a_bound_on_the_difference():
    positive = np.arange(40) >= 20
    scores = np.random.default_rng(0).normal(size=40)
    measured = auc_difference(scores, 2 * scores, positive, Design(n=40), level=0.95)
    assert measured.estimate.value == 0
    assert measured.estimate.high == pytest.approx(1 - 0.05 ** (1 / 20))
    assert isinstance(measured.basis, Deviation)
    proba = np.random.default_rng(1).dirichlet(np.ones(3), 60)
    same = macro_auc_difference(proba, proba, np.arange(60) % 3, Design(n=60), level=0.95)
    assert same.estimate.value == 0 < same.estimate.high


def test_basis_gives_an_interval_that_is_no_narrower():
    rng = np.random.default_rng(8)
    positive = np.arange(100) < 12
    measured = auc(rng.normal(size=100) + 1.5 * positive, positive, Design(n=100), level=0.95)
    low, high = interval(measured.basis, 0.95)
    assert low <= measured.estimate.low + 1e-9
    assert high >= measured.estimate.high - 1e-9


@pytest.mark.parametrize(
    ("scores", "positive", "words"),
    [([0.1, 0.2, 0.3], [1, 1, 1], "one class"), ([0.5, 0.5, 0.5], [1, 0, 1], "same score")],
)
def test_no_number_from_nothing(scores, positive, words):
    with pytest.raises(ProbeError, match=words):
        auc(np.array(scores), np.array(positive, bool), Design(n=3), level=0.95)


def test_one_positive_gives_a_value_without_an_interval():
    measured = auc(np.array([0.3, 0.1, 0.5, 0.2]), np.array([1, 0, 0, 0], bool), Design(n=4), level=0.95)
    assert measured.estimate.value == pytest.approx(2 / 3)
    assert measured.estimate.low is None
    assert measured.basis is None
