"""Membership from the norms of gradients: a network with its rows by heart is caught, and permuted rows are not."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

torch = pytest.importorskip("torch")

from steelyard.audit.canonical import generator  # noqa: E402
from steelyard.audit.errors import NotApplicable  # noqa: E402
from steelyard.audit.target import References  # noqa: E402
from steelyard.audit.types import Capability, Failure, Finding, Task  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.probes.privacy import gradient_norm  # noqa: E402
from steelyard.probes.privacy.gradient_norm import GradientNorm, control_norms, gradient_norms  # noqa: E402
from steelyard.probes.privacy.memoriser import control  # noqa: E402
from steelyard.probes.stats.linearised import Design  # noqa: E402
from steelyard.probes.stats.roc import Told  # noqa: E402

ID = "privacy.gradient-norm"


@pytest.fixture(scope="module")
def sample():
    """Pictures of noise with labels drawn at random: there is nothing to learn but the rows themselves."""
    rng = np.random.default_rng(0)
    parts = [sample_from_arrays(rng.random((120, 6, 6)), rng.integers(0, 2, 120)) for _ in range(2)]
    return replace(parts[0], training=parts[1])


def fitted(part, steps: int) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(36, 64), torch.nn.ReLU(), torch.nn.Linear(64, 2)
        )
    x, y = torch.tensor(part.inputs[:, None], dtype=torch.float32), torch.as_tensor(part.labels)
    optimiser = torch.optim.Adam(module.parameters(), lr=0.01)
    for _ in range(steps):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(module(x), y).backward()
        optimiser.step()
    return module


def target(module: Any, **more: Any) -> SimpleNamespace:
    engine = SimpleNamespace(module=module, form="with a channel axis", dtype=torch.float32)
    return SimpleNamespace(
        name="candidate", kind="torch", task=Task.BINARY, fingerprint="0", engine=engine, order=(0, 1),
        capabilities=frozenset({Capability.GRADIENTS, Capability.LOGITS}), **more,
    )  # fmt: skip


def rows_of(module: Any, sample: Any) -> list[Any]:
    probe = GradientNorm(fprs=(0.1,))
    return list(probe.run(target(module), sample, References(), generator(3, probe.id)))


def area(rows: list[Any]) -> Finding:
    (found,) = [r for r in rows if isinstance(r, Finding) and r.metric == f"{ID}.auc"]
    return found


def test_a_network_with_its_rows_by_heart_is_caught_and_one_of_other_rows_is_not(sample):
    before = torch.random.get_rng_state()
    leaky = area(rows_of(fitted(sample.training, 120), sample))
    assert leaky.estimate.low > 0.8
    assert leaky.reading == "attack"
    assert leaky.detail["control_auc"] > 0.9
    rng = np.random.default_rng(1)
    third = sample_from_arrays(rng.random((120, 6, 6)), rng.integers(0, 2, 120))
    clean = area(rows_of(fitted(third, 120), sample)).estimate
    assert clean.low < 0.5 < clean.high
    assert leaky.evidence[1].name == "membership-exposed"
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_norm_of_a_linear_layer_is_known_in_closed_form():
    """∇ = (p − y) xᵀ and p − y for the bias: the norm is ‖p − y‖ √(‖x‖² + 1)."""
    layer = torch.nn.Linear(3, 2).double()
    x = torch.tensor(np.random.default_rng(2).normal(size=(5, 3)))
    y = np.array([0, 1, 1, 0, 1])
    p = torch.softmax(layer(x), 1).detach().numpy()
    apart = np.linalg.norm(p - np.eye(2)[y], axis=1)
    expected = apart * np.sqrt(np.square(x.numpy()).sum(axis=1) + 1)
    assert gradient_norms(layer, x, y) == pytest.approx(expected, rel=1e-12)


def test_permuted_membership_is_accused_in_at_most_alpha_of_the_runs(sample):
    x = torch.tensor(np.concatenate([sample.inputs, sample.training.inputs])[:, None], dtype=torch.float32)
    labels = np.concatenate([sample.labels, sample.training.labels])
    scores = -gradient_norms(fitted(sample.training, 50), x, labels)
    rng, accused = np.random.default_rng(4), 0
    for _ in range(300):
        told = Told(scores=scores, member=rng.permutation(240) < 120, design=Design(n=240))
        accused += told.auc(level=0.90).estimate.low > 0.5
    assert binom.ppf(0.001, 300, 0.04) <= accused <= binom.ppf(0.999, 300, 0.05)


def test_the_control_tells_its_rows_apart_and_one_that_does_not_is_a_failure(sample, monkeypatch):
    planted = control(sample, np.random.default_rng(5))
    norms = control_norms(planted)
    assert np.median(norms[planted.member]) < 0.2 * np.median(norms[~planted.member])
    monkeypatch.setattr(gradient_norm, "STEPS", 0)
    (row,) = rows_of(fitted(sample.training, 1), sample)
    assert isinstance(row, Failure)
    assert "would mean nothing" in row.reason
    assert set(row.metrics) == {spec.id for spec in GradientNorm.metrics}


def test_a_network_that_prepares_its_rows_itself_is_asked_too_and_what_is_no_tensor_does_not_fit(sample):
    """As the networks of recipes do: any rows, words and categories among them, become what the module takes."""
    module = fitted(sample.training, 120)

    def prepared(make: Any) -> list[Any]:
        inner = SimpleNamespace(order=None, model=SimpleNamespace(module=module, prepare=make))
        probe = GradientNorm(fprs=(0.1,))
        return list(
            probe.run(SimpleNamespace(name="candidate", model=inner), sample, References(), generator(3, probe.id))
        )

    found = area(prepared(lambda rows: torch.tensor(rows[:, None], dtype=torch.float32)))
    assert found.estimate == area(rows_of(module, sample)).estimate
    with pytest.raises(NotApplicable, match="not one tensor"):
        prepared(lambda rows: {"ids": rows})
    with pytest.raises(NotApplicable, match="no torch module"):
        rows_of(torch.nn.Flatten(), sample)
