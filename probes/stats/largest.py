"""How large is the largest of several estimates, when all of them have errors?

The largest |estimate| is an estimate of the largest |truth|, and wrong by no more than the largest |error|:

    | max_j |d_j| − max_j |δ_j| | ≤ max_j |d_j − δ_j|.

So the quantiles of the largest |error| bound it on both sides. Where every truth is 0 the two sides are equal, so a
claim that some |δ_j| is above 0 then errs with exactly the probability it states.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.audit.types import Estimate
from steelyard.probes.stats.grid import of_errors
from steelyard.probes.stats.means import Measured

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["joint_errors", "largest", "smallest_ratio"]


def joint_errors(covariance: NDArray[np.float64], df: float, draws: int, rng: Generator) -> NDArray[np.float64]:
    """(draws,) of max_j |e_j|, e a multivariate t with `df` degrees of freedom (infinite: normal) and `covariance`.

    The matrix is rounded to 2^-40 of its largest entry, and so much is added to its diagonal, so that neither the order
    of rows nor a singular matrix (three pairs among three groups) decides a draw.
    """
    import numpy as np

    m = len(covariance)
    scale = float(covariance.diagonal().max(initial=0.0))
    normal = rng.standard_normal((draws, m))
    chi = np.ones(draws) if not np.isfinite(df) else rng.chisquare(df, draws) / df
    if scale <= 0:
        return np.zeros(draws)
    grain = 2.0**-40
    root = np.linalg.cholesky(np.round(covariance / scale / grain) * grain + m * 2.0**-30 * np.eye(m))
    errors: NDArray[np.float64] = np.abs(normal @ root.T).max(axis=1) * np.sqrt(scale) / np.sqrt(chi)
    return errors


def largest(
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    level: float,
    n: int,
    method: str,
    upper: float,
    n_effective: float | None = None,
) -> Measured:
    """max_j |values_j| with the bound that the largest `errors` (draws,) give; `upper` ends the range."""
    import numpy as np

    value = float(np.abs(values).max())
    reach = float(np.quantile(errors, level, method="higher"))
    estimate = Estimate(
        value=value, low=max(value - reach, 0.0), high=min(value + reach, upper), level=level, n=n,
        n_effective=n_effective, method=method,
    )  # fmt: skip
    return Measured(estimate=estimate, basis=of_errors(value, errors))


def smallest_ratio(
    logs: NDArray[np.float64],
    errors: NDArray[np.float64],
    *,
    level: float,
    n: int,
    method: str,
    n_effective: float | None = None,
) -> Measured:
    """min_j min(r_j, 1 / r_j) of ratios given as `logs`, in (0, 1]; `errors` are of the logarithms.

    A basis is a bound on the absolute error of the ratio itself: r (exp(q) − 1), the wider of its two sides.
    """
    import numpy as np

    value = float(np.exp(-np.abs(logs).max()))
    reach = float(np.quantile(errors, level, method="higher"))
    estimate = Estimate(
        value=value, low=value * float(np.exp(-reach)), high=min(value * float(np.exp(reach)), 1.0), level=level, n=n,
        n_effective=n_effective, method=method,
    )  # fmt: skip
    basis = of_errors(value, value * np.expm1(np.minimum(errors, 50.0)))
    return Measured(estimate=estimate, basis=basis)
