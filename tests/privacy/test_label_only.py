"""Membership from decisions alone, and the noise that it asks with."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding, Modality
from steelyard.probes.privacy.label_only import LabelOnly, robustness
from steelyard.probes.privacy.memoriser import Memoriser
from steelyard.probes.privacy.rows import disturbed
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.roc import Told

ID = "privacy.label-only-membership"


def rows_of(probe, target, sample, seed=3):
    return list(probe.run(target, sample, References(), generator(seed, probe.id)))


def test_a_model_that_remembers_is_caught_by_its_decisions_and_a_shallow_one_is_not(world):
    probe = LabelOnly(fprs=(0.05,))
    leaky = {
        r.metric: r
        for r in rows_of(probe, world.fitted(KNeighborsClassifier(1)), world.sample)
        if isinstance(r, Finding)
    }
    assert leaky[f"{ID}.auc"].estimate.low > 0.6
    assert leaky[f"{ID}.auc"].reading == "attack"
    sound = {
        r.metric: r for r in rows_of(probe, world.fitted(LogisticRegression()), world.sample) if isinstance(r, Finding)
    }
    assert sound[f"{ID}.auc"].estimate.low < 0.5


def test_an_attack_that_fails_its_control_is_a_failure_and_never_safe(world, monkeypatch):
    monkeypatch.setattr(Memoriser, "predict", lambda self, inputs: np.arange(len(inputs)) % 2)
    (row,) = rows_of(LabelOnly(), world.fitted(KNeighborsClassifier(1)), world.sample)
    assert isinstance(row, Failure)
    assert "would mean nothing" in row.reason
    assert set(row.metrics) == {spec.id for spec in LabelOnly.metrics}


def test_permuted_membership_is_accused_in_at_most_alpha_of_the_runs(world):
    sample, target = world.sample, world.fitted(KNeighborsClassifier(1))
    rng = np.random.default_rng(1)
    scores = robustness(target, sample.inputs, sample.modality, sample.labels, np.linspace(0, 1, 8), rng)
    accused = 0
    for _ in range(250):
        told = Told(scores=scores, member=rng.permutation(400) < 200, design=Design(n=400))
        accused += told.auc(level=0.90).estimate.low > 0.5
    assert accused <= binom.ppf(0.999, 250, 0.05)


def test_noise_keeps_types_and_ranges_and_leaves_the_inputs_alone():
    rng = np.random.default_rng(2)
    frame = pd.DataFrame(
        {"n": [1, 2, 3, 4], "x": [0.5, np.nan, 1.0, 2.0], "w": ["a", "b", "a", "c"], "k": [True, False] * 2}
    )
    kept = frame.copy(deep=True)
    moved = disturbed(frame, Modality.TABULAR, 1.0, rng)
    pd.testing.assert_frame_equal(frame, kept)
    assert (moved.dtypes == frame.dtypes).all()
    assert set(moved["w"]) <= {"a", "b", "c"}
    assert np.isnan(moved["x"][1])
    assert (moved["x"].drop(1) != frame["x"].drop(1)).all()
    images = rng.random((3, 4, 4)).astype(np.float32)
    noisy = disturbed(images, Modality.IMAGE, 0.5, rng)
    assert noisy.dtype == np.float32
    assert images.min() <= noisy.min() <= noisy.max() <= images.max()
    texts = np.array(["one two three four five six seven eight", "word"], dtype=object)
    dropped = disturbed(texts, Modality.TEXT, 1.0, rng)
    assert dropped[1] == "word"
    assert 0 < len(dropped[0].split()) < 8
    assert set(dropped[0].split()) <= set(texts[0].split())


def test_settings_are_checked(world):
    with pytest.raises(ProbeError, match="under 2 queries"):
        rows_of(LabelOnly(queries=1), world.fitted(LogisticRegression()), world.sample)
