"""What every probe owes: honest metadata, determinism, inputs left alone, indifference to the order of rows."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields, is_dataclass, replace

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, Task
from steelyard.audit.units import misfit
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.language.catalogue import LANGUAGE
from steelyard.probes.privacy.catalogue import PRIVACY
from steelyard.probes.privacy.data_catalogue import PRIVACY_DATA
from steelyard.probes.registry import BUILT_IN

METRIC_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*){2}")


class Scored:
    """A model that reads its score off a column."""

    def __init__(self, classes: list[object] | None) -> None:
        if classes is not None:
            self.classes_ = np.array(classes)

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        p = frame["score"].to_numpy()
        if len(self.classes_) == 2:
            return np.column_stack([1 - p, p])
        return np.column_stack([p / 2, 1 - p, p / 2])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        if not hasattr(self, "classes_"):
            return frame["score"].to_numpy() * 10
        return self.classes_[self.predict_proba(frame).argmax(axis=1)]


def table(task: Task, n: int = 900) -> tuple[Scored, Sample]:
    rng = np.random.default_rng(5)
    score = rng.uniform(0.02, 0.98, n)
    X = pd.DataFrame({"score": score, "other": rng.normal(size=n)})
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "age": rng.choice(["old", "young", None], n)})
    if task is Task.BINARY:
        return (model := Scored([0, 1])), _sealed(model, X, (rng.uniform(size=n) < score).astype(int), groups)
    if task is Task.MULTICLASS:
        return (model := Scored(["a", "b", "c"])), _sealed(model, X, rng.choice(["a", "b", "c"], n), groups)
    return (model := Scored(None)), _sealed(model, X, 10 * score + rng.normal(size=n), groups, task="regression")


def _sealed(model: Scored, X: pd.DataFrame, y: np.ndarray, groups: pd.DataFrame, task: str | None = None) -> Sample:
    return sample_from_arrays(X, y, groups, task=task)


def shuffled(sample: Sample) -> Sample:
    order = np.random.default_rng(1).permutation(sample.n)
    assert sample.labels is not None
    return replace(
        sample,
        inputs=sample.inputs.iloc[order].reset_index(drop=True),
        labels=sample.labels[order],
        groups={a: replace(g, codes=g.codes[order]) for a, g in sample.groups.items()},
    )


def seeing(task: Task) -> tuple[Scored, Sample]:
    """The same table, and the model's inputs hold the attribute `sex` too."""
    model, sample = table(task)
    sex = np.array(sample.groups["sex"].levels)[sample.groups["sex"].codes]
    return model, replace(sample, inputs=sample.inputs.assign(sex=sex), fingerprint="seeing")


class Reader:
    """A model that scores a text by its length."""

    classes_ = np.array([0, 1])

    def predict_proba(self, frame: pd.DataFrame) -> np.ndarray:
        p = frame["text"].str.len().to_numpy() % 17 / 20 + 0.05
        return np.column_stack([1 - p, p])

    def predict(self, frame: pd.DataFrame) -> np.ndarray:
        return (self.predict_proba(frame)[:, 1] >= 0.5).astype(int)


def texts(task: Task) -> tuple[Reader, Sample]:
    rng = np.random.default_rng(6)
    words = pd.DataFrame({"text": [" ".join(rng.choice(["fine", "a", "words"], 8)) for _ in range(300)]})
    return Reader(), sample_from_arrays(words, rng.integers(0, 2, 300), {"sex": rng.choice(["f", "m"], 300)})


# Where a probe's defaults find nothing to measure in `table`: what it is asked with, and about.
SETTINGS: dict[str, dict[str, object]] = {"fairness.conditional": {"controls": ("other",)}}
TABLES = {"fairness.counterfactual": seeing, "fairness.identity-terms": texts}

# Probes of language models, and of training data and the attacks on it, are asked about other things than one table:
# the same is asked of them in tests/fairness/language, tests/privacy and tests/privacy_data.
ELSEWHERE = {*LANGUAGE, *PRIVACY, *PRIVACY_DATA}
CASES = [(kind, task) for kind in BUILT_IN if kind not in ELSEWHERE for task in sorted(kind.tasks)]
IDS = [f"{kind.id}-{task.value}" for kind, task in CASES]


@pytest.fixture(params=CASES, ids=IDS)
def case(request):
    kind, task = request.param
    model, sample = TABLES.get(kind.id, table)(task)
    target = wrap(model, sample)
    probe = kind(**SETTINGS.get(kind.id, {}))
    assert misfit(probe, target, sample) is None
    return probe, target, sample


def rows_of(probe, target, sample, seed=3):
    return list(probe.run(target, sample, References(), generator(seed, probe.id)))


@pytest.mark.parametrize("kind", BUILT_IN, ids=lambda kind: kind.id)
def test_metadata_is_complete(kind):
    assert is_dataclass(kind)
    assert kind.__dataclass_params__.frozen
    assert kind.version >= 1
    assert kind.__doc__
    assert "?" in kind.__doc__.splitlines()[0], "the first line of a probe is the question it asks"
    assert kind.metrics
    assert kind.requires <= set(Capability) | set(Data)
    for field in fields(kind):
        assert isinstance(field.default, (bool, int, float, str, tuple)), f"{field.name} must be settable from a plan"
    ids = [spec.id for spec in kind.metrics]
    aliases = [alias for spec in kind.metrics for alias in spec.aliases]
    assert len(set(ids + aliases)) == len(ids + aliases)
    for spec in kind.metrics:
        assert METRIC_ID.fullmatch(spec.id), spec.id
        assert spec.id.startswith(f"{kind.id}.")
        assert spec.definition
        assert spec.source, spec.id
        assert spec.not_shown, spec.id
        assert spec.lower < spec.upper
        assert spec.direction is Direction.NONE or spec.ideal is not None or spec.id.endswith("-gain"), spec.id


def test_every_row_is_about_a_declared_metric_in_its_range(case):
    probe, target, sample = case
    rows = rows_of(probe, target, sample)
    assert any(isinstance(row, Finding) for row in rows)
    specs = {spec.id: spec for spec in probe.metrics}
    for row in rows:
        assert isinstance(row, Finding | Failure | Inapplicable)
        assert row.probe == probe.id
        assert row.target == target.name
        if isinstance(row, Finding):
            spec = specs[row.metric]
            assert spec.lower <= row.estimate.value <= spec.upper, row
            assert row.estimate.low is not None or row.estimate.no_interval
            assert math.isclose(row.estimate.level, 0.95)
            assert row.definition.startswith(spec.definition)
            assert row.direction is spec.direction
        else:
            assert row.reason
            assert set(row.metrics) <= set(specs)


def test_no_metric_is_measured_twice_in_one_place(case):
    probe, target, sample = case
    places = [
        (row.metric, tuple(row.where.items())) for row in rows_of(probe, target, sample) if isinstance(row, Finding)
    ]
    assert len(places) == len(set(places))


def test_the_same_seed_gives_the_same_rows(case):
    probe, target, sample = case
    assert canonical_json(rows_of(probe, target, sample)) == canonical_json(rows_of(probe, target, sample))


def test_the_order_of_rows_does_not_matter(case):
    probe, target, sample = case
    before = {(r.metric, r.where): r.estimate for r in rows_of(probe, target, sample) if isinstance(r, Finding)}
    after = {
        (r.metric, r.where): r.estimate for r in rows_of(probe, target, shuffled(sample)) if isinstance(r, Finding)
    }
    assert before.keys() == after.keys()
    for place, estimate in before.items():
        for side in ("value", "low", "high"):
            was = getattr(estimate, side)
            same = None if was is None else pytest.approx(was, rel=1e-9, abs=1e-9)  # None: there is no interval
            assert getattr(after[place], side) == same, place


def test_inputs_are_left_as_they_were(case):
    probe, target, sample = case
    kept = sample.inputs.copy(deep=True)
    labels, codes = sample.labels.copy(), {a: g.codes.copy() for a, g in sample.groups.items()}
    rows_of(probe, target, sample)
    pd.testing.assert_frame_equal(sample.inputs, kept)
    assert np.array_equal(sample.labels, labels)
    assert all(np.array_equal(sample.groups[a].codes, codes[a]) for a in codes)


def test_rows_survive_json(case):
    probe, target, sample = case
    for row in rows_of(probe, target, sample):
        text = canonical_json(row)
        back = TypeAdapter(type(row)).validate_python(json.loads(text))
        assert canonical_json(back) == text


def test_every_missing_requirement_is_named(case):
    probe, _, sample = case

    class Mute:
        name, kind, task, fingerprint = "mute", "test", sample.task, "0"
        capabilities = frozenset()

    row = misfit(probe, Mute(), sample)
    assert row is not None
    assert set(row.missing) == {str(c) for c in probe.requires if isinstance(c, Capability)}
    assert row.metrics == tuple(spec.id for spec in probe.metrics)
