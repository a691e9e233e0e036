"""How many rows a claim about two groups needs, from the exact power of its score test.

Power is summed over the binomial counts of both groups (all but a sliver of their probability), so that no simulation
noise or normal approximation enters. It saws as n grows; the n returned is the first from which a bisection found it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.intervals import score_z_difference, score_z_ratio

__all__ = [
    "minimum_detectable_difference",
    "n_per_group_difference",
    "n_per_group_ratio",
    "power_difference",
    "power_ratio",
]

_MOST = 1_000_000
_REACH = 5.0  # standard deviations of each count that are summed; what is left out is below 1e-5

Array = NDArray[np.float64]


def power_ratio(
    n: int, p_reference: float, true_ratio: float, *, tau: float = 0.8, alpha: float = 0.05, directions: int = 1
) -> float:
    """P(the data show p1 >= `tau` p2) with `n` in each group, p2 = `p_reference`, p1 = `true_ratio` p2.

    Where `true_ratio` < `tau`: P(the data show p1 < tau p2). `directions` = 2 asks for p2 >= tau p1 as well.
    """
    critical = _critical(alpha)

    def decided(k1: Array, k2: Array) -> Array:
        z = score_z_ratio(k1, n, k2, n, tau)
        if true_ratio < tau:
            return np.asarray(z < -critical)
        back = score_z_ratio(k2, n, k1, n, tau) if directions == 2 else z
        return np.asarray(np.minimum(z, back) > critical)

    return _power(n, true_ratio * p_reference, p_reference, decided)


def n_per_group_ratio(
    p_reference: float,
    true_ratio: float,
    *,
    tau: float = 0.8,
    alpha: float = 0.05,
    power: float = 0.8,
    directions: int = 1,
) -> int:
    """Rows per group that decide an impact ratio against `tau` with `power`; see `power_ratio`.

    Raises ProbeError at the boundary, `true_ratio` = `tau`, where no number does.
    """
    if directions not in (1, 2):
        raise ProbeError(f"directions is {directions}; it is 1 (to a reference) or 2 (both ways)")
    if true_ratio == tau:
        raise ProbeError("undecidable: the true ratio is the tolerance itself")
    _probability(p_reference, true_ratio * p_reference)
    return _search(
        lambda n: power_ratio(n, p_reference, true_ratio, tau=tau, alpha=alpha, directions=directions), power
    )


def power_difference(
    n: int, p_reference: float, true_difference: float, *, tau: float = 0.0, alpha: float = 0.05
) -> float:
    """P(the data decide |p1 - p2| against `tau`) with `n` in each group, p2 = `p_reference`, p1 = p2 + difference.

    Inside `tau`: both one-sided tests at alpha (a pass). Outside: the two-sided test (a fail), as a gate of two groups.
    """
    inside = abs(true_difference) < tau
    critical = _critical(alpha if inside else alpha / 2)

    def decided(k1: Array, k2: Array) -> Array:
        upper, lower = score_z_difference(k1, n, k2, n, tau), score_z_difference(k1, n, k2, n, -tau)
        return np.asarray(
            (upper < -critical) & (lower > critical) if inside else (upper > critical) | (lower < -critical)
        )

    return _power(n, p_reference + true_difference, p_reference, decided)


def n_per_group_difference(
    p_reference: float, true_difference: float, *, tau: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> int:
    """Rows per group that decide a difference against `tau` with `power`; see `power_difference`.

    Raises ProbeError at the boundary, |true difference| = `tau`.
    """
    if abs(true_difference) == tau:
        raise ProbeError("undecidable: the true difference is the tolerance itself")
    _probability(p_reference, p_reference + true_difference)
    return _search(lambda n: power_difference(n, p_reference, true_difference, tau=tau, alpha=alpha), power)


def minimum_detectable_difference(
    n: int, p_reference: float, *, tau: float = 0.0, alpha: float = 0.05, power: float = 0.8
) -> float:
    """The smallest p1 - p2 > `tau` that `n` rows per group show to be above it with `power`, to 1e-4.

    Raises ProbeError where not even the greatest possible difference is shown.
    """
    low, high = tau, 1 - p_reference - 1e-9
    if high <= low or power_difference(n, p_reference, high, tau=tau, alpha=alpha) < power:
        raise ProbeError(f"{n} rows per group cannot show any difference above {tau:g} at a rate of {p_reference:g}")
    while high - low > 1e-4:
        middle = (low + high) / 2
        found = power_difference(n, p_reference, middle, tau=tau, alpha=alpha) >= power
        low, high = (low, middle) if found else (middle, high)
    return high


def _power(n: int, p1: float, p2: float, decided: Callable[[Array, Array], Array]) -> float:
    k1, mass1 = _counts(n, p1)
    k2, mass2 = _counts(n, p2)
    return float(mass1 @ decided(k1[:, None], k2[None, :]).astype(np.float64) @ mass2)


def _counts(n: int, p: float) -> tuple[Array, Array]:
    """The counts of a binomial within reach, and their probabilities; thinned to 400 points where there are more."""
    from scipy.special import gammaln, xlog1py, xlogy

    spread = _REACH * np.sqrt(n * p * (1 - p)) + _REACH
    low, high = max(0, int(n * p - spread)), min(n, int(n * p + spread) + 1)
    k = np.arange(low, high + 1, max(1, (high - low) // 400), dtype=np.float64)
    log = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1) + xlogy(k, p) + xlog1py(n - k, -p)
    mass = np.exp(log)
    return k, mass / mass.sum()


def _search(power_at: Callable[[int], float], wanted: float) -> int:
    low, high = 1, 32
    while power_at(high) < wanted:
        low, high = high, high * 2
        if high > _MOST:
            raise ProbeError(f"undecidable: not even {_MOST} rows per group would decide with power {wanted:g}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= wanted else (middle, high)
    return high


def _probability(*values: float) -> None:
    for p in values:
        if not 0 < p < 1:
            raise ProbeError(f"a rate is {p:g}; it must lie between 0 and 1")


def _critical(alpha: float) -> float:
    from scipy.special import ndtri

    return -float(ndtri(alpha))
