"""quality.performance as a whole: values against sklearn, groups, references, and no number from nothing."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk

from steelyard.audit.canonical import canonical_json
from steelyard.audit.target import References
from steelyard.audit.types import Binomial, Data, Failure, Finding, Inapplicable, Normal, Task
from steelyard.probes.quality.performance import Performance

RNG = np.random.default_rng


def run(target, sample, references=None):
    return list(Performance().run(target, sample, References(references or {}), RNG(0)))


def value(rows, statistic, **where):
    metric = f"quality.performance.{statistic}"
    found = [f for f in rows if isinstance(f, Finding) and f.metric == metric and f.where == where]
    assert len(found) == 1, (statistic, where, len(found))
    return found[0]


@pytest.fixture
def binary(sample, scorer):
    rng = RNG(11)
    scores = rng.beta(1.2, 2, 800)
    labels = (rng.random(800) < scores).astype(np.int64)
    sex, race = rng.integers(0, 2, 800), rng.choice(4, 800, p=[0.6, 0.3, 0.08, 0.02])
    groups = {"sex": (sex, ("F", "M")), "race": (race, ("a", "b", "c", "unknown"))}
    return scorer(scores), sample(labels, groups=groups), scores, labels


def test_binary_values_are_sklearns(binary):
    target, sample, scores, labels = binary
    rows, decisions = run(target, sample), target.decisions
    expected = {
        "accuracy": sk.accuracy_score(labels, decisions),
        "balanced-accuracy": sk.balanced_accuracy_score(labels, decisions),
        "precision": sk.precision_score(labels, decisions),
        "recall": sk.recall_score(labels, decisions),
        "f1": sk.f1_score(labels, decisions),
        "auc": sk.roc_auc_score(labels, scores),
        "log-loss": sk.log_loss(labels, scores),
        "perplexity": np.exp(sk.log_loss(labels, scores)),
        "brier": sk.brier_score_loss(labels, scores),
    }
    for statistic, oracle in expected.items():
        estimate = value(rows, statistic).estimate
        assert estimate.value == pytest.approx(oracle, rel=1e-10), statistic
        assert estimate.low < estimate.value < estimate.high, statistic


def test_weighted_values_are_sklearns(sample, scorer):
    rng = RNG(12)
    scores, weights = rng.random(300), rng.random(300) * 3 + 0.1
    labels = (rng.random(300) < scores).astype(np.int64)
    target = scorer(scores)
    rows = run(target, sample(labels, weights=weights))
    given = {"sample_weight": weights}
    assert value(rows, "f1").estimate.value == pytest.approx(sk.f1_score(labels, target.decisions, **given))
    assert value(rows, "precision").estimate.value == pytest.approx(
        sk.precision_score(labels, target.decisions, **given)
    )
    assert value(rows, "log-loss").estimate.value == pytest.approx(sk.log_loss(labels, scores, **given))
    assert value(rows, "balanced-accuracy").estimate.value == pytest.approx(
        sk.balanced_accuracy_score(labels, target.decisions, **given)
    )
    assert value(rows, "accuracy").estimate.n_effective < 300


def test_multiclass_values_are_sklearns(sample, answers):
    rng = RNG(13)
    labels = rng.integers(0, 3, 400)
    proba = rng.dirichlet(np.ones(3), 400)
    proba[np.arange(400), labels] += 0.4
    proba /= proba.sum(axis=1, keepdims=True)
    target = answers(decisions=proba.argmax(axis=1), proba=proba, task=Task.MULTICLASS)
    rows = run(target, sample(labels, Task.MULTICLASS, ("x", "y", "z")))
    for statistic, score in (("precision", sk.precision_score), ("recall", sk.recall_score), ("f1", sk.f1_score)):
        macro = score(labels, target.decisions, average="macro")
        assert value(rows, statistic).estimate.value == pytest.approx(macro)
        each = score(labels, target.decisions, average=None)
        for k, name in enumerate("xyz"):
            assert value(rows, statistic, **{"class": name}).estimate.value == pytest.approx(each[k])
    assert value(rows, "auc").estimate.value == pytest.approx(sk.roc_auc_score(labels, proba, multi_class="ovr"))
    assert value(rows, "brier").estimate.value == pytest.approx(np.square(proba - np.eye(3)[labels]).sum(axis=1).mean())
    assert value(rows, "log-loss").estimate.value == pytest.approx(sk.log_loss(labels, proba))


def test_regression_values_are_sklearns(sample, answers):
    rng = RNG(14)
    labels = rng.normal(size=200) * 3
    guess = labels + rng.normal(size=200) + 0.5
    groups = {"site": (rng.integers(0, 2, 200), ("north", "south"))}
    target = answers(decisions=guess, task=Task.REGRESSION)
    worse = answers(decisions=guess + rng.normal(size=200) * 3, task=Task.REGRESSION, name="baseline")
    rows = run(target, sample(labels, Task.REGRESSION, groups=groups), {"baseline": worse})
    assert value(rows, "mae").estimate.value == pytest.approx(sk.mean_absolute_error(labels, guess))
    assert value(rows, "rmse").estimate.value == pytest.approx(np.sqrt(sk.mean_squared_error(labels, guess)))
    assert value(rows, "r2").estimate.value == pytest.approx(sk.r2_score(labels, guess))
    assert value(rows, "mean-error").estimate.low > 0
    north = groups["site"][0] == 0
    assert value(rows, "mae", attribute="site", group="north").estimate.value == pytest.approx(
        abs(guess - labels)[north].mean()
    )
    gain = value(rows, "mae-gain", versus="baseline").estimate
    assert gain.value == pytest.approx(abs(worse.decisions - labels).mean() - abs(guess - labels).mean())
    assert gain.low > 0
    assert not any(isinstance(row, Inapplicable) for row in rows)


def test_groups_and_intersections_are_read_and_small_ones_named(binary):
    target, sample, _, labels = binary
    rows = run(target, sample)
    for attribute, groups in sample.groups.items():
        for code, level in enumerate(groups.levels):
            inside = groups.codes == code
            if inside.sum() >= 30:
                found = value(rows, "accuracy", attribute=attribute, group=level)
                assert found.estimate.value == pytest.approx((target.decisions == labels)[inside].mean())
                assert found.estimate.n == inside.sum()
    both = (sample.groups["sex"].codes == 0) & (sample.groups["race"].codes == 1)
    assert value(rows, "auc", intersection="sex*race", group="F*b").estimate.n == both.sum()
    left_out = [row for row in rows if isinstance(row, Failure)]
    assert {tuple(row.where.items()) for row in left_out} == {
        (("attribute", "race"),),
        (("intersection", "sex*race"),),
    }
    assert "unknown (n = " in left_out[0].reason
    assert "data.min_n" in left_out[0].reason
    assert "n < 10" in left_out[1].reason  # a count that the reports would suppress is not written out


def test_better_model_has_positive_gains_and_its_basis_can_be_gated(sample, scorer):
    rng = RNG(15)
    scores = rng.beta(1, 1, 1500)
    labels = (rng.random(1500) < scores).astype(np.int64)
    noisy = np.clip(scores + 0.4 * rng.normal(size=1500), 0.02, 0.98)
    rows = run(scorer(scores), sample(labels), {"baseline/x": scorer(noisy, "baseline/x")})
    for statistic in ("accuracy", "auc", "log-loss", "brier"):
        gain = value(rows, f"{statistic}-gain", versus="baseline/x")
        assert gain.estimate.low > 0, statistic
        assert gain.target == "candidate"
        assert isinstance(gain.basis, Normal)
    back = run(scorer(noisy), sample(labels), {"x": scorer(scores, "x")})
    assert value(back, "brier-gain", versus="x").estimate.value == pytest.approx(
        -value(rows, "brier-gain", versus="baseline/x").estimate.value
    )


def test_identical_reference_is_not_known_to_be_equal(binary):
    target, sample, _, _ = binary
    twin = type(target)(decisions=target.decisions, proba=target.proba, name="twin")
    rows = run(target, sample, {"twin": twin})
    for statistic in ("accuracy", "auc", "log-loss", "brier"):
        gain = value(rows, f"{statistic}-gain", versus="twin")
        assert gain.estimate.value == 0
        assert gain.estimate.low < 0 < gain.estimate.high
        assert gain.basis is not None


def test_decisions_alone_leave_probability_metrics_inapplicable(binary, answers):
    target, sample, _, _ = binary
    reference = answers(decisions=target.decisions, proba=target.proba, name="b")
    rows = run(answers(decisions=target.decisions), sample, {"b": reference})
    missing = [row for row in rows if isinstance(row, Inapplicable)]
    assert len(missing) == 1
    assert missing[0].missing == ("predict_proba",)
    assert set(missing[0].metrics) == {f"quality.performance.{s}" for s in ("auc", "log-loss", "perplexity", "brier")}
    assert value(rows, "accuracy-gain", versus="b")
    gains = [row for row in rows if isinstance(row, Failure) and row.where.get("versus") == "b"]
    assert "no probabilities" in gains[0].reason


def test_rule_7_no_number_from_nothing(sample, scorer, answers):
    labels = np.tile([0, 1], 50)
    flat = run(scorer(np.full(100, 0.3)), sample(labels))  # constant scores, nobody positive
    failed = {metric: row.reason for row in flat if isinstance(row, Failure) for metric in row.metrics}
    assert set(failed) == {"quality.performance.auc", "quality.performance.precision"}
    assert "same score" in failed["quality.performance.auc"]
    assert "0 of 0" in failed["quality.performance.precision"]
    assert value(flat, "recall").estimate.value == 0  # 0 of 50 is a number
    assert value(flat, "recall").estimate.high > 0.05

    single = run(scorer(np.linspace(0.1, 0.9, 60)), sample(np.ones(60, dtype=np.int64)))
    assert {m for row in single if isinstance(row, Failure) for m in row.metrics} == {
        "quality.performance.auc",
        "quality.performance.balanced-accuracy",
    }
    three = answers(decisions=np.zeros(60, dtype=np.int64), proba=np.full((60, 3), 1 / 3), task=Task.MULTICLASS)
    never = run(three, sample(np.arange(60) % 3, Task.MULTICLASS, ("x", "y", "z")))
    reasons = [row.reason for row in never if isinstance(row, Failure) and not row.where]
    assert any("precision of 2 of 3 classes" in reason for reason in reasons)
    constant = run(answers(decisions=np.ones(40), task=Task.REGRESSION), sample(np.full(40, 2.0), Task.REGRESSION))
    assert any("no variance to explain" in row.reason for row in constant if isinstance(row, Failure))
    assert value(constant, "mae").estimate.no_interval


def test_bad_answers_are_refused(binary, answers):
    from steelyard.audit.errors import ProbeError

    target, sample, _, _ = binary
    broken = target.proba.copy()
    broken[3] = np.nan
    with pytest.raises(ProbeError, match="1 of 800 rows"):
        run(answers(decisions=target.decisions, proba=broken), sample)
    with pytest.raises(ProbeError, match="shape"):
        run(answers(decisions=target.decisions[:-1]), sample)
    rows = run(target, sample, {"bad": answers(decisions=target.decisions, proba=broken, name="bad")})
    assert [row.reason for row in rows if isinstance(row, Failure) and row.where.get("versus") == "bad"]
    assert value(rows, "accuracy")


def test_a_perfect_model_is_not_certain(sample, scorer):
    labels = np.tile([0, 1], 40)
    rows = run(scorer(labels * 1.0), sample(labels))
    assert value(rows, "accuracy").estimate.low == pytest.approx(0.025 ** (1 / 80))
    assert value(rows, "f1").estimate.low < 0.98
    assert value(rows, "balanced-accuracy").estimate.low < 0.99
    assert isinstance(value(rows, "auc").basis, Binomial)
    assert 0 < value(rows, "brier").estimate.high < 0.05
    assert value(rows, "log-loss").estimate.high > 0.5  # one row at probability 0 would cost 34.5


def test_row_order_seed_and_inputs(binary, scorer, sample):
    target, given, scores, labels = binary
    before = (target.proba.copy(), given.labels.copy())
    first, again = run(target, given), run(target, given)
    assert canonical_json(first) == canonical_json(again)
    assert (target.proba == before[0]).all()
    assert (given.labels == before[1]).all()
    order = RNG(1).permutation(800)
    groups = {name: (g.codes[order], g.levels) for name, g in given.groups.items()}
    moved = run(scorer(scores[order]), sample(labels[order], groups=groups))
    for one, other in zip(first, moved, strict=True):
        assert one.where == other.where
        if isinstance(one, Finding):
            assert one.estimate.value == pytest.approx(other.estimate.value, abs=1e-12)
            assert one.estimate.low == pytest.approx(other.estimate.low, abs=1e-9)


def test_metadata_is_honest():
    ids = [spec.id for spec in Performance.metrics]
    assert len(ids) == len(set(ids))
    assert all(spec.definition and spec.not_shown and spec.aliases for spec in Performance.metrics)
    assert Data.LABELS in Performance.requires
