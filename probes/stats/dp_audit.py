"""How private can a mechanism be at most, when somebody could tell which canaries it saw? Lower bounds on ε.

One training run includes each of m canaries by an independent fair coin. From its output r of the coins are guessed, v
guesses are right, the other canaries are left alone. If the mechanism is (ε, δ)-differentially private, then

    P(V >= v) <= beta + 2 m δ alpha,   beta = P(B >= v),   alpha = max_i P(v - i <= B < v) / i,

B ~ Binomial(r, e^ε / (1 + e^ε)): theorem 5.2 of Steinke, Nasr and Jagielski 2023, arXiv:2305.08846. The right-hand side
is a p-value of the claim, and the ε at which it reaches 1 - level is a lower confidence bound. It grows with ε, so the
bound is unique.

A sharper bound takes the shape of the whole trade-off curve as the claim (f-DP): the recursion of Mahloujifar, Melis
and Chaudhuri 2024, arXiv:2410.22235, theirs for guesses between two outcomes. With the curve of the Gaussian
mechanism it refutes values of μ, which are then read as ε at the given δ.

Both hold for a number of guesses that was fixed before the outcome was seen. `audit_scores` pays for trying several,
by Bonferroni or by choosing on one half of the canaries and testing on the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = [
    "GREATEST",
    "Plan",
    "ScoreAudit",
    "audit_scores",
    "epsilon_bound",
    "epsilon_of_mu",
    "gaussian_bound",
    "guess_plans",
    "one_run_p_value",
]

GREATEST = 20.0  # no bound above is looked for: e^20 to 1 is certainty for any number of canaries that can be trained
SHARES = (0.5, 0.2, 0.05)  # of the canaries, guessed beside all of them; few and apart: each further one costs power
Side = Literal["both", "in", "out"]
Correction = Literal["bonferroni", "split"]


def one_run_p_value(m: int, r: int, v: int, epsilon: ArrayLike, delta: float) -> NDArray[np.float64]:
    """p-values (k,) of "the mechanism is (ε, δ)-DP" for each of `epsilon` (k,): v of r guesses about m coins right.

    Never decreasing in ε. Raises ProbeError unless 0 <= v <= r <= m and 0 <= δ < 1.
    """
    _check(m, r, v, delta)
    eps = np.atleast_1d(np.asarray(epsilon, dtype=np.float64))
    if v == 0:
        return np.ones(eps.shape)
    right = 1 / (1 + np.exp(-eps))  # P(one guess is right) at most
    from scipy.special import betainc

    beta = np.asarray(betainc(v, r - v + 1, right), dtype=np.float64)
    if delta == 0.0:
        return np.minimum(beta, 1.0)
    counts = np.arange(v - 1, -1, -1)  # v - 1, v - 2 … 0
    mass = np.exp(_log_choose(r)[counts] + np.outer(np.log(right), counts) + np.outer(np.log1p(-right), r - counts))
    alpha = (np.cumsum(mass, axis=1) / np.arange(1, v + 1)).max(axis=1)
    return np.asarray(np.minimum(beta + 2 * m * delta * alpha, 1.0))


def epsilon_bound(m: int, r: int, v: int, delta: float, *, level: float = 0.95) -> float:
    """The lower confidence bound on ε: the largest ε whose p-value is at most 1 - `level`; 0 where even ε = 0 stands.

    For one number of guesses r that was fixed beforehand. The bound is rounded down, by at most 20 / 2^24 = 1.2e-6.
    """
    return _largest(lambda eps: one_run_p_value(m, r, v, eps, delta) <= 1 - level)


def _largest(refuted: Callable[[NDArray[np.float64]], NDArray[np.bool_]]) -> float:
    """The largest x in [0, GREATEST] that is `refuted` (which falls from true to false), by narrowing a grid."""
    low, high = 0.0, GREATEST
    for _ in range(8):  # 72 points in eight steps end on the same grid as 20 / 2^24 at once
        grid = np.linspace(low, high, 9)
        found = refuted(grid)
        if not found[0]:
            return low
        last = int(np.flatnonzero(found)[-1])
        if last == 8:
            return high
        low, high = float(grid[last]), float(grid[last + 1])
    return low


def _log_choose(r: int) -> NDArray[np.float64]:
    """log C(r, k) for k = 0 … r."""
    from scipy.special import gammaln

    k = np.arange(r + 1)
    return np.asarray(gammaln(r + 1) - gammaln(k + 1) - gammaln(r - k + 1), dtype=np.float64)


def _check(m: int, r: int, v: int, delta: float) -> None:
    if not 0 <= v <= r <= m or r == 0:
        raise ProbeError(f"{v} right of {r} guesses about {m} canaries is not possible; 0 <= right <= guesses <= m")
    if not 0 <= delta < 1:
        raise ProbeError(f"δ is {delta}; it must be at least 0 and below 1")


def gaussian_bound(m: int, r: int, v: int, delta: float, *, level: float = 0.95) -> float:
    """The lower bound on ε at `delta` of a mechanism whose trade-off curve is that of a Gaussian mechanism.

    It refutes "the curve is at least that of N(0, 1) against N(μ, 1)" for every μ below the bound, and reads that μ as
    ε. DP-SGD is such a mechanism only nearly: the bound informs, the one without a shape (`epsilon_bound`) decides.
    """
    _check(m, r, v, delta)
    if v == 0:
        return 0.0
    low, high = 0.0, GREATEST
    for _ in range(21):  # to 1e-5; a walk in plain floats is 30 times as fast as one in arrays of this size
        middle = (low + high) / 2
        low, high = (middle, high) if _gaussian_refuted(m, r, v, middle, 1 - level) else (low, middle)
    return epsilon_of_mu(low, delta) if low > 0 else 0.0


def _gaussian_refuted(m: int, r: int, v: int, mu: float, threshold: float) -> bool:
    """Whether `mu` cannot be: if v or more of r guesses are right with probability `threshold`, how often must a guess
    be right at all? Walking down from v, each step bounds the mass of one outcome by the trade-off curve; where the
    masses come to more than the r guesses out of m coins that there are, μ is refuted. Once the curve asks for no more
    mass than the last outcome already has, nothing changes on the way down, and μ stands."""
    whole = r / m
    right, wrong = threshold * whole * v / r, threshold * whole * (r - v) / r
    quantile, root = NormalDist().inv_cdf, math.sqrt(0.5)
    for i in range(v - 1, -1, -1):
        bound = 0.5 * math.erfc((mu - quantile(right)) * root)
        if bound <= wrong:
            return False
        right += i / (r - i) * (bound - wrong)
        wrong = bound
        if right + wrong > whole:
            return True
    return False


def epsilon_of_mu(mu: float, delta: float) -> float:
    """The ε for which μ-GDP gives `delta`: δ = Φ(μ/2 - ε/μ) - e^ε Φ(-μ/2 - ε/μ), 0 where δ is met without any ε.

    Corollary 2.13 of Dong, Roth and Su 2022, doi:10.1111/rssb.12454. With δ = 0 there is none: infinity.
    """
    from scipy.special import log_ndtr, ndtr

    if mu <= 0:
        return 0.0
    if delta == 0:
        return math.inf

    def gap(eps: float) -> float:
        return float(ndtr(mu / 2 - eps / mu) - math.exp(eps + float(log_ndtr(-mu / 2 - eps / mu)))) - delta

    if gap(0.0) <= 0:
        return 0.0
    low, high = 0.0, mu * (mu / 2 + 40)
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if gap(middle) > 0 else (low, middle)
    return low


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreAudit:
    """What guesses from scores prove of ε at `delta`: `epsilon` is the lower bound at confidence `level`.

    `m` canaries were tested, of which `guesses` were guessed, `right` of these rightly. `cases` (guesses, right) are
    all ways of guessing that were paid for.
    """

    epsilon: float
    guesses: int
    right: int
    m: int
    delta: float
    level: float
    cases: tuple[tuple[int, int], ...]

    def gaussian(self) -> float:
        """The same bound if the trade-off curve is a Gaussian mechanism's (`gaussian_bound`)."""
        share = 1 - (1 - self.level) / len(self.cases)
        return max(gaussian_bound(self.m, r, v, self.delta, level=share) for r, v in self.cases)

    def curve(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        """Bounds (k,) at other confidences `levels` (k,), rounded down to a grid of 2.5 %. 0 at confidence 1."""
        grid = np.concatenate([[0.0], np.geomspace(1e-3, GREATEST, 400)])
        tries = len(self.cases)
        p = np.min([tries * one_run_p_value(self.m, r, v, grid, self.delta) for r, v in self.cases], axis=0)
        # at confidence c every ε with p <= 1 - c is refuted
        reached = np.searchsorted(np.maximum.accumulate(p), np.nextafter(1 - levels, 2.0), side="right")
        return np.where((reached > 0) & (levels < 1), grid[np.maximum(reached - 1, 0)], 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How to guess: `guesses` canaries, the surest ones, to have been "in", "out", or half of them each ("both")."""

    guesses: int
    side: Side


def guess_plans(m: int) -> tuple[Plan, ...]:
    """What is tried with m canaries: all of them, and shares of the surest at either end and at both."""
    counts = dict.fromkeys(max(2, 2 * round(share * m / 2)) for share in SHARES)
    sides: tuple[Side, ...] = ("both", "in", "out")
    return (Plan(guesses=m, side="both"), *(Plan(guesses=r, side=side) for r in counts for side in sides if r < m))


def audit_scores(
    scores: ArrayLike,
    included: ArrayLike,
    delta: float,
    *,
    level: float = 0.95,
    correction: Correction = "bonferroni",
    rng: Generator | None = None,
) -> ScoreAudit:
    """Bounds on ε from `scores` (m,), higher where a canary seems to have been in, and the coins `included` (m,) bool.

    Several ways to score, (s, m), are all tried. The surest guesses are the highest scores for "in" and the lowest for
    "out"; ties are broken by the canaries' order, which the coins do not know. "bonferroni" tries each of
    `guess_plans(m)` with each score at level 1 - (1 - level) / tries; "split" picks the best on one random half (from
    `rng`) and tests it on the other, which has not been seen. Raises ProbeError with fewer than 20 canaries or scores
    that are not numbers.
    """
    s, coins = np.atleast_2d(np.asarray(scores, dtype=np.float64)), np.asarray(included, dtype=bool)
    m = coins.size
    if s.ndim != 2 or s.shape[1:] != coins.shape or np.isnan(s).any():
        raise ProbeError("an audit needs one score and one coin a canary, none of them missing")
    if m < 20:
        raise ProbeError(f"{m} canaries can prove nothing about ε", hint="use 100 at least, better 1,000")
    if correction == "bonferroni":
        return _best(m, [(p.guesses, _right(own, coins, p)) for own in s for p in guess_plans(m)], delta, level)
    if rng is None:
        raise ValueError("a split needs a generator")
    order = rng.permutation(m)
    first, second = order[: m // 2], order[m // 2 :]
    choices = [(own, p) for own in s for p in guess_plans(first.size)]
    own, plan = max(
        choices,
        key=lambda c: epsilon_bound(first.size, c[1].guesses, _right(c[0][first], coins[first], c[1]), delta),
    )
    r = min(round(plan.guesses * second.size / first.size), second.size)
    return _best(second.size, [(r, _right(own[second], coins[second], Plan(guesses=r, side=plan.side)))], delta, level)


def _right(scores: NDArray[np.float64], coins: NDArray[np.bool_], plan: Plan) -> int:
    """How many guesses of the plan are right."""
    order = np.argsort(-scores, kind="stable")
    top = {"both": (plan.guesses + 1) // 2, "in": plan.guesses, "out": 0}[plan.side]
    called_out = order[scores.size - (plan.guesses - top) :]
    return int(coins[order[:top]].sum() + (~coins[called_out]).sum())


def _best(m: int, cases: list[tuple[int, int]], delta: float, level: float) -> ScoreAudit:
    """The largest bound over `cases` (guesses, right), each at its share of the error."""
    share = 1 - (1 - level) / len(cases)
    bounds = [epsilon_bound(m, r, v, delta, level=share) for r, v in cases]
    place = max(range(len(cases)), key=bounds.__getitem__)
    return ScoreAudit(
        epsilon=bounds[place],
        guesses=cases[place][0],
        right=cases[place][1],
        m=m,
        delta=delta,
        level=level,
        cases=tuple(cases),
    )
