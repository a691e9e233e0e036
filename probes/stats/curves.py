"""How far apart are the ROC curves of several groups? ABROCA with an interval.

ABROCA = integral over t from 0 to 1 of |ROC_a(t) - ROC_b(t)| dt: the area between two curves, which two equal AUCs do
not rule out. Gardner, Brooks and Baker 2019, doi:10.1145/3303772.3303791. ROC is the broken line through the points
(FPR, TPR), so that equal scores make one straight piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.between import Widest
from steelyard.probes.stats.distances import widest_distance
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.reweigh import cell_masses, redrawn_masses

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["area_between", "roc", "widest_area_between"]

BINS = 100  # cells of the score, per class, in the resamples; the area itself is exact
GRID = 200  # false positive rates at which the resampled curves are compared


def roc(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(FPR, TPR), ascending from (0, 0) to (1, 1): one point for each different score, the highest first."""
    import numpy as np

    if not 0 < np.count_nonzero(positive) < positive.size:
        raise ProbeError(f"all {positive.size} rows are of one class, so there is no ROC curve")
    w = np.ones(scores.size) if weights is None else weights
    levels, code = np.unique(-scores, return_inverse=True)
    up = np.cumsum(np.bincount(code, w * positive, minlength=levels.size))
    down = np.cumsum(np.bincount(code, w * ~positive, minlength=levels.size))
    return np.concatenate([[0.0], down / down[-1]]), np.concatenate([[0.0], up / up[-1]])


Curve = tuple["NDArray[np.float64]", "NDArray[np.float64]"]


def area_between(first: Curve, second: Curve) -> float:
    """The exact area between two broken lines (FPR, TPR), in [0, 1]; 0 where they are the same.

    A vertical piece has a height from below and one from above; each side of a knot takes its own.
    """
    import numpy as np

    knots = np.unique(np.concatenate([first[0], second[0]]))
    right = _limit(first, knots[:-1], above=True) - _limit(second, knots[:-1], above=True)
    left = _limit(first, knots[1:], above=False) - _limit(second, knots[1:], above=False)
    widths = np.diff(knots)
    crossed = np.where(
        right * left < 0, (right**2 + left**2) / (2 * np.maximum(abs(right) + abs(left), 1e-300)), abs(right + left) / 2
    )
    return min(float(np.dot(widths, crossed)), 1.0)


def _limit(curve: Curve, at: NDArray[np.float64], *, above: bool) -> NDArray[np.float64]:
    """The curve just to the right (`above`) or to the left of each point."""
    import numpy as np

    x, y = curve
    if above:
        i = np.minimum(np.searchsorted(x, at, side="right"), x.size - 1)  # first knot beyond
        j = i - 1
    else:
        i = np.maximum(np.searchsorted(x, at, side="left"), 1)  # first knot at or beyond
        j = i - 1
    width = x[i] - x[j]
    share = np.where(width > 0, (at - x[j]) / np.where(width > 0, width, 1.0), 1.0)
    value: NDArray[np.float64] = y[j] + share * (y[i] - y[j])
    return value


def widest_area_between(
    scores: NDArray[np.float64], positive: NDArray[np.bool_], members: Sequence[NDArray[np.int64]], design: Design,
    rng: Generator, *, level: float, draws: int,
) -> Widest:  # fmt: skip
    """The largest ABROCA over all pairs of groups, `members` their rows."""
    import numpy as np

    w = design.weights
    curves = [roc(scores[m], positive[m], None if w is None else w[m]) for m in members]
    areas = np.array([area_between(a, b) for a, b in combinations(curves, 2)])
    rows = np.concatenate(list(members))
    edges = np.unique(np.quantile(scores[rows], np.linspace(0, 1, BINS + 1), method="lower"))
    bins, groups = edges.size, len(members)
    group = np.repeat(np.arange(groups), [m.size for m in members])
    rank = np.minimum(np.searchsorted(edges, scores[rows], side="left"), bins - 1)
    cell = (group * 2 + positive[rows]) * bins + (bins - 1 - rank)  # the highest score first
    part = design.take(rows)
    grid = (np.arange(GRID) + 0.5) / GRID

    def heights(masses: NDArray[np.float64]) -> NDArray[np.float64]:
        """(draws, G, GRID) from (draws, cells)."""
        sums = np.cumsum(masses.reshape(-1, groups, 2, bins), axis=-1)
        shares = np.concatenate([np.zeros((*sums.shape[:-1], 1)), sums / sums[..., -1:]], axis=-1)
        found = np.empty((len(shares), groups, GRID))
        for d, draw in enumerate(shares):
            for g, (fpr, tpr) in enumerate(draw):
                found[d, g] = np.interp(grid, fpr, tpr)
        return found

    cells = groups * 2 * bins
    centre = heights(cell_masses(cell, cells, part)[None, :])
    errors = heights(redrawn_masses(cell, cells, part, draws, rng)) - centre
    return widest_distance(areas, errors, np.full(GRID, 1 / GRID), part, level=level, upper=1.0)
