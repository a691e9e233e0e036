"""What does the largest of several gaps say, when all of them were measured on rows that did not choose them?

m candidates have each a gap d_j and limits at any error rate. At error rate a / m each (Bonferroni, which holds
whatever the overlap of the groups) all m intervals hold together with 1 - a, and so do

    max_j least |d_j|  <=  max_j |d_j|  <=  max_j most |d_j|.

A gate needs a bound on |estimate - truth| at every level: the wider of the two sides, on a grid of levels.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.types import Estimate, Normal
from steelyard.probes.stats.grid import of_bounds, tail
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured

__all__ = ["Limits", "largest", "scaled", "single"]

STEPS = 501  # quantiles of the basis: p-values down to .004, which Holm over a dozen gates can ask for
Array = NDArray[np.float64]
Limits = Callable[[Array], tuple[Array, Array]]
"""Error rates (L, 1), two-sided, to lower and upper limits (L, m)."""

METHOD = "{what}; simultaneous over the {m} candidates tested (Bonferroni), on rows the search did not see"


def scaled(gaps: Array, limits: Limits, factor: Array, factor_se: Array) -> Limits:
    """The limits of factor_j · gap_j, both estimated and nearly uncorrelated: distances add in square.

    Zou and Donner 2008, doi:10.1002/sim.3095 (the "square-and-add" rule of Newcombe's method 10).
    """

    def of(error: Array) -> tuple[Array, Array]:
        from scipy.special import ndtri

        low, high = limits(error)
        wobble = -ndtri(error / 2) * np.abs(gaps) * factor_se
        centre = factor * gaps
        return (
            np.asarray(centre - np.hypot(factor * (gaps - low), wobble)),
            np.asarray(centre + np.hypot(factor * (high - gaps), wobble)),
        )

    return of


def single(
    gaps: Array, limits: Limits, design: Design, effective: Array, *, level: float, what: str,
    rows: NDArray[np.int64] | None = None,
) -> list[Measured]:  # fmt: skip
    """Each gap: printed with its simultaneous interval, its basis with the standard error of its own interval.

    `rows` (m,) and `effective` (m,) are the n (all rows of the design where None) and the effective n of each. A gate
    on several of them corrects for their number itself, so the basis does not.
    """
    from scipy.special import ndtri

    m = len(gaps)
    low, high = limits(np.array([[(1 - level) / m], [1 - level]]))
    alone = np.maximum(high[1] - gaps, gaps - low[1]) / -ndtri((1 - level) / 2)
    found = []
    for j in range(m):
        value = float(gaps[j])
        estimate = Estimate(
            value=value, low=max(min(float(low[0, j]), value), -1.0), high=min(max(float(high[0, j]), value), 1.0),
            level=level, n=design.n if rows is None else int(rows[j]), method=METHOD.format(what=what, m=m),
            n_effective=None if design.plain else float(effective[j]),
        )  # fmt: skip
        basis = Normal(value=value, se=float(alone[j]), df=float(max(design.units - 1, 1)))
        found.append(Measured(estimate=estimate, basis=basis))
    return found


def largest(gaps: Array, limits: Limits, design: Design, *, level: float, what: str, ceiling: float = 1.0) -> Measured:
    """max_j |gap_j| in [0, `ceiling`], with joint limits and a `Deviation` basis."""
    m = len(gaps)
    value = float(np.abs(gaps).max())
    levels = np.append(np.linspace(0.0, 1.0, STEPS)[:-1], tail(STEPS))
    error = np.append(1 - levels, 1 - level)[:, None] / m
    low, high = limits(error)
    least = np.maximum(np.maximum(low, -high), 0.0).max(axis=1)
    most = np.minimum(np.maximum(np.abs(low), np.abs(high)).max(axis=1), ceiling)
    reach = np.maximum.accumulate(np.maximum(np.maximum(value - least[:-1], most[:-1] - value), 0.0))
    reach = np.minimum(np.ceil(reach * 1e6) / 1e6, ceiling)  # six digits, upwards: a record of readable size
    estimate = Estimate(
        value=value, low=min(float(least[-1]), value), high=max(float(most[-1]), value), level=level, n=design.n,
        method=METHOD.format(what=what, m=m), n_effective=None if design.plain else design.kish,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=of_bounds(value, np.insert(reach, STEPS - 1, ceiling), STEPS))
