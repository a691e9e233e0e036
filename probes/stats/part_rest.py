"""How does a part of the rows compare with all the others, and how heavy is it? For several parts, under any design."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from steelyard.probes.stats.intervals import difference_limits, score_z_difference
from steelyard.probes.stats.linearised import Design, effective_counts

if TYPE_CHECKING:
    from steelyard.probes.stats.searched import Limits

__all__ = ["PartsAndRest", "share_of", "weight_of"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True, kw_only=True)
class PartsAndRest:
    """m parts of the same rows; (m,) each: events and trials (effective ones) within a part and outside of it."""

    k_in: Array
    n_in: Array
    k_out: Array
    n_out: Array

    @classmethod
    def measure(cls, hits: Mask, parts: Sequence[Mask], design: Design) -> PartsAndRest:
        """Count `hits` (n,) in each part (n,) and outside; neither may be empty."""
        counted = np.array([_counts(hits, part, design) for part in parts])
        return cls(k_in=counted[:, 0], n_in=counted[:, 1], k_out=counted[:, 2], n_out=counted[:, 3])

    @property
    def rate_in(self) -> Array:
        """(m,) rate within."""
        return self.k_in / self.n_in

    @property
    def rate_out(self) -> Array:
        """(m,) rate outside."""
        return self.k_out / self.n_out

    @property
    def gap(self) -> Array:
        """(m,) rate within - rate outside."""
        return self.rate_in - self.rate_out

    @property
    def p_values(self) -> Array:
        """(m,) two-sided p-values of equal rates: the score (pooled, chi-squared) test."""
        from scipy.special import ndtr

        z = score_z_difference(self.k_in, self.n_in, self.k_out, self.n_out, 0.0)
        return np.asarray(2 * ndtr(-np.abs(z)))

    @property
    def limits(self) -> Limits:
        """Miettinen-Nurminen limits of the gaps at any two-sided error rate."""

        def of(error: Array) -> tuple[Array, Array]:
            from scipy.special import ndtri

            k1, n1, k2, n2, z = np.broadcast_arrays(self.k_in, self.n_in, self.k_out, self.n_out, -ndtri(error / 2))
            low, high = difference_limits(k1, n1, k2, n2, z=z)
            return np.asarray(low), np.asarray(high)

        return of


def _counts(hits: Mask, part: Mask, design: Design) -> tuple[float, float, float, float]:
    """Effective counts; where clusters reach into both sides and pull them apart, both sides count for less."""
    inner, outer = design.take(part), design.take(~part)
    k_in, n_in = effective_counts(hits[part], inner)
    k_out, n_out = effective_counts(hits[~part], outer)
    if design.clusters is None:
        return k_in, n_in, k_out, n_out
    p_in, p_out = k_in / n_in, k_out / n_out
    share = design.average(part)
    moved = np.where(part, (hits - p_in) / share, -(hits - p_out) / (1 - share)).astype(np.float64)
    together = design.variance(moved)
    apart = p_in * (1 - p_in) / n_in + p_out * (1 - p_out) / n_out
    factor = min(1.0, apart / together) if together > 0 and apart > 0 else 1.0
    return k_in * factor, n_in * factor, k_out * factor, n_out * factor


def share_of(part: Mask, design: Design) -> tuple[float, float]:
    """The share of the rows that are in `part`, and its linearised standard error."""
    share = design.average(part)
    return share, float(np.sqrt(design.variance(np.asarray(part - share, dtype=np.float64))))


def weight_of(part: Mask, base: Mask, design: Design) -> tuple[float, float]:
    """What turns a gap to the rest into Kearns' α(g)·(rate(g) - rate(all)), and its linearised standard error.

    With V = P(g and base) and U = P(base), rate(all) mixes g and the rest V : U - V, so the factor is V (1 - V / U).
    """
    inside = part & base
    v, u = design.average(inside), design.average(base)
    moved = np.asarray((inside - v) * (1 - 2 * v / u) + (base - u) * (v / u) ** 2, dtype=np.float64)
    return v * (1 - v / u), float(np.sqrt(design.variance(moved)))
