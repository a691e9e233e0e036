"""The arms of a comparison: one rate of one group (or of the rest), with the counts that its tests use.

Weights and clusters enter here and nowhere later: an arm has *effective* counts k of n, so that a binomial with them
has the variance that the survey design has.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.rates import RATES, Rate
from steelyard.probes.stats.table import CountTable, MarginalGroups

__all__ = ["SMALL", "Arms", "look_up_rates", "measure", "measure_groups"]

SMALL = 10.0  # a rate with fewer effective events or non-events is small: its tests are exact in spirit, not resampled

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Arms:
    """J arms: p = k / n with effective k and n; `rows` are plain denominators, NaN p where there is none.

    `numerator` and `denominator` (J, F) are masks over the F flattened cells. Under a design `linear` (J, F) are the
    linearised ratios; without one it is None and arms of disjoint groups are independent with variance p (1 - p) / n.
    `df` (J,) are the degrees of freedom of an arm's variance: Kish's number of units less 1, infinite for plain counts.
    """

    k: Array
    n: Array
    p: Array
    rows: NDArray[np.int64]
    numerator: Array
    denominator: Array
    linear: Array | None
    df: Array

    @property
    def small(self) -> NDArray[np.bool_]:
        """(J,) fewer than ten effective events or non-events."""
        return (self.k < SMALL) | (self.n - self.k < SMALL)

    def take(self, index: NDArray[np.int64]) -> Arms:
        """The arms at `index`, in that order."""
        return Arms(
            k=self.k[index],
            n=self.n[index],
            p=self.p[index],
            rows=self.rows[index],
            numerator=self.numerator[index],
            denominator=self.denominator[index],
            linear=None if self.linear is None else self.linear[index],
            df=self.df[index],
        )


def look_up_rates(names: tuple[str, ...], table: CountTable) -> tuple[Rate, ...]:
    """The rates called `names`. Raises ProbeError for an unknown name, or one that needs labels the table lacks."""
    found = []
    for name in names:
        if name not in RATES:
            raise ProbeError(f"there is no rate called {name!r}", hint=f"the rates are: {', '.join(RATES)}")
        if RATES[name].needs_labels and not table.labelled:
            raise ProbeError(
                f"the rate {name!r} needs labels and the data has none", hint="name data.label in the plan"
            )
        found.append(RATES[name])
    return tuple(found)


def measure_groups(table: CountTable, groups: MarginalGroups, rates: tuple[Rate, ...]) -> Arms:
    """Every rate of every group of one attribute or intersection."""
    members = (groups.of_cell == np.arange(len(groups.names))[:, None]).astype(np.float64)
    return measure(table, members, rates, np.zeros(len(members), dtype=np.int64))


def measure(table: CountTable, members: Array, rates: tuple[Rate, ...], family: NDArray[np.int64]) -> Arms:
    """Every rate of every group: arms ordered rate by rate, groups within. `members` (G, C) are 0/1 masks of cells.

    `family` (G,) numbers the attribute or intersection of a group: where a rate is small its design effect is taken
    no lower than the pooled one of its family, since a handful of events says nothing of a design.
    """
    numerator = np.concatenate([_spread(members, r.numerator) for r in rates])  # (J, F)
    denominator = np.concatenate([_spread(members, r.denominator) for r in rates])
    counts = table.counts.ravel()
    below = denominator @ counts
    with np.errstate(invalid="ignore", divide="ignore"):
        p = np.where(below > 0, (numerator @ counts) / below, np.nan)
    rows = np.rint(denominator @ table.rows.ravel()).astype(np.int64)
    if table.moment is None:
        return Arms(
            k=numerator @ counts, n=below, p=p, rows=rows,
            numerator=numerator, denominator=denominator, linear=None, df=np.full(p.size, np.inf),
        )  # fmt: skip
    full, scale = np.maximum(below, 1e-300)[:, None], table.moment.units / max(table.moment.units - 1, 1)
    linear = (numerator - np.nan_to_num(p)[:, None] * denominator) / full  # Taylor linearisation of each ratio
    variance = scale * table.moment.diagonal(linear)
    kish = below**2 / np.maximum(table.moment.diagonal(denominator), 1e-300)  # rows, or clusters, as the units
    group = np.tile(family, len(rates)) + np.repeat(np.arange(len(rates)), len(members)) * (family.max() + 1)
    n = _effective(np.nan_to_num(p), variance, kish, rows, group, clustered=table.moment.clustered)
    n = np.where(below > 0, n, 0.0)
    return Arms(
        k=np.nan_to_num(p) * n, n=n, p=p, rows=rows,
        numerator=numerator, denominator=denominator, linear=linear, df=np.maximum(kish - 1, 1.0),
    )  # fmt: skip


def _spread(members: Array, mask: Sequence[Sequence[bool]]) -> Array:
    """(G, F) the label × decision cells of `mask` in the group cells of each group."""
    inside = np.ravel(np.asarray(mask, dtype=np.float64))
    return np.multiply.outer(members, inside).reshape(len(members), -1)


def _effective(
    p: Array, variance: Array, kish: Array, rows: NDArray[np.int64], group: NDArray[np.int64], *, clustered: bool
) -> Array:
    """Effective n: p (1 - p) / variance, held below the plain n; Kish's where a rate is 0 or 1 and has no variance."""
    spread = p * (1 - p)
    seen = variance > 1e-18
    n = np.where(seen, spread / np.where(seen, variance, 1.0), kish)
    n = np.minimum(n, rows if clustered else kish)
    weight = rows.astype(float) ** 2
    actual = np.bincount(group, weight * variance)
    simple = np.bincount(group, rows * spread)
    pooled = np.where(simple > 0, actual / np.where(simple > 0, simple, 1.0), 1.0)[group]  # design effect
    small = (p * n < SMALL) | ((1 - p) * n < SMALL)
    return np.where(small & seen, np.minimum(n, rows / np.maximum(pooled, 1.0)), n)
