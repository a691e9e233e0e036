"""Is the candidate better than a reference on the same rows, and by how much?

Both models answer about every row, so what matters is where they differ: the interval is that of the paired difference,
oriented so that a positive number means that the candidate is better.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from steelyard.probes.stats.linearised import Design, effective_trials
from steelyard.probes.stats.means import Measured, exact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["accuracy_gain", "tango"]


def tango(b: float, c: float, n: float, *, level: float) -> tuple[float, float]:
    """Score limits of (b - c) / n, from `b` and `c` discordant of `n` pairs (effective counts are allowed).

    The limits are the differences d whose score statistic (b - c - n d) / sqrt(n (2 q + d (1 - d))) is +-z, where q is
    the restricted maximum-likelihood estimate of P(second only). With b = c = 0 they are +-z^2 / (n + z^2): two models
    that never disagree are not thereby known to be equal. Range [-1, 1].
    Tango 1998, doi:10.1002/(SICI)1097-0258(19980430)17:8<891::AID-SIM780>3.0.CO;2-B.
    """
    from scipy.special import ndtri

    z = float(ndtri(0.5 + level / 2))
    observed = (b - c) / n

    def excess(d: float) -> float:
        linear = (2 * n - b + c) * d - b - c
        root = math.sqrt(max(linear**2 + 8 * n * c * d * (1 - d), 0.0))
        q = max((root - linear) / (4 * n), 0.0)
        return z * math.sqrt(max(n * (2 * q + d * (1 - d)), 0.0)) - abs(b - c - n * d)

    return _root(excess, observed, -1.0), _root(excess, observed, 1.0)


def _root(excess: Any, inside: float, outside: float) -> float:
    """Where `excess` turns negative on the way from `inside` to `outside`; `outside` if it never does."""
    if excess(outside) >= 0 and abs(outside - inside) < 1e-15:
        return outside
    for _ in range(60):
        middle = (inside + outside) / 2
        if excess(middle) >= 0:
            inside = middle
        else:
            outside = middle
    return (inside + outside) / 2


def accuracy_gain(
    right: NDArray[np.bool_], other_right: NDArray[np.bool_], design: Design, *, level: float
) -> Measured:
    """Accuracy minus the reference's accuracy, from `right` and `other_right` (n,), with Tango's interval.

    Under weights or clusters the counts are effective ones: shares times the n that the linearised variance implies.
    """
    import numpy as np

    trials = effective_trials(right * 1.0 - other_right * 1.0, design)
    first, second = design.average(right & ~other_right), design.average(other_right & ~right)
    if design.plain:
        first, second = np.count_nonzero(right & ~other_right) / trials, np.count_nonzero(other_right & ~right) / trials
    first, second = float(first), float(second)
    low, high = tango(first * trials, second * trials, trials, level=level)
    return exact(first - second, low, high, design, level=level, method="Tango's paired score interval", trials=trials)
