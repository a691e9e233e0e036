"""How far apart are the groups' rates on average over all pairs, rather than at the widest?

The mean over pairs falls as groups that are treated alike are added, so it hides one group that is not: it is offered
beside the widest contrast, because some libraries give it under the same name, and never instead of it.

The mean of |p_i - p_j| has a corner at parity, where neither a delta method nor a percentile bootstrap holds. But
its error is at most the mean of the errors of the pairs' differences (the triangle inequality), and the quantiles of
that bound are drawn: each group's rate from its Jeffreys posterior Beta(k + ½, n - k + ½), which also has a spread
where k is 0 or n. Groups count as independent.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Estimate
from steelyard.probes.stats.grid import of_errors
from steelyard.probes.stats.layout import Layout, lay_out
from steelyard.probes.stats.means import Measured
from steelyard.probes.stats.table import CountTable

__all__ = ["MOST_GROUPS", "mean_pair"]

MOST_GROUPS = 60  # every pair's ratio is drawn; beyond it there are more than 1,770 of them
MOST_DRAWS = 1000  # enough for the quantiles kept
METHOD = "mean of the drawn errors of all pairs (Jeffreys), a bound on the error of their mean"

Array = NDArray[np.float64]


def mean_pair(
    table: CountTable, attributes: tuple[str, ...], rate: str, *, form: Literal["difference", "ratio"], min_n: int,
    level: float, draws: int, rng: Generator,
) -> tuple[Measured, Mapping[str, str | int]]:  # fmt: skip
    """Mean over the pairs of usable groups of |p_i - p_j|, in [0, 1], or of min / max, in [0, 1]; and its detail.

    `draws` deviates of each group's rate, at most `MOST_DRAWS`. Raises ProbeError where fewer than two groups are
    usable, more than `MOST_GROUPS` for a ratio, or a pair is 0 / 0.
    """
    layout = lay_out(table, rates=(rate,), scope=(attributes,), contrast="pairwise", reference={}, min_n=min_n)
    arms = layout.arms
    p, groups = arms.p, len(arms.p)
    size = (min(draws, MOST_DRAWS), groups)
    drawn = rng.beta(arms.k + 0.5, np.maximum(arms.n - arms.k, 0.0) + 0.5, size=size)
    if form == "difference":
        value, errors = float(_spread(p[None, :])[0]), _spread(drawn - p)
    else:
        value, errors = _ratios(p, drawn, attributes)
    errors = np.sort(errors)
    last = len(errors) - 1
    reach = float(errors[math.ceil(level * last)])
    estimate = Estimate(
        value=value,
        low=max(value - reach, 0.0),
        high=min(value + reach, 1.0),
        level=level,
        n=int(arms.rows.sum()),
        n_effective=None if arms.linear is None else float(arms.n.sum()),
        method=METHOD,
    )
    return Measured(estimate=estimate, basis=of_errors(value, errors)), _detail(layout)


def _spread(x: Array) -> Array:
    """(draws,) mean over pairs of |x_i - x_j| of each row of (draws, J), by sorting: no pair is written out."""
    j = x.shape[1]
    ordered = np.sort(x, axis=1)
    weights = 2.0 * np.arange(j) - (j - 1)
    found: Array = ordered @ weights / (j * (j - 1) / 2)
    return np.maximum(found, 0.0)


def _ratios(p: Array, drawn: Array, attributes: tuple[str, ...]) -> tuple[float, Array]:
    j = len(p)
    name = "*".join(attributes)
    if j > MOST_GROUPS:
        raise ProbeError(f"{name} has {j} groups, and the mean ratio is for at most {MOST_GROUPS}")
    if (p == 0).sum() > 1:
        raise ProbeError(f"{name}: two groups have the rate 0, and 0 / 0 is no ratio")
    first, second = np.triu_indices(j, 1)

    def of(x: Array) -> Array:
        low, high = np.minimum(x[:, first], x[:, second]), np.maximum(x[:, first], x[:, second])
        return np.divide(low, high, out=np.ones_like(low), where=high > 0)

    here = of(p[None, :])
    errors: Array = np.abs(of(drawn) - here).mean(axis=1)
    return float(here.mean()), errors


def _detail(layout: Layout) -> dict[str, str | int]:
    groups = len(layout.names)
    found: dict[str, str | int] = {"of": "*".join(layout.scope[0]), "pairs": groups * (groups - 1) // 2}
    if layout.untested:
        found["untested"] = "; ".join(f"{'*'.join(u.attributes)} = {u.group}" for u in layout.untested)
    return found
