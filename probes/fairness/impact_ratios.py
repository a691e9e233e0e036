"""How does each group's rate compare with that of the group with the highest rate?

The impact ratio of group g is p_g / max_h p_h = min over h of p_g / p_h, at most 1 by definition. Which group has the
highest rate is read off the same rows, so that a ratio to it is biased downwards by chance. The interval allows for
that: with all pairwise ratios in simultaneous intervals [L_gh, U_gh], the impact ratio lies in
[min_h L_gh, min(1, min_h U_gh)], whichever group is truly the highest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Basis, Contrasts, Estimate, Normal
from steelyard.probes.fairness.between_groups import MAX_PAIRWISE

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.probes.stats.table import CountTable

__all__ = ["GroupRates", "ImpactRatio", "group_rates", "impact_ratios"]

PAIRWISE = "simultaneous over all pairs of groups, for whichever group is truly the highest"
BOX = f"more than {MAX_PAIRWISE} groups: ratio of exact limits of all rates, each at a Bonferroni share"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupRates:
    """The rate of each of G groups: `k` of `n` (effective under weights or clusters), plain `rows`, NaN p from none.

    `selected` are plain counts of the event; `compared` (G,) marks groups that are known and have `min_n` or more.
    """

    names: tuple[str, ...]
    k: NDArray[np.float64]
    n: NDArray[np.float64]
    p: NDArray[np.float64]
    rows: NDArray[np.int64]
    selected: NDArray[np.int64]
    unknown: NDArray[np.bool_]
    compared: NDArray[np.bool_]
    plain: bool

    @property
    def highest(self) -> int:
        """The compared group with the highest rate (the first of equals). ProbeError where it is 0 or there is none."""
        import numpy as np

        rates = np.where(self.compared, self.p, -1.0)
        best = int(np.argmax(rates)) if rates.size else -1
        if best < 0 or rates[best] < 0:
            raise ProbeError("no group has rows enough", hint="lower data.min_n or gather more rows")
        if rates[best] == 0:
            raise ProbeError("the highest rate is 0, so every ratio to it is 0 / 0")
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactRatio:
    """One group's ratio to the highest rate, with what a gate needs of it."""

    group: str
    estimate: Estimate
    basis: Basis | None


def group_rates(table: CountTable, names: tuple[str, ...], min_n: int) -> GroupRates:
    """The selection rate of each group of an attribute or intersection of `table`."""
    import numpy as np

    from steelyard.probes.stats.arms import look_up_rates, measure_groups

    groups = table.groups(names)
    arms = measure_groups(table, groups, look_up_rates(("selection-rate",), table))
    chosen = np.bincount(groups.of_cell, table.rows[:, :, 1].sum(axis=1), minlength=len(groups.names))
    return GroupRates(
        names=groups.names, k=arms.k, n=arms.n, p=arms.p, rows=arms.rows, selected=chosen.astype(np.int64),
        unknown=groups.unknown, compared=~groups.unknown & (arms.n >= min_n) & (arms.rows > 0),
        plain=table.moment is None,
    )  # fmt: skip


def impact_ratios(
    table: CountTable, names: tuple[str, ...], rates: GroupRates, *, min_n: int, level: float, draws: int, seed: int
) -> tuple[ImpactRatio, ...]:
    """Each compared group's ratio to the highest rate. ProbeError with fewer than two groups, or no event at all."""
    best = rates.p[rates.highest]
    own = [int(g) for g in rates.compared.nonzero()[0]]
    if len(own) < 2:
        raise ProbeError(f"{'*'.join(names)} has fewer than two groups to compare", hint="the ratio needs two groups")
    if len(own) > MAX_PAIRWISE:
        limits = _boxed(rates, own, level)
    else:
        basis = Contrasts(
            table="", rates=("selection-rate",), scope=(names,), form="ratio", min_n=min_n, draws=draws, seed=seed
        )
        limits = _pairwise(basis, table, level)
    found = []
    for g in own:
        low, high = limits[rates.names[g]]
        value = min(1.0, float(rates.p[g] / best))
        estimate = Estimate(
            value=value, low=min(low, value), high=max(min(high, 1.0), value), level=level, n=int(rates.rows[g]),
            n_effective=None if rates.plain else float(rates.n[g]),
            method=BOX if len(own) > MAX_PAIRWISE else PAIRWISE,
        )  # fmt: skip
        others = max(float(rates.p[h]) for h in own if h != g)
        ratio = float(rates.p[g]) / others if others > 0 else math.inf
        found.append(ImpactRatio(group=rates.names[g], estimate=estimate, basis=_basis(ratio, low, high, level)))
    return tuple(found)


def _pairwise(basis: Contrasts, table: CountTable, level: float) -> dict[str, tuple[float, float]]:
    """The limits of each group's ratio to the best of the others, which may be above 1."""
    import numpy as np

    from steelyard.probes.stats.joint import joint_of

    joint = joint_of(basis, table, level)
    low, high = joint.limits
    least, most = np.full(joint.arms.p.size, np.inf), np.full(joint.arms.p.size, np.inf)
    np.minimum.at(least, joint.first, low)
    np.minimum.at(most, joint.first, high)
    with np.errstate(divide="ignore"):  # the other way round: limits of b / a are those of a / b inverted
        np.minimum.at(least, joint.second, 1 / high)
        np.minimum.at(most, joint.second, 1 / low)
    return {name: (float(least[j]), float(most[j])) for j, name in enumerate(joint.layout.names)}


def _boxed(rates: GroupRates, own: list[int], level: float) -> dict[str, tuple[float, float]]:
    """The same where all rates lie in their limits together, by Bonferroni; then every ratio lies in the box's."""
    import numpy as np

    from steelyard.probes.stats.intervals import clopper_pearson

    low, high = clopper_pearson(rates.k[own], rates.n[own], 1 - (1 - level) / len(own))
    found = {}
    for i, g in enumerate(own):
        top_low, top_high = float(np.delete(low, i).max()), float(np.delete(high, i).max())
        found[rates.names[g]] = (float(low[i]) / top_high, float(high[i]) / top_low if top_low > 0 else math.inf)
    return found


def _basis(ratio: float, low: float, high: float, level: float) -> Normal | None:
    """Normal, with the standard error under which the wider of the two sides comes out.

    It is of the ratio to the best of the *other* groups: at least a tolerance up to 1 just where the impact ratio is,
    and not stuck at 1 for the group with the highest rate.
    """
    from scipy.special import ndtri

    if not math.isfinite(ratio):  # no other group has an event: only the lower limit says anything
        ratio, high = max(low, 1.0), max(low, 1.0)
        low = min(low, 1.0)
    sides = [side for side in (high - ratio, ratio - low) if math.isfinite(side)]
    se = max(sides, default=0.0) / float(ndtri(0.5 + level / 2))
    return Normal(value=ratio, se=se, df=math.inf) if se > 0 else None
