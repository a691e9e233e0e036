"""Real trainings with canaries: DP-SGD keeps its word in the audit, and the same network without noise does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")
pytest.importorskip("accelerate")

from steelyard.audit.canonical import generator  # noqa: E402
from steelyard.audit.target import References  # noqa: E402
from steelyard.audit.types import Finding, Inapplicable  # noqa: E402
from steelyard.models.cache import ModelCache, train_reference  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.recipes.mlp import MlpRecipe  # noqa: E402
from steelyard.models.recipes.private import PrivateMlp  # noqa: E402
from steelyard.probes.privacy.dp_audit import DpAudit  # noqa: E402

ID = "privacy.dp-audit"


@pytest.fixture(scope="module")
def sample():
    """Wide rows of noise, 400 to train on and 400 held out: easy to remember one by one, and nothing else to learn."""
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(800, 60)), rng.integers(0, 2, 800)
    frame = pd.DataFrame(x, columns=[f"x{i}" for i in range(60)])
    sides = [
        sample_from_arrays(frame.iloc[own].reset_index(drop=True), y[own]) for own in (slice(400), slice(400, 800))
    ]
    return replace(sides[1], training=sides[0])


def trained(recipe, sample):
    return train_reference(recipe, sample.training, 0, ModelCache(), sample=sample)[0]


def audited(target, sample, seed, **settings):
    """One more training, with canaries, from the seed; and what the audit says of it."""
    probe = DpAudit(canaries=200, **settings)
    rows = probe.run(target, sample, References(), generator(seed, probe.id))
    return {row.metric if isinstance(row, Finding) else row.metrics[0]: row for row in rows}


@pytest.fixture(scope="module")
def private(sample):
    return trained(PrivateMlp(epsilon=1.0, epochs=2, batch=128, hidden=32), sample)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_noise_of_epsilon_one_is_not_refuted(private, sample, seed):
    found = audited(private, sample, seed)
    assert found[f"{ID}.excess"].estimate.low <= 0
    proven = found[f"{ID}.accountant-epsilon"]
    assert isinstance(proven, Finding)
    assert proven.estimate.high == 1.0
    assert found[f"{ID}.excess"].detail["control_epsilon"] > 1.0


@pytest.mark.slow
def test_the_same_network_without_noise_is_refuted(sample):
    found = audited(trained(MlpRecipe(epochs=40, hidden=64, lr=5e-3), sample), sample, 0, claimed_epsilon=1.0)
    assert found[f"{ID}.excess"].estimate.low > 0
    assert isinstance(found[f"{ID}.accountant-epsilon"], Inapplicable)
