"""The probe with shadow models: a target that remembers is caught with its own recipe, a shallow one is not."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model import LogisticRegression
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding
from steelyard.probes.privacy.memoriser import Memoriser
from steelyard.probes.privacy.shadow_membership import ATTACKS, ShadowMembership

ID = "privacy.shadow-membership"


def rows_of(probe, target, sample, seed=3):
    return list(probe.run(target, sample, References(), generator(seed, probe.id)))


def auc(rows, attack):
    (row,) = [r for r in rows if isinstance(r, Finding) and r.metric == f"{ID}.auc" and r.where["attack"] == attack]
    return row


class Fixed(ClassifierMixin, BaseEstimator):
    """It learns nothing from its rows but which classes there are: whatever is read of it is chance."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-X.to_numpy()[:, 0]))
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return (self.predict_proba(X)[:, 1] > 0.5).astype(int)


class Jittered(Fixed):
    """The same with answers that vary from one training to the next, as an honest random learner's do."""

    def fit(self, X, y):
        self.noise_ = np.random.default_rng(int(1000 * abs(X.to_numpy()).sum())).normal(0, 0.2, 3)
        return super().fit(X, y)

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-X.to_numpy()[:, 0] - X.to_numpy()[:, 1:] @ self.noise_))
        return np.column_stack([1 - p, p])


def leaf(**settings):
    return lambda: DecisionTreeClassifier(random_state=0, **settings)


def test_a_tree_that_remembers_is_caught_and_a_model_that_learns_nothing_of_its_rows_is_not(world, trainable):
    sample = world.sample
    probe = ShadowMembership(fprs=(0.05,), shadows=8)
    target = trainable(leaf(min_samples_leaf=2), sample, sample.training)
    leaky = rows_of(probe, target, sample)
    assert target.trained == 8
    for attack in ("lira-online", "rmia", "lira-offline", "rmia-offline"):
        found = auc(leaky, attack)
        assert found.estimate.low > 0.6, attack
        assert found.detail["shadows_from"] == "the target trained again in its own way"
        assert found.detail["control_auc"] > 0.8
        assert found.reading == "attack"
    sound = rows_of(probe, trainable(Jittered, sample, sample.training), sample)
    for attack in ("lira-online", "rmia", "lira-offline", "rmia-offline"):
        assert auc(sound, attack).estimate.low < 0.5 < auc(sound, attack).estimate.high


def test_the_most_exposed_carry_their_own_false_positive_rate(world, trainable):
    sample = world.sample
    rows = rows_of(
        ShadowMembership(fprs=(0.05,), shadows=8), trainable(leaf(min_samples_leaf=2), sample, sample.training), sample
    )
    exposed = json.loads(next(e.data for e in auc(rows, "lira-offline").evidence if e.name == "membership-exposed"))
    assert exposed["by"] == "row of the training table"
    values = [r["p"] for r in exposed["records"]]
    assert values == sorted(values)
    assert values[0] < 0.1


def test_a_record_calibrated_rate_is_checked_on_all_held_out_rows(world, trainable):
    sample = world.sample
    probe = ShadowMembership(fprs=(0.05,), shadows=8, attacks=("per-record",))
    rows = rows_of(probe, trainable(LogisticRegression, sample, sample.training), sample)
    (rate,) = [r for r in rows if isinstance(r, Finding) and r.metric == f"{ID}.tpr"]
    assert rate.detail["realised_n"] == sample.n
    assert rate.detail["realised_fpr_low"] <= 0.05
    assert not [r for r in rows if isinstance(r, Finding) and r.metric == f"{ID}.auc"]


def test_an_attack_that_fails_its_control_is_a_failure_and_never_safe(world, trainable, monkeypatch):
    def forgetful(self, inputs):
        return np.random.default_rng(len(self.known)).dirichlet([1.0, 1.0], len(inputs))

    monkeypatch.setattr(Memoriser, "predict_proba", forgetful)
    sample = world.sample
    rows = rows_of(ShadowMembership(fprs=(0.05,), shadows=4), trainable(leaf(), sample, sample.training), sample)
    assert all(isinstance(r, Failure) for r in rows)
    assert {r.where["attack"] for r in rows} == set(ATTACKS)
    assert all("would mean nothing" in r.reason for r in rows)


def test_settings_are_checked(world, trainable):
    sample = world.sample
    target = trainable(LogisticRegression, sample, sample.training)
    with pytest.raises(ProbeError, match="no spread"):
        rows_of(ShadowMembership(shadows=2), target, sample)
    with pytest.raises(ProbeError, match="luck is no attack"):
        rows_of(ShadowMembership(attacks=("luck",)), target, sample)
