"""Differentially private training: the accountant, the clipping and the noise, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("opacus")

from steelyard.audit.errors import PlanError, TargetError  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Modality  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.networks.network import Network  # noqa: E402
from steelyard.models.recipes.private import PRIVATE, PrivateCnn, PrivateLogistic, PrivateMlp  # noqa: E402
from steelyard.models.training.batches import Rows  # noqa: E402
from steelyard.models.training.private import Budget, train_private  # noqa: E402
from steelyard.models.training.settings import Settings  # noqa: E402


def table(n: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    y = (x[:, 0] + x[:, 1] + 0.3 * rng.normal(size=n) > 0).astype(int)
    return sample_from_arrays(pd.DataFrame(x, columns=["a", "b", "c"]), y)


def right(network: Network, test: Sample) -> float:
    return network.score(test.inputs, np.asarray(test.classes)[np.asarray(test.labels)])


def small(n: int = 200) -> tuple[Any, Rows]:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        rows = Rows(inputs=torch.randn(n, 4), labels=torch.randint(0, 2, (n,)))
        return build("mlp", inputs=4, classes=2, hidden=8), rows


def renyi_epsilon(noise: float, rate: float, steps: int, delta: float) -> float:
    """An oracle: Rényi accounting at whole orders by the sum of Mironov et al. 2019, (3.3), then Balle et al. 2020."""
    found = []
    for order in range(2, 64):
        terms = [
            math.lgamma(order + 1)
            - math.lgamma(k + 1)
            - math.lgamma(order - k + 1)
            + k * math.log(rate)
            + (order - k) * math.log1p(-rate)
            + (k * k - k) / (2 * noise**2)
            for k in range(order + 1)
        ]
        rdp = steps * float(np.logaddexp.reduce(terms)) / (order - 1)
        found.append(rdp + math.log1p(-1 / order) - (math.log(delta) + math.log(order)) / (order - 1))
    return min(found)


@pytest.mark.parametrize("epsilon", [1.0, 4.0])
def test_what_was_spent_is_within_the_budget_and_as_an_oracle_says(epsilon: float) -> None:
    module, rows = small()
    settings = Settings(epochs=3, batch=40, lr=0.1, optimizer="sgd", device="cpu")
    curves, spent = train_private(module, rows, settings, Budget(epsilon=epsilon, delta=1e-4), seed=0)
    assert spent.steps == 15
    assert spent.rate == pytest.approx(0.2)
    assert 0.97 * epsilon < spent.epsilon <= epsilon
    # whole orders alone can only give more than Opacus' finer grid
    oracle = renyi_epsilon(spent.noise, spent.rate, spent.steps, 1e-4)
    assert spent.epsilon <= oracle + 1e-6
    assert spent.epsilon == pytest.approx(oracle, rel=0.03)
    assert f"{spent.epsilon:.2f}" in curves.notes[0]


def test_a_step_is_bounded_by_the_norm_and_the_noise() -> None:
    """With next to no noise (ε huge) and plain SGD, a step from rows of huge gradients is at most lr · norm long."""
    module, rows = small(64)
    rows = replace(rows, inputs=rows.inputs * 1e4)
    before = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    settings = Settings(
        epochs=1, batch=64, lr=1.0, optimizer="sgd", device="cpu"
    )  # the rate is 1: one step of all rows
    _, spent = train_private(module, rows, settings, Budget(epsilon=1e5, delta=1e-3, norm=0.5), seed=0)
    moved = torch.cat([p.detach().flatten() for p in module.parameters()]) - before
    noise = spent.noise * 0.5 / 64 * math.sqrt(len(before))
    assert spent.steps == 1
    assert 0 < float(moved.norm()) <= 0.5 + 4 * noise


def test_the_noise_has_the_size_that_is_said() -> None:
    """Where the loss does not depend on the weights, all that moves them is noise: lr · σ · norm / batch a weight."""
    module, rows = small(100)
    before = torch.cat([p.detach().flatten().clone() for p in module.parameters()])
    settings = Settings(epochs=1, batch=100, lr=1.0, optimizer="sgd", device="cpu")

    def nothing(network: Any, batch: Any) -> Any:
        return network(batch.inputs).sum() * 0.0

    wide = build("mlp", inputs=4, classes=2, hidden=400)
    before = torch.cat([p.detach().flatten().clone() for p in wide.parameters()])
    _, spent = train_private(wide, rows, settings, Budget(epsilon=1.0, delta=1e-3, norm=2.0), seed=3, objective=nothing)
    moved = torch.cat([p.detach().flatten() for p in wide.parameters()]) - before
    assert float(moved.std()) == pytest.approx(spent.noise * 2.0 / 100, rel=0.08)  # 2,802 draws: ± 1.3 % a sigma
    assert abs(float(moved.mean())) < 4 * spent.noise * 2.0 / 100 / math.sqrt(len(moved))


def test_draws_of_no_row_at_all_are_steps_too() -> None:
    module, rows = small(20)
    settings = Settings(epochs=1, batch=1, lr=0.1, optimizer="sgd", device="cpu")  # a draw is empty with chance 0.36
    _, spent = train_private(module, rows, settings, Budget(epsilon=3.0, delta=1e-2), seed=0)
    assert spent.steps == 20


def test_the_same_seed_gives_the_same_network_and_leaves_the_hosts_generator() -> None:
    train = table(300, 1)
    before = torch.random.get_rng_state()
    recipe = PrivateMlp(epochs=1, batch=64, hidden=8, epsilon=2.0)
    first, again, other = (recipe.fit(train, seed).to_bytes() for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.parametrize("kind", [PrivateMlp, PrivateLogistic])
def test_it_learns_within_the_budget(kind: Any) -> None:
    train, test = table(600, 1), table(500, 2)
    network = kind(epochs=6, batch=100, epsilon=8.0, delta=1e-4).fit(train, 0)
    assert right(network, test) > 0.85
    assert network.curves.column("epsilon")[-1] <= 8.0
    assert "(ε, δ) = (" in network.curves.notes[0]


def test_a_tiny_budget_on_few_rows_leaves_little_more_than_chance() -> None:
    """The planted truth: 60 rows teach it well where ε is no limit, and next to nothing at ε = 0.15."""
    few, test = table(60, 3), table(500, 2)
    how: dict[str, Any] = {"epochs": 4, "batch": 15, "delta": 1e-3}
    tiny = [right(PrivateLogistic(epsilon=0.15, **how).fit(few, s), test) for s in range(6)]
    ample = [right(PrivateLogistic(epsilon=50.0, **how).fit(few, s), test) for s in range(2)]
    assert np.mean(ample) > 0.85
    assert 0.2 < np.mean(tiny) < 0.75


def test_images() -> None:
    from sklearn.datasets import load_digits

    found = load_digits()
    pixels = (found.images / 16).astype(np.float32)
    sample = replace(sample_from_arrays(found.data, found.target), inputs=pixels, modality=Modality.IMAGE)
    network = PrivateCnn(epochs=8, batch=200, lr=0.02, delta=1e-4, filters=4, hidden=16).fit(sample, 0)
    assert right(network, sample) > 0.3  # a guess has 0.1
    again = Network.from_bytes(network.to_bytes())
    np.testing.assert_array_equal(again.predict(pixels), network.predict(pixels))


@pytest.mark.parametrize(
    ("budget", "match"),
    [
        (Budget(epsilon=1e-9, delta=1e-4), "cannot be reached"),
        (Budget(epsilon=1.0, delta=0.01), "not below 1 / n"),
        (Budget(epsilon=0.0), "is not a budget"),
        (Budget(norm=0.0), "is not a budget"),
    ],
)
def test_budgets_that_cannot_be(budget: Budget, match: str) -> None:
    module, rows = small()
    with pytest.raises(TargetError, match=match):
        train_private(module, rows, Settings(epochs=2, batch=50, device="cpu"), budget, seed=0)


def test_what_has_no_gradients_of_single_rows_is_refused() -> None:
    _, rows = small()
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.BatchNorm1d(4), torch.nn.Linear(4, 2))
    with pytest.raises(TargetError, match="cannot be trained privately"):
        train_private(module, rows, Settings(device="cpu"), Budget(delta=1e-4), seed=0)
    weighted = replace(rows, weights=torch.ones(200))
    with pytest.raises(TargetError, match="does not count weights"):
        train_private(small()[0], weighted, Settings(device="cpu"), Budget(delta=1e-4), seed=0)


def test_weights_that_did_not_move_are_an_error() -> None:
    module, rows = small()
    settings = Settings(epochs=1, batch=50, lr=0.0, optimizer="sgd", device="cpu")
    with pytest.raises(TargetError, match="did not move"):
        train_private(module, rows, settings, Budget(epsilon=1.0, delta=1e-4), seed=0)


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"patience": 3}, "patience is not for private training"),
        ({"balance": True}, "balance is not for private training"),
        ({"epsilon": 0.0}, "epsilon 0.0"),
        ({"delta": 1.0}, "delta 1.0"),
    ],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any], match: str) -> None:
    with pytest.raises(PlanError, match=match):
        PrivateMlp(**settings)


def test_each_says_what_it_needs() -> None:
    assert [recipe.id for recipe in PRIVATE] == ["private/mlp", "private/logistic", "private/cnn"]
    assert all("opacus" in recipe.libraries and recipe.extra == "private" for recipe in PRIVATE)
