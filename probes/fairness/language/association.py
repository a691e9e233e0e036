"""How strongly two sets of words lean to one set of attributes rather than another: effect size, test and limits.

s(w, A, B) = mean_{a in A} cos(w, a) − mean_{b in B} cos(w, b) for every target word w of X and Y, and
d = (mean_{x in X} s − mean_{y in Y} s) / std_{w in X ∪ Y} s, with n − 1 below the standard deviation.
Caliskan, Bryson and Narayanan 2017, DOI 10.1126/science.aal4230.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.means import Measured

__all__ = ["effect_size", "leanings", "measured_effect", "noncentral_t", "permutation_p"]

EXACT = 20_000  # at most so many divisions of the words are all tried
ROUNDS = 10_000


def leanings(
    targets: NDArray[np.float64], first: NDArray[np.float64], second: NDArray[np.float64]
) -> NDArray[np.float64]:
    """s(w, A, B) of each target: (n,) from vectors (n, d), (a, d) and (b, d). In [−2, 2]."""
    import numpy as np

    w, a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (targets, first, second))
    found: NDArray[np.float64] = w @ a.mean(axis=0) - w @ b.mean(axis=0)
    return found


def effect_size(x: NDArray[np.float64], y: NDArray[np.float64]) -> float:
    """d of the leanings `x` (n,) and `y` (m,). ProbeError where all words lean alike."""
    import numpy as np

    both = np.concatenate([x, y])
    spread = float(both.std(ddof=1))
    if spread <= 1e-12 * max(1.0, float(abs(both).max())):
        raise ProbeError("every target word leans alike: the effect size is 0 / 0")
    return float((x.mean() - y.mean()) / spread)


def permutation_p(x: NDArray[np.float64], y: NDArray[np.float64], rng: Generator) -> float:
    """P(mean difference of a random division of the words ≥ that of X and Y), one-sided as the original.

    All divisions where there are at most 20,000, else 10,000 random ones with (k + 1) / (m + 1), which is never 0
    (Phipson and Smyth 2010, arXiv:1603.05766).
    """
    import numpy as np

    both, n = np.concatenate([x, y]), len(x)
    grain = 1e-9 * float(abs(both).max() or 1.0)
    observed = float(x.sum())
    if math.comb(len(both), n) <= EXACT:
        from itertools import combinations

        sums = both[np.array(list(combinations(range(len(both)), n)))].sum(axis=1)
        return float(np.mean(sums >= observed - grain))  # the sum over X decides: the whole sum is fixed
    order = rng.random((ROUNDS, len(both))).argpartition(n - 1, axis=1)[:, :n]
    hits = int(np.count_nonzero(both[order].sum(axis=1) >= observed - grain))
    return (hits + 1) / (ROUNDS + 1)


def measured_effect(x: NDArray[np.float64], y: NDArray[np.float64], *, level: float) -> Measured:
    """d with limits: words are the units, leanings normal with one variance within each set.

    With g = Δ / s_within, N = n + m and h = n m / N, t = g · sqrt(h) is noncentral t with N − 2 degrees of freedom,
    whose noncentrality is inverted for its limits (Steiger and Fouladi 1997, in: What If There Were No Significance
    Tests?, 221-257). d = g · sqrt((N − 1) / (N − 2 + h g²)) rises with g, so that the limits carry over exactly.
    Raises ProbeError where a set has fewer than two words, or no spread.
    """
    import numpy as np

    from steelyard.probes.fairness.language.jointly import with_limits

    if min(len(x), len(y)) < 2:
        raise ProbeError("each target set needs at least two words")
    d, total = effect_size(x, y), len(x) + len(y)
    h, df = len(x) * len(y) / total, total - 2.0
    below = (total - 1) - h * d * d
    if below <= 1e-9:
        raise ProbeError("the words of each set all lean alike: their spread cannot be estimated")
    t = d * math.sqrt(df / below) * math.sqrt(h)
    reach = 8 * math.sqrt(1 + t * t / (2 * df)) + 2
    grid = np.linspace(t - reach, t + reach, 401)
    tail = noncentral_t(t, df, grid)  # falling in the noncentrality

    def to_d(noncentrality: NDArray[np.float64]) -> NDArray[np.float64]:
        g = noncentrality / math.sqrt(h)
        return np.asarray(g * np.sqrt((total - 1) / (df + h * g * g)))

    def limits(confidence: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        alpha = (1 - confidence) / 2
        low, high = (np.interp(-p, -tail, grid) for p in (1 - alpha, alpha))
        return to_d(low), to_d(high)

    return with_limits(d, limits, level=level, n=total, method="noncentral t over target words", lower=-2.0, upper=2.0)


def noncentral_t(t: float, df: float, noncentrality: NDArray[np.float64]) -> NDArray[np.float64]:
    """P(T ≤ `t`) of the noncentral t at each of the `noncentrality` (k,): the mean of Φ(t · sqrt(V / df) − δ).

    Over 500 equally likely values of V ~ χ² with `df`; right to 1e-4 (scipy's own is NaN far out in the tails).
    """
    from scipy.special import ndtr

    found: NDArray[np.float64] = ndtr(t * _scales(df)[None, :] - noncentrality[:, None]).mean(axis=1)
    return found


@lru_cache(maxsize=32)
def _scales(df: float) -> NDArray[np.float64]:
    """(500,) sqrt(V / df) at the middles of 500 equally likely parts of χ²."""
    import numpy as np
    from scipy.special import gammaincinv

    chi2 = 2 * gammaincinv(df / 2, (np.arange(500) + 0.5) / 500)
    return np.asarray(np.sqrt(chi2 / df))
