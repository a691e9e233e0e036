"""Robust references: they learn, and under attack they keep what the plain network loses."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.errors import PlanError, TargetError  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Modality  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.networks.network import Network  # noqa: E402
from steelyard.models.recipes.cnn import CnnRecipe  # noqa: E402
from steelyard.models.recipes.encoder import EncoderRecipe  # noqa: E402
from steelyard.models.recipes.mlp import MlpRecipe  # noqa: E402
from steelyard.models.recipes.robust import ROBUST, RobustCnn, RobustEncoder, RobustMlp  # noqa: E402
from steelyard.models.training.adversarial import Ball, attack  # noqa: E402


@pytest.fixture(scope="module")
def images() -> tuple[Sample, Sample]:
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(0).permutation(len(found.target))
    pixels, labels = (found.data[order] / 16).astype(np.float32), found.target[order]
    made = [
        replace(sample_from_arrays(pixels[part], labels[part]), modality=Modality.IMAGE)
        for part in (slice(0, 400), slice(400, 600))
    ]
    return (
        replace(made[0], inputs=pixels[:400].reshape(-1, 8, 8)),
        replace(made[1], inputs=pixels[400:600].reshape(-1, 8, 8)),
    )


def kept(network: Network, test: Sample, eps: float) -> tuple[float, float]:
    """Accuracy without and with the attack."""
    labels = torch.tensor(np.asarray(test.labels))
    ball = Ball(eps=eps, step=eps / 6)
    found = attack(network.module, network.prepare(test.inputs), labels, ball, steps=8, restarts=1)
    return float(found.clean.float().mean()), float(found.survived.float().mean())


@pytest.fixture(scope="module")
def plain(images: tuple[Sample, Sample]) -> tuple[float, float]:
    return kept(CnnRecipe(epochs=14, lr=6e-3, filters=8, dropout=0.0).fit(images[0], 0), images[1], 0.15)


@pytest.mark.parametrize(
    ("method", "steps", "epochs"), [("pgd", 4, 12), ("trades", 3, 12), ("awp", 3, 12), ("fast", 1, 20)]
)
def test_it_keeps_under_attack_what_the_plain_network_loses(
    method: str, steps: int, epochs: int, images: tuple[Sample, Sample], plain: tuple[float, float]
) -> None:
    recipe = RobustCnn(
        method=method, steps=steps, eps=0.15, step=0.06, epochs=epochs, filters=8, hidden=64, batch=50, lr=6e-3
    )
    network = recipe.fit(images[0], 0)
    clean, survived = kept(network, images[1], 0.15)
    assert plain[0] > 0.85
    assert clean > 0.8
    assert survived > plain[1] + 0.2
    assert network.curves is not None
    assert len(network.curves.epochs) == epochs
    if method == "fast":
        assert network.curves.column("pgd-accuracy")[-1] > plain[1] + 0.2


def test_a_collapse_is_said_and_the_weights_from_before_come_back(
    images: tuple[Sample, Sample], monkeypatch: pytest.MonkeyPatch
) -> None:
    from steelyard.models.training import adversarial

    train = replace(images[0], inputs=images[0].inputs[:300], labels=np.asarray(images[0].labels)[:300])
    honest, calls = adversarial.attack, []

    def broken(module: Any, *rest: Any, **more: Any) -> Any:
        found = honest(module, *rest, **more)
        calls.append({k: v.clone() for k, v in module.state_dict().items()})
        share = 0.9 if len(calls) < 3 else 0.0
        return replace(found, survived=torch.arange(len(found.survived)) < share * len(found.survived))

    monkeypatch.setattr(adversarial, "attack", broken)
    network = RobustCnn(method="fast", eps=0.15, epochs=6, ease=0.0, filters=4).fit(train, 0)
    assert network.curves is not None
    assert any("catastrophic overfitting in epoch 3" in note for note in network.curves.notes)
    assert len(calls) == 3
    for name, value in network.module.state_dict().items():
        assert torch.equal(value, calls[1][name])


def table(n: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, 3))
    word = rng.choice(["red", "green"], n)
    y = (x[:, 0] + (word == "red") + 0.3 * rng.normal(size=n) > 0.5).astype(int)
    return sample_from_arrays(pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "c": x[:, 2], "word": word}), y)


def test_tables_move_in_their_numbers_alone() -> None:
    train, test = table(500, 1), table(500, 2)
    recipe = RobustMlp(eps=0.3, step=0.1, steps=3, epochs=8, hidden=32)
    network = recipe.fit(train, 0)
    assert network.score(test.inputs, np.asarray(test.classes)[test.labels]) > 0.8
    ball = recipe.ball(network)
    assert ball.movable == 3
    assert ball.low == float("-inf")
    words = sample_from_arrays(pd.DataFrame({"word": ["red", "green"] * 50}), [1, 0] * 50)
    with pytest.raises(TargetError, match="no column is a number"):
        recipe.fit(words, 0)


def test_the_same_seed_gives_the_same_network() -> None:
    train = table(200, 1)
    recipe = RobustMlp(steps=2, epochs=3, hidden=8)
    first, again, other = (recipe.fit(train, seed).to_bytes() for seed in (1, 1, 2))
    assert first == again != other
    assert Network.from_bytes(first).predict(train.inputs).shape == (200,)


def texts(n: int, seed: int) -> Sample:
    rng = np.random.default_rng(seed)
    good, bad, dull = ["fine", "great", "lovely"], ["poor", "awful", "bad"], ["film", "the", "a", "plot", "is", "was"]
    y = rng.integers(0, 2, n)
    rows = [" ".join(rng.permutation([rng.choice(good if v else bad), *rng.choice(dull, 5)])) for v in y]
    sample = sample_from_arrays(np.arange(n, dtype=float)[:, None], y)
    return replace(sample, inputs=np.array(rows, dtype=object), modality=Modality.TEXT)


def test_freelb_learns_as_the_plain_encoder_does_and_ends_elsewhere() -> None:
    train, test = texts(300, 1), texts(200, 2)
    small: dict[str, Any] = {"epochs": 6, "width": 32, "layers": 1, "heads": 2, "length": 8, "lr": 2e-3, "dropout": 0.0}
    robust, plain = RobustEncoder(**small).fit(train, 0), EncoderRecipe(**small).fit(train, 0)
    answers = np.asarray(test.classes)[test.labels]
    assert robust.score(test.inputs, answers) > 0.9
    assert not np.allclose(robust.logits(test.inputs), plain.logits(test.inputs), atol=1e-3)


def test_the_stages_grow_and_add_up() -> None:
    for epochs in range(1, 40):
        stages = RobustMlp(epochs=epochs).stages()
        assert sum(n for _, n in stages) == epochs
        assert [share for share, _ in stages] == sorted(share for share, _ in stages)
        assert stages[-1][0] == 1.0
        assert all(n > 0 for _, n in stages)


@pytest.mark.parametrize(
    "settings",
    [{"method": "pdg"}, {"eps": 0.0}, {"eps": -1.0}, {"step": 0.0}, {"steps": 0}, {"ease": 1.0}, {"gamma": 0.0}],
)
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"robust/mlp: "):
        RobustMlp(**settings)


def test_text_has_one_method() -> None:
    with pytest.raises(PlanError, match="for text it is freelb"):
        RobustEncoder(method="pgd")


def test_the_tuple_holds_each_name_once() -> None:
    assert [recipe.id for recipe in ROBUST] == ["robust/mlp", "robust/cnn", "robust/encoder"]
    assert all(recipe.variant == "robust" for recipe in ROBUST)
    assert MlpRecipe().variant == "standard"
