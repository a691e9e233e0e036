"""How a model scores the three texts of a StereoSet example: by which tokens, and with what before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.asking import average, loglikelihoods, token_ids
from steelyard.probes.fairness.language.stereoset_file import Example

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import LanguageTarget

__all__ = ["example_scores", "spans"]


def example_scores(model: LanguageTarget, examples: Sequence[Example]) -> NDArray[np.float64]:
    """(examples, 3) the score of each text, in the order of `LABELS`."""
    import numpy as np

    found = np.empty((len(examples), 3))
    within = [i for i, e in enumerate(examples) if e.split == "intrasentence"]
    beyond = [i for i, e in enumerate(examples) if e.split == "intersentence"]
    if within:
        told = _within(model, [examples[i] for i in within])
        found[within] = np.array([average(values) for values in told]).reshape(-1, 3)
    if beyond:
        texts = [f" {text}" for i in beyond for text in examples[i].texts]
        told = loglikelihoods(model, texts, [examples[i].context for i in beyond for _ in range(3)])
        found[beyond] = np.array([average(values) for values in told]).reshape(-1, 3)
    return found


def _within(model: LanguageTarget, examples: Sequence[Example]) -> list[NDArray[np.float64]]:
    """The log-probabilities of the tokens that count, three texts an example: all, or those that fill the blank."""
    texts = [text for e in examples for text in e.texts]
    told = loglikelihoods(model, texts)
    if model.scoring == "causal":
        return told
    ids = token_ids(model, texts, told)
    found = []
    for j, (before, after) in enumerate(_around(model, [e.context for e in examples])):
        for k, (start, stop) in enumerate(spans(ids[3 * j : 3 * j + 3], before=before, after=after)):
            found.append(told[3 * j + k][start:stop])
    return found


def _around(model: LanguageTarget, contexts: Sequence[str]) -> list[tuple[int, int]]:
    """How many tokens stand before and after the blank of each context."""
    sides = [[side.rstrip() for side in context.partition("BLANK")[::2]] for context in contexts]
    unique = [side for side in dict.fromkeys(side for two in sides for side in two) if side]
    sizes = {"": 0} | {side: len(ids) for side, ids in zip(unique, model.tokenize(unique), strict=True)}
    return [(sizes[before], sizes[after]) for before, after in sides]


def spans(ids: Sequence[Sequence[int]], *, before: int = 10**6, after: int = 10**6) -> list[tuple[int, int]]:
    """Where each token sequence differs from the others: what is neither their common start nor their common end.

    Of these at most `before` and `after` tokens count, those around the blank. Each span has at least one token.
    """
    shortest = min(len(one) for one in ids)
    if shortest == 0:
        raise ProbeError("a sentence has no tokens")
    start = _common(ids, min(before, shortest - 1))
    stop = _common([one[::-1] for one in ids], min(after, shortest - 1 - start))
    return [(start, len(one) - stop) for one in ids]


def _common(ids: Sequence[Sequence[int]], most: int) -> int:
    """How many first tokens all sequences share, up to `most`."""
    return next((i for i in range(most) if len({one[i] for one in ids}) > 1), most)
