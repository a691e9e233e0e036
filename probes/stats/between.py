"""How far apart are the groups' estimates, all contrasts at one joint level?

For numbers that are not rates of counts: means, areas, indices. Each group has an *arm*: an estimate with one
contribution per row, whose sum is the estimate's error to first order (Binder 1983, doi:10.2307/1402588). The
covariance of the arms follows whatever the design: rows of one cluster are added up first. A contrast is a linear
combination of arms, d = c'theta. Its limits use the quantile of max |T| over all contrasts, drawn from the multivariate
normal of the arms and studentised by a redrawn variance V_j chi2_df / df of each arm (a parametric bootstrap of
Welch's statistic: Krishnamoorthy, Lu and Mathew 2007, doi:10.1016/j.csda.2006.09.039). Where the arms are means of
skewed numbers, each contrast's statistic is corrected for the skewness of its own error (`probes/stats/skew.py`).

Fail is the joint claim (some |d| is beyond the tolerance), pass an intersection-union of each contrast's own one-sided
test; both enter one curve (`probes/stats/pvalue_curve.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate, Normal
from steelyard.probes.stats.grid import GRID, HALVINGS, confidences, drawn
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.means import Measured
from steelyard.probes.stats.pvalue_curve import from_limits
from steelyard.probes.stats.skew import unstraighten

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray
    from scipy.sparse import csr_array

__all__ = ["Arm", "Widest", "arm", "covariance", "pairs", "widest_difference", "widest_ratio", "with_rest"]

METHOD = "simultaneous over all contrasts: max-T of Welch statistics"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arm:
    """One group's estimate: `measured` by itself; `rows` (m,) indices and their `contributions` (m,) to its error.

    `df` are the degrees of freedom of its variance, `variance` the least it is believed to be: what the wider side of
    its own interval says, which for perfect orders and for constants comes from an exact bound. Where the error is
    `skewed` the wider side is that of the long tail: the variance of a few rows that carry most is itself read too low.
    """

    measured: Measured
    rows: NDArray[np.int64]
    contributions: NDArray[np.float64]
    df: float
    variance: float

    @property
    def skewed(self) -> bool:
        """Whether its error is skewed, and known to be."""
        return _skew_of(self) != 0

    @property
    def value(self) -> float:
        """The estimate."""
        return self.measured.estimate.value


@dataclass(frozen=True, slots=True, kw_only=True)
class Widest:
    """The widest contrast with simultaneous limits: which one, and how many there were."""

    measured: Measured
    index: int
    contrasts: int


def arm(
    measured: Measured, rows: NDArray[np.int64], influence: NDArray[np.float64], design: Design, *, df: float = 0.0
) -> Arm:
    """An arm from the influence (m,) of its rows, centred at 0. ProbeError where the estimate has no interval."""
    from scipy.special import stdtrit

    estimate = measured.estimate
    if estimate.low is None or estimate.high is None:
        raise ProbeError(estimate.no_interval)
    part = design.take(rows)
    freedom = df or max(part.units - 1.0, 1.0)
    stretch = math.sqrt(part.units / max(part.units - 1, 1))
    side = max(estimate.high - estimate.value, estimate.value - estimate.low)
    least = (side / float(stdtrit(freedom, 0.5 + estimate.level / 2))) ** 2
    return Arm(
        measured=measured, rows=rows, contributions=part.root * influence * stretch / part.mass.sum(), df=freedom,
        variance=least,
    )  # fmt: skip


def covariance(arms: Sequence[Arm], design: Design) -> NDArray[np.float64]:
    """(J, J) of the arms' errors; the diagonal no smaller than each arm's own least variance."""
    import numpy as np

    errors = _errors(arms, design)
    matrix: NDArray[np.float64] = np.asarray((errors.T @ errors).todense(), dtype=np.float64)
    own = np.diagonal(matrix).copy()
    matrix[np.diag_indices_from(matrix)] = np.maximum(own, [a.variance for a in arms])
    return matrix


def _errors(arms: Sequence[Arm], design: Design) -> csr_array:
    """(units, J): what each independent unit adds to the error of each arm."""
    import numpy as np
    from scipy.sparse import csr_array

    unit = np.arange(design.entries) if design.clusters is None else np.unique(design.clusters, return_inverse=True)[1]
    rows = np.concatenate([unit[a.rows] for a in arms])
    columns = np.repeat(np.arange(len(arms)), [a.rows.size for a in arms])
    return csr_array(
        (np.concatenate([a.contributions for a in arms]), (rows, columns)), shape=(int(unit.max()) + 1, len(arms))
    )


def skewness(arms: Sequence[Arm], contrasts: NDArray[np.float64], design: Design) -> NDArray[np.float64]:
    """(M,) of the error of each contrast: sum u^3 / (sum u^2)^1.5 over the units; 0 where no arm is skewed."""
    import numpy as np

    found = np.zeros(len(contrasts))
    if not any(a.skewed for a in arms):
        return found
    errors = _errors(arms, design)
    errors.sum_duplicates()
    if (np.diff(errors.indptr) <= 1).all():  # no unit is in two arms, so that cubes add up arm by arm
        squares = (errors**2).sum(axis=0)
        cubes = np.array([_skew_of(a) for a in arms]) * squares**1.5
        second, third = contrasts**2 @ squares, contrasts**3 @ cubes
    else:
        parts = [errors @ c for c in contrasts]
        second, third = (np.array([float((part**k).sum()) for part in parts]) for k in (2, 3))
    # Rounded: the last bits of a sum over rows turn with their order, and must not reach a record.
    found[:] = np.round(np.divide(third, second**1.5, out=found, where=second > 0), 9)
    return found


def pairs(j: int) -> NDArray[np.float64]:
    """(M, J) every pair of arms."""
    import numpy as np

    first, second = np.triu_indices(j, 1)
    c = np.zeros((first.size, j))
    c[np.arange(first.size), first], c[np.arange(first.size), second] = 1.0, -1.0
    return c


def with_rest(sizes: NDArray[np.float64]) -> NDArray[np.float64]:
    """(J, J) each arm with the mean of all others, weighted by their `sizes` (J,)."""
    import numpy as np

    others = np.where(np.eye(sizes.size, dtype=bool), 0.0, sizes[None, :])
    c: NDArray[np.float64] = np.eye(sizes.size) - others / others.sum(axis=1, keepdims=True)
    return c


def widest_difference(
    arms: Sequence[Arm], contrasts: NDArray[np.float64], design: Design, rng: Generator, *, level: float, draws: int,
    upper: float = math.inf,
) -> Widest:  # fmt: skip
    """max_c |d_c|, at least 0, with simultaneous limits. ProbeError where a contrast has no spread at all."""
    import numpy as np

    contrasts = _upwards(contrasts, np.array([a.value for a in arms]))
    sizes = contrasts @ np.array([a.value for a in arms])
    low, high, at = joint_limits(
        sizes, contrasts, covariance(arms, design), np.array([a.df for a in arms]), rng,
        level=level, draws=draws, skew=skewness(arms, contrasts, design),
    )  # fmt: skip
    value = float(sizes.max())
    estimate = _estimate(value, max(low[-1], 0.0), min(high[-1], upper), arms, design, level)
    basis = from_limits(value, np.maximum(low[:-1], 0.0), high[:-1])  # no tolerance lies below 0
    return Widest(measured=Measured(estimate=estimate, basis=basis), index=at, contrasts=len(contrasts))


def _skew_of(one: Arm) -> float:
    basis = one.measured.basis
    return basis.skew if isinstance(basis, Normal) else 0.0


def _upwards(contrasts: NDArray[np.float64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same contrasts, each turned so that its estimate is not below 0."""
    import numpy as np

    return np.where(contrasts @ values < 0, -1.0, 1.0)[:, None] * contrasts


def widest_ratio(
    arms: Sequence[Arm], contrasts: NDArray[np.float64], design: Design, rng: Generator, *, level: float, draws: int
) -> Widest:
    """min over contrasts of the smaller estimate over the larger, in (0, 1]; all estimates are positive.

    Worked on logarithms by the delta method, var(ln theta) = var(theta) / theta^2, so limits stay above 0.
    """
    import numpy as np

    values = np.array([a.value for a in arms])
    if (values <= 0).any():
        raise ProbeError("a group's value is 0, so no ratio to it is defined")
    contrasts = _upwards(contrasts, np.log(values))
    sizes = contrasts @ np.log(values)
    matrix = covariance(arms, design) / np.outer(values, values)
    low, high, at = joint_limits(
        sizes, contrasts, matrix, np.array([a.df for a in arms]), rng, level=level, draws=draws,
        skew=skewness(arms, contrasts / values, design),
    )  # fmt: skip
    value = float(np.exp(-sizes.max()))
    least, most = np.exp(-high), np.exp(-np.maximum(low, 0.0))  # no tolerance lies above 1
    estimate = _estimate(value, float(least[-1]), float(most[-1]), arms, design, level)
    basis = from_limits(value, least[:-1], most[:-1])
    return Widest(measured=Measured(estimate=estimate, basis=basis), index=at, contrasts=len(contrasts))


def joint_limits(
    size: NDArray[np.float64], contrasts: NDArray[np.float64], matrix: NDArray[np.float64], df: NDArray[np.float64],
    rng: Generator, *, level: float, draws: int, skew: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:  # fmt: skip
    """(low, high, index of the widest): limits of max d at the `confidences` of the grid, the last of them `level`.

    `size` (M,) are the contrasts' estimates, none below 0, and `skew` (M,) the skewness of their errors.
    low = max_c(d_c - t se_c), t the max-T quantile. On the curve high = max_c(d_c + t' se_c) with each contrast's
    own one-sided t', since passing is what every contrast has to earn by itself; at `level` it uses t as well. With
    skewness every t is first taken back through the correction of `probes/stats/skew.py`.
    """
    import numpy as np
    from scipy.special import stdtrit

    se = np.sqrt(np.maximum(np.einsum("mj,jk,mk->m", contrasts, matrix, contrasts), 0.0))
    if not (se > 0).all():
        raise ProbeError("every row gives the same value: its spread cannot be estimated")
    largest = _largest(contrasts, matrix, df, rng, draws)
    part = contrasts**2 * np.diagonal(matrix)
    freedom = part.sum(axis=1) ** 2 / (part**2 / df).sum(axis=1)
    p = confidences(level)
    joint = np.broadcast_to(drawn(largest, level)[:, None], (len(p), len(size))).copy()
    far = slice(GRID, GRID + HALVINGS)  # where draws end: Bonferroni, which hardly differs there
    joint[far] = stdtrit(freedom, 1 - (1 - p[far, None]) / (2 * len(size)))
    low = (size - unstraighten(joint, skew) * se).max(axis=1)
    alone = stdtrit(freedom, np.maximum(p[:-1, None], 1e-9))  # scipy's quantile at 0 is not the lower end
    high = (size - unstraighten(-alone, skew) * se).max(axis=1)
    return low, np.append(high, (size - unstraighten(-joint[-1], skew) * se).max()), int(np.argmax(size))


def _largest(
    contrasts: NDArray[np.float64], matrix: NDArray[np.float64], df: NDArray[np.float64], rng: Generator, draws: int
) -> NDArray[np.float64]:
    """(draws,) max |T| over the contrasts."""
    import numpy as np

    own = np.maximum(np.diagonal(matrix), 1e-300)
    scale = np.sqrt(own)
    correlation = matrix / np.outer(scale, scale)
    # Cholesky, not eigenvectors: it does not turn when the last bits of the covariance change with the order of rows.
    root = np.linalg.cholesky(correlation + 1e-9 * np.eye(len(own)))
    errors = (rng.standard_normal((draws, len(own))) @ root.T) * scale
    freedom = np.minimum(df, 1e9)
    noise = rng.chisquare(freedom, size=(draws, len(own))) / freedom
    total = np.einsum("mj,jk,mk->m", contrasts, matrix, contrasts)
    cross = total - contrasts**2 @ own
    variance = np.maximum((noise * own) @ (contrasts**2).T + cross, 1e-12 * total)
    # Rounded, so that the last bits of a matrix product never reach a record.
    largest: NDArray[np.float64] = np.round((abs(errors @ contrasts.T) / np.sqrt(variance)).max(axis=1), 9)
    return largest


def _estimate(value: float, low: float, high: float, arms: Sequence[Arm], design: Design, level: float) -> Estimate:
    import numpy as np

    part = design.take(np.unique(np.concatenate([a.rows for a in arms])))
    return Estimate(
        value=value, low=min(float(low), value), high=max(float(high), value), level=level, n=part.n,
        method=METHOD, n_effective=None if design.plain else part.kish,
    )  # fmt: skip
