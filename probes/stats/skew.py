"""Student's t where the data are skewed: Hall's monotone transformation.

A mean of losses of which a few carry most has an estimate and a standard error that move together, so that t is far
from Student's distribution: simulated at the tolerance, false passes were 6 to 19 % instead of 5. With g the skewness
of the mean (that of one unit over sqrt(n)), T = t + g t^2 / 3 + g^2 t^3 / 27 + g / 6 is right to the next order, and
monotone in t. Hall 1992, Journal of the Royal Statistical Society B 54, 221-228,
doi:10.1111/j.2517-6161.1992.tb01876.x.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, overload

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["straighten", "unstraighten"]


def straighten(t: float, skew: float) -> float:
    """T of the studentised error `t`, to be looked up in Student's distribution; `skew` is g."""
    if skew == 0 or math.isinf(t):
        return t
    return t + skew * t**2 / 3 + skew**2 * t**3 / 27 + skew / 6


@overload
def unstraighten(T: float, skew: float) -> float: ...


@overload
def unstraighten(T: NDArray[np.float64] | float, skew: NDArray[np.float64]) -> NDArray[np.float64]: ...


def unstraighten(
    T: NDArray[np.float64] | float, skew: NDArray[np.float64] | float
) -> NDArray[np.float64] | float:  # fmt: skip
    """The t whose T this is, one by one."""
    import numpy as np

    small = np.abs(skew) < 1e-9
    g = np.where(small, 1.0, skew)
    found = np.where(small, T, 3 / g * (np.cbrt(1 + g * (T - g / 6)) - 1))
    return float(found) if found.ndim == 0 else found
