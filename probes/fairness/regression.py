"""Does a regressor predict, and err, alike for every group?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, MetricSpec, Task
from steelyard.probes.fairness.estimates import Statistic, compare_groups, mean_arm
from steelyard.probes.fairness.partitions import partitions
from steelyard.probes.fairness.scores import pair_of
from steelyard.probes.quality.outputs import Scribe, ask

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.between import Arm, Widest
    from steelyard.probes.stats.linearised import Design

__all__ = ["Regression"]

PREFIX = "fairness.regression."
AGARWAL = "Agarwal, Dudik, Wu 2019, arXiv:1905.12843"
CALDERS = "Calders et al. 2013, doi:10.1109/ICDM.2013.114"
WOODRUFF = "quantiles' standard errors: Woodruff 1952, doi:10.1080/01621459.1952.10483443"
W1 = "Vallender 1974, doi:10.1137/1118101; in fairness: Chzhen et al. 2020, arXiv:2006.07286"
OUTCOME = "whether the difference is in the outcome itself: see the error metrics"
LABELS = "whether the labels themselves are fair"

# name: symbol, direction of a group's reading, its ideal, lower end, source, what is not shown
READINGS: dict[str, tuple[str, Direction, float | None, float, str, str]] = {
    "mean-prediction": ("mean of ŷ", Direction.NONE, None, -math.inf, CALDERS, OUTCOME),
    "mean-error": ("mean of ŷ − y (positive: predicted too high)", Direction.NONE, 0.0, -math.inf, CALDERS, LABELS),
    "mae": ("mean of |ŷ − y|", Direction.LOWER, 0.0, 0.0, AGARWAL, f"in which direction the model errs; {LABELS}"),
    "rmse": ("√ mean of (ŷ − y)²", Direction.LOWER, 0.0, 0.0, AGARWAL, f"in which direction the model errs; {LABELS}"),
    "quantile": ("the quantile of ŷ named in `where`", Direction.NONE, None, -math.inf, WOODRUFF, OUTCOME),
}

QUOTIENTS = ("mae", "rmse")  # what is above 0 by nature, and so has a ratio


def _specs() -> tuple[MetricSpec, ...]:
    found: list[MetricSpec] = []
    for name, (symbol, direction, ideal, lower, source, not_shown) in READINGS.items():
        found.append(
            MetricSpec(
                id=f"{PREFIX}{name}",
                definition=f"{symbol}, in group g",
                direction=direction,
                ideal=ideal,
                lower=lower,
                source=source,
                not_shown=not_shown,
            )
        )
        found.append(_gap(f"{name}-difference", f"max − min over groups g of {symbol}", source, not_shown))
        to = f"largest difference of {symbol} between a group and the reference group (the plan's, else the largest)"
        found.append(_gap(f"{name}-difference-to-reference", to, source, not_shown))
        if name in QUOTIENTS:
            found.append(
                MetricSpec(
                    id=f"{PREFIX}{name}-ratio",
                    definition=f"min over groups g of {symbol}, divided by the max",
                    direction=Direction.HIGHER,
                    ideal=1.0,
                    lower=0.0,
                    upper=1.0,
                    source=source,
                    not_shown=not_shown,
                )
            )
    far = "largest over pairs of groups of ∫ |F_a(ŷ) − F_b(ŷ)| dŷ: how far the predictions of one group must be moved, "
    found.append(_gap("wasserstein", far + "on average, to have the distribution of the other's", W1, OUTCOME))
    return tuple(found)


def _gap(name: str, definition: str, source: str, not_shown: str) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=f"{definition}; in the unit of the label", direction=Direction.LOWER,
        ideal=0.0, lower=0.0, source=source, not_shown=not_shown,
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Regression(Probe):
    """Does a regressor predict, and err, alike for every group?

    ŷ is the prediction, y the label. By group: mean of ŷ, mean error (ŷ − y), MAE, RMSE and quantiles of ŷ; between
    groups the max − min of each and the Wasserstein-1 distance of the distributions of ŷ, in the unit of the label, 0
    at parity. Agarwal, Dudik, Wu 2019, arXiv:1905.12843. Says nothing about whether the labels themselves are fair.

    `quantiles` are those compared; `level`, `draws`, `pairwise` and `depth` as in `fairness.selection-rate`. Clusters
    and survey weights enter all of them.
    """

    id: ClassVar[str] = "fairness.regression"
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.REGRESSION})
    metrics: ClassVar[tuple[MetricSpec, ...]] = _specs()

    quantiles: tuple[float, ...] = (0.1, 0.5, 0.9)
    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield each group's readings, then the comparisons, attribute by attribute."""
        import numpy as np

        from steelyard.probes.stats.distances import widest_wasserstein
        from steelyard.probes.stats.linearised import Design

        for q in self.quantiles:
            if not isinstance(q, float) or not 0 < q < 1:
                raise ProbeError(f"quantiles holds {q!r}; each must lie between 0 and 1")
        scribe, design = Scribe(probe=self, target=target.name), Design.of(sample)
        predicted = np.asarray(ask(target, sample).decisions, dtype=np.float64)
        labels = None if sample.labels is None else np.asarray(sample.labels, dtype=np.float64)
        if labels is None:
            needing = (f"{PREFIX}mean-error", f"{PREFIX}mae", f"{PREFIX}rmse")
            metrics = tuple(spec.id for spec in self.metrics if spec.id.startswith(needing))
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the data has no labels", missing=(Data.LABELS.value,),
                metrics=metrics,
            )  # fmt: skip
        statistics = self._statistics(predicted, labels, design)

        def moved(rows: Sequence[NDArray[np.int64]]) -> Widest:
            return widest_wasserstein(predicted, rows, design, rng, level=self.level, draws=self.draws)

        for part in partitions(sample, self.depth):
            yield from compare_groups(
                scribe, part, statistics, design, rng, level=self.level, draws=self.draws, pairwise=self.pairwise
            )
            yield pair_of(scribe, part, f"{PREFIX}wasserstein", part.compared, moved)

    def _statistics(
        self, predicted: NDArray[np.float64], labels: NDArray[np.float64] | None, design: Design
    ) -> tuple[Statistic, ...]:
        def of(name: str, measure: Callable[[NDArray[np.int64]], Arm], q: float | None = None) -> Statistic:
            return Statistic(
                reading=f"{PREFIX}{name}", contrast=f"{PREFIX}{name}-difference", measure=measure,
                where=() if q is None else (("quantile", q),),
                to_reference=f"{PREFIX}{name}-difference-to-reference",
                quotient=f"{PREFIX}{name}-ratio" if name in QUOTIENTS else "",
            )  # fmt: skip

        found = [of("mean-prediction", mean_arm(predicted, design, level=self.level))]
        found += [
            of("quantile", lambda rows, q=q: quantile_arm(predicted, rows, q, design, level=self.level), q)  # type: ignore[misc]
            for q in self.quantiles
        ]
        if labels is None:
            return tuple(found)
        errors = predicted - labels
        return (
            *found,
            of("mean-error", mean_arm(errors, design, level=self.level)),
            of("mae", mean_arm(abs(errors), design, level=self.level, lower=0.0)),
            of("rmse", lambda rows: rmse_arm(errors, rows, design, level=self.level)),
        )


def rmse_arm(errors: NDArray[np.float64], rows: NDArray[np.int64], design: Design, *, level: float) -> Arm:
    """Root mean squared error of some rows as an arm."""
    from steelyard.probes.quality.regression import rmse
    from steelyard.probes.stats.between import arm

    measured = rmse(errors[rows], design.take(rows), level=level)
    value = measured.estimate.value
    if value == 0:
        raise ProbeError("every row is predicted exactly: the spread of its errors cannot be estimated")
    return arm(measured, rows, (errors[rows] ** 2 - value**2) / (2 * value), design)


def quantile_arm(
    values: NDArray[np.float64], rows: NDArray[np.int64], q: float, design: Design, *, level: float
) -> Arm:
    """The q-quantile of some rows as an arm, by Woodruff's method.

    The limits are the quantiles at q -+ t se, se that of the share of rows at or below the estimate; the density at it
    is the length of that stretch of shares over the length of the interval. ProbeError where too few rows lie beyond
    the limits, or all rows between them have one value.
    """
    import numpy as np
    from scipy.special import stdtrit

    from steelyard.audit.types import Estimate, Normal
    from steelyard.probes.stats.between import arm
    from steelyard.probes.stats.means import Measured

    part, mine = design.take(rows), values[rows]
    weights = np.ones(part.n) if part.weights is None else part.weights
    order = np.lexsort((weights, mine))
    ordered, shares = mine[order], np.cumsum(weights[order]) / weights.sum()

    def at(p: float) -> float:
        return float(ordered[min(int(np.searchsorted(shares, p - 1e-12)), part.n - 1)])

    value = at(q)
    below = (mine <= value).astype(np.float64)
    variance = max(part.variance(below - part.average(below)), q * (1 - q) / part.kish)
    df = max(part.units - 1.0, 1.0)
    t = float(stdtrit(df, 0.5 + level / 2))
    reach = t * math.sqrt(variance)
    if q - reach <= shares[0] or q + reach >= 1:
        raise ProbeError(f"too few rows lie beyond its {q:g} quantile to give it an interval")
    low, high = at(q - reach), at(q + reach)
    if not low < high:
        raise ProbeError(f"around its {q:g} quantile all rows have one value, so its spread cannot be estimated")
    slope = (high - low) / (2 * reach)  # one over the density
    se = max(high - value, value - low) / t
    estimate = Estimate(
        value=value, low=low, high=high, level=level, n=part.n, method="Woodruff",
        n_effective=None if part.plain else part.kish,
    )  # fmt: skip
    measured = Measured(estimate=estimate, basis=Normal(value=value, se=se, df=df))
    return arm(measured, rows, (part.average(below) - below) * slope, design)
