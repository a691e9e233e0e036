"""A small language model that knows its texts by heart: the positive control of attacks on language models."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WordChain"]

_START = "\x02"
LONG = 5  # words of context
WEIGHTS = (0.85, 0.1, 0.05)  # of the long context, the last word, and none


@dataclass(frozen=True, slots=True, kw_only=True)
class WordChain:
    """p(word) = .85 c(w after the five before)/c(five) + .1 c(w after the last)/c(last) + .05 (c(w) + 1)/(n + v).

    It recites what it has read, as far as five words tell the place.
    """

    after: dict[tuple[str, ...], Counter[str]] = field(repr=False)
    scoring: Literal["causal", "masked"] = "causal"

    @classmethod
    def of(cls, texts: Sequence[str]) -> WordChain:
        """The chain of some texts."""
        after: defaultdict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for text in texts:
            for word, context in _with_contexts(text.split(), []):
                for seen in (context, context[-1:], ()):
                    after[seen][word] += 1
        return cls(after=dict(after))

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """(words,) log p of each word of each text, in nats."""
        import numpy as np

        before = [""] * len(texts) if prefixes is None else prefixes
        whole = self.after[()]
        total, size = sum(whole.values()), len(whole)
        found = []
        for text, prefix in zip(texts, before, strict=True):
            chances = []
            for word, context in _with_contexts(text.split(), prefix.split()):
                chance = WEIGHTS[2] * (whole[word] + 1) / (total + size + 1)
                for weight, seen in ((WEIGHTS[0], context), (WEIGHTS[1], context[-1:])):
                    if counts := self.after.get(seen):
                        chance += weight * counts[word] / sum(counts.values())
                chances.append(chance)
            found.append(np.log(np.array(chances, dtype=np.float64)))
        return found

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """One token a word; the numbers say nothing but how many there are."""
        return [tuple(range(len(text.split()))) for text in texts]

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """The likeliest words after each prompt, whatever the temperature; of equally likely ones the first in the
        alphabet.
        """
        return [" ".join(self._follow([*[_START] * LONG, *prompt.split()], max_tokens)) for prompt in prompts]

    def _follow(self, words: list[str], most: int) -> list[str]:
        start = len(words)
        for _ in range(most):
            context = tuple(words[-LONG:])
            counts = self.after.get(context) or self.after.get(context[-1:]) or self.after[()]
            words.append(min(counts, key=lambda word: (-counts[word], word)))
        return words[start:]


def _with_contexts(words: Sequence[str], before: Sequence[str]) -> Iterator[tuple[str, tuple[str, ...]]]:
    whole = [*[_START] * LONG, *before, *words]
    start = len(whole) - len(words)
    return ((whole[i], tuple(whole[i - LONG : i])) for i in range(start, len(whole)))
