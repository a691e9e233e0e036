"""Compressed networks: the codes, the masks, what the card says, and a network that comes back from its file."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.errors import PlanError, TargetError  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Capability, Modality  # noqa: E402
from steelyard.models.cache import ModelCache, train_reference  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.networks.network import Network  # noqa: E402
from steelyard.models.recipes.compressed import CompressedCnn, CompressedMlp  # noqa: E402
from steelyard.models.training.compress import dense_bytes, prune, quantise, sparse_bytes  # noqa: E402


@pytest.fixture(scope="module")
def images() -> Sample:
    from sklearn.datasets import load_digits

    found = load_digits()
    sample = sample_from_arrays(found.data[:900], found.target[:900])
    return replace(sample, inputs=(found.images[:900] / 16).astype(np.float32), modality=Modality.IMAGE)


def made(architecture: str, **config: Any) -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(architecture, **config).eval()


CNN = {"channels": 1, "height": 8, "width": 8, "classes": 10, "filters": 4, "hidden": 16}
MLP = {"inputs": 64, "classes": 10, "hidden": 16}


def test_codes_are_within_half_a_step_of_the_weights() -> None:
    module = made("cnn", **CNN)
    before = {name: p.detach().clone() for name, p in module.named_parameters() if p.dim() > 1}
    state = quantise(module).state_dict()
    for name, weight in before.items():
        codes, scale = state[name.replace("weight", "codes")], state[name.replace("weight", "scale")]
        assert codes.dtype == torch.int8
        assert scale.shape == weight.shape[:1]
        wide = scale.view(-1, *[1] * (weight.dim() - 1))
        assert float(((codes * wide - weight).abs() / wide).max()) <= 0.5 + 1e-4
        assert (codes.flatten(1).abs().amax(dim=1) == 127).all()  # each channel uses its whole range


def test_a_layer_gives_what_integer_arithmetic_gives() -> None:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        layer = torch.nn.Linear(20, 5)
        inputs = torch.randn(7, 20)
    weight, bias = layer.weight.detach().double().numpy(), layer.bias.detach().double().numpy()
    found = quantise(torch.nn.Sequential(layer))(inputs).detach().numpy()
    x = inputs.double().numpy()
    a, b = np.abs(x).max(axis=1) / 127, np.abs(weight).max(axis=1) / 127
    exact = np.rint(x / a[:, None]).astype(np.int64) @ np.rint(weight / b[:, None]).astype(np.int64).T  # in integers
    np.testing.assert_allclose(found, exact * a[:, None] * b + bias, atol=1e-5)


def test_a_row_is_rounded_by_itself_and_gradients_pass() -> None:
    module = quantise(made("cnn", **CNN))
    with torch.random.fork_rng():
        torch.manual_seed(2)
        inputs = torch.rand(6, 1, 8, 8)
    whole = module(inputs)
    torch.testing.assert_close(whole[:1], module(inputs[:1]), atol=1e-6, rtol=0)
    wanted = inputs.clone().requires_grad_()
    quantise(made("mlp", **MLP))(wanted).sum().backward()
    plain = inputs.clone().requires_grad_()
    made("mlp", **MLP)(plain).sum().backward()
    cosine = torch.nn.functional.cosine_similarity(wanted.grad.flatten(), plain.grad.flatten(), dim=0)
    assert cosine.item() > 0.98


def test_pruning_takes_exactly_the_smallest_share() -> None:
    module = made("mlp", inputs=10, classes=3, hidden=20)
    before = copy.deepcopy(module.state_dict())
    masks = prune(module, 0.7)
    flat = torch.cat([before[name].abs().flatten() for name in masks])
    gone = torch.cat([~mask.flatten() for mask in masks.values()])
    assert int(gone.sum()) == int(0.7 * len(flat))
    assert float(flat[gone].max()) <= float(flat[~gone].min())
    for name, value in module.state_dict().items():
        wanted = before[name] * masks[name] if name in masks else before[name]
        assert torch.equal(value, wanted)
    assert sparse_bytes(module) < 0.6 * dense_bytes(module)
    untouched = made("mlp", inputs=10, classes=3, hidden=20)
    prune(untouched, 0.0)
    assert all(torch.equal(before[name], value) for name, value in untouched.state_dict().items())
    with pytest.raises(TargetError, match="from 0 to below 1"):
        prune(module, 1.0)


def test_sizes_by_hand() -> None:
    layer = torch.nn.Linear(16, 4)
    assert dense_bytes(layer) == 4 * (64 + 4)
    with torch.no_grad():
        layer.weight.zero_()
        layer.weight[0, :6] = 1.0
        layer.bias.fill_(1.0)
    assert sparse_bytes(layer) == (6 * 4 + 8) + 16  # six numbers and 64 bits; the bias is dearer with bits than without
    assert dense_bytes(quantise(torch.nn.Sequential(layer))) == 64 + 4 * 4 + 4 * 4  # codes, scales, biases


@pytest.mark.parametrize(
    ("recipe", "smaller"),
    [
        (CompressedMlp(epochs=12, lr=3e-3, hidden=32), 0.35),
        (CompressedCnn(epochs=10, lr=8e-3, filters=4, hidden=32, dropout=0.0), 0.35),
        (CompressedMlp(epochs=12, lr=3e-3, hidden=32, method="pruned", share=0.6), 0.5),
    ],
)
def test_it_learns_decides_as_before_and_says_so(recipe: Any, smaller: float, images: Sample) -> None:
    network = recipe.fit(images, 0)
    assert network.score(images.inputs, np.asarray(images.classes)[np.asarray(images.labels)]) > 0.85
    last = network.curves.epochs[-1]
    assert last["agreement"] > 0.9
    assert last["agreement-low"] <= last["agreement"] <= last["agreement-high"]
    assert last["bytes-after"] < smaller * last["bytes-before"]
    assert "of 90 rows held back" in network.curves.notes[-1]
    again = Network.from_bytes(network.to_bytes())
    np.testing.assert_array_equal(again.logits(images.inputs), network.logits(images.inputs))
    assert again.embed(images.inputs[:5]).shape == (5, 32)
    if recipe.method == "pruned":
        weights = [p for p in network.module.parameters() if p.dim() > 1]
        zero = sum(int((p == 0).sum()) for p in weights) / sum(p.numel() for p in weights)
        assert zero == pytest.approx(0.6, abs=0.01)  # and they stayed so while the others were trained on
    else:
        assert len(network.to_bytes()) < 0.3 * last["bytes-before"] + 2000  # and the description in its head
        assert network.gradients(images.inputs[:3], np.zeros(3, dtype=np.int64)).any()


def test_a_network_cut_too_far_is_seen(images: Sample) -> None:
    """The planted fault: nearly all weights gone and nothing trained after it, so that the agreement is poor."""
    network = CompressedMlp(epochs=6, lr=3e-3, hidden=32, method="pruned", share=0.995, again=1).fit(images, 0)
    assert network.curves is not None
    assert network.curves.epochs[-1]["agreement-high"] < 0.9


@pytest.mark.parametrize("settings", [{"method": "zip"}, {"share": 1.0}, {"share": -0.1}, {"again": 0}])
def test_wrong_settings_are_one_clear_line(settings: dict[str, Any]) -> None:
    with pytest.raises(PlanError, match=r"compressed/mlp: "):
        CompressedMlp(**settings)


def test_what_has_no_weights_cannot_be_quantised() -> None:
    with pytest.raises(TargetError, match="no linear or convolution layer"):
        quantise(torch.nn.Sequential(torch.nn.ReLU()))


def test_it_is_kept_and_its_card_says_what_changed(images: Sample, tmp_path: Path) -> None:
    recipe, cache = CompressedMlp(epochs=3, lr=5e-3, hidden=16), ModelCache(folder=tmp_path)
    first, card = train_reference(recipe, images, 0, cache)
    again, kept = train_reference(recipe, images, 0, cache)
    assert not card.cached
    assert kept.cached
    assert kept.curves[-1]["bytes-after"] < kept.curves[-1]["bytes-before"]
    assert "rows held back" in kept.notes[-1]
    np.testing.assert_array_equal(first.predict_proba(images.inputs), again.predict_proba(images.inputs))
    assert {Capability.LOGITS, Capability.GRADIENTS, Capability.EMBED} <= again.capabilities
