"""Adjusted p-values for several claims at once: Holm for gates, Benjamini-Hochberg for exploratory findings."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["benjamini_hochberg", "holm"]


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Step-down adjusted p-values, in the order given: the familywise error stays at alpha under any dependence.

    adjusted_(i) = max_{j <= i} min(1, (m - j + 1) p_(j)). Holm 1979, Scand. J. Statist. 6:65-70.
    """
    values = _checked(p)
    m = values.size
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(m, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> NDArray[np.float64]:
    """Step-up adjusted p-values, in the order given: the share of false discoveries stays at alpha.

    adjusted_(i) = min_{j >= i} min(1, m p_(j) / j), for independent or positively dependent tests.
    Benjamini & Hochberg 1995, doi:10.1111/j.2517-6161.1995.tb02031.x.
    """
    values = _checked(p)
    m = values.size
    order = np.argsort(values, kind="stable")[::-1]
    stepped = np.minimum.accumulate(values[order] * m / np.arange(m, 0, -1))
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(stepped, 1.0)
    return adjusted


def _checked(p: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(p, dtype=np.float64)
    if values.ndim != 1 or not np.all((values >= 0) & (values <= 1)):
        raise ValueError("p-values are a list of numbers from 0 to 1")
    return values
