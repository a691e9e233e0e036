"""What weights and clusters do to a contrast: linearised covariances and degrees of freedom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from steelyard.probes.stats.arms import Arms
from steelyard.probes.stats.table import CountTable

__all__ = ["contrast_design", "design_covariance"]

Array = NDArray[np.float64]


def design_covariance(table: CountTable, arms: Arms) -> Array:
    """(J, J) covariance of the rates by Taylor linearisation, units drawn with replacement: C / (C - 1) Z M2 Z^T.

    Binder 1983, doi:10.2307/1402588. Each linearised variable sums to 0, so that no mean is taken away. Rounded to
    2^-44 of the largest variance, so that the last bits of a matrix product never reach a record.
    """
    assert table.moment is not None and arms.linear is not None  # noqa: S101, PT018 (a design has both)
    scale = table.moment.units / max(table.moment.units - 1, 1)
    covariance = scale * table.moment.quadratic(arms.linear)
    grain = float(covariance.diagonal().max(initial=0.0)) * 2.0**-44
    return np.round(covariance / grain) * grain if grain > 0 else covariance


def contrast_design(
    table: CountTable, arms: Arms, first: NDArray[np.int64], second: NDArray[np.int64]
) -> tuple[Array, Array, Array, Array]:
    """Variance of first - second, covariance of the two, the factor that shrinks n where that is negative, and df."""
    own = arms.p * (1 - arms.p) / arms.n
    if arms.linear is None:
        return own[first] + own[second], np.zeros(first.size), np.ones(first.size), np.full(first.size, np.inf)
    cross = design_covariance(table, arms)[first, second]
    apart = own[first] + own[second]
    together = np.maximum(apart - 2 * cross, 1e-300)
    factor = np.where(cross < 0, apart / together, 1.0)
    v, w = own[first], own[second]
    pieces = v * v / arms.df[first] + w * w / arms.df[second]
    least = np.minimum(arms.df[first], arms.df[second])
    df = np.where(pieces > 0, apart**2 / np.where(pieces > 0, pieces, 1.0), least)  # Satterthwaite
    return together, cross, factor, df
