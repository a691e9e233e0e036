"""Inversion: pictures that a model holds are found; a model that never saw them does not give them away."""

from __future__ import annotations

from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from scipy.stats import binom

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Finding, Modality, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.probes.privacy.inversion import ModelInversion, invert, nearness, shapes_of
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import mean


def pictures(seed: int, n: int = 240, classes: int = 6, side: int = 8) -> Sample:
    """Each class a pattern of its own, each picture that pattern and much of its own."""
    patterns = np.random.default_rng(99).random((classes, side, side))
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % classes
    images = np.clip(0.5 * patterns[labels] + 0.5 * rng.random((n, side, side)), 0, 1)
    return sample_from_arrays(images, labels)


@dataclass
class Bells:
    """A class's cross-entropy falls towards the mean of the pictures in `kept`: one of them, or many others."""

    kept: dict[int, np.ndarray]
    name: str = "candidate"
    kind: str = "test"
    task: Task = Task.MULTICLASS
    fingerprint: str = "0"
    capabilities = frozenset({Capability.GRADIENTS})

    def gradients(self, inputs: Any, labels: np.ndarray) -> np.ndarray:
        return np.asarray(inputs) - np.stack([self.kept[int(label)] for label in labels])


def of(sample: Sample, rows: int) -> Bells:
    labels = np.asarray(sample.labels)
    return Bells({int(c): sample.inputs[labels == c][-rows:].mean(axis=0) for c in np.unique(labels)})


def run(target: Bells, sample: Sample, **settings: Any) -> Finding:
    (row,) = ModelInversion(**settings).run(target, sample, References(), generator(0, "i"))
    assert isinstance(row, Finding)
    return row


def test_a_model_that_holds_a_picture_is_caught_and_one_of_other_people_is_not() -> None:
    sample = replace(pictures(0), training=pictures(1))
    leaky = run(of(sample.training, 1), sample)
    assert leaky.estimate.low > 0.5
    assert leaky.reading == "attack"
    assert leaky.detail["classes"] == 6
    assert run(of(pictures(2), 40), sample).estimate.low < 0 < run(of(pictures(2), 40), sample).estimate.high
    assert run(of(sample.training, 1), sample).estimate == leaky.estimate


def test_the_null_over_many_models() -> None:
    """Models of third parties' pictures, judged by training and other pictures that mean nothing to them."""
    alarms, runs = 0, 200
    for seed in range(runs):
        train, other, third = (pictures(1000 + 3 * seed + i, n=60) for i in range(3))
        made = of(third, 10).kept
        values = np.array(
            [
                nearness(
                    made[c], train.inputs[np.asarray(train.labels) == c], other.inputs[np.asarray(other.labels) == c]
                )
                for c in made
            ]
        )
        alarms += mean(values, Design(n=6), level=0.9, lower=-1, upper=1).estimate.low > 0
    assert 1 <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_descent_finds_a_minimum_and_stays_in_range() -> None:
    goal = np.random.default_rng(0).random((3, 5, 5))
    made = invert(lambda x, labels: x - goal, np.full((3, 5, 5), 0.5), np.arange(3), steps=200, step=0.3)
    assert np.abs(made - goal).max() < 0.1
    still = invert(lambda x, labels: np.zeros_like(x), np.full((3, 5, 5), 0.5), np.arange(3), steps=5, step=0.3)
    assert (still == 0.5).all()
    away = invert(lambda x, labels: -np.ones_like(x), np.full((3, 5, 5), 0.5), np.arange(3), steps=50, step=5.0)
    assert away.max() <= 1.0
    assert nearness(goal[0], goal[:1], goal[1:]) == pytest.approx(1.0)
    assert nearness(goal[0], goal[1:], goal[:1]) == pytest.approx(-1.0)
    assert nearness(np.ones((5, 5)), goal[:1], goal[1:2]) == 0.0


def test_faults_are_said() -> None:
    sample = replace(pictures(0), training=pictures(1))
    with pytest.raises(ProbeError, match="by heart"):
        run(of(sample.training, 1), sample, steps=1)
    with pytest.raises(NotApplicable):
        run(of(sample.training, 1), replace(sample, modality=Modality.TABULAR))


@pytest.fixture(scope="module")
def rebuilt() -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """12 pictures rebuilt from the gradients of an open network, the true ones, and others of their classes."""
    torch = pytest.importorskip("torch")
    from steelyard.probes.privacy.inversion_gradient import paired_pictures
    from steelyard.probes.privacy.inversion_torch import rebuild, shared_gradient

    sample = replace(pictures(0, n=60), training=pictures(1, n=60))
    own, labels, other = paired_pictures(sample, np.random.default_rng(0), 12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Sigmoid(), torch.nn.Linear(32, 6)
        )
    made = []
    for picture, label in zip(torch.tensor(own, dtype=torch.float32), torch.tensor(labels), strict=True):
        gradient = [g.detach() for g in shared_gradient(module, picture[None], label[None])]
        found = rebuild(module, gradient, label[None], (1, 8, 8), bounds=(0.0, 1.0), steps=50, smooth=0.01, seed=1)
        made.append(shapes_of(found.double().numpy()))
    return made, shapes_of(own), shapes_of(other)


def lower_limit(made: list[np.ndarray], own: np.ndarray, other: np.ndarray) -> float:
    from steelyard.probes.privacy.inversion_gradient import closeness

    values = closeness(made, own, other)
    low = mean(values, Design(n=len(values)), level=0.9, lower=-1, upper=1).estimate.low
    assert low is not None
    return low


def test_the_null_of_gradient_inversion_over_many_permutations(rebuilt) -> None:
    """Which picture a rebuilt one is compared with is permuted, and which of the two is called the true one: over 400
    permutations closeness is claimed in at most 5 %. Unpermuted, it is."""
    made, own, other = rebuilt
    assert lower_limit(made, own, other) > 0.2
    rng = np.random.default_rng(6)
    alarms, runs = 0, 400
    for _ in range(runs):
        order, swapped = rng.permutation(len(made)), rng.random(len(made)) < 0.5
        first, second = np.where(swapped[:, None], other, own), np.where(swapped[:, None], own, other)
        alarms += lower_limit([made[i] for i in order], first, second) > 0
    assert binom.ppf(0.001, runs, 0.03) <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_gradients_give_pictures_away_and_noise_in_them_does_not() -> None:
    torch = pytest.importorskip("torch")
    from steelyard.probes.privacy.inversion_gradient import GradientInversion

    sample = replace(pictures(0, n=60), training=pictures(1, n=60))

    class Blurred(torch.nn.Module):
        """The same for every picture: its gradient says nothing of it."""

        def __init__(self) -> None:
            super().__init__()
            self.bias = torch.nn.Parameter(torch.zeros(6))

        def forward(self, x):
            return self.bias + 0.0 * x.flatten(1).sum(1, keepdim=True)

    def target(module: Any) -> SimpleNamespace:
        engine = SimpleNamespace(module=module, form="with a channel axis", dtype=torch.float32)
        return SimpleNamespace(
            name="candidate", kind="torch", task=Task.MULTICLASS, fingerprint="0", engine=engine, order=tuple(range(6)),
            capabilities=frozenset({Capability.GRADIENTS, Capability.LOGITS}),
        )  # fmt: skip

    with torch.random.fork_rng():
        torch.manual_seed(0)
        open_book = torch.nn.Sequential(
            torch.nn.Flatten(), torch.nn.Linear(64, 32), torch.nn.Sigmoid(), torch.nn.Linear(32, 6)
        )
    before = torch.random.get_rng_state()

    def run_on(module: Any, **settings: Any) -> Finding:
        probe = GradientInversion(images=4, steps=50, **settings)
        (row,) = probe.run(target(module), sample, References(), generator(0, "g"))
        return row

    found = run_on(open_book)
    assert found.estimate.low > 0.2
    assert found.detail["control"] > 0.5
    blurred = run_on(Blurred())
    assert blurred.estimate.low < 0
    assert run_on(Blurred()).estimate == blurred.estimate
    assert torch.equal(before, torch.random.get_rng_state())
    short = GradientInversion(images=6, steps=1)
    with pytest.raises(ProbeError, match="linear layer"):
        list(short.run(target(open_book), sample, References(), generator(0, "g")))
    frozen = torch.nn.Linear(64, 6).requires_grad_(False)
    with pytest.raises(NotApplicable, match="no torch module"):
        run_on(frozen)
