"""What a causal model writes: token by token, many prompts of one length at a time, no padding."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor

from steelyard.models.networks.determinism import torch_threads
from steelyard.models.targets.transformers import Pretrained

__all__ = ["write"]


def write(
    loaded: Pretrained,
    prompts: Sequence[Sequence[int]],
    streams: Sequence[Generator],
    *,
    max_tokens: int,
    temperature: float,
    batch: int,
) -> list[str]:
    """What follows each prompt, until an end token or `max_tokens`; `streams[i]` draws the tokens of prompt i.

    Prompts of one length run together, without padding: what a prompt gets does not depend on which others it is with.
    """
    by_length: dict[int, list[int]] = defaultdict(list)
    for place, ids in enumerate(prompts):
        by_length[len(ids)].append(place)
    found: dict[int, list[int]] = {}
    with torch_threads(), torch.inference_mode():
        for places in by_length.values():
            for start in range(0, len(places), batch):
                part = places[start : start + batch]
                table = torch.tensor([list(prompts[place]) for place in part], device=loaded.device)
                draws = [streams[place] for place in part]
                written = _written(loaded, table, draws, max_tokens=max_tokens, temperature=temperature)
                found.update(zip(part, written, strict=True))
    decoded = (loaded.tokenizer.decode(found[place], skip_special_tokens=True) for place in range(len(prompts)))
    return [str(text) for text in decoded]


def _written(
    loaded: Pretrained, table: Tensor, draws: Sequence[Generator], *, max_tokens: int, temperature: float
) -> list[list[int]]:
    ends = _end_tokens(loaded)
    written: list[list[int]] = [[] for _ in draws]
    ended = np.zeros(len(draws), dtype=bool)
    past: Any = None
    given = table
    for _ in range(min(max_tokens, loaded.context - table.shape[1])):
        answer = loaded.model(input_ids=given, past_key_values=past, use_cache=True)
        past = answer.past_key_values
        chosen = _chosen(answer.logits[:, -1].double().cpu().numpy(), draws, temperature)
        for row, token in enumerate(chosen.tolist()):
            ended[row] |= token in ends
            if not ended[row]:
                written[row].append(token)
        if ended.all():
            break
        given = torch.tensor(chosen[:, None], device=table.device)
    return written


def _chosen(logits: Any, draws: Sequence[Generator], temperature: float) -> Any:
    """(b,) the likeliest token, or one drawn by inverting the distribution function of softmax(z / temperature)."""
    if temperature == 0.0:
        return logits.argmax(axis=1)
    z = logits / temperature
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    reached = np.cumsum(powers, axis=1)
    tokens = [np.searchsorted(r, draw.random() * r[-1], side="right") for r, draw in zip(reached, draws, strict=True)]
    return np.minimum(np.array(tokens, dtype=np.int64), logits.shape[1] - 1)


def _end_tokens(loaded: Pretrained) -> frozenset[int]:
    config = getattr(loaded.model, "generation_config", None)
    named = [getattr(config, "eos_token_id", None), loaded.tokenizer.eos_token_id]
    return frozenset(
        int(token) for item in named for token in (item if isinstance(item, list) else [item]) if token is not None
    )
