"""Are two groups selected at the same rate? The tests that courts and agencies use, on one 2 × 2 table or on strata.

A table is k1 selected of n1 in a group and k2 of n2 in the group it is compared with. Everything here is a reading of
the literal procedure; whoever chooses the second group by looking at the data has to allow for that choice.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CMH", "Test", "cmh", "compare", "fisher_p", "flips", "pooled_z"]

LEAST_N = 30  # below this many rows in both groups together, or
LEAST_EXPECTED = 5.0  # below this expected count in any cell, the normal approximation gives way to the exact test


@dataclass(frozen=True, slots=True, kw_only=True)
class Test:
    """One comparison: the two-sided `p` in [0, 1], by `name`, and the least expected cell count that decided which."""

    name: str
    p: float
    least_expected: float


def pooled_z(k1: float, n1: float, k2: float, n2: float) -> float:
    """(p2 − p1) / sqrt(p (1 − p) (1/n1 + 1/n2)) with p = (k1 + k2) / (n1 + n2): positive where the first gets less.

    Its square is Pearson's chi-square of the table. Raises ProbeError where everyone or no one is selected.
    """
    p = (k1 + k2) / (n1 + n2)
    variance = p * (1 - p) * (1 / n1 + 1 / n2)
    if variance <= 0:
        everyone = "everyone" if p > 0 else "no one"
        raise ProbeError(f"{everyone} is selected in both groups, so there is nothing to test")
    return (k2 / n2 - k1 / n1) / math.sqrt(variance)


def fisher_p(k1: int, n1: int, k2: int, n2: int) -> float:
    """Fisher's exact two-sided p: all tables with these margins that are no more likely than the one observed.

    Fisher 1935, doi:10.2307/2342435. Whole counts only.
    """
    import numpy as np
    from scipy.special import gammaln

    def log_choose(n: float, k: NDArray[np.float64]) -> NDArray[np.float64]:
        chosen: NDArray[np.float64] = gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1)
        return chosen

    selected = k1 + k2
    possible = np.arange(max(0, selected - n2), min(n1, selected) + 1, dtype=np.float64)
    log_p = log_choose(n1, possible) + log_choose(n2, selected - possible)
    p = np.exp(log_p - log_p.max())
    p /= p.sum()
    observed = p[int(k1 - possible[0])]
    return min(1.0, float(p[p <= observed * (1 + 1e-7)].sum()))  # ties of tables that are equally likely


def compare(k1: float, n1: float, k2: float, n2: float, *, whole: bool = True) -> Test:
    """The two-sided test of equal rates: Fisher's where n1 + n2 < 30 or an expected cell is < 5, else the pooled Z.

    Effective counts (`whole` False) have no exact test: ProbeError where the normal approximation would not do.
    """
    from scipy.special import ndtr

    total, selected = n1 + n2, k1 + k2
    least = min(n1, n2) * min(selected, total - selected) / total
    z = pooled_z(k1, n1, k2, n2)
    if total >= LEAST_N and least >= LEAST_EXPECTED:
        return Test(name="pooled Z", p=float(2 * ndtr(-abs(z))), least_expected=least)
    if not whole:
        raise ProbeError(
            f"too few cases for the Z test (expected {least:.2g} in the smallest cell), and Fisher's exact test needs"
            " unweighted independent rows"
        )
    counts = (round(k1), round(n1), round(k2), round(n2))
    return Test(name="Fisher's exact", p=fisher_p(*counts), least_expected=least)


def flips(k1: int, n1: int, k2: int, n2: int, ratio: float) -> int:
    """The least number of selections moved from the second group to the first after which k1/n1 >= `ratio` · k2/n2."""
    short = (ratio * k2 / n2 - k1 / n1) / (1 / n1 + ratio / n2)
    return max(0, math.ceil(short - 1e-9))


@dataclass(frozen=True, slots=True, kw_only=True)
class CMH:
    """A comparison within strata: the chi-square (1 df) with its p, the common odds ratio with the SE of its log.

    `odds_ratio` is the odds of selection of the first group over those of the second; None where it is 0 or infinite.
    `strata` counts those in which the two groups could be compared, `rows` the rows in them.
    """

    statistic: float
    p: float
    odds_ratio: float | None
    log_se: float
    strata: int
    rows: int


def cmh(k1: NDArray[np.float64], n1: NDArray[np.float64], k2: NDArray[np.float64], n2: NDArray[np.float64]) -> CMH:
    """Cochran-Mantel-Haenszel over S strata, each (S,), without continuity correction; only whole counts.

    Mantel & Haenszel 1959, doi:10.1093/jnci/22.4.719; the variance of the log odds ratio is that of Robins, Breslow &
    Greenland 1986, doi:10.2307/2531052. Raises ProbeError where no stratum holds both groups and both outcomes.
    """
    import numpy as np
    from scipy.special import chdtrc

    n, k = n1 + n2, k1 + k2
    use = (n1 > 0) & (n2 > 0) & (k > 0) & (k < n)
    if not use.any():
        raise ProbeError("no stratum of the control holds both groups and both outcomes")
    k1, n1, k2, n2, n, k = (x[use].astype(np.float64) for x in (k1, n1, k2, n2, n, k))
    expected = n1 * k / n
    variance = n1 * n2 * k * (n - k) / (n * n * (n - 1))
    statistic = float((k1 - expected).sum() ** 2 / variance.sum())
    agree, against = k1 * (n2 - k2) / n, (n1 - k1) * k2 / n
    r, s = float(agree.sum()), float(against.sum())
    odds_ratio, log_se = None, math.inf
    if r > 0 and s > 0:
        p, q = (k1 + n2 - k2) / n, (n1 - k1 + k2) / n
        spread = (p * agree).sum() / (2 * r * r) + (p * against + q * agree).sum() / (2 * r * s)
        log_se = math.sqrt(float(spread + (q * against).sum() / (2 * s * s)))
        odds_ratio = r / s
    return CMH(
        statistic=statistic,
        p=float(chdtrc(1, statistic)),
        odds_ratio=odds_ratio,
        log_se=log_se,
        strata=int(use.sum()),
        rows=int(n.sum()),
    )
