"""The card of a reference: how it came to be, and what that cost."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.types import Scalar

__all__ = ["TrainingCard", "environment"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingCard:
    """How a reference came to be. `metrics` are on the training rows (accuracy, R² or perplexity), so they flatter it.

    `seconds` are CPU-seconds of the training, `cached` whether this call found it ready; neither is in the fingerprint.
    `curves` has one mapping for each epoch of a network (loss, rate …), `data` is the fingerprint of the training rows,
    `environment` the versions and the device it was trained with, `cost` its seconds and its peak memory in MiB.
    """

    recipe: str
    fingerprint: str
    settings: Mapping[str, Scalar]
    seed: int
    n_train: int
    seconds: float
    metrics: Mapping[str, float]
    notes: tuple[str, ...] = ()
    cached: bool = False
    curves: tuple[Mapping[str, float], ...] = ()
    data: str = ""
    environment: Mapping[str, str] = FrozenMap()
    cost: Mapping[str, float] = FrozenMap()

    def __post_init__(self) -> None:
        for name in ("settings", "metrics", "environment", "cost"):
            object.__setattr__(self, name, FrozenMap(getattr(self, name)))
        object.__setattr__(self, "notes", tuple(self.notes))
        object.__setattr__(self, "curves", tuple(FrozenMap(epoch) for epoch in self.curves))

    def plain(self) -> dict[str, Any]:
        """Dicts, lists and scalars, for JSON; `TrainingCard(**…)` reads them again."""
        own = {**asdict(self), **{name: dict(getattr(self, name)) for name in _MAPPINGS}}
        return {**own, "curves": [dict(epoch) for epoch in self.curves]}


_MAPPINGS = ("settings", "metrics", "environment", "cost")


def environment(libraries: Sequence[str], device: str) -> dict[str, str]:
    """The versions of Python, of `libraries` and of what every recipe uses, the machine's kind, and the device."""
    from importlib.metadata import version

    names = dict.fromkeys(("steelyard", "numpy", "scikit-learn", *libraries))
    versions = {name: version(name) for name in names}
    return {"python": platform.python_version(), "machine": platform.machine(), "device": device, **versions}
