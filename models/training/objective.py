"""What training minimises: a function of the network and a batch that gives the mean loss.

Adversarial, fair and other training are objectives too. One that is made of single rows' losses takes them from
`row_losses` and averages them by `weighted_mean`, and so honours label smoothing, class balance and survey weights.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional

from steelyard.models.training.batches import Batch

__all__ = ["Objective", "cross_entropy", "next_token", "row_losses", "squared_error", "weighted_mean"]

Objective = Callable[[nn.Module, Batch], Tensor]
IGNORED = -100  # a label that does not count: torch's own convention


def row_losses(logits: Tensor, batch: Batch) -> Tensor:
    """(b,) the cross-entropy of each row, −log softmax(logits)[label], in nats; smoothed by `batch.smoothing`."""
    return functional.cross_entropy(logits.float(), batch.labels, reduction="none", label_smoothing=batch.smoothing)


def weighted_mean(losses: Tensor, batch: Batch) -> Tensor:
    """Σ w l / Σ w over the batch."""
    weights = batch.weights.to(losses.dtype)
    return (losses * weights).sum() / weights.sum()


def cross_entropy(module: nn.Module, batch: Batch) -> Tensor:
    """The mean cross-entropy of the labels (b,), class codes."""
    return weighted_mean(row_losses(module(batch.inputs), batch), batch)


def squared_error(module: nn.Module, batch: Batch) -> Tensor:
    """The mean of (f(x) − y)² over labels (b,) that are numbers; the network has one output."""
    return weighted_mean((module(batch.inputs).float().squeeze(1) - batch.labels) ** 2, batch)


def next_token(module: nn.Module, batch: Batch) -> Tensor:
    """The mean of −log p(token | those before it) in nats over all tokens but each row's first; its exp is perplexity.

    `labels` (b, length) are the token ids themselves, −100 where a place is padding.
    """
    wanted = functional.pad(batch.labels[:, 1:], (0, 1), value=IGNORED)  # (b, length): the last place has no next
    logits = module(batch.inputs).float().flatten(0, 1)  # (b · length, vocabulary): classes in the second place of
    # three (b, vocabulary, length) have the same losses, and take several times as long
    losses = functional.cross_entropy(logits, wanted.flatten(), reduction="none", ignore_index=IGNORED)
    counted = (wanted != IGNORED) * batch.weights[:, None].to(losses.dtype)
    return (losses.view_as(wanted) * counted).sum() / counted.sum().clamp(min=1e-12)
