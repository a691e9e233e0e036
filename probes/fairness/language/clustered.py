"""The mean of values whose clusters may balance out exactly, as the templates of a benchmark are built to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["clustered_mean"]

NOTHING = 1e-15  # a variance that is rounding


def clustered_mean(
    values: NDArray[np.float64], design: Design, *, level: float, lower: float, upper: float
) -> Measured:
    """The mean of `values` (n,), each within [`lower`, `upper`], with clusters as units.

    A model that is always right answers half of a template's questions for and half against the stereotype: every
    cluster then has the same mean, and the linearised variance is 0 although the values differ. That is no certainty:
    the limits are then those of no cluster out of all that contradicts (`probes.stats.means.unseen`).
    """
    from steelyard.probes.stats.means import mean, unseen

    value = design.average(values)
    if design.units > 1 and design.variance(values - value) <= NOTHING:
        reach = max(upper - value, value - lower)
        return unseen(value, reach, float(design.units), design, level=level, lower=lower, upper=upper)
    return mean(values, design, level=level, lower=lower, upper=upper)
