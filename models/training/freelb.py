"""Adversarial training of text models: perturbations of the tokens' embeddings, since words cannot move a little.

FreeLB, Zhu et al. 2020, arXiv:1909.11764: of K ascent steps from a random start each gives a loss, and the weights step
on the mean of them all, so that the ascent's gradients are not thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.training.batches import Batch
from steelyard.models.training.objective import row_losses, weighted_mean

__all__ = ["FreeLb"]


@dataclass(frozen=True, kw_only=True)
class FreeLb:
    """The mean of the losses at `steps` points of an L2 ball around a row's embeddings.

    `eps`, the ball's radius, `step` and `start` are shares of ‖e‖, the length of the row's own embeddings e (tokens,
    width), so that they mean the same for every network. The perturbation δ starts uniformly in a box of at most
    start · ‖e‖ and moves by step · ‖e‖ · g / ‖g‖, g the loss's gradient in δ; padding is not moved. The module takes
    `embedded` beside the token ids, and has `embed_tokens` and `pad` (architecture "encoder").
    """

    eps: float = 0.1
    step: float = 0.04
    steps: int = 3
    start: float = 0.05

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean loss; its gradient is the mean of the gradients at the points."""
        plain: Any = module
        if not hasattr(plain, "embed_tokens"):
            raise TargetError("the network takes no embeddings in the place of tokens", where="method freelb")
        words = batch.inputs != plain.pad  # (b, length)
        there = words[..., None].to(torch.float32)  # (b, length, 1)
        embedded = plain.embed_tokens(batch.inputs).detach() * there
        length = _norms(embedded)
        tokens = words.sum(dim=1).clamp(min=1)[:, None, None]
        spread = self.start * length / (tokens * embedded.shape[-1]).float().sqrt()  # (b, 1, 1)
        moved = (2 * torch.rand_like(embedded) - 1) * spread * there
        losses: list[Tensor] = []
        for place in range(self.steps):
            moved.requires_grad_(True)
            logits = plain(batch.inputs, embedded=plain.embed_tokens(batch.inputs) + moved)
            losses.append(weighted_mean(row_losses(logits, batch), batch))
            if place + 1 < self.steps:
                (slope,) = torch.autograd.grad(losses[-1], moved, retain_graph=True)
                moved = (moved.detach() + self.step * length * slope / _norms(slope)) * there
                moved = moved * (self.eps * length / _norms(moved)).clamp(max=1.0)
        return torch.stack(losses).mean()


def _norms(rows: Tensor) -> Tensor:
    """(b, 1, 1) the length of each row of (b, length, width)."""
    return rows.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
