"""Rebuild a training picture from the gradient that it gave: the torch part."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import NotApplicable

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["Opened", "opened", "rebuild", "shared_gradient"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Opened:
    """The torch module behind a target; `tensor` makes its input of pictures, `column[c]` is its output for class c."""

    module: Any
    tensor: Callable[[Any], torch.Tensor]
    column: NDArray[np.int64]


def opened(target: Any, classes: int) -> Opened:
    """The module behind `target`, in evaluation mode. NotApplicable where there is none with parameters."""
    import numpy as np
    import torch

    inner = getattr(target, "model", None) or target
    order = getattr(inner, "order", None)
    column = np.arange(classes) if order is None else np.asarray(order, dtype=np.int64)
    engine, network = getattr(inner, "engine", None), getattr(inner, "model", None)
    if engine is not None and hasattr(engine, "form"):
        dtype, form = engine.dtype, engine.form

        def tensor(images: Any) -> torch.Tensor:
            array = np.asarray(images)
            if form == "with a channel axis":
                array = array[:, None]
            return torch.tensor(array.reshape(len(array), -1) if form == "flattened" else array, dtype=dtype)

        module = engine.module
    elif callable(getattr(network, "prepare", None)):
        module, tensor = getattr(network, "module", None), getattr(network, "prepare", None)  # type: ignore[assignment]
    else:
        module = None
    if not isinstance(module, torch.nn.Module) or not any(p.requires_grad for p in module.parameters()):
        raise NotApplicable("there is no torch module with parameters behind the model")
    return Opened(module=module.eval(), tensor=tensor, column=column)


def shared_gradient(module: Any, x: torch.Tensor, labels: torch.Tensor, *, graph: bool = False) -> list[torch.Tensor]:
    """Of the mean cross-entropy of a batch, one for each parameter: what a client of federated learning hands over."""
    import torch

    loss = torch.nn.functional.cross_entropy(module(x), labels)
    weights = [p for p in module.parameters() if p.requires_grad]
    return list(torch.autograd.grad(loss, weights, create_graph=graph))


def rebuild(
    module: Any,
    gradient: list[torch.Tensor],
    labels: torch.Tensor,
    shape: tuple[int, ...],
    *,
    bounds: tuple[float, float],
    steps: int,
    smooth: float,
    seed: int,
) -> torch.Tensor:
    """(batch, …) inputs whose gradient at `labels` points as `gradient` does.

    Descends 1 − cos(gradient(x), gradient) + `smooth` · total variation by Adam on signs, the rate falling from .1 of
    the range, x kept within `bounds`: Geiping et al. 2020, arXiv:2003.14053. The global generator is left alone.
    """
    import torch

    low, high = bounds
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=gradient[0].dtype)
    x = ((low + high) / 2 + (high - low) / 10 * noise).clamp(low, high).requires_grad_(True)
    optimiser = torch.optim.Adam([x], lr=0.1 * (high - low))
    fall = torch.optim.lr_scheduler.MultiStepLR(optimiser, [int(steps * f) for f in (0.375, 0.625, 0.875)], 0.1)
    size = torch.sqrt(sum((g.square().sum() for g in gradient), torch.zeros(())))
    with torch.enable_grad():
        for _ in range(steps):
            mine = shared_gradient(module, x, labels, graph=True)
            dot = sum(((a * b).sum() for a, b in zip(mine, gradient, strict=True)), torch.zeros(()))
            own = torch.sqrt(sum((a.square().sum() for a in mine), torch.zeros(())) + 1e-20)
            cost = 1 - dot / (own * size + 1e-20) + smooth * _variation(x)
            (x.grad,) = torch.autograd.grad(cost, x)
            x.grad.sign_()
            optimiser.step()
            fall.step()
            with torch.no_grad():
                x.clamp_(low, high)
    return x.detach()


def _variation(x: torch.Tensor) -> torch.Tensor:
    """Mean absolute difference of neighbouring pixels; 0 for inputs that are vectors."""
    import torch

    if x.ndim < 3:
        return torch.zeros((), dtype=x.dtype)
    return x.diff(dim=-1).abs().mean() + x.diff(dim=-2).abs().mean()
