"""Tails and quantiles of a statistic that is normal, or Student's t where a design leaves finite degrees of freedom."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

__all__ = ["below", "quantile"]

Array = NDArray[np.float64]


def below(z: Array, df: Array) -> Array:
    """P(Z <= z), elementwise; `df` infinite is the normal."""
    from scipy.special import ndtr, stdtr

    if np.isinf(df).all():
        return np.asarray(ndtr(z), dtype=np.float64)
    return np.asarray(np.where(np.isinf(z), ndtr(z), stdtr(df, z)), dtype=np.float64)


def quantile(p: float, df: Array) -> Array:
    """The z with P(Z <= z) = `p`, one for each of `df`."""
    from scipy.special import ndtri, stdtrit

    quantiles: Array = np.full(df.shape, ndtri(p)) if np.isinf(df).all() else np.asarray(stdtrit(df, p))
    return quantiles
