"""What a model wrote about each group, valued text by text, and how far apart the groups are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Failure, Finding
from steelyard.probes.fairness.language.prompts import Prompt
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design

__all__ = ["compare", "design_of"]


def design_of(prompts: Sequence[Prompt], each: int) -> Design:
    """`each` texts of every prompt, in that order; texts of one source form a cluster."""
    import numpy as np

    from steelyard.probes.stats.linearised import Design

    codes = np.unique([prompt.source for prompt in prompts], return_inverse=True)[1].astype(np.int64)
    return Design(n=len(prompts) * each, clusters=np.repeat(codes, each))


def compare(
    scribe: Scribe, metric: str, largest: str, prompts: Sequence[Prompt], values: NDArray[np.float64], rng: Generator,
    *, level: float, draws: int, lower: float,
) -> Iterator[Finding | Failure]:  # fmt: skip
    """Per domain the mean of `values` (prompts, each), in [`lower`, 1], of each group, and the largest gap of two.

    The gap is max over pairs of |mean − mean| with simultaneous limits; where the groups share their sources
    (templates) it is paired by them. A domain whose groups all have one and the same value has no gap to bound.
    """
    import numpy as np

    from steelyard.probes.fairness.estimates import mean_arm
    from steelyard.probes.fairness.language.jointly import jointly
    from steelyard.probes.stats.between import pairs, widest_difference

    each = values.shape[1]
    design, flat = design_of(prompts, each), values.ravel()
    for domain in sorted({prompt.domain for prompt in prompts}):
        groups = sorted({prompt.group for prompt in prompts if prompt.domain == domain})
        measure = mean_arm(flat, design, level=level, lower=lower, upper=1.0)
        arms = []
        for group in groups:
            there = np.array([prompt.domain == domain and prompt.group == group for prompt in prompts])
            try:
                arms.append(measure(np.flatnonzero(np.repeat(there, each)).astype(np.int64)))
            except ProbeError as error:
                yield scribe.failure((metric, largest), {"category": domain, "term": group}, error)
        if len(arms) < len(groups):
            continue
        joint = jointly([arm.measured for arm in arms], level=level, lower=lower, upper=1.0)
        for group, part in zip(groups, joint, strict=True):
            yield scribe.finding(metric, part, {"category": domain, "term": group})
        if len(groups) < 2:
            yield scribe.failure((largest,), {"category": domain}, f"{domain} has one group only: none are compared")
            continue
        contrasts = pairs(len(groups))
        try:
            widest = widest_difference(arms, contrasts, design, rng, level=level, draws=draws, upper=1.0 - lower)
        except ProbeError as error:
            yield scribe.failure((largest,), {"category": domain}, error)
            continue
        ends = sorted(np.flatnonzero(contrasts[widest.index]).tolist(), key=lambda i: arms[i].value)
        yield scribe.finding(
            largest, widest.measured, {"category": domain},
            detail={"lowest": groups[ends[0]], "highest": groups[ends[1]], "groups": len(groups)},
        )  # fmt: skip
