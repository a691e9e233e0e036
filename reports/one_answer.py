"""How often would a model be right that gives everybody the commonest answer?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist

from steelyard.audit.types import Estimate
from steelyard.reports.numbers import count, estimate_text
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import clip, guard

__all__ = ["OneAnswer", "one_answer"]


@dataclass(frozen=True, slots=True, kw_only=True)
class OneAnswer:
    """The commonest class and its share of the rows, which is the accuracy of always answering it."""

    name: str  # always “<=50K”
    share: Estimate

    @property
    def text(self) -> str:
        """The share with its interval."""
        return estimate_text(self.share)

    @property
    def n(self) -> str:
        """The rows with a label."""
        return count(self.share.n)


def one_answer(shared: Shareable, level: float) -> OneAnswer | None:
    """max_c n_c / n of the classes of the sample, with the Wilson score interval at `level`; None where not known.

    None without classes, and with weights or clusters: the counts in the record are of single rows, and neither the
    share nor its interval would be that of the accuracies beside it. Wilson 1927, doi:10.1080/01621459.1927.10502953.
    """
    card = shared.record.sample
    n = sum(card.class_counts)
    if n < 1 or card.weighted or card.clusters is not None or len(card.classes) != len(card.class_counts):
        return None
    most = max(range(len(card.classes)), key=lambda i: card.class_counts[i])
    share = card.class_counts[most] / n
    z = NormalDist().inv_cdf(0.5 + level / 2)
    middle, spread = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    low, high = ((middle + side * spread) / (1 + z * z / n) for side in (-1, 1))
    estimate = Estimate(
        value=share, low=max(0.0, min(low, share)), high=min(1.0, max(high, share)), level=level, n=n,
        method="Wilson score interval",
    )  # fmt: skip
    return OneAnswer(name=f"always “{guard(clip(card.classes[most], 40))}”", share=estimate)
