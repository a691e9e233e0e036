"""The statistics of a regressor's errors on some rows, each with its interval.

An error is prediction minus label, in the label's own unit, so that a positive mean error is over-prediction.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured, linear

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["r2", "rmse"]

METHOD = "root of the mean square, Student t corrected for skewness"


def rmse(errors: NDArray[np.float64], design: Design, *, level: float) -> Measured:
    """Root mean squared error, sqrt(mean e^2), with the interval of the mean of e^2, of which it is the root.

    So the mean of e^2, which has a long tail whatever the errors' own, takes the t corrected for its skewness.
    """
    import numpy as np

    squares = np.square(errors)
    value = math.sqrt(design.average(squares))
    if np.ptp(squares) == 0:
        return linear(value, 0.0, design.units - 1.0, design, level=level, method=METHOD)
    centred = squares - value**2
    return linear(
        value, design.variance(centred) / (2 * value) ** 2, design.units - 1.0, design, level=level, scale="square",
        lower=0.0, method=METHOD, skew=design.skewness(centred),
    )  # fmt: skip


def r2(errors: NDArray[np.float64], labels: NDArray[np.float64], design: Design, *, level: float) -> Measured:
    """1 - mean e^2 / variance of the labels; below 0 where the labels' mean would do better. At most 1."""
    import numpy as np

    centred = np.square(labels - design.average(labels))
    spread = design.average(centred)
    if np.ptp(labels) == 0:
        raise ProbeError("every row has the same label, so there is no variance to explain")
    ratio = design.average(np.square(errors)) / spread
    influence = (ratio * centred - np.square(errors)) / spread
    return linear(
        1 - ratio, design.variance(influence), design.units - 1.0, design, level=level, upper=1.0,
        method="delta method, Student t",
    )  # fmt: skip
