"""What every probe of data and of the other attacks owes: metadata, determinism, inputs left alone, any row order."""

from __future__ import annotations

import json
import math
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, Modality, Task
from steelyard.audit.units import misfit
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.fingerprint import fingerprint_inputs
from steelyard.probes.privacy.data_catalogue import PRIVACY_DATA
from steelyard.probes.privacy.language_memorisation_control import WordChain

ABLE = frozenset(Capability) - {Capability.LOGLIKELIHOOD, Capability.GENERATE}
METRIC_ID = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*(\.[a-z0-9]+(-[a-z0-9]+)*){2}")


@dataclass
class Tree:
    """A tree with its rows by heart, that can be trained again."""

    model: Any
    name: str = "candidate"
    kind: str = "test"
    task: Task = Task.BINARY
    fingerprint: str = "0"
    capabilities = ABLE

    def fit_again(self, train: Sample, seed: int) -> Tree:
        return trained(train)

    def predict_proba(self, inputs: pd.DataFrame) -> np.ndarray:
        return self.model.predict_proba(numbers(inputs))

    def predict(self, inputs: pd.DataFrame) -> np.ndarray:
        return self.predict_proba(inputs).argmax(axis=1)


def numbers(inputs: pd.DataFrame) -> np.ndarray:
    return np.column_stack([inputs["score"], inputs["other"], inputs["sex"] == "f"])


def trained(train: Sample) -> Tree:
    return Tree(DecisionTreeClassifier(random_state=0).fit(numbers(train.inputs), train.labels))


def rows(seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], 400)
    X = pd.DataFrame({"score": rng.normal(size=400), "other": rng.normal(size=400), "sex": sex})
    X["note"] = [f"case {i}" for i in rng.integers(0, 50, 400)]
    y = (X["score"] + 0.5 * (sex == "f") + rng.normal(0, 0.7, 400) > 0).astype(int)
    return sample_from_arrays(X, y, {"sex": sex})


def table() -> tuple[Any, Sample]:
    sample = replace(rows(1), training=rows(2))
    return trained(sample.training), sample


def pictures() -> tuple[Any, Sample]:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    parts = [sample_from_arrays(rng.random((80, 6, 6)), np.arange(80) % 4) for _ in range(2)]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(36, 4))
    target = SimpleNamespace(
        name="candidate", kind="test", task=Task.MULTICLASS, fingerprint="0", capabilities=ABLE, order=(0, 1, 2, 3),
        engine=SimpleNamespace(module=module, form="with a channel axis", dtype=torch.float32),
        gradients=lambda inputs, labels: np.asarray(inputs) - 0.2 * labels[:, None, None],
    )  # fmt: skip
    return target, replace(parts[0], training=parts[1])


def language() -> tuple[Any, Sample]:
    rng = np.random.default_rng(4)
    words = np.array(["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"])
    made = [[" ".join(rng.choice(words, 14)) for _ in range(60)] for _ in range(2)]
    parts = [
        replace(
            sample_from_arrays(pd.DataFrame({"text": texts}), np.arange(60) % 2),
            task=Task.LANGUAGE, modality=Modality.TEXT, labels=None, classes=(),
        )
        for texts in made
    ]  # fmt: skip
    chain = WordChain.of(made[1])
    target = SimpleNamespace(
        name="candidate", kind="test", task=Task.LANGUAGE, fingerprint="0", scoring="causal",
        capabilities=frozenset({Capability.LOGLIKELIHOOD, Capability.GENERATE}), tokenize=chain.tokenize,
        loglikelihood=chain.loglikelihood, generate=chain.generate,
    )  # fmt: skip
    return target, replace(parts[0], training=parts[1])


# Where the defaults ask for more than a small table holds.
SETTINGS: dict[str, dict[str, Any]] = {
    "privacy.extraction": {"budgets": (50, 150), "learner": "logistic"},
    "privacy.attribute-inference": {"learner": "logistic"},
    "privacy.property-inference": {"trainings": 32},
    "privacy.inversion": {"steps": 60},
    "privacy.gradient-inversion": {"images": 4, "steps": 30},
    "privacy.gradient-norm": {"fprs": (0.3,)},
    "privacy.language-memorisation": {"canaries": ("the code is {123456}",), "references": 99},
}
TABLES: dict[str, Callable[[], tuple[Any, Sample]]] = {
    "privacy.inversion": pictures,
    "privacy.gradient-inversion": pictures,
    "privacy.gradient-norm": pictures,
    "privacy.language-memorisation": language,
}


def asked(kind: Any) -> tuple[Any, Any, Sample]:
    target, sample = TABLES.get(kind.id, table)()
    return kind(**SETTINGS.get(kind.id, {})), target, sample


def rows_of(probe: Any, target: Any, sample: Sample) -> list[Any]:
    return list(probe.run(target, sample, References(), generator(3, probe.id)))


def shuffled(sample: Sample) -> Sample:
    order = np.random.default_rng(1).permutation(sample.n)
    frame = isinstance(sample.inputs, pd.DataFrame)
    return replace(
        sample,
        inputs=sample.inputs.iloc[order].reset_index(drop=True) if frame else sample.inputs[order],
        labels=None if sample.labels is None else sample.labels[order],
        groups={a: replace(g, codes=g.codes[order]) for a, g in sample.groups.items()},
        training=None if sample.training is None else shuffled(sample.training),
    )


@pytest.mark.parametrize("kind", PRIVACY_DATA, ids=lambda kind: kind.id)
def test_metadata_is_complete(kind: Any) -> None:
    assert "?" in kind.__doc__.splitlines()[0]
    assert kind.requires <= set(Capability) | set(Data)
    assert all(isinstance(field.default, (bool, int, float, str, tuple)) for field in fields(kind))
    assert len({spec.id for spec in kind.metrics}) == len(kind.metrics)
    for spec in kind.metrics:
        assert METRIC_ID.fullmatch(spec.id)
        assert spec.id.startswith(f"{kind.id}.")
        assert spec.definition
        assert spec.source
        assert spec.not_shown
        assert spec.direction is Direction.NONE or spec.ideal is not None


@pytest.mark.parametrize("kind", PRIVACY_DATA, ids=lambda kind: kind.id)
def test_rows_keep_the_contract(kind: Any) -> None:
    probe, target, sample = asked(kind)
    assert misfit(probe, target, sample) is None
    kept = fingerprint_inputs(sample.inputs), fingerprint_inputs(sample.training.inputs)
    found = rows_of(probe, target, sample)
    assert (fingerprint_inputs(sample.inputs), fingerprint_inputs(sample.training.inputs)) == kept
    assert any(isinstance(row, Finding) for row in found), found
    specs = {spec.id: spec for spec in probe.metrics}
    for row in found:
        assert (row.probe, row.target) == (probe.id, "candidate")
        if isinstance(row, Finding):
            spec = specs[row.metric]
            assert spec.lower <= row.estimate.value <= spec.upper, row
            assert row.estimate.low is not None or row.estimate.no_interval
            assert math.isclose(row.estimate.level, 0.95)
            assert (row.definition, row.direction, row.reading) == (spec.definition, spec.direction, spec.reading)
        else:
            assert isinstance(row, Failure | Inapplicable)
            assert set(row.metrics) <= set(specs)
        text = canonical_json(row)
        assert canonical_json(TypeAdapter(type(row)).validate_python(json.loads(text))) == text
    places = [(row.metric, tuple(row.where.items())) for row in found if isinstance(row, Finding)]
    assert len(places) == len(set(places))
    again = {
        (r.metric, r.where): r.estimate for r in rows_of(probe, target, shuffled(sample)) if isinstance(r, Finding)
    }
    for row in found:
        if isinstance(row, Finding):
            other = again[row.metric, row.where]
            assert other.value == pytest.approx(row.estimate.value, rel=1e-9, abs=1e-9), row.metric
            assert other.low == pytest.approx(row.estimate.low, rel=1e-9, abs=1e-9), row.metric


@pytest.mark.parametrize("kind", PRIVACY_DATA, ids=lambda kind: kind.id)
def test_missing_requirements_are_named(kind: Any) -> None:
    probe, _, sample = asked(kind)
    mute = SimpleNamespace(name="mute", kind="test", task=sample.task, fingerprint="0", capabilities=frozenset())
    row = misfit(probe, mute, sample)
    wanted = {str(c) for c in probe.requires if isinstance(c, Capability)}
    assert (row is None) == (not wanted)
    assert row is None or set(row.missing) == wanted


def test_the_catalogue_is_light() -> None:
    code = (
        "import sys; import steelyard.probes.privacy.data_catalogue;"
        "print([m for m in ('torch', 'transformers', 'sklearn', 'pandas', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
