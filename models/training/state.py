"""How far a training is, and what makes it this one and no other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from steelyard.models.training.settings import Settings

__all__ = ["State", "identity"]


@dataclass(slots=True)
class State:
    """How far a training is; all of it goes into the checkpoint."""

    epoch: int = 0  # done
    step: int = 0  # done in the current epoch
    total: float = 0.0  # Σ weight · loss of the current epoch
    weight: float = 0.0
    best_loss: float = math.inf
    best: int = 0
    waited: int = 0
    batch: int = 0
    stopped: bool = False
    epochs: list[dict[str, float]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0


def identity(settings: Settings, numbers: Sequence[int], functions: Sequence[Any]) -> list[Any]:
    """Plain values that tell one training from another, the same in another process."""
    own = [[name, getattr(settings, name)] for name in settings.__dataclass_fields__ if name != "track"]
    plain = [[name, v if isinstance(v, (str, int, float, type(None))) else repr(v)] for name, v in own]
    return [plain, list(numbers), [_named(function) for function in functions]]


def _named(what: Any) -> str:
    """A name for a function or a frozen dataclass that is the same in another process."""
    if what is None or isinstance(what, nn.Module):
        return type(what).__name__
    name = getattr(what, "__qualname__", None)
    return f"{what.__module__}.{name}" if name else repr(what)
