"""From p-values at every tolerance to the basis a gate reads: how a joint claim becomes one curve.

A gate's tolerance is not known when a number is measured, and `Deviation` carries one curve q(p), p from 0 to 1: at a
distance x from the estimate either claim has the p-value 1 - p where q(p) = x. For a number that is read off many
contrasts the two claims have p-values of their own, F(x) of "the truth is beyond estimate - x" (joint over all
contrasts) and P(x) of "the truth is within estimate + x" (each contrast by itself). The curve takes the larger of the
two at each x: never more certain than either, and with one contrast it is the two-sided test.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

from steelyard.audit.types import Deviation
from steelyard.probes.stats.grid import GRID, of_bounds, probabilities, tail

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["from_claims", "from_limits"]

_STEPS = 60  # tolerances tried along the curve: 60 of some three standard errors
_BEYOND = 12  # and from there to the end of the tail


def from_limits(value: float, low: NDArray[np.float64], high: NDArray[np.float64]) -> Deviation:
    """The curve of limits, each at the `confidences` of the grid but the printed one: the wider side at each."""
    import numpy as np

    return of_bounds(value, np.maximum(value - low, high - value))


def from_claims(
    value: float, fail: Callable[[float], float], passes: Callable[[float], float], *, lower: float, upper: float
) -> Deviation:
    """The curve of two p-value functions of a tolerance within [`lower`, `upper`], the ends of the metric's range.

    `fail` is that of "the truth is on the bad side of the tolerance" and `passes` of "it is on the good side"; for a
    metric where more is better the caller mirrors nothing: distances are taken on both sides. Where the tolerance would
    lie outside the range a function returns 0, since no claim is made there. p-values between two tried tolerances
    count as the one nearer to the estimate, which is the larger.
    """
    import numpy as np

    far = max(value - lower, upper - value)
    if far <= 0:
        raise ValueError("the range of the metric is empty")

    def weight(x: float) -> float:
        return max(fail(x), passes(x))

    most = _where(weight, float(1 - probabilities()[-1]), far)
    last = _where(weight, float(1 - tail()[-1]), far)
    steps = np.concatenate([np.linspace(0.0, most, _STEPS), np.linspace(most, last, _BEYOND + 1)[1:], [far]])
    p = np.minimum.accumulate([weight(float(x)) for x in steps])
    wanted = 1 - np.append(probabilities(), tail())
    reached = [(p <= w).any() for w in wanted]
    quantiles = np.array([steps[int(np.argmax(p <= w))] if (p <= w).any() else far for w in wanted])
    quantiles[GRID:][~np.array(reached[GRID:])] = math.inf  # no distance has so small a p-value
    if not np.isfinite(quantiles[:GRID]).all():
        raise ValueError("a curve ends at a finite distance")
    return of_bounds(value, quantiles)


def _where(weight: Callable[[float], float], p: float, far: float) -> float:
    """Where a p-value has fallen to `p`, to within a 4,096th of the range."""
    least, most = 0.0, far
    for _ in range(12):
        middle = (least + most) / 2
        least, most = (least, middle) if weight(middle) <= p else (middle, most)
    return most
