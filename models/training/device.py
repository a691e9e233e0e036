"""Where a network is trained and what moves its weights: Accelerate's view of the machine, and the optimizer."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from steelyard.audit.errors import TargetError
from steelyard.models.training.settings import Settings

__all__ = ["new_accelerator", "new_optimizer"]


def new_accelerator(settings: Settings) -> Any:
    """Accelerate's view of the machine. Its state is global: outside a distributed run each training makes its own."""
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState, GradientState, PartialState

    if settings.device == "cuda" and not torch.cuda.is_available():
        raise TargetError("there is no CUDA device", where="settings.device", hint="write device: auto or cpu")
    if PartialState._shared_state.get("num_processes", 1) == 1 or not PartialState._shared_state:
        AcceleratorState._reset_state(reset_partial_state=True)
        GradientState._reset_state()
    bf16 = settings.precision == "bf16"
    if settings.precision == "auto" and settings.device != "cpu" and torch.cuda.is_available():
        bf16 = torch.cuda.is_bf16_supported()
    return Accelerator(cpu=settings.device == "cpu", mixed_precision="bf16" if bf16 else "no")


def new_optimizer(module: nn.Module, settings: Settings) -> torch.optim.Optimizer:
    """Adam, AdamW or SGD with momentum 0.9 over all weights that learn; decay is for matrices, not biases and norms."""
    wanted = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in wanted if p.ndim > 1], "weight_decay": settings.weight_decay},
        {"params": [p for p in wanted if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group for group in groups if group["params"]]
    if settings.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=settings.lr, momentum=0.9)
    kind = torch.optim.AdamW if settings.optimizer == "adamw" else torch.optim.Adam
    return kind(groups, lr=settings.lr)
