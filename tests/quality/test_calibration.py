"""quality.calibration as a whole: an overconfident model is caught, its calibrated twin is not."""

from __future__ import annotations

import json

import numpy as np
import pytest

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import PlanError, ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Deviation, Failure, Finding, Task
from steelyard.probes.quality.calibration import Calibration
from steelyard.probes.stats.claims import claim

RNG = np.random.default_rng
ROWS = 12_000  # of the twins; a bound of .05 on the ECE of a calibrated model takes about this many


def run(target, sample, probe=None, seed=0):
    return list((probe or Calibration()).run(target, sample, References({}), RNG(seed)))


def value(rows, statistic, **where):
    metric = f"quality.calibration.{statistic}"
    found = [f for f in rows if isinstance(f, Finding) and f.metric == metric and f.where == where]
    assert len(found) == 1
    return found[0]


def overconfident(p):
    """Twice the log odds."""
    return p**2 / (p**2 + (1 - p) ** 2)


@pytest.fixture
def twins(sample, scorer):
    rng = RNG(21)
    p = rng.beta(1.5, 1.5, ROWS)
    labels = (rng.random(ROWS) < p).astype(np.int64)
    groups = {"sex": (rng.integers(0, 2, ROWS), ("F", "M"))}
    return scorer(p), scorer(overconfident(p)), sample(labels, groups=groups)


def test_planted_overconfidence_is_caught_and_its_twin_is_not(twins):
    good, bad, sample = twins
    tolerance = 0.05
    clean, planted = value(run(good, sample), "ece"), value(run(bad, sample), "ece")
    assert claim(planted.basis, maximum=tolerance).fail_p < 0.05
    assert planted.estimate.low > tolerance
    assert claim(clean.basis, maximum=tolerance).pass_p < 0.05
    assert clean.estimate.low == 0
    assert value(run(good, sample), "ece-debiased").estimate.value < 0.012 < value(run(bad, sample), "mce").estimate.low


def test_planted_shift_is_read_with_its_sign(sample, scorer):
    rng = RNG(22)
    p = rng.uniform(0.2, 0.6, 2000)
    labels = (rng.random(2000) < p).astype(np.int64)
    large = value(run(scorer(p + 0.1), sample(labels)), "in-the-large").estimate
    assert large.low < 0.1 < large.high
    assert large.low > 0.05
    assert value(run(scorer(p - 0.1), sample(labels)), "in-the-large").estimate.high < -0.05


def test_a_group_alone_can_be_miscalibrated(sample, scorer):
    rng = RNG(23)
    p = rng.beta(1.5, 1.5, 4000)
    labels = (rng.random(4000) < p).astype(np.int64)
    group = rng.integers(0, 2, 4000)
    rows = run(scorer(np.where(group == 0, p, overconfident(p))), sample(labels, groups={"g": (group, ("ok", "off"))}))
    assert value(rows, "ece", attribute="g", group="ok").estimate.low == 0
    assert value(rows, "ece", attribute="g", group="off").estimate.low > 0.03


def test_multiclass_reads_the_confidence_of_the_likeliest_class(sample, answers):
    rng = RNG(24)
    proba = rng.dirichlet(np.ones(4) * 0.7, 2500)
    labels = np.array([rng.choice(4, p=row) for row in proba])
    given = sample(labels, Task.MULTICLASS, tuple("wxyz"))
    sure = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    good = run(answers(decisions=proba.argmax(axis=1), proba=proba, task=Task.MULTICLASS), given)
    bad = run(answers(decisions=sure.argmax(axis=1), proba=sure, task=Task.MULTICLASS), given)
    assert value(good, "ece").estimate.low == 0
    assert value(bad, "ece").estimate.low > 0.1
    hits = proba.argmax(axis=1) == labels
    assert value(good, "in-the-large").estimate.value == pytest.approx(proba.max(axis=1).mean() - hits.mean())


def test_reliability_curve_holds_the_ece(twins):
    good, _, sample = twins
    found = value(run(good, sample), "ece")
    (curve,) = found.evidence
    assert (curve.name, curve.kind) == ("reliability-curve", "json")
    plain = json.loads(curve.data)
    assert [b["n"] for b in plain["bins"]] == [ROWS // 15] * 15
    again = sum(b["n"] / ROWS * abs(b["rate"] - b["score"]) for b in plain["bins"])
    assert again == pytest.approx(found.estimate.value, abs=1e-12)
    assert all(
        b["rate_low"] <= b["rate"] <= b["rate_high"] and b["low"] <= b["score"] <= b["high"] for b in plain["bins"]
    )
    assert found.detail["bins"] == 15


def test_small_groups_get_fewer_bins_and_smaller_ones_none(sample, scorer):
    rng = RNG(25)
    p = rng.random(600)
    group = np.repeat([0, 1, 2], [500, 75, 25])
    rows = run(scorer(p), sample((rng.random(600) < p).astype(np.int64), groups={"g": (group, ("a", "b", "c"))}))
    assert value(rows, "ece", attribute="g", group="b").detail["bins"] == 3  # at least 20 rows in each
    (left_out,) = [row for row in rows if isinstance(row, Failure)]
    assert "c (n = 25)" in left_out.reason
    equal = run(scorer(p), sample((rng.random(600) < p).astype(np.int64)), Calibration(binning="equal-width", bins=10))
    assert value(equal, "ece").detail["binning"] == "equal-width"


def test_thin_bins_stay_out_of_the_curve(sample, scorer):
    scores = np.concatenate([np.linspace(0.0, 0.19, 300), [0.9, 0.95]])
    labels = (np.arange(302) % 10 == 0).astype(np.int64)
    found = value(run(scorer(scores), sample(labels), Calibration(binning="equal-width", bins=5)), "ece")
    plain = json.loads(found.evidence[0].data)
    assert plain["left_out"] == 1
    assert [b["n"] for b in plain["bins"]] == [300]


def test_constant_scores_are_one_bin(sample, scorer):
    rows = run(scorer(np.full(200, 0.3)), sample((np.arange(200) < 80).astype(np.int64)))
    found = value(rows, "ece")
    assert found.estimate.value == pytest.approx(0.1)
    assert found.detail["bins"] == 1


def test_row_order_changes_no_byte_and_the_seed_fixes_the_draws(twins, scorer, sample):
    good, _, given = twins
    first = run(good, given)
    order = RNG(2).permutation(given.n)
    groups = {name: (g.codes[order], g.levels) for name, g in given.groups.items()}
    moved = run(scorer(good.proba[order, 1]), sample(given.labels[order], groups=groups))
    assert canonical_json(first) == canonical_json(moved)
    assert canonical_json(first) != canonical_json(run(good, given, seed=1))


def test_label_flip_leaves_the_error_and_turns_the_sign(twins, scorer, sample):
    good, _, given = twins
    p = good.proba[:, 1]
    here, there = run(good, given), run(scorer(1 - p), sample(1 - given.labels))
    assert value(there, "ece").estimate.value == pytest.approx(value(here, "ece").estimate.value, abs=1e-9)
    assert value(there, "in-the-large").estimate.value == pytest.approx(-value(here, "in-the-large").estimate.value)


def test_clusters_widen_the_interval(sample, scorer):
    rng = RNG(26)
    p = rng.random(300)
    labels = (rng.random(300) < p).astype(np.int64)
    rows = np.repeat(np.arange(300), 4)
    naive = value(run(scorer(p[rows]), sample(labels[rows])), "ece")
    known = value(run(scorer(p[rows]), sample(labels[rows], clusters=rows)), "ece")
    assert known.estimate.value == pytest.approx(naive.estimate.value)
    assert known.estimate.high - known.estimate.value > 1.5 * (naive.estimate.high - naive.estimate.value)
    assert isinstance(known.basis, Deviation)


def test_wrong_settings_and_wrong_scores_are_refused(twins, answers):
    _, _, given = twins
    with pytest.raises(PlanError, match="bins 0"):
        Calibration(bins=0)
    with pytest.raises(PlanError, match="equal-mass or equal-width"):
        Calibration(binning="quantile")
    proba = np.full((ROWS, 2), 0.5)
    proba[:7] = 1.5
    with pytest.raises(ProbeError, match="7 of 12000"):
        run(answers(decisions=np.zeros(ROWS), proba=proba), given)


def test_metadata_is_honest():
    assert {spec.id.rsplit(".", 1)[1] for spec in Calibration.metrics} == {"ece", "ece-debiased", "mce", "in-the-large"}
    assert all("bin" in spec.definition for spec in Calibration.metrics[:3])
    assert all(spec.source and spec.not_shown for spec in Calibration.metrics)
