"""Intervals and tests for one proportion, and score tests for the difference and the ratio of two.

Everything is vectorised and takes effective (not whole) counts: `k` events of `n` trials, 0 <= k <= n. A score test
takes its variance at the restricted maximum-likelihood estimate, so that it is defined at 0 and at 1, where a Wald
test is not. Levels are two-sided unless a function says otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "binomial_p_above",
    "binomial_p_below",
    "clopper_pearson",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "difference_limits",
    "newcombe",
    "ratio_limits",
    "score_z_difference",
    "score_z_ratio",
    "wilson",
]

Array = NDArray[np.float64]
Limits = tuple[Any, Any]  # floats for scalars, arrays for arrays
_STEPS = 225  # a fifth of them halvings, which alone narrow a length of 2 below _NARROW
_NARROW = 1e-12  # of a limit
_FOUND = 1e-10  # of a z value
_EDGE = 1e-12  # ratios are sought between 1e-12 and 1e12


def _f(x: ArrayLike) -> Array:
    return np.asarray(x, dtype=np.float64)


def _shed(x: Array) -> Any:
    """A float where the input was a scalar."""
    return float(x) if x.ndim == 0 else x


def clopper_pearson_lower(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> Any:
    """The exact one-sided lower limit of a proportion at confidence 1 - `alpha`; 0 where k = 0."""
    from scipy.special import betaincinv

    k, n = np.broadcast_arrays(_f(k), _f(n))
    low = betaincinv(np.maximum(k, 1e-300), n - k + 1, alpha)
    return _shed(np.where(k <= 0, 0.0, low))


def clopper_pearson_upper(k: ArrayLike, n: ArrayLike, alpha: ArrayLike) -> Any:
    """The exact one-sided upper limit of a proportion at confidence 1 - `alpha`; 1 where k = n."""
    from scipy.special import betaincinv

    k, n = np.broadcast_arrays(_f(k), _f(n))
    high = betaincinv(k + 1, np.maximum(n - k, 1e-300), 1 - _f(alpha))
    return _shed(np.where(k >= n, 1.0, high))


def clopper_pearson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> Limits:
    """The exact interval of a proportion, (low, high). Clopper & Pearson 1934, doi:10.1093/biomet/26.4.404.

    From nothing (n = 0) it is (0, 1). Effective counts enter through the beta quantiles.
    """
    alpha = (1 - level) / 2
    return clopper_pearson_lower(k, n, alpha), clopper_pearson_upper(k, n, alpha)


def wilson(k: ArrayLike, n: ArrayLike, level: float = 0.95) -> Limits:
    """The score interval of a proportion. Wilson 1927, doi:10.1080/01621459.1927.10502953. (0, 1) where n = 0."""
    z = _critical(level)
    k, n = np.broadcast_arrays(_f(k), _f(n))
    spread = z * np.sqrt(np.maximum(k * (n - k) / np.maximum(n, 1e-300), 0.0) + z * z / 4)
    low = np.where(k <= 0, 0.0, (k + z * z / 2 - spread) / (n + z * z))
    high = np.where(k >= n, 1.0, (k + z * z / 2 + spread) / (n + z * z))
    return _shed(low), _shed(high)


def newcombe(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, level: float = 0.95) -> Limits:
    """The hybrid score interval of p1 - p2 (method 10 of Newcombe 1998, doi:10.1002/sim.779)."""
    k1, n1, k2, n2 = np.broadcast_arrays(_f(k1), _f(n1), _f(k2), _f(n2))
    low1, high1 = (_f(limit) for limit in wilson(k1, n1, level))
    low2, high2 = (_f(limit) for limit in wilson(k2, n2, level))
    p1, p2 = k1 / n1, k2 / n2
    low = p1 - p2 - np.hypot(p1 - low1, high2 - p2)
    high = p1 - p2 + np.hypot(high1 - p1, p2 - low2)
    return _shed(low), _shed(high)


def binomial_p_above(k: ArrayLike, n: ArrayLike, p0: ArrayLike) -> Any:
    """P(X >= k) for X ~ Binomial(n, p0): the exact p-value of "the truth is above p0"."""
    from scipy.special import betainc

    k, n, p0 = np.broadcast_arrays(_f(k), _f(n), np.clip(_f(p0), 0.0, 1.0))
    tail = betainc(np.maximum(k, 1e-300), n - k + 1, p0)
    return _shed(np.where(k <= 0, 1.0, tail))


def binomial_p_below(k: ArrayLike, n: ArrayLike, p0: ArrayLike) -> Any:
    """P(X <= k) for X ~ Binomial(n, p0): the exact p-value of "the truth is below p0"."""
    k, n, p0 = np.broadcast_arrays(_f(k), _f(n), _f(p0))
    return binomial_p_above(n - k, n, 1 - p0)


def score_z_difference(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, delta: ArrayLike) -> Any:
    """The score statistic of H0: p1 - p2 = `delta`, standard normal under it; positive where p1 - p2 is above.

    The restricted estimate is the closed form of Farrington & Manning 1990 (doi:10.1002/sim.4780091208); the variance
    carries the factor N / (N - 1) of Miettinen & Nurminen 1985 (doi:10.1002/sim.4780040211). 0 / 0 reads 0.
    """
    k1, n1, k2, n2, delta = np.broadcast_arrays(_f(k1), _f(n1), _f(k2), _f(n2), _f(delta))
    p1, p2, theta = k1 / n1, k2 / n2, n2 / n1
    a = 1 + theta
    b = -(1 + theta + p1 + theta * p2 + delta * (theta + 2)) / (3 * a)  # the cubic, divided by 3a
    c = (delta * delta + delta * (2 * p1 + theta + 1) + p1 + theta * p2) / (3 * a)
    d = -p1 * delta * (1 + delta) / (2 * a)
    v = b * b * b - 1.5 * b * c + d
    u = np.copysign(np.sqrt(np.maximum(b * b - c, 0.0)), v)
    cube = u * u * u
    with np.errstate(divide="ignore", invalid="ignore"):
        cosine = np.where(cube == 0, 0.0, v / cube)
    angle = (np.pi + np.arccos(np.clip(cosine, -1.0, 1.0))) / 3
    q1 = np.clip(2 * u * np.cos(angle) - b, np.maximum(0.0, delta), np.minimum(1.0, 1 + delta))
    q2 = np.clip(q1 - delta, 0.0, 1.0)
    total = n1 + n2
    variance = (q1 * (1 - q1) / n1 + q2 * (1 - q2) / n2) * total / np.maximum(total - 1, 1e-300)
    return _shed(_standardise(p1 - p2 - delta, variance))


def score_z_ratio(k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, theta: ArrayLike) -> Any:
    """The score statistic of H0: p1 - `theta` * p2 = 0, standard normal under it; positive where p1 is above.

    It is Miettinen & Nurminen's and Koopman's test of the ratio p1 / p2 = theta, written without a division, so that
    it holds where either rate is zero. With both at zero the data say nothing and it reads 0.
    """
    k1, n1, k2, n2, theta = np.broadcast_arrays(_f(k1), _f(n1), _f(k2), _f(n2), _f(theta))
    total, events = n1 + n2, k1 + k2
    b = theta * (n1 + k2) + k1 + n2
    root = np.sqrt(np.maximum(b * b - 4 * total * theta * events, 0.0))
    q2 = np.clip(2 * events / (b + root), 0.0, 1.0)  # restricted MLE of p2, the small root of the quadratic
    q1 = np.clip(theta * q2, 0.0, 1.0)
    scale = total / np.maximum(total - 1, 1e-300)
    variance = (q1 * (1 - q1) / n1 + theta * theta * q2 * (1 - q2) / n2) * scale
    return _shed(_standardise(k1 / n1 - theta * (k2 / n2), variance))


def difference_limits(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, level: ArrayLike = 0.95, *, z: ArrayLike | None = None
) -> Limits:
    """Miettinen-Nurminen limits of p1 - p2: the deltas that `score_z_difference` does not reject.

    `z` overrides the critical value of `level` (a Bonferroni share, or Student's t under clusters).
    """
    k1, n1, k2, n2 = np.broadcast_arrays(_f(k1), _f(n1), _f(k2), _f(n2))
    critical = _f(_critical(level) if z is None else z)
    gap = k1 / n1 - k2 / n2
    # Both limits in one search: at small sizes the cost is that of calling NumPy.
    k1, n1, k2, n2 = (np.stack([x, x]) for x in (k1, n1, k2, n2))
    bound = np.stack(np.broadcast_arrays(critical, -critical, gap)[:2])
    low, high = _root(
        lambda x: score_z_difference(k1, n1, k2, n2, x) - bound,
        np.stack([-np.ones_like(gap), gap]),
        np.stack([gap, np.ones_like(gap)]),
    )
    return _shed(low), _shed(high)


def ratio_limits(
    k1: ArrayLike, n1: ArrayLike, k2: ArrayLike, n2: ArrayLike, level: ArrayLike = 0.95, *, z: ArrayLike | None = None
) -> Limits:
    """Score limits of p1 / p2 (Koopman, Miettinen-Nurminen): the ratios that `score_z_ratio` does not reject.

    The lower one is 0 where k1 = 0, the upper one infinite where k2 = 0; with no event at all they are (0, inf).
    """
    k1, n1, k2, n2 = np.broadcast_arrays(_f(k1), _f(n1), _f(k2), _f(n2))
    critical = _f(_critical(level) if z is None else z)
    p1, p2 = k1 / n1, k2 / n2
    both = p1 + p2
    centre = np.where(both > 0, p1 / np.where(both > 0, both, 1.0), 0.5)  # s = r / (1 + r) maps [0, inf] to [0, 1]
    centre = np.clip(centre, _EDGE, 1 - _EDGE)

    least, most = k1 <= 0, k2 <= 0
    k1, n1, k2, n2 = (np.stack([x, x]) for x in (k1, n1, k2, n2))
    bound = np.stack(np.broadcast_arrays(critical, -critical, centre)[:2])
    low, high = _root(
        lambda s: score_z_ratio(k1, n1, k2, n2, s / (1 - s)) - bound,
        np.stack([np.full_like(centre, _EDGE), centre]),
        np.stack([centre, np.full_like(centre, 1 - _EDGE)]),
    )
    low = np.where(least, 0.0, low / (1 - low))
    high = np.where(most, np.inf, high / (1 - high))
    return _shed(low), _shed(high)


def _standardise(distance: Array, variance: Array) -> Array:
    """distance / sqrt(variance); signed infinity where only the variance is 0, and 0 where both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z = distance / np.sqrt(variance)
    return np.where(np.abs(distance) < 1e-14, 0.0, z)


def _critical(level: ArrayLike) -> Any:
    from scipy.special import ndtri

    return -ndtri((1 - _f(level)) / 2)


def _root(f: Callable[[Array], Any], low: Array, high: Array) -> Array:
    """Where the decreasing `f` changes sign in [low, high], elementwise.

    The secant of the bracket with the Illinois weights, and every fifth step a halving, so that it cannot stall.
    """
    f_low, f_high = _f(f(low)), _f(f(high))
    side = np.zeros(low.shape)
    for step in range(_STEPS):
        width = high - low
        if width.max(initial=0.0) < _NARROW:
            break
        x = (low + high) / 2
        if step % 5 != 4:
            with np.errstate(invalid="ignore", divide="ignore"):
                secant = low + width * (f_low / (f_low - f_high))
            x = np.where((secant > low) & (secant < high), secant, x)  # not where an end is infinite
        value = _f(f(x))
        left = value > 0
        again = np.where(left, side > 0, side < 0)  # the same end moved twice: the other one weighs half
        kept = np.where(again, 0.5, 1.0)
        f_low, f_high = np.where(left, value, f_low * kept), np.where(left, f_high * kept, value)
        side = np.where(left, 1, -1)
        low, high = np.where(left, x, low), np.where(left, high, x)
        found = np.abs(value) < _FOUND
        low, high = np.where(found, x, low), np.where(found, x, high)
    return (low + high) / 2
