"""What gates make of attacks: fail or not refuted, never pass; and whose recipe the shadows came from."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.judge import Measured, judge
from steelyard.audit.plan import AuditPart, GatePart, Plan
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable, Status
from steelyard.probes.privacy.catalogue import PRIVACY
from steelyard.probes.privacy.dp_audit import DpAudit
from steelyard.probes.privacy.membership import Membership
from steelyard.probes.privacy.shadow_membership import ShadowMembership

SPECS = {spec.id: spec for kind in PRIVACY for spec in kind.metrics}


def judged(rows, gates, sample: Sample, alpha: float = 0.05):
    plan = Plan.model_construct(audit=AuditPart(name="t", seed=0, alpha=alpha), gates=gates, waivers=[])
    seen = {kind: [r for r in rows if isinstance(r, kind)] for kind in (Finding, Failure, Inapplicable)}
    measured = Measured(
        findings=seen[Finding], failures=seen[Failure], inapplicable=seen[Inapplicable],
        attributes=tuple(sample.groups), candidate="candidate", table=lambda digest: b"",
    )  # fmt: skip
    return judge(plan, measured, SPECS)


def verdicts(rows, gates, sample: Sample):
    return [v.status for v in judged(rows, gates, sample)]


def rows_of(probe, target, sample, seed=3):
    return list(probe.run(target, sample, References(), generator(seed, probe.id)))


class Sure:
    """Certain of everything in a way that has nothing to do with its rows."""

    def fit(self, X, y):
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        p = 1 / (1 + np.exp(-3 * X[:, 0]))
        return np.column_stack([1 - p, p])

    def predict(self, X):
        return (X[:, 0] > 0).astype(int)


def test_a_gate_on_an_attack_fails_or_is_not_refuted(world):
    gates = [
        GatePart(metric="privacy.membership.auc", max=0.55),
        GatePart(metric="privacy.membership.advantage", max=0.1),
    ]
    probe = Membership(fprs=(0.05,), attacks=("loss", "modified-entropy"))
    leaky = rows_of(probe, world.fitted(DecisionTreeClassifier(max_depth=12, random_state=0)), world.sample)
    assert verdicts(leaky, gates, world.sample) == [Status.FAIL, Status.FAIL]
    sound = rows_of(probe, world.fitted(Sure()), world.sample)
    assert verdicts(sound, gates, world.sample) == [Status.NOT_REFUTED, Status.NOT_REFUTED]


def test_a_rate_that_could_not_be_measured_is_not_measured(world):
    rows = rows_of(Membership(attacks=("loss",)), world.fitted(Sure()), world.sample)
    gate = GatePart(metric="privacy.membership.tpr", max=0.1, where={"fpr": 0.001})
    assert verdicts(rows, [gate], world.sample) == [Status.NOT_MEASURED]


OTHERS = ("auc", "advantage", "balanced-accuracy")


def beside(others: int) -> list[GatePart]:
    """The gate on a claim about ε, and so many other gates of the family that cannot fail."""
    names = [OTHERS[i % len(OTHERS)] for i in range(others)]
    return [
        GatePart(metric="privacy.dp-audit.excess", max=0.0),
        *(GatePart(metric=f"privacy.membership.{name}", max=0.999, where={"attack": "loss"}) for name in names),
    ]


@pytest.fixture
def audited(world, trainable):
    """A model that remembers its rows and claims ε = 1: what the audit and an attack say of it, by the claim's δ."""
    target = trainable(lambda: KNeighborsClassifier(1), world.sample, world.sample.training)
    others = rows_of(Membership(fprs=(0.05,), attacks=("loss",)), target, world.sample)

    def rows(delta: float) -> list:
        probe = DpAudit(canaries=300, claimed_epsilon=1.0, claimed_delta=delta)
        return [*rows_of(probe, target, world.sample), *others]

    return rows


@pytest.mark.parametrize(("gates", "alpha", "delta"), [(5, 0.05, 1e-5), (5, 0.01, 1e-7), (60, 0.05, 1e-7)])
def test_a_claim_that_lies_fails_however_many_gates_share_the_error(world, audited, gates, alpha, delta):
    """All 60 guesses right: with 20 ways tried, a δ of 1e-5 allows that with probability .006, one of 1e-7 with less
    than the curve of p-values tells apart."""
    first, *rest = judged(audited(delta), beside(gates - 1), world.sample, alpha)
    assert first.status is Status.FAIL
    assert first.p_fail_adjusted == pytest.approx(gates * first.p_fail)
    assert first.p_fail == pytest.approx(0.006, abs=1e-3) if delta == 1e-5 else first.p_fail == 1 / 2002
    assert {v.status for v in rest} == {Status.NOT_REFUTED}


def test_a_bound_that_hardly_breaks_a_limit_fails_alone_and_not_beside_four_others(world, audited):
    """The check above can fail: near the bound p is near alpha, and Holm asks for a fifth of that."""
    rows = audited(1e-5)
    bound = next(r for r in rows if isinstance(r, Finding) and r.metric == "privacy.dp-audit.epsilon").estimate.low
    near = GatePart(metric="privacy.dp-audit.epsilon", max=0.99 * bound)
    (alone,) = judged(rows, [near], world.sample)
    assert alone.status is Status.FAIL
    assert 0.01 < alone.p_fail <= 0.05
    assert judged(rows, [near, *beside(4)[1:]], world.sample)[0].status is Status.NOT_REFUTED


@pytest.mark.slow
def test_a_target_that_cannot_be_trained_again_is_attacked_by_the_nearest_recipe(world):
    pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    sample = world.sample
    target = world.fitted(DecisionTreeClassifier(min_samples_leaf=3, random_state=0))
    rows = rows_of(ShadowMembership(fprs=(0.05,), shadows=4, attacks=("rmia", "lira-offline")), target, sample)
    areas = [r for r in rows if isinstance(r, Finding) and r.metric.endswith(".auc")]
    assert len(areas) == 2
    for row in areas:
        assert str(row.detail["shadows_from"]).startswith("the nearest recipe network/mlp")
        assert row.estimate.low > 0.52


@pytest.mark.slow
def test_a_target_of_a_recipe_is_attacked_by_its_own(world):
    pytest.importorskip("skops")
    from steelyard.models.cache import ModelCache, train_reference

    sample = world.sample
    target, _ = train_reference("baseline/logistic", sample.training, 0, ModelCache(), sample=sample, name="candidate")
    rows = rows_of(ShadowMembership(fprs=(0.05,), shadows=4, attacks=("rmia",)), target, sample)
    (area,) = [r for r in rows if isinstance(r, Finding) and r.metric.endswith(".auc")]
    assert area.detail["shadows_from"] == "the target's own recipe baseline/logistic"
    assert 0.4 < area.estimate.value < 0.65  # it remembers little
