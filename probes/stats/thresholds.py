"""True-positive rate at a given false-positive rate, with a threshold that never saw the rows it is judged on.

A threshold chosen and judged on the same non-members makes intervals that cover 47-61 % instead of 95 %. Here one half
of the non-members sets it; the realised FPR comes from the other half and the TPR from the members.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Binomial

__all__ = ["SplitRates", "least_non_members", "tpr_at_fpr"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitRates:
    """Rates of "member where score > `threshold`" at a wanted `fpr`.

    `realised_fpr` counts the second half of the non-members, `tpr` the members; both are exact binomials.
    """

    fpr: float
    threshold: float
    tpr: Binomial
    realised_fpr: Binomial


def least_non_members(fpr: float) -> int:
    """How many non-members a false-positive rate of `fpr` needs: ten expected false positives, 10 / fpr."""
    if not 0 < fpr < 1:
        raise ProbeError(f"the false-positive rate is {fpr}; it must lie between 0 and 1")
    return math.ceil(10 / fpr - 1e-9)


def tpr_at_fpr(members: ArrayLike, non_members: ArrayLike, *, fpr: float, rng: Generator) -> SplitRates:
    """TPR of scores (higher means member) at the threshold that half of the non-members puts at `fpr`.

    The threshold is the smallest score of the first half with at most a share `fpr` of that half above it. The halves
    do not depend on the order of the rows. Raises ProbeError below `least_non_members(fpr)`, for no members, or NaN.
    """
    inside, outside = _scores(members, "members"), _scores(non_members, "non-members")
    needed = least_non_members(fpr)
    if outside.size < needed:
        raise ProbeError(
            f"a false-positive rate of {fpr:g} needs {needed} non-members, there are {outside.size}",
            hint=f"give {needed} or ask for a rate of at least {10 / max(outside.size, 1):.2g}",
        )
    if inside.size == 0:
        raise ProbeError("there are no members to score")
    shuffled = rng.permutation(np.sort(outside))
    half = shuffled.size // 2
    first, second = np.sort(shuffled[:half]), shuffled[half:]
    threshold = float(first[half - 1 - math.floor(fpr * half + 1e-9)])
    return SplitRates(
        fpr=fpr,
        threshold=threshold,
        tpr=Binomial(successes=float((inside > threshold).sum()), trials=float(inside.size)),
        realised_fpr=Binomial(successes=float((second > threshold).sum()), trials=float(second.size)),
    )


def _scores(values: ArrayLike, name: str) -> NDArray[np.float64]:
    scores = np.asarray(values, dtype=np.float64)
    if scores.ndim != 1 or np.isnan(scores).any():
        raise ProbeError(f"the scores of the {name} must be one list of numbers without NaN")
    return scores
