"""Are the members of some groups found more often than those of others? Rates at one threshold, with joint limits."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

from steelyard.audit.types import Failure, Finding, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Groups
    from steelyard.probes.privacy.readings import Readings
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.roc import AtFpr

__all__ = ["group_rates", "widest_gap"]

GROUP_LEVELS = 20  # of an attribute with more groups no rates are compared
SHOWN = 10  # a count below is not written out


def group_rates(readings: Readings, found: AtFpr, at: Mapping[str, Scalar]) -> Iterator[Finding | Failure]:
    """Each group's rate of members found, and the widest gap. Groups are those of the training rows."""
    import numpy as np

    from steelyard.probes.privacy.telling import member_design

    inside = readings.inside
    both = (readings.metric("group-tpr"), readings.metric("group-tpr-gap"))
    for attribute, groups in inside.groups.items():
        where: dict[str, Scalar] = {**at, "attribute": attribute}
        sizes = np.bincount(groups.codes, minlength=len(groups.levels))
        people = [k for k in range(len(groups.levels)) if k != groups.unknown or groups.compare_unknown]
        large = [k for k in people if sizes[k] >= inside.min_n]
        if len(large) > GROUP_LEVELS:
            yield readings.scribe.failure(both, where, f"{attribute} has more than {GROUP_LEVELS} groups")
            continue
        if len(large) < len(people):
            small = [(groups.levels[k], int(sizes[k])) for k in people if k not in large]
            names = ", ".join(f"{name} (n = {n})" if n >= SHOWN else f"{name} (n < {SHOWN})" for name, n in small)
            reason = f"fewer than {inside.min_n} training rows (data.min_n) and so no rate: {attribute} = {names}"
            yield readings.scribe.failure((both[0],), where, reason)
        yield from _attribute(readings, found.hits, groups, large, member_design(inside), where)


def _attribute(
    readings: Readings,
    hits: NDArray[np.bool_],
    groups: Groups,
    levels: Sequence[int],
    design: Design,
    where: Mapping[str, Scalar],
) -> Iterator[Finding | Failure]:
    from steelyard.probes.stats.means import proportion

    names = [groups.levels[code] for code in levels]
    rows = [(groups.codes == code).nonzero()[0] for code in levels]
    joint = 1 - (1 - readings.level) / max(len(rows), 1)
    for name, own in zip(names, rows, strict=True):
        rate = proportion(hits[own], design.take(own), level=joint)
        method = f"{rate.estimate.method}, jointly over the groups (Bonferroni)"
        estimate = replace(rate.estimate, level=readings.level, method=method)
        yield readings.finding("group-tpr", replace(rate, estimate=estimate), {**where, "group": name}, detail={})
    if len(rows) < 2:
        reason = f"fewer than two groups of {where['attribute']} have a rate, so none are compared"
        yield readings.scribe.failure((readings.metric("group-tpr-gap"),), where, reason)
        return
    gap, detail = widest_gap(hits, rows, names, design, level=readings.level)
    yield readings.finding("group-tpr-gap", gap, where, detail=detail)


def widest_gap(
    hits: NDArray[np.bool_], rows: Sequence[NDArray[np.int64]], names: Sequence[str], design: Design, *, level: float
) -> tuple[Measured, dict[str, Scalar]]:
    """max − min of the shares of `hits` over groups of `rows`, with the groups that it is between.

    The limits are the largest lower and the largest upper Miettinen-Nurminen limit of |difference| over all pairs, each
    at its Bonferroni share: together they hold for every pair, and so for the widest.
    """
    import numpy as np

    from steelyard.probes.stats.intervals import difference_limits
    from steelyard.probes.stats.linearised import effective_counts
    from steelyard.probes.stats.means import exact

    counts = [effective_counts(hits[own], design.take(own)) for own in rows]
    pairs = list(combinations(range(len(rows)), 2))
    widest, low, high = (-1.0, pairs[0]), 0.0, 0.0
    for i, j in pairs:
        (k1, n1), (k2, n2) = counts[i], counts[j]
        bottom, top = (float(x) for x in difference_limits(k1, n1, k2, n2, 1 - (1 - level) / len(pairs)))
        widest = max(widest, (abs(k1 / n1 - k2 / n2), (i, j)))
        low, high = max(low, bottom, -top), max(high, abs(bottom), abs(top))
    gap, (i, j) = widest
    measured = exact(
        gap, low, high, design.take(np.sort(np.concatenate(list(rows)))), level=level,
        method="Miettinen-Nurminen limits, Bonferroni over pairs of groups", trials=sum(n for _, n in counts),
    )  # fmt: skip
    return measured, {"groups": f"{names[i]}, {names[j]}", "pairs": len(pairs)}
