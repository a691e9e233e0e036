"""How well features tell the attribute: closed form and scikit-learn as oracles, planted truth, null."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.types import Status
from steelyard.probes.fairness.proxies import cross_fitted, fold_area
from steelyard.probes.stats.linearised import Design

ID = "fairness.proxies"


def measured(frame, groups, *, settings=None, **kwargs):
    labels = np.arange(len(frame)) % 2
    return audit(lambda X: np.arange(len(X)) % 2, frame, labels, groups=groups, probes=[{ID: settings or {}}], **kwargs)


def finding(record, **where):
    (found,) = [f for f in record.findings_of(f"{ID}.auc") if dict(f.where) == where]
    return found


def people(gap, n=3000, seed=0):
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    frame = pd.DataFrame(
        {
            "sex": sex,
            "height": rng.normal(size=n) + gap * (sex == "m"),
            "job": np.where(rng.uniform(size=n) < 0.5 + 0.1 * gap * (sex == "m"), "guard", "nurse"),
            "noise": rng.normal(size=n),
        }
    )
    return frame, frame[["sex"]]


def test_oracle_the_area_between_two_normals_is_known():
    """Two normals d apart: the best guess has the area Φ(d / √2)."""
    from scipy.stats import norm

    rng = np.random.default_rng(1)
    sex = rng.choice(["f", "m"], 5000)
    frame = pd.DataFrame({"height": rng.normal(size=5000) + (sex == "m")})
    estimate = finding(measured(frame, {"sex": sex}, settings={"learner": "logistic"}), attribute="sex").estimate
    assert estimate.low < norm.cdf(1 / math.sqrt(2)) < estimate.high
    assert estimate.value == pytest.approx(norm.cdf(1 / math.sqrt(2)), abs=0.02)


def test_oracle_scikit_learn_gives_the_same_area_in_every_fold():
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(2)
    codes = rng.integers(0, 3, 900)
    X = rng.normal(size=(900, 4)) + codes[:, None] * [0.5, 0.1, 0.0, 0.0]
    guesses, fold = cross_fitted(X, codes, Design(n=900), 3, "logistic", 0)
    theirs = []
    for f in range(3):
        model = LogisticRegression(max_iter=2000).fit(X[fold != f], codes[fold != f])
        p = model.predict_proba(X[fold == f])
        theirs += [roc_auc_score(codes[fold == f], p, multi_class="ovr", average="macro")]
    ours = fold_area(guesses, codes, [0, 1, 2], fold, Design(n=900), level=0.95)
    assert ours.estimate.value == pytest.approx(np.mean(theirs), abs=1e-12)


def test_one_fold_has_delongs_interval():
    from steelyard.probes.stats.auc import area

    rng = np.random.default_rng(3)
    codes, scores = rng.integers(0, 2, 800), rng.normal(size=800)
    scores = scores + 0.7 * codes
    design = Design(n=800)
    delong = area(scores, codes == 1, design).variance(design)[0]
    one = fold_area(np.column_stack([-scores, scores]), codes, [1], np.zeros(800, dtype=int), design, level=0.95)
    slope = one.estimate.value * (1 - one.estimate.value)
    assert (one.basis.se * slope) ** 2 == pytest.approx(delong, rel=0.01)


@pytest.mark.parametrize("learner", ["boosting", "logistic"])
def test_planted_truth_a_proxy_is_found_and_named_and_noise_is_not(learner):
    frame, groups = people(1.5)
    leaky = finding(measured(frame, groups, settings={"learner": learner}), attribute="sex")
    clean = finding(measured(*people(0.0), settings={"learner": learner}), attribute="sex")
    assert leaky.estimate.low > 0.8
    assert leaky.detail["top"].startswith("height")
    assert clean.estimate.low < 0.5 < clean.estimate.high or abs(clean.estimate.value - 0.5) < 0.04
    assert clean.estimate.value < 0.56


def test_boosting_finds_what_no_feature_tells_by_itself():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=3000), rng.normal(size=3000)
    sex = np.where(a * b > 0, "f", "m")
    record = measured(pd.DataFrame({"a": a, "b": b}), {"sex": sex})
    assert finding(record, attribute="sex").estimate.low > 0.9


def test_null_an_attribute_that_nothing_tells_is_claimed_to_be_told_in_at_most_alpha_of_the_runs():
    from steelyard.probes.stats.claims import claim

    runs, alarms = 300, 0
    for seed in range(runs):
        rng = np.random.default_rng(40_000 + seed)
        codes, X = rng.choice(2, 240, p=[0.7, 0.3]), rng.normal(size=(240, 3))
        guesses, fold = cross_fitted(X, codes, Design(n=240), 2, "logistic", 0)
        found = fold_area(guesses, codes, [1], fold, Design(n=240), level=0.95)
        alarms += claim(found.basis, maximum=0.5).fail_p <= 0.05
    assert alarms <= 26  # the 99.9 % point of a binomial of 300 at .05


def test_the_interval_covers_the_area_of_the_learner():
    runs, covered = 300, 0
    from scipy.stats import norm

    for seed in range(runs):
        rng = np.random.default_rng(50_000 + seed)
        codes = rng.choice(2, 300, p=[0.8, 0.2])
        X = (rng.normal(size=300) + 1.5 * codes)[:, None]  # one feature: any slope gives the same order
        guesses, fold = cross_fitted(X, codes, Design(n=300), 2, "logistic", 0)
        estimate = fold_area(guesses, codes, [1], fold, Design(n=300), level=0.95).estimate
        covered += estimate.low <= norm.cdf(1.5 / math.sqrt(2)) <= estimate.high
    assert covered >= 273  # the .1 % point of a binomial of 300 at .95


def test_more_than_two_groups_are_read_each_and_together():
    rng = np.random.default_rng(5)
    race = rng.choice(["a", "b", "c"], 1500)
    frame = pd.DataFrame({"race": race, "x": rng.normal(size=1500) + 2.0 * (race == "c")})
    record = measured(frame, frame[["race"]])
    each = {g: finding(record, attribute="race", group=g).estimate.value for g in "abc"}
    assert finding(record, attribute="race").estimate.value == pytest.approx(np.mean(list(each.values())), abs=1e-12)
    assert each["c"] == max(each.values())


def test_a_gate_on_it_only_reports():
    record = measured(*people(1.0, n=600), gates=[{"metric": f"{ID}.auc"}])
    assert record.verdicts[0].status is Status.REPORTED
    assert record.exit_code == 0
    assert finding(record, attribute="sex").reading == "disclosure"


def test_a_copy_of_the_attribute_is_told_perfectly_and_the_bound_is_exact():
    frame, groups = people(0.0, n=600)
    record = measured(frame.assign(copy=groups["sex"]), groups)
    estimate = finding(record, attribute="sex").estimate
    assert estimate.value == 1.0
    assert 0.95 < estimate.low < 1.0


def test_copies_of_a_row_in_one_cluster_do_not_teach_their_own_guess():
    rng = np.random.default_rng(6)
    frame = pd.DataFrame({"key": rng.normal(size=300), "sex": rng.choice(["f", "m"], 300)})
    copies = pd.concat([frame] * 5, ignore_index=True)
    leaked = finding(measured(copies, copies[["sex"]]), attribute="sex").estimate
    kept = finding(measured(copies, copies[["sex"]], clusters=np.tile(np.arange(300), 5)), attribute="sex").estimate
    assert leaked.value > 0.75  # what happens to those who do not name their clusters
    assert kept.value < 0.6


def test_what_cannot_be_measured_says_so():
    frame, groups = people(0.0, n=200)
    alone = measured(frame[["sex"]], groups)
    assert "no feature describes a row" in alone.failures[0].reason
    few = groups.copy()
    few.loc[:5, "sex"] = "x"
    small = measured(frame, few)
    assert any("x (n < 10)" in f.reason for f in small.failures)
    wrong = measured(frame, groups, settings={"learner": "oracle"})
    assert "boosting, logistic" in str(wrong.failures[0].hint)
