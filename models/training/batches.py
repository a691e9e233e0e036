"""The rows a network learns from, and the batches they come in."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import torch_generator

__all__ = ["Batch", "Rows"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Batch:
    """Some rows on the device: `inputs` (b, …), `labels` (b,), `weights` (b,), `groups` (b,) or None, `rows` (b,).

    `rows` are their places among all rows. `smoothing` is the label smoothing that `objective.row_losses` applies.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor
    groups: Tensor | None
    rows: Tensor
    smoothing: float = 0.0

    def __len__(self) -> int:
        return len(self.inputs)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Rows:
    """Prepared training rows: `inputs` (n, …), `labels` (n,) class codes, numbers or whatever the objective reads.

    `weights` (n,) are positive, `groups` (n,) codes. `pad` is the token id that fills short rows of text: a batch is
    cut to its longest.
    """

    inputs: Tensor
    labels: Tensor
    weights: Tensor | None = None
    groups: Tensor | None = None
    pad: int | None = None

    def __post_init__(self) -> None:
        if len(self.inputs) == 0:
            raise TargetError("there are no rows to learn from")
        for name in ("labels", "weights", "groups"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.inputs):
                raise TargetError(f"{len(value):,} {name} do not fit {len(self.inputs):,} rows")

    def __len__(self) -> int:
        return len(self.inputs)

    def take(self, rows: Tensor) -> Rows:
        """Those of the rows whose places are `rows` (k,)."""
        return replace(
            self,
            inputs=self.inputs[rows],
            labels=self.labels[rows],
            weights=None if self.weights is None else self.weights[rows],
            groups=None if self.groups is None else self.groups[rows],
        )

    def batch(self, rows: Tensor, device: torch.device | str = "cpu", smoothing: float = 0.0) -> Batch:
        """The rows at `rows` (b,) on `device`."""
        inputs, labels = self.inputs[rows], self.labels[rows]
        if self.pad is not None:
            longest = max(1, int((inputs != self.pad).sum(1).max()))
            inputs = inputs[:, :longest]
            labels = labels[:, :longest] if labels.ndim > 1 else labels
        weights = torch.ones(len(rows)) if self.weights is None else self.weights[rows]
        return Batch(
            inputs=inputs.to(device),
            labels=labels.to(device),
            weights=weights.to(device),
            groups=None if self.groups is None else self.groups[rows].to(device),
            rows=rows.to(device),
            smoothing=smoothing,
        )

    def order(self, seed: int, epoch: int) -> Tensor:
        """(n,) the order of the rows in the `epoch`-th pass."""
        return torch.randperm(len(self), generator=torch_generator(seed, f"order:{epoch}"))

    def split(self, share: float, seed: int) -> tuple[Rows, Rows]:
        """All but a random `share` of the rows, and that share: at least one row each."""
        held = min(max(1, round(share * len(self))), len(self) - 1)
        if held < 1:
            raise TargetError(f"{len(self)} rows cannot be split for validation", hint="leave patience out")
        order = torch.randperm(len(self), generator=torch_generator(seed, "validation"))
        return self.take(order[held:].sort().values), self.take(order[:held].sort().values)

    def balanced(self) -> Rows:
        """The same with weights that give every class the same sum: w · n / (classes · n of its class)."""
        weights = torch.ones(len(self)) if self.weights is None else self.weights
        sums = torch.bincount(self.labels, weights=weights)
        present = (sums > 0).sum()
        each = weights.sum() / (present * sums.clamp(min=1e-12))
        return replace(self, weights=(weights * each[self.labels]).to(weights.dtype))
