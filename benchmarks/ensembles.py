"""64 shadow models trained as one program, beside the same PyTorch loop over 64 models with the default Adam.

The loop is written here and not taken from the file under test. It trains 8 models, and 64 are reckoned from them: each
does the same work. Seconds are CPU-seconds on one thread; the two take turns, and the medians are compared.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

MODELS, LOOPED, EPOCHS, BATCH, ROUNDS = 64, 8, 10, 64, 3


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    import torch

    torch.set_num_threads(1)
    inputs, labels = _digits()
    members = np.zeros((MODELS, len(labels)), dtype=bool)
    rng = np.random.default_rng(0)
    for own in members:
        own[rng.choice(len(labels), len(labels) // 2, replace=False)] = True
    mlp = _compare(_mlp, inputs, labels, members, MODELS)
    cnn = _compare(_cnn, inputs, labels, members[:8], 8)
    return [
        {
            "name": "64 shadow MLPs on digits, batched",
            "value": mlp[0],
            "unit": "CPU-s",
            "target": None,
            "ok": True,
            "peer": mlp[1],
            "ratio": mlp[1] / mlp[0],
        },
        _ratio("shadow MLPs, times faster than a loop", mlp, 5.0),
        _ratio("shadow CNNs, times faster than a loop", cnn, None),
    ]


def _ratio(name: str, times: tuple[float, float], target: float | None) -> dict[str, Any]:
    value = times[1] / times[0]
    ok = target is None or value >= target
    return {"name": name, "value": value, "unit": "x", "target": target, "ok": ok, "higher": True}


def _compare(
    build: Callable[[], Any], inputs: Any, labels: Any, members: np.ndarray, models: int
) -> tuple[float, float]:
    """Median CPU-seconds of the batch, and of a loop over as many models."""
    looped = min(LOOPED, models)
    for warm in (True, False):
        pairs = [
            (_batched(build, inputs, labels, members), _loop(build, inputs, labels, members[:looped]) * models / looped)
            for _ in range(1 if warm else ROUNDS)
        ]
    return statistics.median(pair[0] for pair in pairs), statistics.median(pair[1] for pair in pairs)


def _digits() -> tuple[Any, Any]:
    import torch
    from sklearn.datasets import load_digits

    found = load_digits()
    return torch.tensor(found.data / 16, dtype=torch.float32), torch.tensor(found.target)


def _mlp() -> Any:
    from torch import nn

    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))


def _cnn() -> Any:
    from torch import nn

    layers = [nn.Unflatten(1, (1, 8, 8)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)]
    layers += [nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 10))


def _batched(build: Callable[[], Any], inputs: Any, labels: Any, members: np.ndarray) -> float:
    from steelyard.models.training.ensemble import EnsembleSettings, train_ensemble

    how = EnsembleSettings(epochs=EPOCHS, batch=BATCH, way="batched", device="cpu")
    start = time.process_time()
    found = train_ensemble(build, inputs, labels, members, seeds=range(len(members)), settings=how)
    spent = time.process_time() - start
    if not found.losses[-1].max() < found.losses[0].min():
        raise RuntimeError("the benchmark did not do its work")
    return spent


def _loop(build: Callable[[], Any], inputs: Any, labels: Any, members: np.ndarray) -> float:
    import torch

    start = time.process_time()
    for own in members:
        rows = torch.from_numpy(np.flatnonzero(own))
        module = build()
        optimizer = torch.optim.Adam(module.parameters())
        for _ in range(EPOCHS):
            for batch in rows[torch.randperm(len(rows))].split(BATCH):
                optimizer.zero_grad()
                torch.nn.functional.cross_entropy(module(inputs[batch]), labels[batch]).backward()
                optimizer.step()
    return time.process_time() - start


if __name__ == "__main__":
    for line in main():
        print(f"{line['name']}: {line['value']:.4g} {line['unit']} (target {line['target']}, ok {line['ok']})")
