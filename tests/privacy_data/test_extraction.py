"""Extraction: the curve of a copy, what labels alone would give, and models that cannot be copied."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable, Modality, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.privacy.extraction import Extraction


def rows_of(sample: Sample, decide, **settings) -> list[Finding | Failure | Inapplicable]:
    settings = {"budgets": (50, 300), "learner": "logistic"} | settings
    return list(Extraction(**settings).run(wrap(decide, sample), sample, References(), generator(0, "e")))


def values(rows) -> dict[tuple[str, object], Finding]:
    return {(r.metric.rpartition(".")[2], r.where["budget"]): r for r in rows if isinstance(r, Finding)}


def table(seed: int, n: int = 1200) -> Sample:
    """Labels are a noisy rule, of which a model may follow another one."""
    rng = np.random.default_rng(seed)
    X = pd.DataFrame(rng.normal(size=(n, 4)), columns=list("abcd"))
    return sample_from_arrays(X, (X["a"] + rng.normal(size=n) > 0).astype(int))


def own_rule(X: pd.DataFrame) -> np.ndarray:
    return (X["b"] - X["c"] > 0.3).astype(int).to_numpy()


def coin(X: pd.DataFrame) -> np.ndarray:
    return (pd.util.hash_pandas_object(X, index=False).to_numpy() % 2).astype(int)


def test_a_rule_is_copied_and_the_labels_would_not_have_told_it() -> None:
    found = values(rows_of(table(0), own_rule))
    assert found["agreement", 300].estimate.low > 0.9
    assert found["agreement", 300].estimate.value > found["agreement", 50].estimate.value
    assert found["baseline-agreement", 300].estimate.value < 0.75
    assert found["advantage", 300].estimate.low > 0.2
    (evidence,) = found["agreement", 300].evidence
    curve = json.loads(evidence.data)
    assert [point["budget"] for point in curve] == [50, 300]
    assert curve[1]["agreement"] == pytest.approx(found["agreement", 300].estimate.value)
    assert all(row.reading == "attack" for row in found.values())


def test_what_the_labels_tell_is_no_advantage() -> None:
    """A model that is the rule behind the labels: a copy agrees, and so does whoever learns the labels."""
    found = values(rows_of(table(1), lambda X: (X["a"] > 0).astype(int).to_numpy()))
    assert found["agreement", 300].estimate.value > 0.9
    assert found["baseline-agreement", 300].estimate.value > 0.85
    assert found["advantage", 300].estimate.value < 0.12


def test_the_null_over_many_models_that_cannot_be_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Extraction, "_check", lambda *given: None)  # the control takes half of the time
    alarms, runs = 0, 200
    for seed in range(runs):
        rng = np.random.default_rng(seed)
        sample = sample_from_arrays(rng.normal(size=(160, 2)), rng.integers(0, 2, 160))
        found = values(rows_of(sample, lambda X: coin(pd.DataFrame(X)), budgets=(80,), level=0.9))
        alarms += found["advantage", 80].estimate.low > 0
    assert 1 <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_images_texts_and_faults() -> None:
    from dataclasses import replace

    from steelyard.audit.types import Modality

    rng = np.random.default_rng(4)
    images = sample_from_arrays(rng.random((400, 6, 6)), rng.integers(0, 2, 400))
    found = values(rows_of(images, lambda X: (X[:, 0, 0] > X[:, 5, 5]).astype(int), budgets=(150,), learner="auto"))
    assert found["agreement", 150].estimate.low > 0.7
    texts = [" ".join(rng.choice(["good", "bad", "film", "plot", "one"], 12)) for _ in range(400)]
    text = sample_from_arrays(pd.DataFrame({"text": texts}), rng.integers(0, 2, 400))
    text = replace(text, modality=Modality.TEXT)
    found = values(
        rows_of(text, lambda X: (X["text"].str.count("good") > X["text"].str.count("bad")).astype(int), budgets=(150,))
    )
    assert found["agreement", 150].estimate.low > 0.7
    rows = rows_of(table(0), own_rule, budgets=(50, 100_000))
    assert isinstance(rows[-1], Inapplicable)
    assert "100,000 queries need more rows: 600 are there" in rows[-1].reason
    with pytest.raises(ProbeError, match="does not copy"):
        rows_of(table(0), own_rule, budgets=(2,))
    with pytest.raises(ProbeError, match="learner"):
        rows_of(table(0), own_rule, learner="magic")


def test_a_model_of_bare_texts_is_copied_by_its_words() -> None:
    """Every text is another, so that only their words can tell: one of them decides."""
    rng = np.random.default_rng(0)
    words = np.array(["river", "train", "garden", "window", "letter", "office", "street", "colour"])
    texts = [" ".join([*rng.choice(words, 5), f"n{i}", "good" if i % 3 else "bad"]) for i in range(1200)]
    labels = np.array([int("good" in text) for text in texts])
    sample = Sample(
        inputs=np.array(texts, dtype=object), labels=labels, task=Task.BINARY, modality=Modality.TEXT,
        fingerprint="texts", classes=("0", "1"),
    )  # fmt: skip
    found = values(rows_of(sample, lambda X: np.array([int("good" in text) for text in X])))
    assert found[("agreement", 300)].estimate.value > 0.95
