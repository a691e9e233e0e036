"""What the probes of membership and of ε owe: metadata, determinism, inputs left alone, any order of rows."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import References
from steelyard.audit.types import Capability, Failure, Finding, Inapplicable, Task
from steelyard.audit.units import misfit
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.probes.privacy.catalogue import PRIVACY

# Where the defaults ask for more than a small table holds.
SETTINGS = {
    "privacy.membership": {"fprs": (0.05,)},
    "privacy.shadow-membership": {"fprs": (0.05,), "shadows": 4},
    "privacy.label-only-membership": {"fprs": (0.2,), "queries": 6},
    "privacy.dp-audit": {"canaries": 100, "claimed_epsilon": 1.0},
}


class Scored:
    """It reads its score off a column; trained again, it leans on another one too, each time by another weight."""

    name, kind, fingerprint = "candidate", "test", "0"
    capabilities = frozenset({Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY, Capability.FIT_AGAIN})

    def __init__(self, task: Task, classes: int, seed: int | None = None) -> None:
        self.task, self.classes, self.seed = task, classes, seed

    def fit_again(self, train, seed):
        return Scored(self.task, self.classes, seed)

    def predict_proba(self, inputs):
        lean = 0.0 if self.seed is None else np.random.default_rng(self.seed).normal(0, 0.3)
        score = inputs["score"].to_numpy() + lean * inputs["other"].to_numpy()
        logits = np.column_stack([(c - 1) * score + 0.1 * c for c in range(self.classes)])
        p = np.exp(logits - logits.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    def predict(self, inputs):
        return self.predict_proba(inputs).argmax(axis=1)


def world(task: Task):
    rng = np.random.default_rng(5)
    classes = 2 if task is Task.BINARY else 3
    frame = pd.DataFrame({"score": rng.normal(size=600), "other": rng.normal(size=600)})
    y = rng.integers(0, classes, 600)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], 600), "age": rng.choice(["old", "young", None], 600)})
    train, test = (
        sample_from_arrays(frame.iloc[own].reset_index(drop=True), y[own], groups.iloc[own].reset_index(drop=True))
        for own in (slice(300), slice(300, 600))
    )
    return Scored(task, classes), replace(test, training=train)


CASES = [(kind, task) for kind in PRIVACY for task in sorted(kind.tasks)]


@pytest.fixture(params=CASES, ids=[f"{kind.id}-{task.value}" for kind, task in CASES])
def case(request):
    kind, task = request.param
    target, sample = world(task)
    probe = kind(**SETTINGS[kind.id])
    assert misfit(probe, target, sample) is None
    return probe, target, sample


def rows_of(probe, target, sample):
    return list(probe.run(target, sample, References(), generator(3, probe.id)))


def test_rows_are_declared_in_range_unique_and_survive_json(case):
    probe, target, sample = case
    kept, labels = sample.inputs.copy(deep=True), sample.labels.copy()
    rows = rows_of(probe, target, sample)
    specs = {spec.id: spec for spec in probe.metrics}
    findings = [row for row in rows if isinstance(row, Finding)]
    assert findings
    for row in rows:
        assert isinstance(row, Finding | Failure | Inapplicable)
        assert (row.probe, row.target) == (probe.id, "candidate")
        text = canonical_json(row)
        assert canonical_json(TypeAdapter(type(row)).validate_python(json.loads(text))) == text
    for row in findings:
        spec = specs[row.metric]
        assert spec.lower <= row.estimate.value <= spec.upper, row
        assert row.estimate.low is not None or row.estimate.no_interval
        assert math.isclose(row.estimate.level, 0.95)
        assert (row.definition, row.direction, row.reading) == (spec.definition, spec.direction, spec.reading)
    for row in rows:
        if not isinstance(row, Finding):
            assert row.reason
            assert set(row.metrics) <= set(specs)
    places = [(row.metric, tuple(row.where.items())) for row in findings]
    assert len(places) == len(set(places))
    pd.testing.assert_frame_equal(sample.inputs, kept)
    assert np.array_equal(sample.labels, labels)


def test_neither_another_run_nor_another_order_of_rows_changes_a_number(case):
    probe, target, sample = case
    before = {(r.metric, r.where): r.estimate for r in rows_of(probe, target, sample) if isinstance(r, Finding)}
    order = np.random.default_rng(1).permutation(sample.n)
    moved = replace(
        sample,
        inputs=sample.inputs.iloc[order].reset_index(drop=True),
        labels=sample.labels[order],
        groups={a: replace(g, codes=g.codes[order]) for a, g in sample.groups.items()},
    )
    after = {(r.metric, r.where): r.estimate for r in rows_of(probe, target, moved) if isinstance(r, Finding)}
    assert before.keys() == after.keys()
    for place, estimate in before.items():
        for side in ("value", "low", "high"):
            assert getattr(after[place], side) == pytest.approx(getattr(estimate, side), rel=1e-9, abs=1e-9), place


@pytest.mark.parametrize("kind", PRIVACY, ids=lambda kind: kind.id)
def test_every_missing_requirement_is_named(kind):
    _, sample = world(Task.BINARY)

    class Mute:
        name, kind, task, fingerprint = "mute", "test", Task.BINARY, "0"
        capabilities = frozenset()

    row = misfit(kind(), Mute(), replace(sample, training=None))
    assert row is not None
    assert set(row.missing) == {str(c) for c in kind.requires if isinstance(c, Capability)} | {"training"}
    assert row.metrics == tuple(spec.id for spec in kind.metrics)
