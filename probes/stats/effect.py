"""How far apart are the scores of two groups, in standard deviations?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate, Normal
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["cohens_d", "pooled_sd"]


def pooled_sd(scores: NDArray[np.float64], first: NDArray[np.bool_], design: Design) -> float:
    """The SD pooled within the two groups, n − 2 below the line: `scores` (n,), `first` (n,) marks the first group."""
    import numpy as np

    centred = scores - np.where(first, *_means(scores, first, design))
    return math.sqrt(design.average(centred**2) * design.n / (design.n - 2)) if design.n > 2 else 0.0


def cohens_d(scores: NDArray[np.float64], first: NDArray[np.bool_], design: Design, *, level: float) -> Measured:
    """d = (mean of the second group − mean of the first) / s, with s pooled within the groups (n − 2).

    By linearisation: psi = psi_2 / s − psi_1 / s − d psi_(s²) / (2 s²), where psi_j is the influence of a mean and
    psi_(s²) that of the pooled variance; so it needs neither normal scores nor equal variances, and takes weights and
    clusters. ProbeError where the scores do not vary, or there is but one independent unit.
    """
    import numpy as np
    from scipy.special import stdtrit

    weights = np.ones(design.n) if design.weights is None else design.weights
    share = float(weights[first].sum() / weights.sum())
    means = _means(scores, first, design)
    sd = pooled_sd(scores, first, design)
    if not sd > 1e-12 * max(1.0, float(np.abs(scores).max())):
        raise ProbeError("the scores do not vary within the two groups, so there is no SD to divide by")
    d = (means[1] - means[0]) / sd
    centred = scores - np.where(first, *means)
    square = centred**2 * design.n / (design.n - 2)
    influence = centred / np.where(first, -share, 1 - share) / sd - d * (square - sd**2) / (2 * sd**2)
    variance = design.variance(influence)
    if not math.isfinite(variance) or variance <= 0:
        raise ProbeError("only one independent unit: its spread cannot be estimated")
    se, df = math.sqrt(variance), max(design.units - 2.0, 1.0)
    reach = float(stdtrit(df, 0.5 + level / 2)) * se
    estimate = Estimate(
        value=d, low=d - reach, high=d + reach, level=level, n=design.n,
        method="Cohen's d, linearised variance, Student t", n_effective=None if design.plain else design.kish,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Normal(value=d, se=se, df=df))


def _means(scores: NDArray[np.float64], first: NDArray[np.bool_], design: Design) -> tuple[float, float]:
    return design.take(first).average(scores[first]), design.take(~first).average(scores[~first])
