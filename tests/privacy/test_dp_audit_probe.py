"""The audit of a claim about ε, from planted canaries to the gate: a liar is refuted, the honest are not, nobody passes
but by an accountant."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Capability, Failure, Finding, Inapplicable
from steelyard.probes.privacy.canaries import plant
from steelyard.probes.privacy.dp_audit import DpAudit, epsilon_measured
from steelyard.probes.privacy.memoriser import Memoriser
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.dp_audit import audit_scores

ID = "privacy.dp-audit"


def rows_of(probe, target, sample, seed=3):
    return {
        row.metric if isinstance(row, Finding) else row.metrics[0]: row
        for row in probe.run(target, sample, References(), generator(seed, probe.id))
    }


class Noised:
    """A mechanism whose ε is known: it tells of each row whether it was given it, truly with e^ε / (1 + e^ε)."""

    name, kind, fingerprint = "noised", "test", "1"

    def __init__(self, sample, epsilon: float, recipe=None, train=None, seed: int = 0) -> None:
        self.task, self.sample, self.epsilon, self.recipe = sample.task, sample, epsilon, recipe
        self.capabilities = frozenset(
            {Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY, Capability.FIT_AGAIN}
        )
        self.seed = seed
        self.true = {key(row): int(y) for row, y in zip(sample.inputs.to_numpy(), sample.labels, strict=True)}
        self.known = set() if train is None else {key(row) for row in train.inputs.to_numpy()}

    def fit_again(self, train, seed):
        return Noised(self.sample, self.epsilon, self.recipe, train, seed)

    def predict_proba(self, inputs):
        rng = np.random.default_rng(self.seed)
        p = np.full((len(inputs), 2), 0.5)
        for i, row in enumerate(inputs.to_numpy()):
            inside = key(row) in self.known
            told = inside if rng.random() < 1 / (1 + math.exp(-self.epsilon)) else not inside
            label = 1 - self.true.get(key(row), 0)  # the canary's label, whether or not it was given
            p[i] = np.where(np.arange(2) == label, 0.9, 0.1) if told else 0.5
        return p

    def predict(self, inputs):
        return self.predict_proba(inputs).argmax(axis=1)


def key(row):
    return tuple(str(cell) for cell in row)


def private(epsilon: float, delta: float = 1e-5):
    return SimpleNamespace(family="private", id="private/test", epsilon=epsilon, delta=delta)


def test_a_model_that_remembers_refutes_its_claim(world, trainable):
    sample = world.sample
    target = trainable(lambda: DecisionTreeClassifier(random_state=0), sample, sample.training)
    found = rows_of(DpAudit(canaries=300, claimed_epsilon=1.0), target, sample)
    excess = found[f"{ID}.excess"]
    assert excess.estimate.low > 0
    assert claim(excess.basis, maximum=0.0).fail_p <= 0.05
    assert excess.reading == "attack"
    assert excess.detail["claimed_by"] == "the plan"
    assert found[f"{ID}.epsilon"].estimate.low == pytest.approx(excess.estimate.low + 1.0)
    assert isinstance(found[f"{ID}.accountant-epsilon"], Inapplicable)


def test_a_model_that_keeps_its_claim_is_not_refuted(world):
    sample = world.sample
    refuted = 0
    for seed in range(12):
        found = rows_of(DpAudit(canaries=300, claimed_epsilon=1.0), Noised(sample, 0.5, seed=seed), sample, seed=seed)
        excess = found[f"{ID}.excess"]
        refuted += excess.estimate.low > 0
        assert claim(excess.basis, maximum=0.0).fail_p > 0.04 or excess.estimate.low > 0
    assert refuted <= 2  # P(more) < 2 % even at ε = 1 exactly


def test_only_the_accountant_proves_and_a_refuted_proof_is_withdrawn(world):
    sample = world.sample
    honest = rows_of(DpAudit(canaries=300), Noised(sample, 0.3, private(8.0)), sample)
    proven = honest[f"{ID}.accountant-epsilon"]
    assert proven.reading == "measurement"
    assert proven.estimate.high == proven.estimate.value == 8.0
    assert claim(proven.basis, maximum=8.0).pass_p < 1e-6
    assert claim(proven.basis, maximum=7.9).fail_p < 1e-6
    assert honest[f"{ID}.excess"].detail["claimed_by"] == "the target's recipe"
    lying = rows_of(DpAudit(canaries=300), Noised(sample, 12.0, private(0.5)), sample)
    withdrawn = lying[f"{ID}.accountant-epsilon"]
    assert isinstance(withdrawn, Failure)
    assert "the audit refutes that" in withdrawn.reason
    assert lying[f"{ID}.excess"].estimate.low > 0


def test_a_proof_at_a_larger_delta_proves_nothing_at_a_smaller_one(world):
    sample = world.sample
    loose = Noised(sample, 0.3, private(8.0, delta=1e-2))
    found = rows_of(DpAudit(canaries=100, claimed_epsilon=9.0, claimed_delta=1e-6), loose, sample)
    assert isinstance(found[f"{ID}.accountant-epsilon"], Inapplicable)


def test_a_gate_recomputes_the_p_value_of_the_audit():
    coins = np.random.default_rng(0).random(1000) < 0.5
    scores = 2.0 * coins + np.random.default_rng(1).standard_normal(1000)
    found = audit_scores(scores, coins, 1e-5)
    estimate, basis = epsilon_measured(found)
    assert estimate.low == found.epsilon <= estimate.value
    assert estimate.high == math.inf
    assert claim(basis, maximum=0.95 * found.epsilon).fail_p <= 0.05
    assert claim(basis, maximum=1.05 * found.epsilon).fail_p > 0.05
    assert claim(basis, maximum=estimate.value).fail_p == 1.0


def test_canaries_carry_wrong_labels_and_go_into_training_by_their_coins(world):
    sample = world.sample
    planted = plant(sample, 200, np.random.default_rng(4))
    assert len(planted.included) == 200
    known = {key(row): int(y) for row, y in zip(sample.inputs.to_numpy(), sample.labels, strict=True)}
    for row, wrong in zip(planted.canaries.inputs.to_numpy(), planted.canaries.labels, strict=True):
        assert known[key(row)] != wrong
    assert len(planted.train.inputs) == world.n + planted.included.sum()
    assert 60 < planted.included.sum() < 140
    assert planted.train.fingerprint != sample.training.fingerprint


def test_an_audit_that_fails_its_control_is_refused(world, monkeypatch):
    monkeypatch.setattr(Memoriser, "predict_proba", lambda self, inputs: np.full((len(inputs), 2), 0.5))
    with pytest.raises(ProbeError, match="would mean nothing"):
        rows_of(DpAudit(), Noised(world.sample, 12.0), world.sample)


def test_settings_are_checked(world, trainable):
    sample = world.sample
    target = trainable(lambda: KNeighborsClassifier(1), sample, sample.training)
    with pytest.raises(ProbeError, match="correction is 'none'"):
        rows_of(DpAudit(correction="none"), target, sample)
    with pytest.raises(ProbeError, match="claimed_delta is 1"):
        rows_of(DpAudit(claimed_delta=1.0), target, sample)
    with pytest.raises(ProbeError, match="10 canaries"):
        rows_of(DpAudit(canaries=10), target, sample)
