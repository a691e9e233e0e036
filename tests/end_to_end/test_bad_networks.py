"""A network, an image or a budget that does not fit is one clear line and exit 2, before anything is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

NETS = """
from torch import nn

def load():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 3))

def wide():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))

def unborn():
    return nn.Sequential(nn.Flatten(), nn.LazyLinear(3))
"""
NETWORK = {"kind": "torch", "path": "net.py", "factory": "load", "weights": "w.safetensors"}
MLP = {"kind": "recipe", "name": "mlp", "settings": {"epochs": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    images, labels = rng.random((200, 8, 8)).astype(np.float32), np.arange(200) % 3
    np.savez(tmp_path / "train.npz", images=images, y=labels)
    np.savez(tmp_path / "test.npz", images=images[:80], y=labels[:80])
    np.savez(tmp_path / "larger.npz", images=rng.random((80, 10, 10)).astype(np.float32), y=labels[:80])
    np.savez(tmp_path / "more.npz", images=images[:80], y=np.arange(80) % 5)
    np.savez(tmp_path / "bright.npz", images=images * 300, y=labels)
    (tmp_path / "net.py").write_text(NETS)
    for name, rows in (("w", 3), ("wide", 7)):
        weights = {"1.weight": torch.zeros(rows, 64), "1.bias": torch.zeros(rows)}
        safetensors.save_file(weights, tmp_path / f"{name}.safetensors")
    return tmp_path


CASES = {
    "a checkpoint of another architecture": (
        NETWORK | {"weights": "wide.safetensors"}, {},
        "wide.safetensors: does not fit the network: 1.weight is (7, 64) in the file and (3, 64) in the network",
    ),
    "more outputs than classes": (
        NETWORK | {"factory": "wide", "weights": "wide.safetensors"}, {}, "gives 7 outputs, and the data has 3 classes",
    ),
    "layers without a size": (
        NETWORK | {"factory": "unborn"}, {}, "net.py: returned a network whose 1.weight has no size yet",
    ),
    "images of another size": (NETWORK, {"test": "larger.npz"}, "does not take inputs of the shape (n, 1, 10, 10)"),
    "images of another size than trained on": (MLP, {"test": "larger.npz"}, "was trained on images of (8, 8)"),
    "labels that training did not have": (
        MLP, {"test": "more.npz"}, "more.npz: the label 'y' has values that the other data have not: '3', '4'",
    ),
    "pixels out of range": (MLP, {"train": "bright.npz"}, "bright.npz: its pixels run from"),
    "an ε out of reach": (
        {"kind": "recipe", "name": "mlp", "variant": "private", "settings": {"epochs": 1, "epsilon": 1e-4}}, {},
        "ε = 0.0001 at δ = 1e-05 cannot be reached",
    ),
    "an encoder for images": ({"kind": "recipe", "name": "encoder"}, {}, "network/encoder: is for text data"),
    "a fine-tuning of nothing": ({"kind": "recipe", "name": "fine-tune"}, {}, "network/fine-tune has no base"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_does_not_fit_is_one_line(case: str, folder: Path, steelyard: Callable[..., Any]) -> None:
    target, data, line = CASES[case]
    if "ε" in case:
        pytest.importorskip("opacus")
    plan = {
        "target": target,
        "data": {"train": "train.npz", "test": "test.npz", "label": "y", **data},
        "probes": ["quality.performance"],
        "gates": [{"metric": "quality.accuracy", "min": 0.1}],
    }
    found = steelyard("run", "--out", "r", plan=plan)
    assert found.code == 2
    assert line in found.err
    assert found.err.startswith("steelyard: error: ")
    assert found.err.count("\n") == 1
    assert not (folder / "r").exists()
