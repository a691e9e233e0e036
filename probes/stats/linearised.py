"""How were the rows drawn, and how many independent ones are they worth?

Everything rests on one device, linearisation (Taylor series, "influence"): an estimator is, to first order, its true
value plus a weighted mean of one number per row, psi_i. The variance of that mean is known whatever the design: rows of
one cluster are added up first, and clusters are the independent units,

    se^2 = C / (C - 1) * sum_u (sum_{i in u} w_i psi_i)^2 / (sum_i w_i)^2,   df = C - 1,

with C clusters (every row its own where there are none). Binder 1983, doi:10.2307/1402588.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["Design", "effective_counts", "effective_trials"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Design:
    """How n rows were drawn: `weights` (n,) positive or None, `clusters` (n,) codes or None."""

    n: int
    weights: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, sample: Sample) -> Design:
        """The design of all rows of a sample; of one that was counted, over its entries."""
        if sample.reduced is not None:
            from steelyard.probes.stats.counted import CountedDesign

            return CountedDesign.of(sample)
        return cls(n=sample.n, weights=sample.weights, clusters=sample.clusters)

    def take(self, rows: NDArray[Any]) -> Design:
        """The design of some rows, given as indices or as a mask."""
        import numpy as np

        n = int(np.count_nonzero(rows)) if rows.dtype == np.bool_ else len(rows)
        weights = None if self.weights is None else self.weights[rows]
        return Design(n=n, weights=weights, clusters=None if self.clusters is None else self.clusters[rows])

    @property
    def entries(self) -> int:
        """How many numbers there are where each row has one. Fewer than rows where these were counted."""
        return self.n

    @property
    def mass(self) -> NDArray[np.float64]:
        """(n,) the weight of each row, 1 in a plain design."""
        import numpy as np

        return np.ones(self.n) if self.weights is None else self.weights

    @property
    def root(self) -> NDArray[np.float64]:
        """(n,) what one unit of error in a row adds to the error of a weighted sum."""
        return self.mass

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

    def total(self, values: NDArray[Any]) -> float:
        """The sum of `values` (n,) over the rows, without their weights."""
        return float(values.sum())

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

    def skewness(self, influence: NDArray[np.float64]) -> float:
        """Skewness of the error of the weighted mean of `influence` (n,), centred at 0: sum u^3 / (sum u^2)^1.5."""
        import numpy as np

        totals: NDArray[np.float64] = self._per_unit(influence if self.weights is None else influence * self.weights)
        spread = float(np.square(totals).sum())
        return float(np.power(totals, 3).sum() / spread**1.5) if spread > 0 else 0.0


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
    return (design.total(hits) if design.plain else design.average(hits) * trials), trials
