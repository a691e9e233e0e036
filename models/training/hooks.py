"""Where other ways to train take part in the loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from steelyard.models.training.batches import Batch
from steelyard.models.training.objective import Objective

__all__ = ["Backward", "EpochHook", "Hooks", "StepHook"]

Backward = Callable[[Tensor], None]
StepHook = Callable[[nn.Module, Batch, Objective, Backward], Tensor]
EpochHook = Callable[[nn.Module, int], Mapping[str, float] | str | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hooks:
    """Where other ways to train take part.

    `step` does what one batch needs in the place of `backward(objective(module, batch))`, and returns the loss: a
    weight perturbation or several ascents (call `backward` once or more; the gradients add up). `after_step` is called
    when the weights have moved; `after_epoch` with the module and the epoch (from 1): what it returns joins the curves,
    and a string stops the training and is noted.
    """

    step: StepHook | None = None
    after_step: Callable[[nn.Module], None] | None = None
    after_epoch: EpochHook | None = None
