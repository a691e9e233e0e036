"""How far apart are whole distributions, or whole curves, of several groups? Distances with honest intervals.

A distance is never negative and a sample shows one even where there is none, so that no interval centred on resampled
distances is honest. But a distance is a norm of a difference of curves, D = ||A - B||, and by the triangle inequality

    |D^ - D| <= ||(A^ - A) - (B^ - B)|| = L,

a norm of plain errors, whose distribution the bootstrap does give: L* = ||(A* - A^) - (B* - B^)||. Over several pairs
of groups, max_c D_c has the joint limits max_c (D_c -+ k s_c), s_c the mean of L*_c and k the quantile of
max_c L*_c / s_c.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate
from steelyard.probes.stats.between import Widest
from steelyard.probes.stats.grid import drawn
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured
from steelyard.probes.stats.pvalue_curve import from_limits
from steelyard.probes.stats.reweigh import cell_masses, redrawn_masses

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["wasserstein", "widest_distance", "widest_wasserstein"]

BINS = 100  # cells of the distribution in the resamples; the distance itself is exact


def wasserstein(
    first: NDArray[np.float64], second: NDArray[np.float64],
    first_weights: NDArray[np.float64] | None = None, second_weights: NDArray[np.float64] | None = None,
) -> float:  # fmt: skip
    """W1 = integral of |F(x) - G(x)| dx, in the unit of the values, 0 for equal distributions.

    Vallender 1974, doi:10.1137/1118101.
    """
    import numpy as np

    values = np.concatenate([first, second])
    sign = np.concatenate([_shares(first, first_weights), -_shares(second, second_weights)])
    order = np.lexsort((sign, values))
    gaps = np.diff(values[order])
    return float(np.dot(abs(np.cumsum(sign[order])[:-1]), gaps))


def _shares(values: NDArray[np.float64], weights: NDArray[np.float64] | None) -> NDArray[np.float64]:
    import numpy as np

    return np.full(values.size, 1 / values.size) if weights is None else weights / weights.sum()


def widest_wasserstein(
    values: NDArray[np.float64], members: Sequence[NDArray[np.int64]], design: Design, rng: Generator,
    *, level: float, draws: int, upper: float = math.inf,
) -> Widest:  # fmt: skip
    """The largest W1 over all pairs of groups, `members` their rows; resampled on `BINS` bins of equal mass."""
    import numpy as np

    weights = design.weights
    exact = np.array(
        [
            wasserstein(values[a], values[b], *((None, None) if weights is None else (weights[a], weights[b])))
            for a, b in combinations(members, 2)
        ]
    )
    rows = np.concatenate(list(members))
    edges = np.unique(np.quantile(values[rows], np.linspace(0, 1, BINS + 1), method="lower"))
    if edges.size < 2:
        raise ProbeError("the model gives all rows the same value, so there is no distribution to compare")
    group = np.repeat(np.arange(len(members)), [m.size for m in members])
    bins = edges.size
    cell = group * bins + np.minimum(np.searchsorted(edges, values[rows], side="left"), bins - 1)
    part, widths = design.take(rows), np.diff(edges)

    def curve(masses: NDArray[np.float64]) -> NDArray[np.float64]:
        """(..., G, bins - 1) the distribution functions at the edges, where a value on an edge counts as below it."""
        table = masses.reshape(*masses.shape[:-1], len(members), bins)
        sums = np.cumsum(table, axis=-1)
        shares: NDArray[np.float64] = sums[..., :-1] / sums[..., -1:]
        return shares

    centre = curve(cell_masses(cell, len(members) * bins, part))
    errors = curve(redrawn_masses(cell, len(members) * bins, part, draws, rng)) - centre
    return widest_distance(exact, errors, widths, part, level=level, upper=upper)


def widest_distance(
    distances: NDArray[np.float64], errors: NDArray[np.float64], widths: NDArray[np.float64], design: Design,
    *, level: float, upper: float,
) -> Widest:  # fmt: skip
    """max over pairs of `distances` (M,), from the resampled `errors` (draws, G, K) of the groups' curves.

    `widths` (K,) are the lengths over which the curves' values stand. Pairs are in the order of `combinations`.
    """
    import numpy as np

    norms = np.column_stack(
        [abs(errors[:, i] - errors[:, j]) @ widths for i, j in combinations(range(errors.shape[1]), 2)]
    )  # (draws, M)
    scale = norms.mean(axis=0)
    if not (scale > 0).all():
        raise ProbeError("a group's rows are all alike: the spread of its curve cannot be estimated")
    joint = drawn(np.round((norms / scale).max(axis=1), 9), level)
    low = (distances - joint[:, None] * scale).max(axis=1)
    alone = drawn(np.round(norms, 12), level)[:-1]  # (GRID + HALVINGS, M)
    high = (distances + alone).max(axis=1)
    value, at = float(distances.max()), int(np.argmax(distances))
    estimate = Estimate(
        value=value, low=min(max(float(low[-1]), 0.0), value),
        high=max(min(float((distances + joint[-1] * scale).max()), upper), value), level=level, n=design.n,
        method="simultaneous over all pairs: resampled bound on the error of the distance (triangle inequality)",
        n_effective=None if design.plain else design.kish,
    )  # fmt: skip
    basis = from_limits(value, np.maximum(low[:-1], 0.0), high)  # no tolerance lies below 0
    return Widest(measured=Measured(estimate=estimate, basis=basis), index=at, contrasts=len(distances))
