"""Scores between groups: oracles, planted truth, and the gate's own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding, Inapplicable
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.scores import Scores
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.curves import area_between, roc
from steelyard.probes.stats.distances import wasserstein

P = "fairness.scores."


class Given:
    classes_ = np.array([0, 1])

    def predict_proba(self, frame):
        s = frame["s"].to_numpy()
        return np.column_stack([1 - s, s])

    def predict(self, frame):
        return (frame["s"].to_numpy() >= 0.5).astype(int)


def rows_of(s, y, columns, seed=1, probe=None, min_n=None, **design):
    model = Given()
    sample = sample_from_arrays(pd.DataFrame({"s": s}), y, pd.DataFrame(columns))
    sample = replace(sample, **design) if min_n is None else replace(sample, min_n=min_n, **design)
    probe = probe or Scores(depth=1, draws=1000)
    return list(probe.run(wrap(model, sample), sample, References(), generator(seed, "scores")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


def drawn(seed, n=600, shift=0.0, flat=0.0, shares=(0.6, 0.3, 0.1)):
    """Calibrated scores; `shift` raises those of c, `flat` replaces that share of c's labels by coins."""
    rng = np.random.default_rng(seed)
    g = rng.choice(list("abc"), n, p=shares)
    s = rng.beta(1.5, 2.5, n)
    y = (rng.uniform(size=n) < s).astype(int)
    coin = (g == "c") & (rng.uniform(size=n) < flat)
    y[coin] = rng.integers(0, 2, int(coin.sum()))
    return np.clip(s + shift * (g == "c"), 0, 1), y, {"g": g}


def test_oracle_sklearn_and_scipy_give_the_same_values():
    from scipy.stats import wasserstein_distance
    from sklearn.metrics import brier_score_loss, roc_auc_score

    s, y, groups = drawn(3, 900)
    s = np.round(s, 2)  # ties
    g, rows = groups["g"], rows_of(s, y, groups)
    aucs = {k: roc_auc_score(y[g == k], s[g == k]) for k in "abc"}
    briers = {k: brier_score_loss(y[g == k], s[g == k]) for k in "abc"}
    for k in "abc":
        assert read(rows, "auc", attribute="g", group=k).estimate.value == pytest.approx(aucs[k], abs=1e-12)
        assert read(rows, "brier", attribute="g", group=k).estimate.value == pytest.approx(briers[k], abs=1e-12)
    top = max(aucs.values()) - min(aucs.values())
    assert read(rows, "auc-difference", attribute="g").estimate.value == pytest.approx(top, abs=1e-12)
    w = max(wasserstein_distance(s[g == a], s[g == b]) for a, b in ("ab", "ac", "bc"))
    assert read(rows, "wasserstein", attribute="g").estimate.value == pytest.approx(w, abs=1e-12)
    within = sum((g == k).sum() * s[g == k].var() for k in "abc") / len(s)
    means = [s[g == k].mean() for k in "abc"]
    smd = (max(means) - min(means)) / np.sqrt(within)
    assert read(rows, "smd", attribute="g").estimate.value == pytest.approx(smd, abs=1e-12)


def test_to_the_reference_group_and_as_a_ratio():
    """The largest group is the reference until the plan names another; a ratio is smallest over largest."""
    from sklearn.metrics import roc_auc_score

    s, y, groups = drawn(1, 900, shift=0.15, flat=0.3)
    g, rows = groups["g"], rows_of(s, y, groups)
    mean = {k: s[g == k].mean() for k in "abc"}
    area = {k: roc_auc_score(y[g == k], s[g == k]) for k in "abc"}
    for name, of in (("mean-score", mean), ("auc", area)):
        to = read(rows, f"{name}-difference-to-reference", attribute="g")
        assert to.estimate.value == pytest.approx(max(abs(of[k] - of["a"]) for k in "bc"), abs=1e-12)
        assert (to.detail["reference"], to.detail["contrasts"]) == ("a", 2)
        quotient = read(rows, f"{name}-ratio", attribute="g").estimate
        assert quotient.value == pytest.approx(min(of.values()) / max(of.values()), abs=1e-12)
        assert quotient.low < quotient.value < quotient.high <= 1
    codes = sample_from_arrays(pd.DataFrame({"s": s}), y, pd.DataFrame(groups)).groups["g"]
    named = rows_of(s, y, groups, groups={"g": replace(codes, reference="c")})  # the later one goes into the sample
    to = read(named, "mean-score-difference-to-reference", attribute="g")
    assert to.estimate.value == pytest.approx(max(abs(mean[k] - mean["c"]) for k in "ab"), abs=1e-12)
    small = rows_of(s, y, groups, min_n=int((g == "c").sum()) + 1, groups={"g": replace(codes, reference="c")})
    lost = [r for r in small if isinstance(r, Failure) and f"{P}mean-score-difference-to-reference" in r.metrics]
    assert any("the reference group c (data.reference_groups) has no such number" in r.reason for r in lost)


def test_oracle_weighted_wasserstein_is_scipys():
    from scipy.stats import wasserstein_distance

    rng = np.random.default_rng(0)
    a, b, u, v = rng.normal(size=50), rng.normal(1, 2, 70), rng.uniform(1, 3, 50), rng.uniform(1, 3, 70)
    assert wasserstein(a, b, u, v) == pytest.approx(wasserstein_distance(a, b, u, v), abs=1e-12)


def test_oracle_abroca_by_hand_and_by_fine_grid():
    # a: perfect order, ROC goes up at 0; b: reversed order, ROC goes up at 1: the whole square lies between them
    y = np.array([True, False])
    assert area_between(roc(np.array([0.9, 0.1]), y), roc(np.array([0.1, 0.9]), y)) == 1.0
    # perfect against all tied (the diagonal): one half
    assert area_between(roc(np.array([0.9, 0.1]), y), roc(np.array([0.5, 0.5]), y)) == pytest.approx(0.5)
    # curves that cross: (0,0)-(0,.5)-(.5,.5)-(.5,1)-(1,1) against the diagonal: four triangles of 1/8 each
    steps = roc(np.array([0.9, 0.8, 0.7, 0.6]), np.array([True, False, True, False]))
    assert area_between(steps, roc(np.full(2, 0.5), y)) == pytest.approx(0.25)
    rng = np.random.default_rng(5)
    curves = [roc(rng.normal(size=80) + 0.8 * t, t) for t in (rng.uniform(size=80) < 0.5, rng.uniform(size=80) < 0.4)]
    grid = (np.arange(200_000) + 0.5) / 200_000
    theirs = abs(np.interp(grid, *curves[0]) - np.interp(grid, *curves[1])).mean()
    assert area_between(*curves) == pytest.approx(theirs, abs=1e-4)


def test_equal_aucs_can_hide_curves_that_cross():
    """Planted: one group is told apart at the top, the other at the bottom; AUC .75 in both."""
    n = 400
    y = np.tile(np.repeat([1, 0], n // 2), 2)
    half = np.repeat([1, 0], n // 4)
    top = np.concatenate([np.where(half == 1, 0.9, 0.5), np.full(n // 2, 0.5)])  # half the positives stand out
    low = np.concatenate([np.full(n // 2, 0.5), np.where(half == 1, 0.1, 0.5)])  # half the negatives do
    rows = rows_of(np.concatenate([top, low]), y, {"g": np.repeat(["a", "b"], n)})
    assert read(rows, "auc-difference", attribute="g").estimate.value == pytest.approx(0.0, abs=1e-12)
    abroca = read(rows, "abroca", attribute="g")
    # by hand: |.5 + .5 t - min(2 t, 1)| has the area 1/12 to t = 1/3, 1/48 to 1/2 and 3/48 to 1
    assert abroca.estimate.value == pytest.approx(1 / 6)
    assert abroca.estimate.low > 0.08
    assert claim(abroca.basis, maximum=0.08).fail_p < 0.05


def test_planted_truth_a_raised_group_and_a_group_that_is_not_ranked():
    clean = rows_of(*drawn(1, 6000))
    raised = rows_of(*drawn(1, 6000, shift=0.15))
    blunt = rows_of(*drawn(1, 6000, flat=0.9))
    for name, tolerance in (("calibration-in-the-large-difference", 0.08), ("mean-score-difference", 0.08),
                            ("wasserstein", 0.08), ("smd", 0.4)):  # fmt: skip
        bad, good = read(raised, name, attribute="g").basis, read(clean, name, attribute="g").basis
        assert claim(bad, maximum=tolerance).fail_p < 0.05, name
        assert claim(good, maximum=tolerance).pass_p < 0.05, name
    for name in ("auc-difference", "abroca"):
        bad, good = read(blunt, name, attribute="g"), read(clean, name, attribute="g")
        assert claim(bad.basis, maximum=0.12).fail_p < 0.05, name
        assert claim(good.basis, maximum=0.12).pass_p < 0.05, name
    assert read(blunt, "auc-difference", attribute="g").detail["lowest"] == "c"


def test_no_number_from_nothing():
    s, y, groups = drawn(2, 900)
    y[groups["g"] == "c"] = 0
    rows = rows_of(s, y, groups)
    lost = [r for r in rows if isinstance(r, Failure) and P + "auc-difference" in r.metrics]
    assert [dict(r.where) for r in lost] == [{"attribute": "g", "group": "c"}]
    assert "c" in read(rows, "auc-difference", attribute="g").detail["untested"]
    assert "c" in read(rows, "abroca", attribute="g").detail["untested"]
    flat = rows_of(np.full(900, 0.3), y, groups)
    assert not [r for r in flat if isinstance(r, Finding) and r.metric in (P + "wasserstein", P + "smd", P + "auc")]
    small = rows_of(s, y, groups, min_n=200)
    assert any(isinstance(r, Failure) and "c (n = " in r.reason for r in small)


def test_without_labels_what_needs_none_is_measured():
    s, y, groups = drawn(2, 900)
    rows = rows_of(s, y, groups, labels=None)
    assert [r.missing for r in rows if isinstance(r, Inapplicable)] == [("labels",)]
    assert read(rows, "wasserstein", attribute="g")
    assert not [r for r in rows if isinstance(r, Finding) and "auc" in r.metric]


def test_unknown_is_shown_and_not_compared():
    s, y, groups = drawn(4, 900)
    g = groups["g"].astype(object)
    s[g == "c"] = 0.99
    g[g == "c"] = None
    rows = rows_of(s, y, {"g": g})
    assert read(rows, "mean-score", attribute="g", group="unknown").estimate.value == pytest.approx(0.99)
    assert read(rows, "mean-score-difference", attribute="g").estimate.value < 0.1


def test_one_person_many_rows_widens_every_interval_and_weights_count():
    s, y, groups = drawn(7, 500, shares=(0.5, 0.5, 0.0))
    four = np.repeat(np.arange(500), 4)
    once = rows_of(s, y, groups)
    many = rows_of(s[four], y[four], {"g": groups["g"][four]}, clusters=four)
    naive = rows_of(s[four], y[four], {"g": groups["g"][four]})
    for name in ("auc-difference", "brier-difference", "wasserstein", "abroca", "smd"):
        width = [read(r, name, attribute="g").estimate.high - read(r, name, attribute="g").estimate.value
                 for r in (once, many, naive)]  # fmt: skip
        assert width[1] == pytest.approx(width[0], rel=0.2), name
        assert width[2] < 0.65 * width[0], name
    doubled = rows_of(s, y, groups, weights=np.where(np.arange(500) < 250, 2.0, 1.0))
    twice = np.concatenate([np.arange(500), np.arange(250)])
    rows = rows_of(s[twice], y[twice], {"g": groups["g"][twice]})
    for name in ("auc-difference", "brier-difference", "wasserstein", "abroca", "smd"):
        ours, theirs = read(doubled, name, attribute="g"), read(rows, name, attribute="g")
        assert ours.estimate.value == pytest.approx(theirs.estimate.value, abs=1e-9), name


def test_many_groups_are_compared_with_the_others():
    rng = np.random.default_rng(0)
    s = rng.uniform(size=2000)
    rows = rows_of(s, (rng.uniform(size=2000) < s).astype(int), {"g": rng.integers(0, 25, 2000).astype(str)})
    found = read(rows, "brier-difference", attribute="g")
    assert found.detail["contrast"] == "rest"
    assert found.detail["contrasts"] == 25
    assert "mean of the others" in found.definition
    assert any(isinstance(r, Failure) and "too many to compare as pairs" in r.reason for r in rows)


@pytest.mark.slow
def test_null_fair_scores_fail_at_most_alpha_of_the_time():
    names = ("auc-difference", "brier-difference", "calibration-in-the-large-difference", "mean-score-difference",
             "abroca", "wasserstein", "smd", "auc-difference-to-reference",
             "mean-score-difference-to-reference")  # fmt: skip
    runs, fails = 200, dict.fromkeys(names, 0)
    for seed in range(runs):
        rows = rows_of(*drawn(500 + seed), seed=seed, probe=Scores(depth=1, draws=500))
        for name in names:
            fails[name] += claim(read(rows, name, attribute="g").basis, maximum=0.0).fail_p <= 0.05
    assert max(fails.values()) <= 20, fails  # the 99.9 % point of a binomial of 200 at .05
