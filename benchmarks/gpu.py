"""What a CUDA device brings: batched shadow models, adversarial training and bf16, each as a ratio in one run.

Wall-clock seconds here: a GPU's work is not in the process's CPU-seconds. Without a device one row says so.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

MODELS = 64


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    import torch

    if not torch.cuda.is_available():
        return [_row("no CUDA device here: nothing was measured", None, "")]
    torch.set_num_threads(1)
    rows = [_row(f"device: {torch.cuda.get_device_name()}", None, "")]
    rows += _ensembles()
    rows += _recipe("adversarial training of the strided CNN", "robust/cnn", {"epochs": 3}, ("cpu", "cuda"), "device")
    rows += _recipe(
        "CNN in bf16 beside fp32", "network/cnn", {"epochs": 6, "device": "cuda"}, ("fp32", "bf16"), "precision"
    )
    return rows


def _row(name: str, value: float | None, unit: str, peer: float | None = None) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name, "value": value, "unit": unit, "target": None, "ok": True}
    if value is not None and peer is not None:
        row |= {"peer": peer, "ratio": peer / value}
    return row


def _timed(work: Callable[[], Any]) -> float:
    import torch

    work()
    torch.cuda.synchronize()
    started = time.perf_counter()
    work()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def _ensembles() -> list[dict[str, Any]]:
    import torch
    from torch import nn

    from steelyard.models.training.ensemble import EnsembleSettings, train_ensemble

    rng = np.random.default_rng(0)
    inputs = torch.tensor(rng.normal(size=(2000, 64)), dtype=torch.float32)
    labels = torch.tensor(rng.integers(0, 10, 2000))
    members = rng.random((MODELS, 2000)) < 0.5

    def run(device: str, way: str) -> Callable[[], Any]:
        def work() -> Any:
            def build() -> nn.Module:
                return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))

            settings = EnsembleSettings(epochs=5, way=way, device=device)  # type: ignore[arg-type]
            return train_ensemble(build, inputs, labels, members, seeds=range(MODELS), settings=settings)

        return work

    batched, loop = _timed(run("cuda", "batched")), _timed(run("cuda", "loop"))
    cpu = _timed(run("cpu", "batched"))
    return [
        _row(f"{MODELS} MLPs batched on the device, beside a loop there", batched, "s", loop),
        _row(f"{MODELS} MLPs batched on the device, beside batched on the CPU", batched, "s", cpu),
    ]


def _recipe(
    title: str, name: str, settings: dict[str, Any], choices: tuple[str, str], key: str
) -> list[dict[str, Any]]:
    from pathlib import Path

    from steelyard.audit.plan import DataPart
    from steelyard.models.cache import ModelCache, train_reference
    from steelyard.models.data.load import load_samples
    from steelyard.models.recipes.registry import resolve

    samples = load_samples(DataPart(dataset="digits-images"), target=None, base=Path())

    def run(choice: str) -> Callable[[], Any]:
        (recipe,) = resolve(name, settings={**settings, key: choice})
        return lambda: train_reference(recipe, samples.train, 0, ModelCache(folder=None), sample=samples.test)

    slow, fast = (_timed(run(choice)) for choice in choices)
    return [_row(title, fast, "s", slow)]
