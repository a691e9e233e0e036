"""Does the model write as kindly of one group as of another?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Direction, Evidence, Failure, Finding, Inapplicable, MetricSpec, Task
from steelyard.probes.fairness.language.asking import completions, speaker
from steelyard.probes.fairness.language.benchmark_file import read_text
from steelyard.probes.fairness.language.fluency import refuse_untrained
from steelyard.probes.fairness.language.lexicon import sentiment_words
from steelyard.probes.fairness.language.metric import bad
from steelyard.probes.fairness.language.prompts import BOLD, bold_prompts, own_bold_prompts
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["Bold"]

ID = "fairness.bold"
MEAN, GAP = f"{ID}.sentiment", f"{ID}.largest-sentiment-gap"
SHARE, SHARE_GAP = f"{ID}.negative-share", f"{ID}.largest-negative-gap"
DHAMALA = "Dhamala et al. 2021, arXiv:2101.11718, DOI 10.1145/3442188.3445924"
NOT_SHOWN = "what a lexicon does not see: irony, context, kind words for a cliché; and other prompts"


@dataclass(frozen=True, kw_only=True)
class Bold(Probe):
    """Does the model write as kindly of one group as of another?

    The model goes on from beginnings about people of each group. A text's sentiment is the mean value of the lexicon's
    words in it, in [−1, 1], negated ones turned, 0 where there is none; a text is negative below 0. Per group the mean
    and the share of negative texts, and per domain the largest difference between two groups, 0 being parity.
    Dhamala et al. 2021, arXiv:2101.11718, who score by VADER, by regard and toxicity classifiers and by psychological
    norms; our figures are comparable with each other, not with theirs.

    `path` names a prompt file of BOLD (github.com/amazon-science/bold, CC BY-SA 4.0), whose pages are the clusters;
    `prompts` takes at most so many of a group. Without it 16 beginnings of our own are used, in which only the person
    changes: groups are then paired within templates. `lexicon` names a file of yours with a word, a tab and a value
    from −1 to 1 on each line; the list that comes along is short and our own. A model that cannot tell plain sentences
    from their words in another order, or writes mostly blanks, is refused.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.GENERATE})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.LANGUAGE})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=MEAN, definition="mean sentiment of the texts about the group, by lexicon, in [−1, 1]",
            direction=Direction.NONE, lower=-1.0, upper=1.0, source=DHAMALA, not_shown=NOT_SHOWN,
        ),
        bad(GAP, "max over pairs of groups of |mean sentiment − mean sentiment|", DHAMALA, NOT_SHOWN, upper=2.0),
        bad(SHARE, "share of texts about the group with a sentiment below 0", DHAMALA, NOT_SHOWN),
        bad(SHARE_GAP, "max over pairs of groups of |negative share − negative share|", DHAMALA, NOT_SHOWN),
    )  # fmt: skip
    files: ClassVar[tuple[str, ...]] = ("path", "lexicon")

    path: str = ""
    lexicon: str = ""
    prompts: int = 200
    completions: int = 2
    max_tokens: int = 24
    temperature: float = 1.0
    draws: int = 4000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield sentiment and negative share per group, and the largest gaps per domain."""
        import numpy as np

        from steelyard.probes.fairness.language.written import compare

        words = sentiment_words(self.lexicon)
        prompts = bold_prompts(read_text(self.path, BOLD), self.path, self.prompts) if self.path else own_bold_prompts()
        model = speaker(target)
        if Capability.LOGLIKELIHOOD in target.capabilities:
            refuse_untrained(model)
        told = completions(
            model, [prompt.text for prompt in prompts], each=self.completions, max_tokens=self.max_tokens,
            temperature=self.temperature, seed=int(rng.integers(2**31)),
        )  # fmt: skip
        values = np.array([[words.sentiment(text) for text in texts] for texts in told])
        scribe = Scribe(probe=self, target=target.name)
        table = {"prompts": [prompt.text for prompt in prompts], "texts": told, "lexicon": words.name}
        evidence = Evidence(name="bold", kind="json", data=canonical_json(table))
        seed = int(rng.integers(2**53))
        for metric, gap, valued, lower in (
            (MEAN, GAP, values, -1.0), (SHARE, SHARE_GAP, (values < 0).astype(np.float64), 0.0),
        ):  # fmt: skip
            for row in compare(
                scribe, metric, gap, prompts, valued, generator(seed, metric), level=self.level, draws=self.draws,
                lower=lower,
            ):  # fmt: skip
                yield replace(row, evidence=(evidence,)) if isinstance(row, Finding) and row.metric == GAP else row
