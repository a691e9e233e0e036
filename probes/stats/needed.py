"""How many rows per group would decide a claim, by a normal approximation on fixed draws.

An inconclusive verdict says what would end it. The n returned is rows per group (of each group compared), at the
denominators, weights and clusters that the data at hand show per row.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from steelyard.probes.stats.contrasts import JointContrasts

__all__ = ["MOST", "Needed", "needed_n"]

MOST = 10_000_000  # rows per group; above it nobody will gather them, and the answer is "undecidable"
_DRAWS = 500
_CONTRASTS = 200  # with more, fails follow the widest and passes the extreme rates, both a little on the safe side
_PRECISION = 1.01  # the bisection stops when n is known to 1 %

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Needed:
    """Rows per group that would decide at the stated power, were the estimate the truth, or were there no gap.

    None where no number does: at the tolerance itself, or at parity when the tolerance is 0. `note` says why.
    """

    at_estimate: int | None
    at_parity: int | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Question:
    """P(decided | n) for contrasts `a` - `tau` `b` (ratio) or |a - b| (difference) of arms with `share` n trials."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    share: Array
    tau: float
    ratio: bool
    alpha: float
    noise: Array  # (J, S) standard normal
    contrasts: int  # all of them, also where only the widest are in `a` and `b`
    families: tuple[NDArray[np.int64], ...]  # arms compared pairwise with each other, where that is too many pairs

    def passes(self, p: Array, n: float) -> float:
        from scipy.special import ndtri

        if self.families:
            return self._passes_at_extremes(p, n, -float(ndtri(self.alpha)))
        gap, se, _ = self._redrawn(p, n)
        reach = -float(ndtri(self.alpha)) * se[:, None]
        held = gap - reach >= 0 if self.ratio else np.abs(gap) + reach <= self.tau
        return float(held.all(axis=0).mean())

    def _passes_at_extremes(self, p: Array, n: float, z: float) -> float:
        """Highest against lowest rate of each family, with the widest standard error there."""
        weight, held = self.tau if self.ratio else 1.0, np.ones(self.noise.shape[1], dtype=bool)
        for arms in self.families:
            variance = p[arms] * (1 - p[arms]) / (n * self.share[arms])
            drawn = p[arms][:, None] + self.noise[arms] * np.sqrt(variance)[:, None]
            low, high = drawn.min(axis=0), drawn.max(axis=0)
            reach = z * np.sqrt((1 + weight**2) * variance.max())
            held &= low - weight * high >= reach if self.ratio else high - low + reach <= self.tau
        return float(held.mean())

    def fails(self, p: Array, n: float) -> float:
        from scipy.special import ndtri

        gap, se, error = self._redrawn(p, n)
        sides = 1 if self.ratio else 2
        unseen = -float(ndtri(self.alpha / (sides * self.contrasts))) if self.contrasts > self.a.size else 0.0
        if self.ratio:
            critical = max(unseen, np.quantile((-error / se[:, None]).max(axis=0), 1 - self.alpha))
            return float((gap < -critical * se[:, None]).any(axis=0).mean())
        critical = max(unseen, np.quantile(np.abs(error / se[:, None]).max(axis=0), 1 - self.alpha))
        return float((np.abs(gap) - self.tau > critical * se[:, None]).any(axis=0).mean())

    def _redrawn(self, p: Array, n: float) -> tuple[Array, Array, Array]:
        weight = self.tau if self.ratio else 1.0
        variance = p * (1 - p) / (n * self.share)
        error = self.noise * np.sqrt(variance)[:, None]
        error = error[self.a] - weight * error[self.b]
        se = np.sqrt(variance[self.a] + weight**2 * variance[self.b])
        return (p[self.a] - weight * p[self.b])[:, None] + error, se, error


def needed_n(joint: JointContrasts, tau: float, alpha: float, power: float = 0.8) -> Needed:
    """Rows per group that would decide "every |difference| <= tau" (or "every ratio >= tau") with `power`.

    Where the estimate keeps the tolerance the n is that of a pass, where it breaks it that of a fail. Deterministic:
    500 fixed normal draws, Wald limits, and a bisection in log n to 1 %.
    """
    p = (joint.arms.k + 0.5) / (joint.arms.n + 1)  # off 0 and 1, where a normal has no width
    question = _ask(joint, p, tau, alpha)
    inside = _inside(question, p)
    decided = question.passes if inside else question.fails
    at_estimate = _search(lambda n: decided(p, n), power)
    level = np.full_like(p, 0.0)
    for r in range(len(joint.layout.rates)):
        own = joint.layout.rate_of == r
        level[own] = joint.arms.k[own].sum() / max(joint.arms.n[own].sum(), 1.0)
    level = np.clip(level, 1e-6, 1 - 1e-6)
    possible = _inside(question, level)
    at_parity = _search(lambda n: question.passes(level, n), power) if possible else None
    notes = []
    if at_estimate is None:
        notes.append("undecidable: the estimate is at the tolerance")
    if at_parity is None:
        notes.append("even parity could not pass this tolerance")
    return Needed(at_estimate=at_estimate, at_parity=at_parity, note="; ".join(notes))


def _ask(joint: JointContrasts, p: Array, tau: float, alpha: float) -> _Question:
    ratio, a, b = joint.form == "ratio", joint.first, joint.second
    share = joint.arms.n / np.maximum(joint.layout.group_rows, 1)
    if joint.contrast == "rest":  # with n rows in every group the rest holds those of all the others
        arms = np.bincount(joint.layout.scope_of[np.unique(a)], minlength=len(joint.layout.scope))
        groups = arms / len(joint.layout.rates)
        rest = np.unique(b)
        share = share.copy()
        share[rest] *= np.maximum(groups[joint.layout.scope_of[rest]] - 1, 1)
    if ratio and joint.contrast != "reference":
        a, b = np.concatenate([a, b]), np.concatenate([b, a])
    contrasts = int(a.size)
    families: tuple[NDArray[np.int64], ...] = ()
    if a.size > _CONTRASTS:
        if joint.contrast == "pairwise":
            kind = joint.layout.scope_of * len(joint.layout.rates) + joint.layout.rate_of
            families = tuple(np.flatnonzero(kind == one) for one in np.unique(kind))
        width = p[a] - tau * p[b] if ratio else -np.abs(p[a] - p[b])
        widest = np.argsort(width, kind="stable")[:_CONTRASTS]
        a, b = a[widest], b[widest]
    noise = np.random.default_rng(0).standard_normal((p.size, _DRAWS))  # fixed: an n must not change from run to run
    return _Question(
        a=a, b=b, share=share, tau=tau, ratio=ratio, alpha=alpha, noise=noise, contrasts=contrasts, families=families
    )  # fmt: skip


def _inside(question: _Question, p: Array) -> bool:
    if question.ratio:
        return bool((p[question.a] - question.tau * p[question.b] > 0).all())
    return bool((np.abs(p[question.a] - p[question.b]) < question.tau).all())


def _search(decided: Callable[[float], float], power: float) -> int | None:
    """The least n with P(decided) >= power, to 1 %; None above MOST."""
    low, high = 2.0, float(MOST)
    if decided(high) < power:
        return None
    while high / low > _PRECISION:
        middle = float(np.sqrt(low * high))
        low, high = (low, middle) if decided(middle) >= power else (middle, high)
    return int(np.ceil(high))
