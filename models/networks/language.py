"""What a causal network says about texts: the log-probability of each token, perplexity, and what comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from steelyard.audit.errors import TargetError
from steelyard.models.networks.determinism import torch_threads
from steelyard.models.networks.vocabulary import START, TextPrepare, as_texts, padded

if TYPE_CHECKING:
    from steelyard.models.networks.network import Network

__all__ = ["generate", "loglikelihood", "perplexity", "tokenize"]

_WINDOWS = 64  # how many go through at once


def tokenize(network: Network, texts: Sequence[str]) -> list[tuple[int, ...]]:
    """The token ids of each text."""
    prepare = _prepare(network)
    return [prepare.encode(text) for text in as_texts(texts)]


def loglikelihood(
    network: Network, texts: Sequence[str], prefixes: Sequence[str] | None = None
) -> list[NDArray[np.float64]]:
    """For each text (tokens,) log p(token | start, prefix and the tokens before it), in nats.

    Where all of it is longer than the network's length L, a window of L tokens moves on by L/2: each token is scored
    once, with at least L/2 tokens before it.
    """
    before = [""] * len(texts) if prefixes is None else list(prefixes)
    if len(before) != len(texts):
        raise TargetError(f"{len(before)} prefixes do not fit {len(texts)} texts")
    wholes, skipped = [], []
    unique = list(dict.fromkeys([*before, *texts]))  # a question is the prefix of each of its answers
    known = dict(zip(unique, tokenize(network, unique), strict=True))
    for prefix, text in zip(before, texts, strict=True):
        wholes.append((START, *known[prefix], *known[text]))
        skipped.append(1 + len(known[prefix]))
    scores = [np.full(len(ids), np.nan) for ids in wholes]
    windows = [
        (row, begin, end, max(first, skipped[row]))
        for row, ids in enumerate(wholes)
        for begin, end, first in _windows(len(ids), _length(network))
        if end > skipped[row]  # what lies wholly in the prefix scores nothing
    ]
    windows.sort(key=lambda window: window[2] - window[1])  # rows of like length go together
    with torch_threads(), torch.inference_mode():
        for place in range(0, len(windows), _WINDOWS):
            some = windows[place : place + _WINDOWS]
            for (row, _, end, first), values in zip(some, _scored(network, wholes, some), strict=True):
                scores[row][first:end] = values
    return [each[skip:] for each, skip in zip(scores, skipped, strict=True)]


def _scored(
    network: Network, wholes: Sequence[tuple[int, ...]], some: Sequence[tuple[int, int, int, int]]
) -> list[NDArray[np.float64]]:
    """The log-probabilities of the tokens `first` to `end` of each window (row, begin, end, first).

    Only their places have a softmax: with a large vocabulary that, and not the network, takes the time.
    """
    ids = padded([wholes[row][begin:end] for row, begin, end, _ in some], pad=0)
    logits = network.module.eval()(ids)  # (windows, length, vocabulary)
    counts = [end - first for _, _, end, first in some]
    rows = torch.arange(len(some)).repeat_interleave(torch.tensor(counts))
    places = torch.cat([torch.arange(first - begin, end - begin) for _, begin, end, first in some])
    chances = logits[rows, places - 1].double().log_softmax(-1)  # a token is read off where the one before it stands
    found = chances.gather(1, ids[rows, places, None]).squeeze(1)
    return [part.numpy() for part in found.split(counts)]


def _windows(count: int, length: int) -> list[tuple[int, int, int]]:
    """(begin, end, the first place that is scored) of each window over `count` tokens, the first of them the start."""
    found = []
    begin, first = 0, 1
    while first < count:
        end = min(begin + length, count)
        found.append((begin, end, first))
        first, begin = end, begin + max(1, length // 2)
    return found


def perplexity(network: Network, texts: Sequence[str]) -> float:
    """exp of the mean of −log p over all tokens of all texts: 1 is certainty, the size of the vocabulary a guess."""
    scores = np.concatenate([*loglikelihood(network, texts), np.empty(0)])
    if not len(scores):
        raise TargetError("the texts hold no token, so there is no perplexity")
    return math.exp(-float(scores.mean()))


def generate(
    network: Network, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
) -> list[str]:
    """What follows each prompt, without it: the likeliest token at temperature 0, else one drawn by `seed`."""
    if temperature < 0:
        raise TargetError(f"temperature is {temperature}; it is at least 0")
    prepare, length = _prepare(network), _length(network)
    drawn = torch.Generator().manual_seed(seed)
    texts = []
    with torch_threads(), torch.inference_mode():
        for prompt in tokenize(network, prompts):
            ids = [START, *prompt]
            for _ in range(max_tokens):
                window = torch.tensor([ids[-length:]])
                logits = network.module.eval()(window)[0, -1].double()
                logits[:2] = -math.inf  # neither padding nor another start
                if temperature == 0.0:
                    ids.append(int(logits.argmax()))
                else:
                    chances = (logits / temperature).softmax(-1)
                    ids.append(int(torch.multinomial(chances, 1, generator=drawn)))
            texts.append(prepare.decode(ids[1 + len(prompt) :]))
    return texts


def _prepare(network: Network) -> TextPrepare:
    if not isinstance(network.prepare, TextPrepare) or not network.prepare.spelt:
        raise TargetError(f"a network {network.architecture!r} is no language model")
    return network.prepare


def _length(network: Network) -> int:
    return int(network.config["length"])
