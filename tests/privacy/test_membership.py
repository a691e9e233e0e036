"""Membership from probabilities alone: planted leaks are found, who has none is not accused, controls are asked."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding
from steelyard.probes.privacy.blind import blind_auc
from steelyard.probes.privacy.exposed import most_exposed
from steelyard.probes.privacy.membership import QUANTILE, Membership
from steelyard.probes.privacy.memoriser import Memoriser
from steelyard.probes.privacy.quantiles import quantile_scores
from steelyard.probes.privacy.scores import THRESHOLD_ATTACKS, logit_confidence, true_probability
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.roc import Told


def rows_of(probe, target, sample, seed=3):
    return list(probe.run(target, sample, References(), generator(seed, probe.id)))


def found(rows, name, **where):
    (row,) = [
        r
        for r in rows
        if isinstance(r, Finding) and r.metric == f"privacy.membership.{name}" and dict(r.where) == where
    ]
    return row


def test_scores_worked_by_hand():
    p = np.array([[0.7, 0.2, 0.1]])
    y = np.array([1])
    assert true_probability(p, y)[0] == 0.2
    assert logit_confidence(p, y)[0] == pytest.approx(np.log(0.2 / 0.8))
    assert THRESHOLD_ATTACKS["loss"](p, y)[0] == pytest.approx(np.log(0.2 / 0.8))  # in the order of log 0.2
    assert THRESHOLD_ATTACKS["gap"](p, y)[0] == 0.0
    assert THRESHOLD_ATTACKS["confidence"](p, y)[0] == pytest.approx(np.log(0.7 / 0.3))
    assert THRESHOLD_ATTACKS["entropy"](p, y)[0] == pytest.approx(
        0.7 * np.log(0.7) + 0.2 * np.log(0.2) + 0.1 * np.log(0.1)
    )
    modified = 0.8 * np.log(0.2) + 0.7 * np.log(0.3) + 0.1 * np.log(0.9)
    assert THRESHOLD_ATTACKS["modified-entropy"](p, y)[0] == pytest.approx(modified)


def test_certain_answers_have_finite_scores():
    p, y = np.array([[1.0, 0.0], [1.0, 0.0]]), np.array([0, 1])
    for attack in THRESHOLD_ATTACKS.values():
        scores = attack(p.copy(), y)
        assert np.isfinite(scores).all()
    assert np.diff(THRESHOLD_ATTACKS["modified-entropy"](p, y)) < 0


def test_a_model_that_remembers_its_rows_is_caught_and_its_shallow_twin_is_not(world):
    probe = Membership(fprs=(0.05,))
    leaky = rows_of(probe, world.fitted(DecisionTreeClassifier(random_state=0)), world.sample)
    for attack in ("loss", "gap", "modified-entropy"):
        assert found(leaky, "auc", attack=attack).estimate.low > 0.55
        assert found(leaky, "advantage", attack=attack).estimate.low > 0.1
    sound = rows_of(probe, world.fitted(LogisticRegression()), world.sample)
    for attack in (*THRESHOLD_ATTACKS, QUANTILE):
        estimate = found(sound, "auc", attack=attack).estimate
        assert estimate.low < 0.5 + 0.02
        assert found(sound, "auc", attack=attack).detail["control_auc"] > 0.6
    assert found(leaky, "auc", attack="loss").reading == "attack"


def test_the_advantage_of_the_gap_attack_is_the_generalisation_gap(world):
    target = world.fitted(DecisionTreeClassifier(random_state=0))
    probe = Membership(attacks=("gap",))
    sample = world.sample
    estimate = found(rows_of(probe, target, sample), "auc", attack="gap").estimate
    held_out = (target.predict(sample.inputs) == sample.labels).mean()
    assert 2 * estimate.value - 1 == pytest.approx(1.0 - held_out)  # a full tree is right on all its own rows


def test_rates_of_groups_hold_jointly_and_their_gap_is_between_them(world):
    target = world.fitted(LogisticRegression())
    rows = rows_of(Membership(fprs=(0.05,), attacks=("loss",)), target, world.sample)
    at = {"attack": "loss", "fpr": 0.05}
    rates = [found(rows, "group-tpr", **at, attribute="sex", group=g).estimate for g in ("f", "m")]
    gap = found(rows, "group-tpr-gap", **at, attribute="sex").estimate
    assert gap.value == pytest.approx(abs(rates[0].value - rates[1].value))
    assert gap.low <= gap.value <= gap.high
    overall = found(rows, "tpr", **at).estimate
    shares = [r.n for r in rates]
    assert overall.value == pytest.approx(np.average([r.value for r in rates], weights=shares))


def test_a_planted_group_that_is_remembered_shows_as_a_gap(world):
    """The women of the training rows are answered from memory, the men are not."""
    sample = world.sample
    target = world.fitted(LogisticRegression())
    women = sample.training.inputs[sample.training.groups["sex"].codes == 0]
    known = set(map(tuple, women[list("abcd")].round(12).to_numpy().tolist()))

    class Partial:
        name, kind, task, fingerprint, capabilities = "partial", "test", target.task, "1", target.capabilities

        def predict_proba(self, inputs):
            p = target.predict_proba(inputs)
            inside = np.array([tuple(r) in known for r in inputs[list("abcd")].round(12).to_numpy().tolist()])
            y = np.where(p[:, 1] > 0.5, 1, 0)
            p[inside] = np.where(np.arange(2) == y[inside, None], 1.0, 0.0)
            return p

    rows = rows_of(Membership(fprs=(0.05,), attacks=("confidence",)), Partial(), sample)
    gap = found(rows, "group-tpr-gap", attack="confidence", fpr=0.05, attribute="sex")
    assert gap.estimate.low > 0.8
    assert set(str(gap.detail["groups"]).split(", ")) == {"f", "m"}


def test_a_rate_that_needs_more_rows_is_a_failure_with_the_number(world):
    rows = rows_of(Membership(attacks=("loss",)), world.fitted(LogisticRegression()), world.sample)
    (lost,) = [r for r in rows if isinstance(r, Failure) and r.where.get("fpr") == 0.001]
    assert "10,000 non-members, there are 400" in lost.reason


def test_an_attack_that_fails_its_control_is_a_failure_and_never_safe(world, monkeypatch):
    def forgetful(self, inputs):
        return np.random.default_rng(0).dirichlet([1.0, 1.0], len(inputs))

    monkeypatch.setattr(Memoriser, "predict_proba", forgetful)  # no attack can succeed on a control without memory
    rows = rows_of(Membership(fprs=(0.05,)), world.fitted(DecisionTreeClassifier()), world.sample)
    failures = [r for r in rows if isinstance(r, Failure)]
    assert {r.where["attack"] for r in failures} == {*THRESHOLD_ATTACKS, QUANTILE}
    assert all("finding nothing elsewhere would mean nothing" in r.reason for r in failures)
    assert all(set(r.metrics) == {s.id for s in Membership.metrics if s.reading == "attack"} for r in failures)
    assert [r.metric for r in rows if isinstance(r, Finding)] == ["privacy.membership.blind-auc"]


def test_the_most_exposed_are_named_by_id_only(world):
    sample = world.sample
    ids = np.array([f"person {i}" for i in range(world.n)], dtype=object)
    sample = replace(sample, training=replace(sample.training, ids=ids))
    row = found(
        rows_of(Membership(attacks=("loss",)), world.fitted(DecisionTreeClassifier()), sample), "auc", attack="loss"
    )
    exposed = json.loads(next(e.data for e in row.evidence if e.name == "membership-exposed"))
    assert exposed["by"] == "id"
    assert len(exposed["records"]) == 20
    assert all(
        set(r) == {"id", "held_out_rows_at_or_above", "adjusted"} and r["id"].startswith("person")
        for r in exposed["records"]
    )
    assert (exposed["members"], exposed["held_out"]) == (world.n, world.n)


def exposed_of(scores, members: int, clusters=None) -> dict:
    """The evidence for scores of which the first are the members'."""
    n = len(scores)
    told = Told(scores=scores, member=np.arange(n) < members, design=Design(n=n, clusters=clusters))
    ids = np.array([f"r{i}" for i in range(members)])
    return json.loads(most_exposed("loss", told, ids, by="id", level=0.95).data)


def test_the_records_said_to_stand_out_are_those_planted():
    """40 of 400 members far above all else: they are named, and few of the others beside them."""
    rng = np.random.default_rng(21)
    planted = np.arange(400) % 10 == 0
    kept = wrong = 0
    for _ in range(50):
        scores = rng.normal(size=1200)
        scores[:400] += 6.0 * planted
        exposed = exposed_of(scores, 400)
        assert {r["id"] for r in exposed["records"]} <= {f"r{i}" for i in np.flatnonzero(planted)}
        assert all(r["held_out_rows_at_or_above"] == 0.0 and r["adjusted"] <= 0.05 for r in exposed["records"])
        kept, wrong = kept + 40, wrong + exposed["standing_out"] - 40
    assert 0 <= wrong <= 0.06 * (kept + wrong)


@pytest.mark.parametrize(("held_out", "least"), [(580, 0.03), (100, 0.0)])
def test_none_stands_out_where_membership_is_permuted(held_out, least):
    """Over 400 permutations of one pool of scores: some row is accused in at most 5 % of them."""
    rng = np.random.default_rng(22)
    pool, accused = rng.normal(size=20 + held_out), 0
    for _ in range(400):
        accused += exposed_of(rng.permutation(pool), 20)["standing_out"] > 0
    assert binom.ppf(0.001, 400, least) <= accused <= binom.ppf(0.999, 400, 0.05)


def test_equal_scores_and_clustered_rows_accuse_nobody():
    tied = exposed_of(np.repeat([1.0, 0.0], 100), 60)
    assert tied["standing_out"] == 0
    clustered = exposed_of(np.arange(200.0)[::-1], 100, clusters=np.arange(200) // 4)
    assert clustered["standing_out"] is None
    assert clustered["records"][0]["adjusted"] is None


def test_shifted_tables_are_told_apart_without_the_model(world):
    sample = world.sample
    apart = replace(sample, inputs=sample.inputs.assign(a=sample.inputs["a"] + 1.5))
    rng = np.random.default_rng(0)
    assert blind_auc(apart.training, apart, rng, level=0.95).estimate.low > 0.7
    alike = blind_auc(sample.training, sample, np.random.default_rng(0), level=0.95).estimate
    assert alike.low < 0.5 < alike.high + 0.03


def test_permuted_membership_is_accused_in_at_most_alpha_of_the_runs():
    """One pool of scores, its membership permuted: no attack may call a leak in more than 5 % of 300 permutations."""
    rng = np.random.default_rng(11)
    labels = rng.integers(0, 3, 400)
    proba = rng.dirichlet([0.6, 0.6, 0.6], 400)
    for attack in THRESHOLD_ATTACKS.values():
        scores, accused, areas = attack(proba, labels), 0, []
        for _ in range(300):
            told = Told(scores=scores, member=rng.permutation(400) < 200, design=Design(n=400))
            estimate = told.auc(level=0.90).estimate  # one-sided 5 %
            accused += estimate.low > 0.5
            areas.append(estimate.value)
        assert accused <= binom.ppf(0.999, 300, 0.05)
        assert np.mean(areas) == pytest.approx(0.5, abs=4 * 0.029 / np.sqrt(300))


def test_quantiles_given_the_features_see_what_the_plain_score_does_not():
    """Hard and easy rows: the raw score is ruled by difficulty, the calibrated one by membership."""
    rng = np.random.default_rng(12)
    hard = rng.integers(0, 2, 2000)
    member = np.arange(2000) < 1000
    scores = 6.0 * hard + member + 0.7 * rng.normal(size=2000)
    calibrated = quantile_scores(hard[:, None].astype(float), scores, member, rng)
    plain = Told(scores=scores, member=member, design=Design(n=2000)).auc(level=0.95).estimate
    better = Told(scores=calibrated, member=member, design=Design(n=2000)).auc(level=0.95).estimate
    assert better.low > plain.high + 0.05


def test_the_quantile_attack_on_noise_claims_nothing():
    rng = np.random.default_rng(13)
    accused = 0
    x, s = rng.normal(size=(200, 1)), rng.normal(size=200)
    for _ in range(200):
        member = rng.permutation(200) < 100
        scores = quantile_scores(x, s + x[:, 0], member, rng, trees=4)
        accused += Told(scores=scores, member=member, design=Design(n=200)).auc(level=0.90).estimate.low > 0.5
    assert accused <= binom.ppf(0.999, 200, 0.05)


def test_inputs_and_settings_are_checked(world):
    target, sample = world.fitted(LogisticRegression()), world.sample
    kept = sample.inputs.copy(deep=True)
    rows_of(Membership(attacks=("loss",)), target, sample)
    pd.testing.assert_frame_equal(sample.inputs, kept)
    with pytest.raises(ProbeError, match="luck is no attack"):
        rows_of(Membership(attacks=("luck",)), target, sample)
    with pytest.raises(ProbeError, match="false-positive rate is 1"):
        rows_of(Membership(fprs=(1.0,)), target, sample)
