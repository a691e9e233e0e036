"""How precise is a mean, a proportion or a smooth function of means, under weights and clusters?

A number becomes a `Measured`: its estimate with interval, and the basis on which a gate weighs it. Variances are the
linearised ones of `probes/stats/linearised.py`; where a sample shows no spread, an exact bound takes their place.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.types import Basis, Binomial, Estimate, Normal
from steelyard.probes.stats.grid import GRID, of_bounds, tail
from steelyard.probes.stats.linearised import Design, effective_counts
from steelyard.probes.stats.skew import unstraighten

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


__all__ = [
    "Measured",
    "exact",
    "held",
    "linear",
    "mean",
    "proportion",
    "unseen",
]

Scale = Literal["identity", "logit", "log", "square"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number with its interval, and what a gate needs of it."""

    estimate: Estimate
    basis: Basis | None


def _limits(value: float, se: float, df: float, scale: Scale, level: float, skew: float) -> tuple[float, float]:
    from scipy.special import expit, logit, stdtrit

    t = float(stdtrit(df, 0.5 + level / 2))
    below, above = unstraighten(t, skew) * se, -unstraighten(-t, skew) * se
    if scale == "log":
        return value * math.exp(-below), value * math.exp(above)
    if scale == "square":
        return math.sqrt(max(value**2 - below, 0.0)), math.sqrt(value**2 + above)
    if scale == "logit":
        return float(expit(logit(value) - below)), float(expit(logit(value) + above))
    return value - below, value + above


def linear(
    value: float,
    variance: float,
    df: float,
    design: Design,
    *,
    level: float,
    method: str,
    scale: Scale = "identity",
    lower: float = -math.inf,
    upper: float = math.inf,
    skew: float = 0.0,
) -> Measured:
    """An estimate with Student's t interval from its linearised `variance` (on its own scale), corrected for `skew`.

    The standard error goes to `scale` by the delta method: se / v for the logarithm, se / (v (1 - v)) for the logit,
    2 v se for the square. `skew` is that of the error on `scale`. Printed limits are cut at `lower` and `upper`, where
    the quantity ends; the basis is not.
    """
    n_effective = None if design.plain else design.kish
    if not math.isfinite(variance) or variance <= 0:
        reason = (
            "only one independent unit: its spread cannot be estimated"
            if variance
            else "every row gives the same value: its spread cannot be estimated"
        )
        bare = Estimate(
            value=value, low=None, high=None, level=level, n=design.n, method=method, n_effective=n_effective,
            no_interval=reason,
        )  # fmt: skip
        return Measured(estimate=bare, basis=None)
    slope = {"identity": 1.0, "log": value, "logit": value * (1 - value), "square": 0.5 / value if value else 1.0}[
        scale
    ]
    se = math.sqrt(variance) / slope
    low, high = _limits(value, se, df, scale, level, skew)
    estimate = Estimate(
        value=value, low=max(low, lower), high=min(high, upper), level=level, n=design.n, method=method,
        n_effective=n_effective,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Normal(value=value, se=se, df=df, scale=scale, skew=skew))


def mean(
    values: NDArray[np.float64],
    design: Design,
    *,
    level: float,
    lower: float = -math.inf,
    upper: float = math.inf,
) -> Measured:
    """The mean of `values` (n,), each within [lower, upper], with a (cluster-)linearised, skew-corrected t interval.

    Where all values are equal the sample shows no spread; if the values are bounded the interval then comes from
    `unseen`, else there is none.
    """
    import numpy as np

    value = design.average(values)
    if design.units > 1 and float(np.ptp(values)) == 0.0:
        value = float(values[0])
        far = max(upper - value, value - lower)
        if math.isfinite(far):
            return unseen(value, far, design.kish, design, level=level, lower=lower, upper=upper)
        variance, skew = 0.0, 0.0
    else:
        variance, skew = design.variance(values - value), design.skewness(values - value)
    return linear(
        value, variance, design.units - 1.0, design, level=level, method=method_of_mean(design), lower=lower,
        upper=upper, skew=skew,
    )  # fmt: skip


def method_of_mean(design: Design) -> str:
    """How the interval of a mean is made, in words."""
    start = "mean" if design.plain else "weighted or clustered mean, linearised variance"
    return f"{start}, Student t corrected for skewness"


def unseen(
    value: float, reach: float, trials: float, design: Design, *, level: float, lower: float, upper: float
) -> Measured:
    """A number that no unit out of `trials` contradicts: how far off can it be?

    If a unit differs with probability d, all `trials` agree with probability (1 - d)^trials; so with confidence c,
    d <= 1 - (1 - c)^(1 / trials), the exact form of the rule of three (3 / n at 95 %), and as a unit can move the
    mean by no more than `reach`, |error| <= reach * d.
    Hanley and Lippman-Hand 1983, doi:10.1001/jama.1983.03330370053031.
    """
    import numpy as np

    trials = max(trials, 1e-9)
    sure = np.append(np.linspace(0, 1, GRID)[:-1], tail())
    bounds = reach * -np.expm1(np.log1p(-sure) / trials)
    off = reach * -math.expm1(math.log1p(-level) / trials)
    estimate = Estimate(
        value=value, low=max(value - off, lower), high=min(value + off, upper), level=level, n=design.n,
        method="no unit differs: exact bound (rule of three)", n_effective=None if design.plain else trials,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=of_bounds(value, np.insert(bounds, GRID - 1, reach)))


def proportion(hits: NDArray[Any], design: Design, *, level: float) -> Measured:
    """The share of `hits` (n,) bool, with the exact (Clopper-Pearson) interval of its effective counts.

    Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404. Not defined for n = 0: the caller says why it is empty.
    """
    from steelyard.probes.stats.intervals import clopper_pearson

    successes, trials = effective_counts(hits, design)
    low, high = clopper_pearson(successes, trials, level)
    value = design.average(hits)
    estimate = Estimate(
        value=value, low=min(float(low), value), high=max(float(high), value), level=level, n=design.n,
        method="Clopper-Pearson" if design.plain else "Clopper-Pearson on effective counts",
        n_effective=None if design.plain else trials,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Binomial(successes=successes, trials=trials))


def exact(
    value: float, low: float, high: float, design: Design, *, level: float, method: str, trials: float
) -> Measured:
    """A reading from limits that some exact or score method gave: the basis reproduces the wider side.

    A gate needs a p-value at a tolerance that is not yet known. Its basis is Student's t with the standard error
    under which the wider of the two printed sides comes out: the usual one for large n, larger near the end of the
    range, never 0.
    """
    from scipy.special import stdtrit

    low, high, df = min(low, value), max(high, value), max(design.units - 1.0, 1.0)
    se = max(high - value, value - low) / float(stdtrit(df, 0.5 + level / 2))
    estimate = Estimate(
        value=value, low=low, high=high, level=level, n=design.n, method=method,
        n_effective=None if design.plain else trials,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Normal(value=value, se=se, df=df))


def held(
    value: float, reach: Callable[[float], float], df: float, design: Design, *, level: float, method: str
) -> Measured:
    """Limits in (0, 1) by inversion: the truths A with |value - A| <= t `reach`(A), `reach` the standard error at A.

    The basis is normal on the logit scale with the standard error that gives the wider of the two limits there.
    """
    from scipy.special import logit, stdtrit

    t = float(stdtrit(df, 0.5 + level / 2))
    limits = []
    for end in (0.0, 1.0):
        inside, outside = value, end
        for _ in range(50):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if abs(middle - value) <= t * reach(middle) else (inside, middle)
        limits.append(inside)
    low, high = limits
    se = max(float(logit(value) - logit(low)), float(logit(high) - logit(value))) / t
    estimate = Estimate(
        value=value, low=low, high=high, level=level, n=design.n, method=method,
        n_effective=None if design.plain else design.kish,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Normal(value=value, se=se, df=df, scale="logit"))
