"""How a network is trained, checked when it is made; none of it needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

from steelyard.audit.errors import PlanError

if TYPE_CHECKING:
    from steelyard.models.training.augment import Augment

__all__ = ["Device", "Optimizer", "Precision", "Schedule", "Settings"]

Optimizer = Literal["adam", "adamw", "sgd"]
Schedule = Literal["constant", "cosine", "linear"]
Precision = Literal["auto", "fp32", "bf16"]
Device = Literal["auto", "cpu", "cuda"]
_CHOICES = {"optimizer": Optimizer, "schedule": Schedule, "precision": Precision, "device": Device}
_WHOLE = ("epochs", "batch", "accumulate", "threads", "patience")
_AT_LEAST = {  # the least value of each number
    **dict.fromkeys(("epochs", "batch", "accumulate", "threads"), 1),
    **dict.fromkeys(("lr", "weight_decay", "l1", "clip", "patience", "dropout", "warmup", "validation"), 0),
    "label_smoothing": 0,
}
_MOST = 1e6  # beyond it a product with a weight overflows, which would come as an error without a name
_BELOW_ONE = ("dropout", "warmup", "validation", "label_smoothing")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """`batch` rows go through at once, `accumulate` batches into one step. `warmup` is a share of all steps.

    `weight_decay` is L2 (decoupled with adamw), `l1` the penalty on absolute weights; neither touches biases and norms.
    `dropout` replaces that of the architecture where it is given. `balance` weighs each class alike. `clip` bounds the
    gradient's norm, 0 does not. With `patience` epochs without a better loss on the `validation` share that is held
    back, training stops, and the best epoch's weights are kept. `precision` auto is bf16 on a CUDA device that has it.
    """

    epochs: int = 10
    batch: int = 64
    lr: float = 1e-3
    optimizer: Optimizer = "adam"
    weight_decay: float = 0.0
    l1: float = 0.0
    dropout: float | None = None
    warmup: float = 0.0
    schedule: Schedule = "constant"
    label_smoothing: float = 0.0
    balance: bool = False
    clip: float = 0.0
    accumulate: int = 1
    patience: int = 0
    validation: float = 0.1
    precision: Precision = "auto"
    device: Device = "auto"
    threads: int = 1
    augment: Augment | None = None
    track: str = ""  # tensorboard or mlflow, beside the JSON lines

    def __post_init__(self) -> None:
        for name, least in _AT_LEAST.items():
            value = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise PlanError(f"{name} is {value!r}, not a number", where="settings")
            if name in _WHOLE and not isinstance(value, int):
                raise PlanError(f"{name} is {value!r}, not a whole number", where="settings")
            if not least <= value <= _MOST or (name in _BELOW_ONE and not value < 1):
                allowed = f"from {least} to below 1" if name in _BELOW_ONE else f"at least {least}"
                allowed += ", at most a million" if value > _MOST else ""
                raise PlanError(f"{name} is {value!r}", where="settings", hint=f"it is {allowed}")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in get_args(choices):
                known = ", ".join(get_args(choices))
                raise PlanError(f"{name} is {getattr(self, name)!r}", where="settings", hint=f"it is one of {known}")
        if self.track not in {"", "tensorboard", "mlflow"}:
            raise PlanError(f"track is {self.track!r}", where="settings", hint="it is tensorboard or mlflow")
