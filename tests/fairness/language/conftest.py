"""A language model whose every preference is planted."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import Probe, References, Sample
from steelyard.audit.types import Capability, Finding, Modality, Task
from steelyard.probes.fairness.language.fluency import PLAIN

WORDS = re.compile(r"[^\W_]+(?:['’-][^\W_]+)*|[^\w\s]")


def noise(text: str, seed: int) -> float:
    """A number that is always the same for a text: 32 bytes of a digest, added up, are close to a standard normal."""
    return (sum(sha256(f"{seed} {text}".encode()).digest()) - 32 * 127.5) / (32 * (256**2 - 1) / 12) ** 0.5


class Planted:
    """A token has log p −5, +2 where it and the word before it do so in the plain sentences, plus `lean`.

    `lean(prefix, text)` is added to every token of the text. `writes(prompt, seed)` is what it generates,
    `vectors` what it embeds words and sentences as.
    """

    name, kind, task = "candidate", "test", Task.LANGUAGE
    _grams = frozenset(
        pair for sentence in PLAIN for words in [WORDS.findall(sentence.casefold())] for pair in pairwise(words)
    )

    def __init__(
        self,
        lean: Callable[[str, str], float] = lambda prefix, text: 0.0,
        *,
        writes: Callable[[str, int], str] = lambda prompt, seed: "nothing much.",
        vectors: Callable[[str], np.ndarray] | None = None,
        scoring: str = "causal",
        fluent: bool = True,
        seed: int = 0,
    ) -> None:
        self.lean, self.writes, self.vectors, self.scoring, self.fluent = lean, writes, vectors, scoring, fluent
        self.seed, self.asked, self.fingerprint = seed, 0, f"planted {seed}"
        self.capabilities = frozenset({Capability.LOGLIKELIHOOD, Capability.GENERATE, Capability.EMBED})
        self._ids: dict[str, int] = {}

    def tokenize(self, texts):
        return [tuple(self._ids.setdefault(w, len(self._ids)) for w in WORDS.findall(t.casefold())) for t in texts]

    def loglikelihood(self, texts, prefixes=None):
        self.asked += len(texts)
        found = []
        for text, prefix in zip(texts, prefixes or [""] * len(texts), strict=True):
            words = WORDS.findall(text.casefold())
            known = [0.0, *(2.0 * (pair in self._grams) for pair in pairwise(words))]
            scores = -5.0 + np.array(known) * self.fluent + self.lean(prefix, text)
            scores = scores + 0.01 * noise(prefix + text, self.seed)
            found.append(np.minimum(scores, -1e-3))
        return found

    def generate(self, prompts, *, max_tokens=32, temperature=0.0, seed=0):
        return [self.writes(prompt, seed) for prompt in prompts]

    def embed(self, inputs):
        return np.stack([self.vectors(text) for text in inputs])


@pytest.fixture(scope="session")
def planted():
    return Planted


@pytest.fixture(scope="session")
def asked():
    """Run a probe on a language model: the rows it yields."""
    empty = Sample(inputs=[], labels=None, task=Task.LANGUAGE, modality=Modality.TEXT, fingerprint="none")

    def run(probe: Probe, model: Planted, seed: int = 0) -> list:
        return list(probe.run(model, empty, References(), generator(seed, probe.id)))

    return run


@pytest.fixture(scope="session")
def found():
    """The one finding of a metric at a place."""

    def find(rows: list, metric: str, **where: str) -> Finding:
        wanted: Mapping[str, str] = {key.rstrip("_"): value for key, value in where.items()}
        [row] = [r for r in rows if isinstance(r, Finding) and r.metric == metric and dict(r.where) == wanted]
        return row

    return find


@pytest.fixture(scope="session")
def well_formed():
    """What every probe owes of its rows: declared metrics in range, each place once, the same rows again, JSON."""

    def check(probe: Probe, rows: list, again: list) -> None:
        specs = {spec.id: spec for spec in probe.metrics}
        places = [(row.metric, tuple(row.where.items())) for row in rows if isinstance(row, Finding)]
        assert len(places) == len(set(places))
        for row in rows:
            if not isinstance(row, Finding):
                assert row.reason
                assert set(row.metrics) <= set(specs)
                continue
            spec, value = specs[row.metric], row.estimate
            assert spec.lower <= value.value <= spec.upper
            assert value.low is not None or value.no_interval
            assert value.low is None or spec.lower <= value.low <= value.high <= spec.upper
            assert value.level == 0.95
            assert row.basis is not None or value.no_interval
            assert set(row.where) <= {"category", "class", "term"}
        assert canonical_json(rows) == canonical_json(again)

    return check
