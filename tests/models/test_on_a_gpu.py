"""What must hold on a CUDA device; `make gpu` runs these. Without one they are skipped, and say so."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.plan import DataPart  # noqa: E402
from steelyard.models.cache import ModelCache, train_reference  # noqa: E402
from steelyard.models.data.load import load_samples  # noqa: E402
from steelyard.models.recipes.registry import resolve  # noqa: E402
from steelyard.models.training.ensemble import EnsembleSettings, train_ensemble  # noqa: E402

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device"),
]


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    return load_samples(DataPart(dataset="digits-images"), target=None, base=tmp_path_factory.mktemp("digits"))


def accuracy(name, samples, **settings) -> float:
    (recipe,) = resolve(name, settings={"epochs": 8, **settings})
    target, _ = train_reference(recipe, samples.train, 0, ModelCache(folder=None), sample=samples.test)
    return float((target.predict(samples.test.inputs) == samples.test.labels).mean())


def test_bf16_learns_what_fp32_learns(digits):
    full = accuracy("network/cnn", digits, device="cuda", precision="fp32")
    half = accuracy("network/cnn", digits, device="cuda", precision="bf16")
    assert full > 0.9
    assert abs(full - half) < 0.04


def test_a_network_trained_on_a_gpu_is_kept_for_a_cpu(digits, tmp_path):
    (recipe,) = resolve("network/mlp", settings={"epochs": 8, "device": "cuda"})
    cache = ModelCache(folder=tmp_path)
    target, card = train_reference(recipe, digits.train, 0, cache, sample=digits.test)
    again, found = train_reference(recipe, digits.train, 0, cache, sample=digits.test)
    assert card.environment["device"].startswith("cuda")
    assert found.cached
    assert np.allclose(target.predict_proba(digits.test.inputs), again.predict_proba(digits.test.inputs), atol=1e-6)


def test_an_ensemble_has_the_losses_of_the_cpu():
    rng = torch.Generator().manual_seed(0)
    inputs, labels = torch.randn(300, 16, generator=rng), torch.randint(0, 3, (300,), generator=rng)
    members = np.random.default_rng(0).random((6, 300)) < 0.5

    def build():
        return torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))

    plain = EnsembleSettings(epochs=4, way="batched", device="cpu")
    one = train_ensemble(build, inputs, labels, members, seeds=range(6), settings=plain)
    two = train_ensemble(build, inputs, labels, members, seeds=range(6), settings=replace(plain, device="cuda"))
    assert np.allclose(np.asarray(one.losses), np.asarray(two.losses), atol=1e-3)


def test_adversarial_and_private_training_run_there(digits):
    assert accuracy("robust/cnn", digits, device="cuda", eps=0.1, step=0.03) > 0.6
    pytest.importorskip("opacus")
    assert accuracy("private/mlp", digits, device="cuda", epsilon=50.0) > 0.5
