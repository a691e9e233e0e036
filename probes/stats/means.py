"""How precise is a mean, a proportion or a smooth function of means, under weights and clusters?

Everything here rests on one device, linearisation (Taylor series, "influence"): an estimator is, to first order,
its true value plus a weighted mean of one number per row, psi_i. The variance of that mean is known whatever the
design: rows of one cluster are added up first, and clusters are the independent units,

    se^2 = C / (C - 1) * sum_u (sum_{i in u} w_i psi_i)^2 / (sum_i w_i)^2,   df = C - 1,

with C clusters (every row its own where there are none). Binder 1983, doi:10.2307/1402588.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.types import Basis, Binomial, Deviation, Estimate, Normal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = [
    "GRID",
    "Design",
    "Measured",
    "effective_counts",
    "effective_trials",
    "exact",
    "held",
    "linear",
    "mean",
    "proportion",
    "unseen",
]

GRID = 201  # how many evenly spaced quantiles a Deviation basis carries
Scale = Literal["identity", "logit", "log"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A number with its interval, and what a gate needs of it."""

    estimate: Estimate
    basis: Basis | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How n rows were drawn: `weights` (n,) positive or None, `clusters` (n,) codes or None."""

    n: int
    weights: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, sample: Sample) -> Design:
        """The design of all rows of a sample."""
        return cls(n=sample.n, weights=sample.weights, clusters=sample.clusters)

    def take(self, rows: NDArray[Any]) -> Design:
        """The design of some rows, given as indices or as a mask."""
        import numpy as np

        n = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        weights = None if self.weights is None else self.weights[rows]
        return Design(n=n, weights=weights, clusters=None if self.clusters is None else self.clusters[rows])

    @property
    def plain(self) -> bool:
        """Whether every row counts once and for itself."""
        return self.weights is None and self.clusters is None

    @property
    def units(self) -> int:
        """How many independent units there are: clusters, or rows."""
        import numpy as np

        return self.n if self.clusters is None else int(np.unique(self.clusters).size)

    @property
    def kish(self) -> float:
        """Kish's effective n: (sum v)^2 / sum v^2 over the units' total weights; n for a plain design."""
        import numpy as np

        if self.plain:
            return float(self.n)
        weights: NDArray[np.float64] = self._per_unit(np.ones(self.n) if self.weights is None else self.weights)
        return float(weights.sum() ** 2 / np.square(weights).sum())

    def _per_unit(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        import numpy as np

        if self.clusters is None:
            return values
        sums: Any = np.bincount(np.unique(self.clusters, return_inverse=True)[1], weights=values)
        return np.asarray(sums)

    def average(self, values: NDArray[Any]) -> float:
        """The (weighted) mean of `values` (n,)."""
        import numpy as np

        if self.weights is None:
            return float(np.mean(values))
        return float(np.dot(self.weights, values) / self.weights.sum())

    def variance(self, influence: NDArray[np.float64]) -> float:
        """Variance of the weighted mean of `influence` (n,), which is centred at 0; infinite with one unit."""
        import numpy as np

        if self.units < 2:
            return math.inf
        totals: NDArray[np.float64] = self._per_unit(influence if self.weights is None else influence * self.weights)
        whole = float(self.n) if self.weights is None else float(self.weights.sum())
        units = len(totals)
        return float(units / (units - 1) * np.square(totals).sum() / whole**2)


def _limits(value: float, se: float, df: float, scale: Scale, level: float) -> tuple[float, float]:
    from scipy.special import expit, logit, stdtrit

    reach = float(stdtrit(df, 0.5 + level / 2)) * se
    if scale == "log":
        return value * math.exp(-reach), value * math.exp(reach)
    if scale == "logit":
        return float(expit(logit(value) - reach)), float(expit(logit(value) + reach))
    return value - reach, value + reach


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
) -> Measured:
    """An estimate with Student's t interval from its linearised `variance` (on its own scale).

    The standard error goes to `scale` by the delta method: se / v for the logarithm, se / (v (1 - v)) for the logit.
    Printed limits are cut at `lower` and `upper`, where the quantity ends; the basis is not.
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
    slope = {"identity": 1.0, "log": value, "logit": value * (1 - value)}[scale]
    se = math.sqrt(variance) / slope
    low, high = _limits(value, se, df, scale, level)
    estimate = Estimate(
        value=value, low=max(low, lower), high=min(high, upper), level=level, n=design.n, method=method,
        n_effective=n_effective,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Normal(value=value, se=se, df=df, scale=scale))


def mean(
    values: NDArray[np.float64],
    design: Design,
    *,
    level: float,
    lower: float = -math.inf,
    upper: float = math.inf,
    scale: Scale = "identity",
) -> Measured:
    """The mean of `values` (n,), each within [lower, upper], with a (cluster-)linearised Student t interval.

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
        variance = 0.0
    else:
        variance = design.variance(values - value)
    method = "mean, Student t" if design.plain else "weighted or clustered mean, linearised variance, Student t"
    return linear(
        value, variance, design.units - 1.0, design, level=level, method=method, scale=scale, lower=lower, upper=upper
    )


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
    quantiles = reach * -np.expm1(np.log1p(-np.linspace(0, 1, GRID)[:-1]) / trials)
    off = reach * -math.expm1(math.log1p(-level) / trials)
    estimate = Estimate(
        value=value, low=max(value - off, lower), high=min(value + off, upper), level=level, n=design.n,
        method="no unit differs: exact bound (rule of three)", n_effective=None if design.plain else trials,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=Deviation(value=value, quantiles=(*quantiles.tolist(), reach)))


def effective_trials(values: NDArray[Any], design: Design) -> float:
    """How many independent rows of equal weight would give the mean of `values` (n,) the precision it has.

    n over the design effect: the plain variance of `values` over the linearised variance of their mean; at most n.
    With clusters it shrinks further by (t_{n-1} / t_{C-1})^2, so that an exact interval knows that the variance
    was estimated from C units: Korn and Graubard 1998, Survey Methodology 24, 193-201. Where nothing varies it is
    Kish's n over the units.
    """
    import numpy as np

    if design.plain:
        return float(design.n)
    from scipy.special import stdtrit

    centre = design.average(values)
    variance = design.variance(values - centre) if design.units > 1 else 0.0
    spread = design.average(np.square(values * 1.0)) - centre**2
    if variance <= 0 or spread <= 0:
        return design.kish
    trials = spread / variance
    if design.clusters is not None:
        trials *= (float(stdtrit(design.n - 1, 0.975)) / float(stdtrit(design.units - 1, 0.975))) ** 2
    return min(trials, float(design.n))


def effective_counts(hits: NDArray[Any], design: Design) -> tuple[float, float]:
    """(successes, trials) of a proportion as if its rows were independent and of equal weight."""
    trials = effective_trials(hits, design)
    return (float(hits.sum()) if design.plain else design.average(hits) * trials), trials


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
