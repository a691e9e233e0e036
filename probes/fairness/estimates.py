"""How do the groups' estimates differ, where an estimate is no rate of counts? What scores and regression share.

Each statistic is read for every group with its own interval, and then the widest contrast over each attribute and each
intersection with simultaneous limits. Contrasts are pairs of groups; above `MAX_PAIRWISE` groups, each group with the
mean of the others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Failure, Finding, Scalar
from steelyard.probes.fairness.between_groups import MAX_PAIRWISE
from steelyard.probes.fairness.partitions import Partition
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.between import Arm
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["Rows", "Statistic", "compare_arms", "compare_groups", "mean_arm"]

Rows = Iterator[Finding | Failure]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """One number per group: metric ids of the reading and of the widest contrast, and how an arm is made from rows.

    `where` is added to the place of both; `upper` is the greatest difference there can be; a `ratio` is min / max.
    `to_reference` is the id of the widest difference to the reference group, `quotient` that of the smallest ratio of
    two groups; empty: not asked for.
    """

    reading: str
    contrast: str
    measure: Callable[[NDArray[np.int64]], Arm]
    upper: float = math.inf
    ratio: bool = False
    where: tuple[tuple[str, Scalar], ...] = ()
    to_reference: str = ""
    quotient: str = ""

    @property
    def contrasts(self) -> tuple[str, ...]:
        """Every id of a comparison of groups."""
        return tuple(metric for metric in (self.contrast, self.to_reference, self.quotient) if metric)


def compare_groups(
    scribe: Scribe, part: Partition, statistics: Sequence[Statistic], design: Design, rng: Generator,
    *, level: float, draws: int, pairwise: bool,
) -> Rows:  # fmt: skip
    """Each statistic for each group of `part`, then its widest contrast. What is left out is a `Failure`."""
    for s in statistics:
        extra = dict(s.where)
        if part.small:
            yield scribe.failure((s.reading, *s.contrasts), {**part.where, **extra}, part.left_out)
        arms: list[tuple[str, Arm]] = []
        untested = [name for name, _ in part.small]
        for member in part.members:
            try:
                found = s.measure(member.rows)
            except ProbeError as error:
                lost = (s.reading,) if member.unknown else (s.reading, *s.contrasts)
                yield scribe.failure(lost, {**part.at(member), **extra}, error)
                untested += [] if member.unknown else [member.name]
                continue
            note = {"unknown": True} if member.unknown else {}
            yield scribe.finding(s.reading, found.measured, {**part.at(member), **extra}, detail=note)
            if not member.unknown:
                arms.append((member.name, found))
        if len(arms) < 2:
            reason = part.too_few or f"{part.name}: fewer than two groups have this number, so none are compared"
            yield scribe.failure(s.contrasts, {**part.where, **extra}, reason)
            continue
        for asked in _asked(s):
            yield compare_arms(
                scribe, part, asked, arms, design, rng, level=level, draws=draws, pairwise=pairwise, untested=untested
            )


def _asked(s: Statistic) -> Iterator[Statistic]:
    """The comparisons of one statistic, one by one."""
    alone = replace(s, to_reference="", quotient="")
    yield alone
    if s.to_reference:
        yield replace(alone, contrast=s.to_reference, to_reference=s.to_reference)
    if s.quotient:
        yield replace(alone, contrast=s.quotient, ratio=True)


def compare_arms(
    scribe: Scribe, part: Partition, s: Statistic, named: Sequence[tuple[str, Arm]], design: Design, rng: Generator,
    *, level: float, draws: int, pairwise: bool, untested: Sequence[str] = (),
) -> Finding | Failure:  # fmt: skip
    """The widest contrast of `named` arms as a finding, or the failure it is."""
    import numpy as np

    from steelyard.probes.stats.between import pairs, widest_difference, widest_ratio, with_rest

    where = {**part.where, **dict(s.where)}
    arms = [found for _, found in named]
    names = [name for name, _ in named]
    chosen = 0
    sizes = np.array([float(design.take(a.rows).n) for a in arms])
    rest = len(arms) > MAX_PAIRWISE and not pairwise and not s.to_reference
    contrasts = with_rest(sizes) if rest else pairs(len(arms))
    if s.to_reference:
        if part.reference and part.reference not in names:
            reason = f"{part.name}: the reference group {part.reference} (data.reference_groups) has no such number"
            return scribe.failure((s.contrast,), where, reason)
        chosen = names.index(part.reference) if part.reference else int(sizes.argmax())
        contrasts = contrasts[contrasts[:, chosen] != 0]
    try:
        if s.ratio:
            widest = widest_ratio(arms, contrasts, design, rng, level=level, draws=draws)
        else:
            widest = widest_difference(arms, contrasts, design, rng, level=level, draws=draws, upper=s.upper)
    except ProbeError as error:
        return scribe.failure((s.contrast,), where, error)
    finding = scribe.finding(s.contrast, widest.measured, where, detail=_detail(named, contrasts[widest.index], part))
    more: dict[str, Scalar] = {"contrasts": widest.contrasts}
    if s.to_reference:
        more |= {"contrast": "reference", "reference": names[chosen]}
    if untested:
        more["untested"] = "; ".join(f"{part.name} = {name}" for name in untested)
    finding = replace(finding, detail={**finding.detail, **more})
    if rest:
        words = f" (more than {MAX_PAIRWISE} groups: each with the mean of the others, weighted by their rows)"
        finding = replace(finding, definition=finding.definition + words)
    return finding


def _detail(named: Sequence[tuple[str, Arm]], contrast: NDArray[np.float64], part: Partition) -> Mapping[str, Scalar]:
    """Between which groups the widest contrast is."""
    import numpy as np

    found: dict[str, Scalar] = {"of": part.name, "contrast": "pairwise"}
    ends = [i for i in np.flatnonzero(contrast).tolist() if abs(contrast[i]) == 1.0]
    if len(ends) == 2:
        low, high = sorted(ends, key=lambda i: named[i][1].value)
        found |= {"lowest": named[low][0], "highest": named[high][0]}
        found |= {"lowest_value": named[low][1].value, "highest_value": named[high][1].value}
    else:
        found |= {"contrast": "rest", "group": named[int(np.argmax(contrast))][0]}
    return found


def mean_arm(
    values: NDArray[np.float64], design: Design, *, level: float, lower: float = -math.inf, upper: float = math.inf
) -> Callable[[NDArray[np.int64]], Arm]:
    """How to measure the mean of `values` (n,) over some rows."""

    def measure(rows: NDArray[np.int64]) -> Arm:
        from steelyard.probes.stats.between import arm
        from steelyard.probes.stats.means import mean

        measured: Measured = mean(values[rows], design.take(rows), level=level, lower=lower, upper=upper)
        return arm(measured, rows, values[rows] - measured.estimate.value, design)

    return measure
