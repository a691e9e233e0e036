"""What is the worst disparity that rows of unknown group could hide, and how sure is that bound?

Groups have k_g favourable decisions of n_g rows; of the rows without a group a were chosen and b were not. For an
ordered pair (i, j) no assignment makes the rate of i higher than (k_i + a) / (n_i + a), nor that of j lower than
k_j / (n_j + b), and one assignment does both. Each of the two is a share of its own rows ({g = i} and the missing
chosen ones; {g = j} and the missing ones not chosen): given how many rows fall there, two independent binomials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import permutations
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate
from steelyard.probes.stats.intervals import difference_limits, ratio_limits, score_z_difference, score_z_ratio
from steelyard.probes.stats.linearised import Design, effective_counts
from steelyard.probes.stats.means import Measured
from steelyard.probes.stats.pvalue_curve import from_claims

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["WorstCase", "worst_case"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstCase:
    """The bound: group `first` raised, `second` lowered; `missing` rows; `known`, the disparity without them."""

    measured: Measured
    first: int
    second: int
    missing: int
    known: float


def worst_case(
    chosen: NDArray[Any], members: Sequence[NDArray[np.int64]], missing: NDArray[np.int64], design: Design,
    *, level: float, ratio: bool,
) -> WorstCase:  # fmt: skip
    """The largest difference (or smallest ratio) of the groups' rates over all assignments of the `missing` rows.

    Limits and claims are score tests of every ordered pair: Bonferroni for the fail, intersection-union for the pass.
    """
    import numpy as np
    from scipy.special import ndtri, stdtr, stdtrit

    up = [np.sort(np.concatenate([m, missing[chosen[missing]]])) for m in members]
    down = [np.sort(np.concatenate([m, missing[~chosen[missing]]])) for m in members]
    high, low = _counts(chosen, up, design), _counts(chosen, down, design)
    order = list(permutations(range(len(members)), 2))
    i, j = np.array(order).T
    shrink = np.array([_shrink(chosen, up[a], down[b], design) for a, b in order])
    k1, n1, k2, n2 = high[0][i] * shrink, high[1][i] * shrink, low[0][j] * shrink, low[1][j] * shrink
    df = np.inf if design.clusters is None else max(design.units - 1.0, 1.0)
    m = len(order)

    def below(z: NDArray[np.float64]) -> NDArray[np.float64]:
        from scipy.special import ndtr

        return np.asarray(ndtr(z) if np.isinf(df) else stdtr(df, z))

    tail = (1 - level) / (2 * m)
    z = float(-ndtri(tail) if np.isinf(df) else -stdtrit(df, tail))
    if ratio:
        if not (k1 > 0).any():
            raise ProbeError("nobody is chosen and nobody missing could be, so every ratio is 0 / 0")
        values = np.where(k1 > 0, (k2 / n2) / np.where(k1 > 0, k1 / n1, 1.0), np.inf)
        lower, upper = ratio_limits(k2, n2, k1, n1, z=z)
        at, value = int(np.argmin(values)), min(float(values.min()), 1.0)
        ends = float(lower.min()), min(float(upper.min()), 1.0)
    else:
        values = k1 / n1 - k2 / n2
        lower, upper = difference_limits(k1, n1, k2, n2, z=z)
        at, value = int(np.argmax(values)), max(float(values.max()), 0.0)
        ends = max(float(lower.max()), 0.0), float(upper.max())

    def against(tau: float) -> NDArray[np.float64]:
        """Score statistics of every pair at a tolerance, positive where it is kept."""
        if ratio:
            return np.asarray(score_z_ratio(k2, n2, k1, n1, tau))
        return np.asarray(-score_z_difference(k1, n1, k2, n2, tau))

    def fail(x: float) -> float:
        tau = value + x if ratio else value - x
        if not 0 <= tau <= 1:
            return 0.0  # no tolerance lies there, so nothing is to be claimed
        return min(1.0, m * float(below(against(tau)).min()))

    def passes(x: float) -> float:
        tau = value - x if ratio else value + x
        if (ratio and tau <= 0) or (not ratio and tau >= 1):
            return 0.0
        return float(below(-against(tau)).max())

    rows = np.unique(np.concatenate([*members, missing]))
    estimate = Estimate(
        value=value, low=min(ends[0], value), high=max(ends[1], value), level=level, n=design.take(rows).n,
        method="worst case over assignments; score limits of every ordered pair, Bonferroni",
        n_effective=None if design.plain else design.take(rows).kish,
    )  # fmt: skip
    curve = from_claims(value, fail, passes, lower=0.0, upper=1.0)
    return WorstCase(
        measured=Measured(estimate=estimate, basis=curve), first=order[at][0], second=order[at][1],
        missing=design.take(missing).n, known=_known(chosen, members, design, ratio=ratio),
    )  # fmt: skip


def _counts(
    chosen: NDArray[Any], sets: Sequence[NDArray[np.int64]], design: Design
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    import numpy as np

    found = np.array([effective_counts(chosen[rows].astype(np.float64), design.take(rows)) for rows in sets])
    return found[:, 0], found[:, 1]


def _shrink(chosen: NDArray[Any], first: NDArray[np.int64], second: NDArray[np.int64], design: Design) -> float:
    """At most 1: where one cluster has rows in both sets that vary against each other, n counts for less."""
    if design.clusters is None:
        return 1.0
    import numpy as np

    total, apart = np.zeros(design.n), 0.0
    for rows, sign in ((first, 1.0), (second, -1.0)):
        part, hits = design.take(rows), chosen[rows].astype(np.float64)
        weights = np.ones(part.n) if part.weights is None else part.weights
        influence = (hits - part.average(hits)) * weights / weights.sum()
        apart += float(np.square(np.bincount(design.clusters[rows] - design.clusters.min(), influence)).sum())
        total[rows] += sign * influence
    joint = float(np.square(np.bincount(design.clusters - design.clusters.min(), total)).sum())
    return 1.0 if joint <= apart or joint <= 0 else apart / joint


def _known(chosen: NDArray[Any], members: Sequence[NDArray[np.int64]], design: Design, *, ratio: bool) -> float:
    rates = [design.take(rows).average(chosen[rows]) for rows in members]
    if not ratio:
        return max(rates) - min(rates)
    return min(rates) / max(rates) if max(rates) > 0 else 1.0
