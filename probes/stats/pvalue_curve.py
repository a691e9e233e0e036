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
from steelyard.probes.stats.means import GRID

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["from_claims", "from_limits", "probabilities"]

_STEPS = 60  # tolerances tried along the curve: 60 of some three standard errors
_LAST = 1 - 0.25 / GRID  # stands for p = 1, where an unbounded distribution has no quantile


def probabilities() -> NDArray[np.float64]:
    """The (GRID,) evenly spaced p of a curve, from 0 to 1; the last is a little below 1."""
    import numpy as np

    p = np.linspace(0.0, 1.0, GRID)
    p[-1] = _LAST
    return p


def from_limits(value: float, low: NDArray[np.float64], high: NDArray[np.float64]) -> Deviation:
    """The curve of limits (GRID,) each at the confidences `probabilities()`: the wider side at each."""
    import numpy as np

    reach = np.maximum.accumulate(np.maximum(np.maximum(value - low, high - value), 0.0))
    return Deviation(value=value, quantiles=tuple(reach.tolist()))


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

    least, most = 0.0, far
    for _ in range(12):  # where the curve ends, to within a 4,096th of the range
        middle = (least + most) / 2
        least, most = (least, middle) if weight(middle) <= 1 - _LAST else (middle, most)
    steps = np.append(np.linspace(0.0, most, _STEPS), far)
    p = np.minimum.accumulate([weight(float(x)) for x in steps])
    wanted = 1 - probabilities()
    place = [int(np.argmax(p <= w)) if (p <= w).any() else len(steps) - 1 for w in wanted]
    quantiles = steps[np.array(place)]
    if not math.isfinite(float(quantiles[-1])):
        raise ValueError("a curve ends at a finite distance")
    return Deviation(value=value, quantiles=tuple(np.maximum.accumulate(quantiles).tolist()))
