"""A head on a body that stays as it is: the body's features are computed once, and the head is trained on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import joblib
import numpy as np
import torch
from torch import Tensor, nn

from steelyard.models.networks.by_length import by_length
from steelyard.models.networks.determinism import torch_threads
from steelyard.models.training.batches import Rows
from steelyard.models.training.curves import Curves
from steelyard.models.training.ensemble import Ensemble
from steelyard.models.training.loop import train_network
from steelyard.models.training.objective import Objective
from steelyard.models.training.settings import Settings
from steelyard.models.training.watch import keeping

__all__ = ["fixed_features", "train_head", "train_heads"]

_AT_ONCE = 64  # rows of one pass through the body


def fixed_features(module: nn.Module, rows: Rows, device: str = "auto") -> Tensor:
    """(n, d) what the head of `module` sees of each row, in evaluation mode; `module` ends on the CPU.

    Short texts go through together, so that little of a batch is padding. A row's features depend on the batch it is in
    by rounding alone.
    """
    name = "cuda" if torch.cuda.is_available() else "cpu"
    where = torch.device(name if device == "auto" else device)
    ask: Any = module.eval().to(where)

    def seen(inputs: Tensor) -> Tensor:
        features: Tensor = ask.features(inputs.to(where)).float().cpu()
        return features

    with torch_threads(), torch.no_grad():
        if rows.pad is None:
            found = torch.cat([seen(part) for part in rows.inputs.split(_AT_ONCE)])
        else:
            found = by_length(rows.inputs, seen, pad=rows.pad, batch=_AT_ONCE)
    module.to("cpu")
    return found


def train_head(
    dropout: nn.Module, head: nn.Module, features: Tensor, rows: Rows, settings: Settings, *, seed: int, what: Objective
) -> Curves:
    """Train `head` in place on the `features` (n, d) of `rows`, behind `dropout`; see `train_network`."""
    seen = replace(rows, inputs=features, pad=None)
    return train_network(nn.Sequential(dropout, head), seen, replace(settings, augment=None), seed=seed, objective=what)


def train_heads(
    new_head: Callable[[int], nn.Module],
    dropout: nn.Module,
    features: Tensor,
    parts: Sequence[Rows],
    places: Sequence[Tensor],
    settings: Settings,
    *,
    seeds: Sequence[int],
    what: Objective,
    jobs: int = 1,
) -> Ensemble:
    """K heads, the k-th `new_head(seeds[k])` trained on `parts[k]`, whose rows have the features at `places[k]`.

    One after another by the one loop, with all that it knows (schedules, early stopping, weights): a step of one linear
    layer is so short that the body's one pass over the rows takes most of the time. `jobs` are processes.
    """
    work = (
        joblib.delayed(_one)(new_head(seed), dropout, features[place], part, settings, seed, what)
        for part, place, seed in zip(parts, places, seeds, strict=True)
    )
    found = list(joblib.Parallel(n_jobs=jobs)(work))
    losses = np.full((max(len(curve) for _, curve in found), len(found)), np.nan)  # NaN: it had stopped by then
    for k, (_, curve) in enumerate(found):
        losses[: len(curve), k] = curve
    state = {name: torch.stack([own[name] for own, _ in found]) for name in found[0][0]}
    return Ensemble(module=new_head(seeds[0]).eval(), state=state, losses=losses, way="loop")


def _one(
    head: nn.Module, dropout: nn.Module, features: Tensor, rows: Rows, settings: Settings, seed: int, what: Objective
) -> tuple[dict[str, Tensor], tuple[float, ...]]:
    with keeping(None):  # a head is trained again in less time than it takes to look for its checkpoint
        curves = train_head(dropout, head, features, rows, settings, seed=seed, what=what)
    return {name: value.detach() for name, value in head.state_dict().items()}, curves.column("loss")
