"""The two claims of a gate on one number: the tolerance is broken (fail), the tolerance holds (pass).

Each has its own p-value, both one-sided, so that each error stays at alpha; neither below alpha is inconclusive.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Binomial, Deviation, Normal, Status
from steelyard.probes.stats.skew import straighten, unstraighten

if TYPE_CHECKING:
    from steelyard.probes.stats.needed import Needed

__all__ = ["Claim", "ScalarBasis", "claim", "decide", "interval", "needed_n_scalar"]

ScalarBasis = Binomial | Normal | Deviation


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`fail_p`: p-value of "the tolerance is broken"; `pass_p`: of "the tolerance holds". Both in [0, 1]."""

    fail_p: float
    pass_p: float


def claim(basis: ScalarBasis, *, maximum: float | None = None, minimum: float | None = None) -> Claim:
    """Weigh one number against a tolerance: truth <= `maximum`, truth >= `minimum`, or both.

    Binomial: exact. Normal: Student's t on the basis' scale. Deviation: the resampled bound on the absolute error. With
    both bounds the fail p-value is doubled (two tests) and the pass p-value is the larger (intersection-union).
    """
    claims = []
    if maximum is not None:
        claims.append(Claim(fail_p=_p_above(basis, maximum), pass_p=_p_below(basis, maximum)))
    if minimum is not None:
        claims.append(Claim(fail_p=_p_below(basis, minimum), pass_p=_p_above(basis, minimum)))
    if not claims:
        raise ValueError("a claim needs a maximum, a minimum or both")
    if len(claims) == 1:
        return claims[0]
    return Claim(
        fail_p=min(1.0, 2 * min(c.fail_p for c in claims)),
        pass_p=max(c.pass_p for c in claims),
    )


def decide(fail_p_adjusted: float, pass_p: float, alpha: float) -> Status:
    """FAIL where the fail claim holds at `alpha`, else PASS where the pass claim does, else INCONCLUSIVE."""
    if fail_p_adjusted <= alpha:
        return Status.FAIL
    return Status.PASS if pass_p <= alpha else Status.INCONCLUSIVE


def interval(basis: ScalarBasis, level: float = 0.95) -> tuple[float, float]:
    """The two-sided interval (low, high) that goes with a basis: Clopper-Pearson, Student's t, or value ± quantile."""
    if isinstance(basis, Binomial):
        from steelyard.probes.stats.intervals import clopper_pearson

        low, high = clopper_pearson(basis.successes, basis.trials, level)
        return float(low), float(high)
    if isinstance(basis, Normal):
        t = -_t_quantile((1 - level) / 2, basis.df)
        below, above = unstraighten(t, basis.skew) * basis.se, -unstraighten(-t, basis.skew) * basis.se
        middle = _to_scale(basis.value, basis.scale)
        return _from_scale(middle - below, basis.scale), _from_scale(middle + above, basis.scale)
    reach = _reach(basis, level)
    return basis.value - reach, basis.value + reach


def _reach(basis: Deviation, level: float) -> float:
    """The bound on the error at a confidence; the last of all where none is as high."""
    m = len(basis.quantiles)
    place = math.ceil(level * (m - 1))
    beyond = (q for k, q in enumerate(basis.tail, 1) if 1 - 0.5**k / (m - 1) >= level)
    return next(beyond, basis.quantiles[-1]) if place >= m - 1 else basis.quantiles[place]


def needed_n_scalar(
    basis: ScalarBasis, *, n: int, maximum: float | None = None, minimum: float | None = None,
    alpha: float = 0.05, power: float = 0.8,
) -> Needed:  # fmt: skip
    """The rows that would decide the claim with `power`, taking the estimate from `n` rows as the truth.

    Normal approximation: n (z_alpha + z_power)² se² / distance². One number has no parity: `at_parity` is None.
    """
    from steelyard.probes.stats.needed import MOST, Needed

    bounds = [bound for bound in (maximum, minimum) if bound is not None]
    reach = -(_t_quantile(alpha, math.inf) + _t_quantile(1 - power, math.inf))
    sizes = []
    for bound in bounds:
        ratio = _distance(basis, bound)
        if ratio is None:
            return Needed(at_estimate=None, at_parity=None, note="this kind of number gives no n")
        sizes.append(math.inf if ratio == 0 else n * (reach / ratio) ** 2)
    worst = max(sizes, default=math.inf)
    if not math.isfinite(worst) or worst > MOST:
        return Needed(at_estimate=None, at_parity=None, note="undecidable: the estimate is at the tolerance")
    return Needed(at_estimate=max(2, math.ceil(worst)), at_parity=None, note="")


def _distance(basis: ScalarBasis, bound: float) -> float | None:
    """How many standard errors lie between estimate and bound."""
    if isinstance(basis, Binomial):
        p = (basis.successes + 0.5) / (basis.trials + 1)
        spread = max(math.sqrt(p * (1 - p)), math.sqrt(max(bound * (1 - bound), 0.0)))
        return abs(basis.successes / basis.trials - bound) * math.sqrt(basis.trials) / spread
    if isinstance(basis, Normal):
        gap = abs(_to_scale(basis.value, basis.scale) - _to_scale(bound, basis.scale))
        return gap / basis.se if basis.se > 0 else math.inf
    return None


def _p_above(basis: ScalarBasis, bound: float) -> float:
    """p-value of "the truth is above `bound`"."""
    if isinstance(basis, Binomial):
        from steelyard.probes.stats.intervals import binomial_p_above

        return float(binomial_p_above(basis.successes, basis.trials, bound))
    if isinstance(basis, Normal):
        return _t_below(-_t(basis, bound), basis.df)
    return _beyond(basis, basis.value - bound)


def _p_below(basis: ScalarBasis, bound: float) -> float:
    """p-value of "the truth is below `bound`"."""
    if isinstance(basis, Binomial):
        from steelyard.probes.stats.intervals import binomial_p_below

        return float(binomial_p_below(basis.successes, basis.trials, bound))
    if isinstance(basis, Normal):
        return _t_below(_t(basis, bound), basis.df)
    return _beyond(basis, bound - basis.value)


def _beyond(basis: Deviation, distance: float) -> float:
    """P(error >= distance) from the quantile grid, rounded against the claim; 1 where the estimate is not beyond."""
    if distance <= 0:
        return 1.0
    m = len(basis.quantiles)
    passed = sum(q < distance for q in basis.tail)  # they never fall
    even = (1 + sum(q >= distance for q in basis.quantiles)) / (m + 1)
    return min(even, 0.5**passed / (m - 1)) if passed else even


def _t(basis: Normal, bound: float) -> float:
    gap = _to_scale(basis.value, basis.scale) - _to_scale(bound, basis.scale)
    if basis.se > 0:
        return straighten(gap / basis.se, basis.skew)
    return math.copysign(math.inf, gap) if gap else 0.0


def _to_scale(x: float, scale: str) -> float:
    if scale == "identity":
        return x
    if scale == "log":
        return math.log(x) if x > 0 else -math.inf
    if scale == "square":
        return x**2 if x > 0 else -(x**2)
    if x <= 0 or x >= 1:
        return -math.inf if x <= 0 else math.inf
    return math.log(x / (1 - x))


def _from_scale(x: float, scale: str) -> float:
    if scale == "identity":
        return x
    if scale == "log":
        return math.exp(x)
    if scale == "square":
        return math.sqrt(max(x, 0.0))
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def _t_below(t: float, df: float) -> float:
    from scipy.special import ndtr, stdtr

    if math.isnan(t):
        raise ProbeError("the estimate lies at the end of its scale, where a t test says nothing")
    return float(ndtr(t) if math.isinf(df) or math.isinf(t) else stdtr(df, t))


def _t_quantile(p: float, df: float) -> float:
    from scipy.special import ndtri, stdtrit

    return float(ndtri(p) if math.isinf(df) else stdtrit(df, p))
