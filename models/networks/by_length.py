"""Texts of different lengths through a network: those of like length together, so that little of a batch is padding."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ["by_length"]


def by_length(ids: Tensor, ask: Callable[[Tensor], Tensor], *, pad: int, batch: int) -> Tensor:
    """(n, …) what `ask` gives for rows of ids (n, longest), each batch of them cut to its own longest row.

    A row ends at its last id that is not `pad`, so that one in the midst of a text is kept. The answers come in the
    order of the rows; a row's depends on the batch it is in by rounding alone, where `ask` looks past padding.
    """
    ends = ((ids != pad) * torch.arange(1, ids.shape[1] + 1)).amax(1).clamp(min=1)  # (n,)
    order = ends.argsort(stable=True)
    parts = [ask(ids[rows, : int(ends[rows[-1]])]) for rows in order.split(batch)]
    return torch.cat(parts)[order.argsort()]
