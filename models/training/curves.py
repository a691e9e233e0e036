"""What a training leaves behind besides the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steelyard.audit.canonical import FrozenMap

__all__ = ["Curves"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Curves:
    """One mapping of names to numbers for each epoch (loss, rate, with early stopping validation-loss), and remarks.

    `seconds` are CPU-seconds, `peak_memory` MiB: on CUDA of the device's memory, else of the whole process so far.
    `batch` is how many rows went through at once in the end, `best` the epoch (from 1) whose weights were kept.
    """

    epochs: tuple[Mapping[str, float], ...]
    notes: tuple[str, ...] = ()
    seconds: float = 0.0
    peak_memory: float = 0.0
    device: str = "cpu"
    precision: str = "fp32"
    batch: int = 0
    best: int = 0
    resumed: int = 0  # how many epochs were already done when a checkpoint was taken up

    def __post_init__(self) -> None:
        object.__setattr__(self, "epochs", tuple(FrozenMap(epoch) for epoch in self.epochs))

    def column(self, name: str) -> tuple[float, ...]:
        """One number of each epoch that has it."""
        return tuple(epoch[name] for epoch in self.epochs if name in epoch)
