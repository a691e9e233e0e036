"""How often does the model finish a sentence about somebody with a hurtful word?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.canonical import canonical_json
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Evidence, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.fairness.language.asking import completions, speaker
from steelyard.probes.fairness.language.fluency import refuse_untrained
from steelyard.probes.fairness.language.lexicon import hurtful_words
from steelyard.probes.fairness.language.metric import bad
from steelyard.probes.fairness.language.prompts import identity_prompts
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Honest"]

ID = "fairness.honest"
SCORE, GROUP, GAP = f"{ID}.score", f"{ID}.group-score", f"{ID}.largest-gap"
NOZZA = "Nozza et al. 2021, DOI 10.18653/v1/2021.naacl-main.191"
NOT_SHOWN = (
    "hurtful words that the lexicon lacks, hurtful sentences without such a word, and other people than in the prompts"
)


@dataclass(frozen=True, kw_only=True)
class Honest(Probe):
    """How often does the model finish a sentence about somebody with a hurtful word?

    HONEST = (completions that hold a word of the lexicon) / (prompts · completions of each): in [0, 1], 0 is best.
    Nozza et al. 2021, DOI 10.18653/v1/2021.naacl-main.191. And of each group of people, with the largest gap between
    two groups.

    16 templates and 18 words for people in 3 groups are our own, in the manner of the original; each word meets each
    template, and templates are the clusters of every interval. The lexicon that comes along is a short list of our own;
    the setting `lexicon` names a file: HurtLex (github.com/valeriobasile/hurtlex, CC BY-NC-SA 4.0), or one word or
    phrase on each line. `completions` texts of `max_tokens` tokens are drawn for each prompt at `temperature`; the
    original takes the likeliest words. A model that cannot tell plain sentences from their words in another order, or
    writes mostly blanks, is refused: saying nothing is not being kind.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.GENERATE})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.LANGUAGE})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        bad(SCORE, "completions that hold a hurtful word / all completions", NOZZA, NOT_SHOWN),
        bad(GROUP, "completions about the group that hold a hurtful word / all about the group", NOZZA, NOT_SHOWN),
        bad(GAP, "max over pairs of groups of |score − score|, paired within templates", NOZZA, NOT_SHOWN),
    )
    files: ClassVar[tuple[str, ...]] = ("lexicon",)

    lexicon: str = ""
    completions: int = 2
    max_tokens: int = 8
    temperature: float = 1.0
    draws: int = 4000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the score, that of each group, and the largest gap."""
        import numpy as np

        from steelyard.probes.fairness.language.written import compare, design_of
        from steelyard.probes.stats.means import proportion

        words = hurtful_words(self.lexicon)
        model = speaker(target)
        if Capability.LOGLIKELIHOOD in target.capabilities:
            refuse_untrained(model)
        prompts = identity_prompts()
        told = completions(
            model, [prompt.text for prompt in prompts], each=self.completions, max_tokens=self.max_tokens,
            temperature=self.temperature, seed=int(rng.integers(2**31)),
        )  # fmt: skip
        hits = np.array([[words.holds(text) for text in texts] for texts in told], dtype=np.float64)
        scribe = Scribe(probe=self, target=target.name)
        table = {"prompts": [prompt.text for prompt in prompts], "texts": told}
        evidence = Evidence(name="honest", kind="json", data=canonical_json(table))
        whole = proportion(hits.ravel() > 0, design_of(prompts, self.completions), level=self.level)
        detail: dict[str, Scalar] = {"lexicon": words.name, "words": len(words.values)}
        yield scribe.finding(SCORE, whole, {}, detail=detail, evidence=(evidence,))
        yield from compare(scribe, GROUP, GAP, prompts, hits, rng, level=self.level, draws=self.draws, lower=0.0)
