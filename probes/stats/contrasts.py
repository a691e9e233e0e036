"""Contrasts of rates between groups, all at one joint level, and the two claims a gate makes of them.

*Fail* claims that some contrast breaks the tolerance: studentised max-T over joint resamples, so that false fails stay
at alpha over all contrasts. *Pass* claims that every contrast keeps it: an intersection-union test by score statistics,
each contrast at its own one-sided alpha. Contrasts that touch a *small* rate (fewer than ten events or non-events) take
Bonferroni score limits from alpha · m_small / m, and max-T takes the rest of alpha.

For max-T see Hothorn, Bretz & Westfall 2008, doi:10.1002/bimj.200810425; for intersection-union Berger 1982,
doi:10.1080/00401706.1982.10487790.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.arms import Arms
from steelyard.probes.stats.claims import Claim
from steelyard.probes.stats.design import contrast_design
from steelyard.probes.stats.intervals import difference_limits, ratio_limits, score_z_difference, score_z_ratio
from steelyard.probes.stats.layout import Contrast, Layout, lay_out
from steelyard.probes.stats.resample import Draws, Replicates, resample
from steelyard.probes.stats.table import CountTable
from steelyard.probes.stats.tails import below, quantile

if TYPE_CHECKING:
    from steelyard.probes.stats.needed import Needed

__all__ = ["Form", "JointContrasts", "Widest", "joint_contrasts"]

Form = Literal["difference", "ratio"]
Array = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Below this many draws beyond the max-T quantile its p-value is too coarse, and every contrast goes by score limits.
_LEAST_TAIL_DRAWS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Widest:
    """The joint set in one number: the largest |difference|, or the smallest ratio, with simultaneous limits.

    `first` and `second` are the groups it is attained at (for a ratio first over second) with their `rate`.
    """

    value: float
    low: float
    high: float
    rate: str
    attributes: tuple[str, ...]
    first: str
    second: str
    p_first: float
    p_second: float


@dataclass(frozen=True, kw_only=True, eq=False)
class JointContrasts:
    """M contrasts of J arms at one joint level.

    Contrasts are `first` minus (or over) `second`; pairwise ones are turned so that a difference is >= 0 and a ratio
    <= 1. `small` (M,) marks those that take score limits. Not slotted: what is costly is computed once, when asked for.
    """

    layout: Layout
    form: Form
    contrast: Contrast
    level: float
    draws: int
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    small: Bools
    standard_error: Array  # (M,) of first - second
    design_factor: Array  # (M,) <= 1: shrinks n where arms of one cluster vary against each other
    replicates: Replicates | None  # of `resampled` arms
    position: NDArray[np.int64]  # (J,) where an arm is in the replicates, or -1
    cross: Array  # (M,) covariance of the two rates; 0 for plain counts
    df: Array  # (M,) degrees of freedom (Satterthwaite); infinite for plain counts

    @property
    def arms(self) -> Arms:
        """Every group's rate with its counts."""
        return self.layout.arms

    @property
    def m(self) -> int:
        """How many contrasts."""
        return int(self.first.size)

    @property
    def untested(self) -> tuple[tuple[tuple[str, ...], str, float], ...]:
        """(attributes, group, n) of the groups left out for their size."""
        return tuple((u.attributes, u.group, u.n) for u in self.layout.untested)

    @property
    def skipped(self) -> tuple[tuple[tuple[str, ...], str], ...]:
        """(attributes, reason) of the parts of the scope that could not be compared."""
        return tuple((s.attributes, s.reason) for s in self.layout.skipped)

    @cached_property
    def estimates(self) -> Array:
        """(M,) differences, or ratios (NaN for 0 / 0, infinite above 0)."""
        p, q = self.arms.p[self.first], self.arms.p[self.second]
        if self.form == "difference":
            return p - q
        with np.errstate(divide="ignore", invalid="ignore"):
            return p / q

    @cached_property
    def limits(self) -> tuple[Array, Array]:
        """Simultaneous (low, high), each (M,), at the joint level."""
        low, high = np.empty(self.m), np.empty(self.m)
        by_score = self.by_score(1 - self.level)
        if by_score.any():
            counts = self._counts(by_score)
            z = -quantile((1 - self.level) / (2 * self.m), self.df[by_score])
            solve = difference_limits if self.form == "difference" else ratio_limits
            low[by_score], high[by_score] = solve(*counts, z=z)
        if not by_score.all():
            rest = ~by_score
            low[rest], high[rest] = self._resampled_limits(rest)
        return low, high

    @cached_property
    def estimate(self) -> Widest:
        """Largest |difference| or smallest ratio, its limits through the joint set of contrasts.

        Raises ProbeError where every ratio has 0 below the line.
        """
        low, high = self.limits
        value = self.estimates
        if self.form == "difference":
            size = np.abs(value)
            widest = int(np.argmax(size))
            bounds = np.maximum(0.0, np.maximum(low, -high)).max(), np.maximum(np.abs(low), np.abs(high)).max()
            return self._widest(widest, float(size[widest]), float(bounds[0]), float(bounds[1]), turn=value[widest] < 0)
        if not np.isfinite(value).any():  # 0 / 0 everywhere, or only more than nothing against nothing
            names = ", ".join(self.layout.rates)
            raise ProbeError(f"the ratio of {names} is undefined: every contrast is 0 / 0 or a rate over 0")
        widest = int(np.nanargmin(value))
        upper = high.min()
        if self.contrast != "reference":
            upper = min(1.0, upper)
        return self._widest(widest, float(value[widest]), float(low.min()), float(upper), turn=False)

    def claim(self, tau: float, alpha: float | None = None) -> Claim:
        """The two p-values of a tolerance: every |difference| <= `tau`, or every ratio >= `tau`.

        `alpha` (default 1 - level) is the least level the claim may be tested at, such as alpha over the number of
        gates under Holm; it only decides whether there are draws enough for max-T. A fail at 1 - level agrees with the
        joint lower limit of a difference: both use the same draws.
        """
        if self.form == "difference":
            return self._claim_difference(tau, self.by_score(alpha if alpha is not None else 1 - self.level))
        return self._claim_ratio(tau, self.by_score(alpha if alpha is not None else 1 - self.level))

    def needed_n(self, tau: float, alpha: float | None = None, power: float = 0.8) -> Needed:
        """The rows per group that would decide the claim; see `needed.needed_n`."""
        from steelyard.probes.stats.needed import needed_n

        return needed_n(self, tau, alpha if alpha is not None else 1 - self.level, power)

    def by_score(self, alpha: float) -> Bools:
        """(M,) what goes by Bonferroni score limits at `alpha`: the small ones, or all for want of draws."""
        share = 1 - self.small.mean()
        if np.floor(alpha * share * (self.draws + 1)) < _LEAST_TAIL_DRAWS:
            return np.ones(self.m, dtype=bool)
        return self.small

    @cached_property
    def largest(self) -> Array:
        """(B,) sorted: max |T*| over the contrasts that are not small, for differences or log ratios."""
        chosen = self.position[self.first[~self.small]], self.position[self.second[~self.small]]
        assert self.replicates is not None  # noqa: S101 (there are contrasts that are not small)
        replicates = self.replicates
        if self.form == "ratio":
            replicates = replicates.on_log(self.arms.p[self.position >= 0])
        # Rounded, so that the last bits of a matrix product (its threads, its machine) never reach a record.
        return np.sort(np.round(replicates.largest(*chosen), 9))

    def _widest(self, c: int, value: float, low: float, high: float, *, turn: bool) -> Widest:
        a, b = int(self.first[c]), int(self.second[c])
        a, b = (b, a) if turn else (a, b)
        where = self.layout
        return Widest(
            value=value, low=low, high=high,
            rate=where.rates[where.rate_of[a]], attributes=where.scope[where.scope_of[a]],
            first=where.names[a], second=where.names[b],
            p_first=float(self.arms.p[a]), p_second=float(self.arms.p[b]),
        )  # fmt: skip

    def _counts(self, chosen: Bools) -> tuple[Array, Array, Array, Array]:
        a, b, shrink = self.first[chosen], self.second[chosen], self.design_factor[chosen]
        k, n = self.arms.k, self.arms.n
        return k[a] * shrink, n[a] * shrink, k[b] * shrink, n[b] * shrink

    def _resampled_limits(self, chosen: Bools) -> tuple[Array, Array]:
        tail = int(np.floor((1 - self.level) * chosen.mean() * (self.draws + 1)))
        critical = self.largest[-tail]  # the tail-th largest, as in the p-value (1 + #) / (B + 1)
        value = self.estimates[chosen]
        if self.form == "difference":
            reach = critical * self.standard_error[chosen]
            return np.maximum(value - reach, -1.0), np.minimum(value + reach, 1.0)
        p, q = self.arms.p[self.first[chosen]], self.arms.p[self.second[chosen]]
        v, w = self._variances(chosen)
        reach = critical * np.sqrt(np.maximum(v / p**2 + w / q**2 - 2 * self.cross[chosen] / (p * q), 0.0))
        return value * np.exp(-reach), value * np.exp(reach)

    def _variances(self, chosen: Bools) -> tuple[Array, Array]:
        p, n = self.arms.p, self.arms.n
        variance = p * (1 - p) / np.maximum(n, 1e-300)
        return variance[self.first[chosen]], variance[self.second[chosen]]

    def _claim_difference(self, tau: float, by_score: Bools) -> Claim:
        if tau < 0:
            raise ProbeError(f"a tolerance on a difference is {tau}; it must be 0 or more")
        if tau >= 1:
            return Claim(fail_p=1.0, pass_p=0.0)
        everything = self._counts(np.ones(self.m, dtype=bool))
        upper, lower = score_z_difference(*everything, tau), score_z_difference(*everything, -tau)
        pass_p = float(np.maximum(below(upper, self.df), below(-lower, self.df)).max())
        p_score = p_max_t = None
        if by_score.any():
            df = self.df[by_score]
            one = np.minimum(below(-upper[by_score], df), below(lower[by_score], df))
            p_score = 2 * float(one.min())
        if not by_score.all():
            rest = ~by_score
            observed = ((np.abs(self.estimates[rest]) - tau) / self.standard_error[rest]).max()
            beyond = self.draws - int(np.searchsorted(self.largest, observed, side="left"))
            p_max_t = (1 + beyond) / (self.draws + 1)
        return Claim(fail_p=self._combine(p_max_t, p_score, by_score), pass_p=pass_p)

    def _claim_ratio(self, tau: float, by_score: Bools) -> Claim:
        if tau < 0:
            raise ProbeError(f"a tolerance on a ratio is {tau}; it must be 0 or more")
        if tau == 0:
            return Claim(fail_p=1.0, pass_p=0.0)  # no rate is below nothing
        both = self.contrast != "reference"  # a group above the rest is as far from parity as one below it
        everything = np.ones(self.m, dtype=bool)
        k1, n1, k2, n2 = self._counts(everything)
        z = score_z_ratio(k1, n1, k2, n2, tau)
        z = np.minimum(z, score_z_ratio(k2, n2, k1, n1, tau)) if both else z
        pass_p = float(below(-z, self.df).max())
        p_score = p_max_t = None
        if by_score.any():
            p_score = (2 if both else 1) * float(below(z[by_score], self.df[by_score]).min())
        if not by_score.all():
            p_max_t = self._max_t_ratio(tau, ~by_score, both=both)
        return Claim(fail_p=self._combine(p_max_t, p_score, by_score), pass_p=pass_p)

    def _max_t_ratio(self, tau: float, chosen: Bools, *, both: bool) -> float:
        a, b = self.first[chosen], self.second[chosen]
        v, w = self._variances(chosen)
        cross = self.cross[chosen]
        if both:
            a, b, v, w = np.concatenate([a, b]), np.concatenate([b, a]), np.concatenate([v, w]), np.concatenate([w, v])
            cross = np.concatenate([cross, cross])
        se = np.sqrt(np.maximum(v + tau * tau * w - 2 * tau * cross, 1e-300))
        observed = ((self.arms.p[a] - tau * self.arms.p[b]) / se).min()
        assert self.replicates is not None  # noqa: S101 (there are contrasts that are not small)
        smallest = self.replicates.smallest(self.position[a], self.position[b], tau)
        return float((1 + (smallest <= observed).sum()) / (self.draws + 1))

    def _combine(self, p_max_t: float | None, p_score: float | None, by_score: Bools) -> float:
        """One p-value from the two shares of alpha: weighted Bonferroni."""
        parts = []
        if p_max_t is not None:
            parts.append(p_max_t / float(1 - by_score.mean()))
        if p_score is not None:
            parts.append(p_score * self.m)
        return min(1.0, *parts) if parts else 1.0


def joint_contrasts(
    table: CountTable,
    rates: tuple[str, ...],
    scope: tuple[tuple[str, ...], ...],
    form: Form = "difference",
    contrast: Contrast = "pairwise",
    reference: Mapping[str, str] | None = None,
    level: float = 0.95,
    min_n: int = 30,
    draws: int = 2000,
    *,
    rng: Generator,
    redrawn: Callable[[], Draws] | None = None,
) -> JointContrasts:
    """Compare `rates` between the groups of every attribute (or intersection) of `scope`, all at one joint level.

    `contrast`: every pair; each group with the pooled rest; or each with the reference group of its attribute (default
    the largest). Groups with an (effective) denominator below `min_n` are left out and listed; `unknown` groups are
    left out unless the table says to compare them. Raises ProbeError where no attribute has two usable groups.
    """
    layout = lay_out(table, rates=rates, scope=scope, contrast=contrast, reference=reference or {}, min_n=min_n)
    arms = layout.arms
    first, second = _turned(layout, form, contrast)
    small = arms.small[first] | arms.small[second]
    resampled = np.zeros(arms.p.size, dtype=bool)
    resampled[first[~small]] = resampled[second[~small]] = True
    position = np.where(resampled, np.cumsum(resampled) - 1, -1)
    chosen = np.flatnonzero(resampled)
    variance, cross, factor, df = contrast_design(table, arms, first, second)
    return JointContrasts(
        layout=layout,
        form=form,
        contrast=contrast,
        level=level,
        draws=draws,
        first=first,
        second=second,
        small=small,
        standard_error=np.sqrt(variance),
        design_factor=factor,
        replicates=resample(table, arms.take(chosen), draws, rng, redrawn) if chosen.size else None,
        position=position,
        cross=cross,
        df=df,
    )


def _turned(layout: Layout, form: Form, contrast: Contrast) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    first, second = layout.first, layout.second
    if contrast == "reference" or (contrast == "rest" and form == "difference"):
        return first, second
    gap = layout.arms.p[first] - layout.arms.p[second]
    turn = gap < 0 if form == "difference" else gap > 0
    return np.where(turn, second, first), np.where(turn, first, second)
