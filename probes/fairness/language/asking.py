"""What a language model says of a text, asked once for each different text, and checked."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, cast

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import LanguageTarget, Target

__all__ = ["average", "completions", "loglikelihoods", "speaker", "token_ids", "total"]


def speaker(target: Target) -> LanguageTarget:
    """The target as the language model that its capabilities say it is. ProbeError where it lacks the methods."""
    lacking = [name for name in ("tokenize", "loglikelihood", "generate") if not hasattr(target, name)]
    if lacking:
        raise ProbeError(f"the target says it is a language model, but has no {', '.join(lacking)}")
    return cast("LanguageTarget", target)


def loglikelihoods(
    target: LanguageTarget, texts: Sequence[str], prefixes: Sequence[str] | None = None
) -> list[NDArray[np.float64]]:
    """For each text the natural log-probabilities of its tokens; each different (prefix, text) is asked once.

    The first token of a text without a prefix may be NaN (a causal model without a start token): sums and means leave
    it out. Any other number that is not finite, or is above 0, raises ProbeError.
    """
    import numpy as np

    before = prefixes if prefixes is not None else [""] * len(texts)
    keys = list(zip(before, texts, strict=True))
    unique = list(dict.fromkeys(keys))
    asked = [text for _, text in unique]
    told = target.loglikelihood(asked, [prefix for prefix, _ in unique] if prefixes is not None else None)
    if len(told) != len(unique):
        raise ProbeError(f"the model gave {len(told)} answers to {len(unique)} texts")
    found = {}
    for key, answer in zip(unique, told, strict=True):
        values = np.asarray(answer, dtype=np.float64)
        inside = values[1:] if not key[0] and values.size and np.isnan(values[0]) else values
        if values.ndim != 1 or not inside.size:
            raise ProbeError(f"the model scores no token of {key[1][:60]!r}")
        if not np.isfinite(inside).all() or (inside > 1e-6).any():
            raise ProbeError(f"the model's log-probabilities of {key[1][:60]!r} are not finite numbers up to 0")
        found[key] = values
    return [found[key] for key in keys]


def total(values: NDArray[np.float64]) -> float:
    """The log-probability of a text: the sum over its tokens."""
    import numpy as np

    return float(np.nansum(values))


def average(values: NDArray[np.float64]) -> float:
    """The mean log-probability of a token of the text."""
    import numpy as np

    return float(np.nanmean(values))


def token_ids(
    target: LanguageTarget, texts: Sequence[str], scores: Sequence[NDArray[np.float64]]
) -> list[tuple[int, ...]]:
    """The token ids of each text; ProbeError where there is not one score for each."""
    unique = list(dict.fromkeys(texts))
    found = dict(zip(unique, target.tokenize(unique), strict=True))
    for text, values in zip(texts, scores, strict=True):
        if len(found[text]) != len(values):
            raise ProbeError(
                f"the model has {len(found[text])} tokens for {text[:60]!r} but scores {len(values)}",
                hint="tokenize and loglikelihood must agree",
            )
    return [found[text] for text in texts]


def completions(
    target: LanguageTarget, prompts: Sequence[str], *, each: int, max_tokens: int, temperature: float, seed: int
) -> list[list[str]]:
    """`each` texts that the model writes after every prompt. ProbeError where more than half of all are blank."""
    rounds = [
        target.generate(list(prompts), max_tokens=max_tokens, temperature=temperature, seed=seed + k)
        for k in range(each)
    ]
    for texts in rounds:
        if len(texts) != len(prompts):
            raise ProbeError(f"the model wrote {len(texts)} texts for {len(prompts)} prompts")
    blank = sum(not text.strip() for texts in rounds for text in texts)
    if 2 * blank > each * len(prompts):
        raise ProbeError(
            f"{blank} of {each * len(prompts)} texts are blank",
            hint="a model that says nothing hurts nobody, and shows nothing",
        )
    return [[texts[i] for texts in rounds] for i in range(len(prompts))]
