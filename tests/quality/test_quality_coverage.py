"""Do the intervals hold the truth as often as they say? Simulated, seeded, within binomial limits of 95 %."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import bdtrik, expit, logit, ndtr

from steelyard.probes.quality.classification import balanced_accuracy, f1
from steelyard.probes.quality.paired import tango
from steelyard.probes.stats.auc import auc, auc_difference
from steelyard.probes.stats.bins import assign, bounded, deviations, tabulate
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import mean, proportion

pytestmark = pytest.mark.slow
LEVEL = 0.95


def least(runs: int) -> float:
    """The share below which `runs` intervals that truly cover 95 % fall once in 1,000 times."""
    return float(bdtrik(0.001, runs, LEVEL)) / runs


def covered(estimate, truth) -> bool:
    return estimate.low <= truth <= estimate.high


@pytest.mark.parametrize(
    ("positives", "negatives", "shift", "spread"),
    [(30, 30, 1.0, 1), (10, 50, 2.0, 1), (5, 500, 2.0, 1), (30, 1000, 2.5, 1), (15, 15, 3.5, 1), (10, 200, 3.0, 2)],
)
def test_auc(positives, negatives, shift, spread):
    rng, n, runs, hits = np.random.default_rng(31), positives + negatives, 600, 0
    positive = np.arange(n) < positives
    truth = ndtr(shift / np.sqrt(1 + spread**2))
    for _ in range(runs):
        scores = rng.normal(size=n) * np.where(positive, spread, 1) + shift * positive
        hits += covered(auc(scores, positive, Design(n=n), level=LEVEL).estimate, truth)
    assert hits / runs >= least(runs)


def test_paired_auc():
    rng, runs, hits = np.random.default_rng(32), 600, 0
    positive = np.arange(200) < 60
    truth = ndtr(1.2 / np.sqrt(2)) - ndtr(0.8 / np.sqrt(2))
    for _ in range(runs):
        shared = rng.normal(size=200) * 0.8
        first, second = (shared + 0.6 * rng.normal(size=200) + d * positive for d in (1.2, 0.8))
        hits += covered(auc_difference(first, second, positive, Design(n=200), level=LEVEL).estimate, truth)
    assert hits / runs >= least(runs)


def confidences(kind: str, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """(stated, true) probabilities."""
    if kind == "rare":
        p = rng.beta(0.3, 20, n)
        return p, p
    p = rng.beta(1, 2, n)
    return (p, p) if kind == "calibrated" else (p, expit(0.5 * logit(p)))


def covers_ece(kind: str, n: int, runs: int, *, bootstrap: bool = False) -> float:
    rng, hits = np.random.default_rng(33), 0
    everyone, chance = confidences(kind, 100_000, rng)
    order = np.argsort(everyone)
    everyone, owed = everyone[order], np.append(0, np.cumsum((chance - everyone)[order]))
    bins = max(1, min(15, n // 20))
    for _ in range(runs):
        scores, p = confidences(kind, n, rng)
        labels = rng.random(n) < p
        table = tabulate(scores, labels, assign(scores, bins, "equal-mass"), Design(n=n))
        edges = [0, *np.searchsorted(everyone, table.low[1:]), len(everyone)]
        truth = abs(np.diff(owed[edges])).sum() / len(everyone)
        if bootstrap:  # what is usually done: a percentile interval of resampled ECEs
            drawn = rng.integers(0, n, (200, n))
            gaps = [np.bincount(table.codes[i], weights=(labels - scores)[i], minlength=bins) for i in drawn]
            low, high = np.quantile(abs(np.array(gaps)).sum(axis=1) / n, [0.025, 0.975])
            hits += low <= truth <= high
        else:
            found = deviations(table, scores, labels, Design(n=n), draws=500, rng=rng)
            hits += covered(bounded(table.ece, found.ece, Design(n=n), level=LEVEL, method="m").estimate, truth)
    return hits / runs


@pytest.mark.parametrize("kind", ["calibrated", "overconfident", "rare"])
@pytest.mark.parametrize("n", [40, 300, 3000])
def test_ece(kind, n):
    assert covers_ece(kind, n, 400) >= least(400)


def test_the_usual_bootstrap_of_the_ece_would_fail_this():
    assert covers_ece("calibrated", 300, 60, bootstrap=True) < 0.5


def test_clustered_ece_and_accuracy():
    rng, runs, ece, accuracy, naive = np.random.default_rng(34), 400, 0, 0, 0
    clusters = np.repeat(np.arange(80), 5)
    for _ in range(runs):
        p = rng.uniform(0.1, 0.9, 80)[clusters]  # one person, one score, one fate for most of the rows
        fate = np.where(rng.random(400) < 0.8, rng.random(80)[clusters], rng.random(400))
        labels, design = fate < p, Design(n=400, clusters=clusters)
        table = tabulate(p, labels, assign(p, 5, "equal-mass"), design)
        found = deviations(table, p, labels, design, draws=500, rng=rng)
        ece += covered(bounded(table.ece, found.ece, design, level=LEVEL, method="m").estimate, 0.0)
        right = fate < 0.7
        accuracy += covered(proportion(right, design, level=LEVEL).estimate, 0.7)
        naive += covered(proportion(right, Design(n=400), level=LEVEL).estimate, 0.7)
    assert ece / runs >= least(runs)
    assert accuracy / runs >= least(runs)
    assert naive / runs < 0.85  # what ignoring the clusters costs


def test_weighted_accuracy_and_mean():
    rng, runs, share, centre = np.random.default_rng(35), 500, 0, 0
    for _ in range(runs):
        design = Design(n=150, weights=rng.lognormal(0, 0.7, 150))
        share += covered(proportion(rng.random(150) < 0.85, design, level=LEVEL).estimate, 0.85)
        centre += covered(mean(rng.random(150), design, level=LEVEL, lower=0, upper=1).estimate, 0.5)
    assert share / runs >= least(runs)
    assert centre / runs >= least(runs)


@pytest.mark.parametrize(("n", "rate", "skill"), [(60, 0.2, 0.9), (200, 0.05, 0.95), (120, 0.5, 0.8)])
def test_balanced_accuracy_and_f1(n, rate, skill):
    rng, runs, balanced, harmonic = np.random.default_rng(36), 500, 0, 0
    jaccard = rate * skill / (rate + (1 - rate) * (1 - skill))
    for _ in range(runs):
        labels = (rng.random(n) < rate) * 1
        labels[:2] = 0, 1
        decisions = np.where(rng.random(n) < skill, labels, 1 - labels)
        balanced += covered(balanced_accuracy(decisions, labels, Design(n=n), classes=2, level=LEVEL).estimate, skill)
        harmonic += covered(f1(decisions, labels, Design(n=n), level=LEVEL).estimate, 2 * jaccard / (1 + jaccard))
    assert balanced / runs >= least(runs)
    assert harmonic / runs >= least(runs)


@pytest.mark.parametrize(("n", "first", "second"), [(50, 0.02, 0.02), (100, 0.1, 0.05), (1000, 0.002, 0.001)])
def test_accuracy_gain(n, first, second):
    rng, runs, hits, seen = np.random.default_rng(37), 3000, 0, {}
    for b, c, _ in rng.multinomial(n, [first, second, 1 - first - second], size=runs):
        limits = seen.setdefault((b, c), None) or seen.update({(b, c): tango(b, c, n, level=LEVEL)}) or seen[b, c]
        hits += limits[0] <= first - second <= limits[1]
    assert hits / runs >= least(runs)
