"""Whole next-token distributions of causal networks: each token's log-probability, standardised at its place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

__all__ = ["network_scores", "pretrained_scores", "standardise"]


def standardise(logits: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """(tokens,) (log p(id) − μ) / σ at each place, from `logits` (tokens, vocabulary): μ = Σ p log p, σ² its variance.

    Where the distribution is even σ is 0 and the score too.
    """
    import torch

    logs = logits.double().log_softmax(-1)
    chances = logs.exp()
    finite = torch.where(chances > 0, logs, torch.zeros_like(logs))  # 0 · log 0 is 0
    middle = (chances * finite).sum(-1)
    spread = ((chances * finite.square()).sum(-1) - middle.square()).clamp(min=0).sqrt()
    own = logs.gather(1, ids[:, None]).squeeze(1)
    return torch.where(spread > 1e-9, (own - middle) / spread.clamp(min=1e-9), torch.zeros_like(own))


def network_scores(network: Any, texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """Of one of our causal networks; a text longer than its context is read as far as that reaches."""
    from steelyard.models.networks.vocabulary import START

    length = int(network.config["length"])
    bodies = [list(ids)[: length - 1] for ids in network.tokenize(texts)]
    return _each(lambda ids: network.module.eval()(ids)[0], [[START, *ids] for ids in bodies], "cpu")


def pretrained_scores(target: Any, texts: Sequence[str]) -> list[NDArray[np.float64]]:
    """Of a causal model of transformers; without a start token the first token of a text has no score."""
    loaded, frame = target.loaded, target.frame
    start = [] if frame.start is None else [frame.start]
    whole = [[*start, *ids][: loaded.context] for ids in target.tokenize(texts)]
    return _each(lambda ids: loaded.model(input_ids=ids).logits[0], whole, loaded.device)


def _each(ask: Any, texts: Sequence[list[int]], device: Any) -> list[NDArray[np.float64]]:
    import numpy as np
    import torch

    from steelyard.models.networks.determinism import torch_threads

    found: list[NDArray[np.float64]] = []
    with torch_threads(), torch.inference_mode():
        for ids in texts:
            if len(ids) < 2:
                found.append(np.empty(0))
                continue
            row = torch.tensor([ids], device=device)
            found.append(standardise(ask(row)[:-1], row[0, 1:]).cpu().numpy())
    return found
