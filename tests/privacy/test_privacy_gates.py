"""What gates make of attacks: fail or not refuted, never pass; and whose recipe the shadows came from."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.judge import Measured, judge
from steelyard.audit.plan import AuditPart, GatePart, Plan
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable, Status
from steelyard.probes.privacy.catalogue import PRIVACY
from steelyard.probes.privacy.membership import Membership
from steelyard.probes.privacy.shadow_membership import ShadowMembership

SPECS = {spec.id: spec for kind in PRIVACY for spec in kind.metrics}


def verdicts(rows, gates, sample: Sample):
    plan = Plan.model_construct(audit=AuditPart(name="t", seed=0), gates=gates, waivers=[])
    seen = {kind: [r for r in rows if isinstance(r, kind)] for kind in (Finding, Failure, Inapplicable)}
    measured = Measured(
        findings=seen[Finding], failures=seen[Failure], inapplicable=seen[Inapplicable],
        attributes=tuple(sample.groups), candidate="candidate", table=lambda digest: b"",
    )  # fmt: skip
    return [v.status for v in judge(plan, measured, SPECS)]


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
