"""How unequal are benefits, and how much of it lies between groups? Indices of inequality with intervals.

With b >= 0 the benefit of a row, m2 its mean square and mu its mean,

    GE = (m2 / mu^2 - 1) / 2,   Theil = mean(b ln b) / mu - ln mu,   0 ln 0 = 0,

both smooth functions of means, so that one number per row gives their variance. Speicher et al. 2018, arXiv:1807.00787.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate
from steelyard.probes.stats.between import arm, covariance
from steelyard.probes.stats.grid import confidences, drawn, of_bounds
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured, linear, mean
from steelyard.probes.stats.pvalue_curve import from_limits

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["between_groups", "generalized_entropy", "theil", "within_groups"]

METHOD = "delta method on the log scale, Student t"


def generalized_entropy(benefits: NDArray[np.float64], design: Design, *, level: float) -> Measured:
    """GE of order 2 of `benefits` (n,), each 0, 1 or 2. ProbeError where nobody has any."""
    value, influence = _entropy(benefits, design)
    if _alike(benefits):
        return _bounded(design, level)
    return _linear(value, influence, design, level)


def theil(benefits: NDArray[np.float64], design: Design, *, level: float) -> Measured:
    """The Theil index of `benefits` (n,), each 0, 1 or 2. ProbeError where nobody has any."""
    import numpy as np

    mu = _mean(benefits, design)
    if _alike(benefits):
        return _bounded(design, level, theil=True)
    logs = benefits * np.log(np.where(benefits > 0, benefits, 1.0))
    a = design.average(logs)
    influence = (logs - a) / mu - (a / mu + 1) * (benefits - mu) / mu
    return _linear(max(a / mu - math.log(mu), 0.0), influence, design, level)


def between_groups(
    benefits: NDArray[np.float64], members: Sequence[NDArray[np.int64]], design: Design, rng: Generator,
    *, level: float, draws: int,
) -> Measured:  # fmt: skip
    """(1/2) sum_g share_g (mu_g / mu - 1)^2 over the groups, `members` their rows.

    It is N^2 / 2 with N a norm, so by the triangle inequality |N^ - N| is at most the norm of the groups' errors, whose
    distribution is drawn from their normal covariance; limits of N are squared. An interval centred on resampled values
    would never reach 0, where the index is at parity.
    """
    import numpy as np

    rows = np.concatenate(list(members))
    part = design.take(rows)
    mu = _mean(benefits[rows], part)
    arms = []
    for m in members:
        own = design.take(m)
        found = mean(benefits[m], own, level=level, lower=0.0, upper=2.0)
        arms.append(arm(found, m, benefits[m] - found.estimate.value, design))
    share = np.array([design.mass[m].sum() for m in members]) / part.mass.sum()
    means = np.array([a.value for a in arms])
    matrix, df = covariance(arms, design), np.array([a.df for a in arms])
    slope = (np.eye(len(arms)) - np.outer(means / mu, share)) / mu  # of mu_g / mu in the groups' means
    root = np.linalg.cholesky(matrix + 1e-9 * np.diag(np.diagonal(matrix)))
    tail = np.sqrt(df / rng.chisquare(df, size=(draws, len(arms))))
    errors = ((rng.standard_normal((draws, len(arms))) @ root.T) * tail) @ slope.T
    norms = np.round(np.sqrt(np.square(errors) @ share), 12)
    size = math.sqrt(float(share @ np.square(means / mu - 1)))
    reach = drawn(norms, level)
    low, high = np.square(np.maximum(size - reach, 0.0)) / 2, np.square(size + reach) / 2
    estimate = Estimate(
        value=size**2 / 2, low=float(low[-1]), high=float(high[-1]), level=level, n=part.n,
        method="resampled bound on the norm of the groups' errors (triangle inequality)",
        n_effective=None if part.plain else part.kish,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=from_limits(size**2 / 2, low[:-1], high[:-1]))


def within_groups(
    benefits: NDArray[np.float64], members: Sequence[NDArray[np.int64]], design: Design, *, level: float
) -> Measured:
    """sum_g share_g (mu_g / mu)^2 GE_g = (m2 / mu^2 - sum_g share_g (mu_g / mu)^2) / 2 over the groups."""
    import numpy as np

    rows = np.concatenate(list(members))
    part = design.take(rows)
    mine, mu = benefits[rows], _mean(benefits[rows], part)
    if _alike(mine):
        return _bounded(part, level)
    own = np.concatenate([np.full(m.size, design.take(m).average(benefits[m])) for m in members])
    spread = np.square(mine - own)  # mean of it: m2 - sum_g share_g mu_g^2
    value = part.average(spread) / (2 * mu**2)
    influence = (spread - part.average(spread)) / (2 * mu**2) - 2 * value * (mine - mu) / mu
    return _linear(value, influence, part, level)


def _mean(benefits: NDArray[np.float64], design: Design) -> float:
    mu = design.average(benefits)
    if mu <= 0:
        raise ProbeError("every benefit is 0 (all rows are false negatives), so no share of it is defined")
    return mu


def _alike(benefits: NDArray[np.float64]) -> bool:
    import numpy as np

    return float(np.ptp(benefits)) == 0.0


def _entropy(benefits: NDArray[np.float64], design: Design) -> tuple[float, NDArray[np.float64]]:
    import numpy as np

    mu = _mean(benefits, design)
    m2 = design.average(np.square(benefits))
    influence = (np.square(benefits) - m2) / (2 * mu**2) - m2 / mu**3 * (benefits - mu)
    return max((m2 / mu**2 - 1) / 2, 0.0), influence


def _linear(value: float, influence: NDArray[np.float64], design: Design, level: float) -> Measured:
    variance = design.variance(influence)
    return linear(value, variance, design.units - 1.0, design, level=level, scale="log", lower=0.0, method=METHOD)


def _bounded(design: Design, level: float, *, theil: bool = False) -> Measured:
    """Where all of n units benefit alike: with confidence c a share of at most d = 1 - (1 - c)^(1/n) does not.

    The index is then at most what it is where that share has none: GE = d / (2 (1 - d)), Theil = -ln(1 - d).
    """
    import numpy as np

    p = confidences(level)
    d = -np.expm1(np.log1p(-p) / design.kish)
    high = -np.log1p(-d) if theil else d / (2 * (1 - d))
    estimate = Estimate(
        value=0.0, low=0.0, high=float(high[-1]), level=level, n=design.n,
        method="all rows benefit alike: exact bound (rule of three)", n_effective=None if design.plain else design.kish,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=of_bounds(0.0, high[:-1]))
