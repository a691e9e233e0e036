"""Smaller networks from trained ones: weights in 8 bits, or the smallest of them set to nothing."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.networks.architectures import build

__all__ = ["Quantised", "dense_bytes", "prune", "quantise", "sparse_bytes"]

_LEVELS = 127  # symmetric: −127 … 127, so that 0 is exact


class _Int8(nn.Module):
    """A layer whose weight is int8 with one scale for each output: weight ≈ `codes` · `scale`.

    Inputs are brought to 8 bits as they come, with one scale for each row ("dynamic"). The arithmetic is that of
    integers, carried out in float32; gradients pass the rounding as if it were not there (Bengio et al. 2013,
    arXiv:1308.3432).
    """

    codes: Tensor
    bias: Tensor | None

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        weight = layer.weight.detach()
        scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / _LEVELS  # (out,)
        wide = scale.view(-1, *[1] * (weight.dim() - 1))
        self.register_buffer("codes", (weight / wide).round().to(torch.int8))
        self.scale = nn.Parameter(scale, requires_grad=False)
        self.register_buffer("bias", None if layer.bias is None else layer.bias.detach().clone())

    def rounded(self, inputs: Tensor, axes: tuple[int, ...]) -> Tensor:
        """The inputs in steps of their largest absolute value / 127, over the axes that share a scale."""
        step = inputs.detach().abs().amax(dim=axes, keepdim=True).clamp(min=1e-12) / _LEVELS
        return inputs + ((inputs / step).round() * step - inputs).detach()


class _Int8Linear(_Int8):
    def forward(self, inputs: Tensor) -> Tensor:
        """(…, in) → (…, out)."""
        weight = self.codes.to(inputs.dtype) * self.scale[:, None]
        return nn.functional.linear(self.rounded(inputs, (-1,)), weight, self.bias)


class _Int8Conv2d(_Int8):
    def __init__(self, layer: nn.Conv2d) -> None:
        super().__init__(layer)
        if layer.padding_mode != "zeros":
            raise TargetError(f"padding {layer.padding_mode!r} cannot be quantised", where="compressed")
        self.how = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.groups = layer.groups

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, in, h, w) → (n, out, h', w')."""
        weight = self.codes.to(inputs.dtype) * self.scale[:, None, None, None]
        rounded = self.rounded(inputs, (1, 2, 3))
        return nn.functional.conv2d(rounded, weight, self.bias, groups=self.groups, **self.how)


def quantise(module: nn.Module) -> nn.Module:
    """Replace every linear and 2-d convolution layer of `module`, in place, by one with int8 weights.

    Jacob et al. 2018, arXiv:1712.05877, symmetric, one scale for each output channel. An error of a weight is at most
    half a step: max |w| of its channel / 254. Raises TargetError where there is no such layer.
    """
    found = 0
    for parent in list(module.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, _Int8Linear(child))
                found += 1
            elif type(child) is nn.Conv2d:
                setattr(parent, name, _Int8Conv2d(child))
                found += 1
    if not found:
        raise TargetError("has no linear or convolution layer to quantise", where="compressed")
    return module


class Quantised(nn.Module):
    """The architecture `of`, quantised: rebuilt from its configuration, it takes a quantised state dict."""

    def __init__(self, *, of: str, **config: Any) -> None:
        super().__init__()
        self.inner = quantise(build(of, **config))

    @property
    def head(self) -> nn.Module:
        """The layer that gives the logits."""
        head: nn.Module = self.inner.head
        return head

    def features(self, inputs: Tensor) -> Tensor:
        """(n, d) what the head sees."""
        found: Tensor = self.inner.features(inputs)
        return found

    def forward(self, inputs: Tensor) -> Tensor:
        """(n, classes) logits."""
        logits: Tensor = self.inner(inputs)
        return logits


def prune(module: nn.Module, share: float) -> dict[str, Tensor]:
    """Set the `share` of all weights that is smallest in absolute value to 0, in place; the masks of those kept.

    Global magnitude pruning: Han et al. 2015, arXiv:1506.02626, with one threshold for all layers. Biases and norms
    are not touched. Exactly ⌊share · weights⌋ are set to 0, ties by place. `share` is from 0 to below 1.
    """
    if not 0 <= share < 1:
        raise TargetError(f"share is {share}", where="compressed", hint="it is from 0 to below 1")
    weights = {name: p for name, p in module.named_parameters() if p.dim() > 1}
    flat = torch.cat([p.detach().abs().flatten() for p in weights.values()])
    kept = torch.ones_like(flat, dtype=torch.bool)
    kept[flat.argsort(stable=True)[: int(share * len(flat))]] = False
    masks = {}
    for (name, p), mask in zip(weights.items(), kept.split([p.numel() for p in weights.values()]), strict=True):
        masks[name] = mask.view_as(p)
        with torch.no_grad():
            p.mul_(masks[name])
    return masks


def dense_bytes(module: nn.Module) -> int:
    """The bytes of all parameters and buffers as they are."""
    return sum(value.numel() * value.element_size() for value in module.state_dict().values())


def sparse_bytes(module: nn.Module) -> int:
    """The bytes where each number that is not 0 is kept in full, and one bit for each place says whether it is."""
    total = 0
    for value in module.state_dict().values():
        places = -(-value.numel() // 8)
        total += min(int(value.count_nonzero()) * value.element_size() + places, value.numel() * value.element_size())
    return total
