"""Do the model's embeddings put one group nearer to one kind of word?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.fairness.language.association import effect_size, leanings, measured_effect, permutation_p
from steelyard.probes.fairness.language.benchmark_file import Published, read_text
from steelyard.probes.fairness.language.metric import bad, signed
from steelyard.probes.fairness.language.weat_words import CONTROL, SENTENCES, TESTS, WordTest, read_tests
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.means import Measured

__all__ = ["Weat"]

ID = "fairness.weat"
WORDS, WORST_WORDS = f"{ID}.effect-size", f"{ID}.largest-effect-size"
SEAT, WORST_SEAT = f"{ID}.sentence-effect-size", f"{ID}.largest-sentence-effect-size"
CALISKAN, MAY = "Caliskan et al. 2017, DOI 10.1126/science.aal4230", "May et al. 2019, arXiv:1903.10561"
NOT_SHOWN = "what the model writes or decides: embeddings may lean and answers not, and the other way round"
FILE = Published(name="a file of word lists", home="your own lists", licence="yours")
CERTAIN = 0.05  # p-value at which the control counts as found


@dataclass(frozen=True, kw_only=True)
class Weat(Probe):
    """Do the model's embeddings put one group nearer to one kind of word?

    For target words X, Y (say male and female names) and attributes A, B (career, family) a word's leaning is
    s(w) = mean cos(w, A) − mean cos(w, B), and the effect size
    d = (mean_X s − mean_Y s) / std_{X ∪ Y} s: in [−2, 2], 0 is no association, positive the usual stereotype.
    Tests 3 to 10 of Caliskan et al. 2017 (DOI 10.1126/science.aal4230) with their word lists, on words alone (WEAT) and
    in sentences that say next to nothing (SEAT, May et al. 2019, arXiv:1903.10561; the sentences are our own).
    `path` names a JSON file of your tests instead: {name: {"targets": [[…], […]], "attributes": [[…], […]]}}.

    Words are the units. In SEAT a word's leaning is its mean over the sentences, and attributes are likewise averaged;
    May et al. count each sentence as a unit of its own, which repeats the words and makes p-values too small: their d
    is in the detail. Limits are of a noncentral t; the one-sided permutation test of the original is in the detail.

    Test 1 (flowers are pleasant, insects are not) is the control. Where it is not found, at p ≤ .05, small effects mean
    that the embeddings carry no such meaning, an untrained model's for one, and nothing is reported;
    `control: false` reports all the same.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.EMBED})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.LANGUAGE})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        signed(
            WORDS, "(mean_X s − mean_Y s) / std_{X ∪ Y} s, s(w) = mean cos(w, A) − mean cos(w, B), of words alone",
            CALISKAN, NOT_SHOWN, ideal=0.0, lower=-2.0, upper=2.0,
        ),
        bad(WORST_WORDS, "max over tests of |effect size| of words alone", CALISKAN, NOT_SHOWN, upper=2.0),
        signed(
            SEAT, "(mean_X s − mean_Y s) / std_{X ∪ Y} s, s averaged over the sentences that a word stands in",
            MAY, NOT_SHOWN, ideal=0.0, lower=-2.0, upper=2.0,
        ),
        bad(WORST_SEAT, "max over tests of |effect size| of words in sentences", MAY, NOT_SHOWN, upper=2.0),
    )  # fmt: skip
    files: ClassVar[tuple[str, ...]] = ("path",)

    path: str = ""
    control: bool = True
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield per test the effect size of words and of sentences, and the largest of each."""
        tests = read_tests(read_text(self.path, FILE), self.path) if self.path else TESTS
        scribe = Scribe(probe=self, target=target.name)
        seed = int(rng.integers(2**53))
        for metric, worst, sentences in ((WORDS, WORST_WORDS, ("{w}",)), (SEAT, WORST_SEAT, SENTENCES)):
            told = embedded(target, [CONTROL, *tests], sentences)
            if self.control:
                x, y = _leanings(CONTROL, told)
                p = permutation_p(x.mean(axis=1), y.mean(axis=1), generator(seed, "control"))
                if p > CERTAIN:
                    reason = (
                        f"the embeddings do not show that flowers are pleasanter than insects (p = {p:.2f}): what they"
                        " do not show of people means nothing"
                    )
                    hint = "check that the model is trained; `control: false` reports all the same"
                    yield scribe.failure((metric, worst), {}, ProbeError(reason, hint=hint))
                    continue
            yield from self._tests(scribe, metric, worst, tests, told, seed)

    def _tests(
        self, scribe: Scribe, metric: str, worst: str, tests: Sequence[WordTest],
        told: Mapping[str, NDArray[np.float64]], seed: int,
    ) -> Iterator[Finding | Failure]:  # fmt: skip
        from steelyard.probes.fairness.language.jointly import furthest, jointly

        found: dict[str, tuple[Measured, dict[str, Scalar]]] = {}
        for test in tests:
            x, y = _leanings(test, told)  # (words, sentences)
            try:
                measured = measured_effect(x.mean(axis=1), y.mean(axis=1), level=self.level)
            except ProbeError as error:
                yield scribe.failure((metric, worst), {"category": test.name}, error)
                continue
            p = permutation_p(x.mean(axis=1), y.mean(axis=1), generator(seed, test.name))
            detail: dict[str, Scalar] = {"about": test.about, "permutation_p": p}
            if x.shape[1] > 1:
                detail["effect_over_sentences"] = effect_size(x.ravel(), y.ravel())
            found[test.name] = (measured, detail)
        if not found:
            return
        parts = [measured for measured, _ in found.values()]
        for (name, (_, detail)), part in zip(
            found.items(), jointly(parts, level=self.level, lower=-2.0, upper=2.0), strict=True
        ):
            yield scribe.finding(metric, part, {"category": name}, detail=detail)
        at = max(found, key=lambda name: abs(found[name][0].estimate.value))
        method = "noncentral t over target words of each test"
        largest = furthest(parts, ideal=0.0, level=self.level, upper=2.0, method=method)
        yield scribe.finding(worst, largest, {}, detail={"category": at, "tests": len(found)})


def _leanings(
    test: WordTest, told: Mapping[str, NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(words, sentences) the leanings of the two target sets; attributes count in all their sentences."""
    import numpy as np

    a, b = (np.concatenate([told[word] for word in words]) for words in test.attributes)
    x, y = (np.stack([leanings(told[word], a, b) for word in words]) for words in test.targets)
    return x, y


def embedded(target: Target, tests: Sequence[WordTest], sentences: Sequence[str]) -> dict[str, NDArray[np.float64]]:
    """(sentences, d) the embeddings of each word of the tests in each sentence, checked."""
    import numpy as np

    model: Any = target
    words = list(
        dict.fromkeys(word for test in tests for two in (test.targets, test.attributes) for s in two for word in s)
    )
    texts = [sentence.replace("{w}", word) for word in words for sentence in sentences]
    vectors = np.asarray(model.embed(texts), dtype=np.float64)
    if vectors.ndim != 2 or len(vectors) != len(texts):
        raise ProbeError(f"the model's embeddings have shape {vectors.shape}; {len(texts)} vectors are needed")
    if not np.isfinite(vectors).all() or not (np.linalg.norm(vectors, axis=1) > 0).all():
        raise ProbeError("an embedding is zero or not finite, so that it has no direction")
    k = len(sentences)
    return {word: vectors[i * k : (i + 1) * k] for i, word in enumerate(words)}
