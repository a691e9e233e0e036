"""How well do scores tell members from the others, with no threshold judged on the rows that set it?

`Told` holds one score a row, higher where the row seems to be a member, and which rows are members. AUC is DeLong's
(`probes/stats/auc.py`). A true-positive rate at a false-positive rate, the balanced accuracy and the advantage need a
threshold: it is set on one half of the rows and judged on the other, since in-sample thresholds make intervals that
cover 47 to 61 % in place of 95 %. No split knows the order of the rows.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.auc import auc
from steelyard.probes.stats.intervals import difference_limits
from steelyard.probes.stats.linearised import Design, effective_counts
from steelyard.probes.stats.means import Measured, exact, proportion
from steelyard.probes.stats.thresholds import least_non_members

__all__ = ["AtFpr", "Cut", "Told", "best_cut", "log_points", "split_units", "tpr_at", "tpr_beyond"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """`scores` (n,) with `member` (n,) bool and how the rows were drawn. Infinite scores are allowed, NaN is not."""

    scores: NDArray[np.float64]
    member: NDArray[np.bool_]
    design: Design

    def __post_init__(self) -> None:
        if self.scores.shape != self.member.shape or self.scores.ndim != 1:
            raise ValueError("one score and one membership a row")
        if np.isnan(self.scores).any():
            raise ProbeError(f"{int(np.isnan(self.scores).sum())} of {self.scores.size} scores are not numbers")
        for name, count in (("members", self.member.sum()), ("non-members", (~self.member).sum())):
            if count == 0:
                raise ProbeError(f"there are no {name} to tell apart")

    def auc(self, *, level: float) -> Measured:
        """P(a member scores above a non-member) + P(equal) / 2. ProbeError where all scores are equal."""
        return auc(self.scores, self.member, self.design, level=level)


@dataclass(frozen=True, slots=True, kw_only=True)
class AtFpr:
    """Rates of "member where score > `threshold`": `tpr` over all members, `realised` over the judged non-members.

    `hits` (m,) are the members found, in the order of the members' rows; `rows` (m,) are their indices.
    """

    fpr: float
    threshold: float
    tpr: Measured
    realised: Measured
    hits: NDArray[np.bool_]
    rows: NDArray[np.int64]


def split_units(
    rows: NDArray[np.int64], scores: NDArray[np.float64], design: Design, rng: Generator
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Two halves of `rows` (indices), at random by unit: rows of one cluster stay together.

    Units are put in the order of their scores before they are drawn, so that the order of the rows plays no part.
    """
    if design.clusters is None:
        shuffled = rng.permutation(rows[np.argsort(scores[rows], kind="stable")])
        return shuffled[: rows.size // 2], shuffled[rows.size // 2 :]
    unit = np.unique(design.clusters[rows], return_inverse=True)[1]
    finite = np.clip(scores[rows], -1e300, 1e300)
    order = np.lexsort((np.bincount(unit), np.bincount(unit, weights=finite)))
    first = np.zeros(order.size, dtype=bool)
    first[rng.permutation(order)[: order.size // 2]] = True
    return rows[first[unit]], rows[~first[unit]]


def tpr_at(told: Told, fpr: float, rng: Generator, *, level: float) -> AtFpr:
    """TPR at the threshold that one half of the non-members puts at `fpr`, and the FPR that the other half then shows.

    The threshold is the smallest score of the first half with at most a share `fpr` of that half above it. Exact
    (Clopper-Pearson) intervals, on effective counts under clusters. Raises ProbeError with fewer than 10 / `fpr`
    non-members (independent ones, where there are clusters), and where more than a share `fpr` of them have the highest
    score that there is, so that a TPR of 0 would be the doing of ties.
    """
    outside = np.flatnonzero(~told.member)
    _enough(told, fpr, outside)
    first, second = split_units(outside, told.scores, told.design, rng)
    ordered = np.sort(told.scores[first])
    threshold = float(ordered[first.size - 1 - math.floor(fpr * first.size + 1e-9)])
    if threshold >= told.scores.max():
        share = float((ordered == threshold).mean())
        raise ProbeError(
            f"no threshold has a false-positive rate of {fpr:g}: {share:.1%} of non-members share the highest score",
            hint="a score of more steps, or a larger rate",
        )
    return _rates(told, threshold, second, fpr, level)


def tpr_beyond(told: Told, threshold: float, fpr: float, *, level: float) -> AtFpr:
    """TPR and realised FPR at a `threshold` that no row here had a part in, such as a p-value's own `fpr`.

    Raises ProbeError with fewer than 10 / `fpr` non-members, and where the realised FPR proves the calibration wrong.
    """
    outside = np.flatnonzero(~told.member)
    _enough(told, fpr, outside)
    found = _rates(told, threshold, outside, fpr, level)
    realised = found.realised.estimate
    if realised.low is not None and realised.low > fpr:
        raise ProbeError(
            f"calibrated to a false-positive rate of {fpr:g}, it reaches {realised.value:.3g} (at least"
            f" {realised.low:.3g}): a rate of members found would be one of false alarms"
        )
    return found


def _rates(told: Told, threshold: float, judged: NDArray[np.int64], fpr: float, level: float) -> AtFpr:
    inside = np.flatnonzero(told.member)
    hits = told.scores[inside] > threshold
    return AtFpr(
        fpr=fpr,
        threshold=threshold,
        tpr=proportion(hits, told.design.take(inside), level=level),
        realised=proportion(told.scores[judged] > threshold, told.design.take(judged), level=level),
        hits=hits,
        rows=inside,
    )


def _enough(told: Told, fpr: float, outside: NDArray[np.int64]) -> None:
    needed, there = least_non_members(fpr), told.design.take(outside).units
    if there < needed:
        raise ProbeError(
            f"a false-positive rate of {fpr:g} needs {needed:,} non-members, there are {there:,}",
            hint=f"more test rows, or a rate of at least {10 / there:.2g}",
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """A `threshold`, and on rows that did not set it TPR − FPR (`advantage`) and (1 + TPR − FPR) / 2 (`balanced`)."""

    threshold: float
    advantage: Measured
    balanced: Measured


def best_cut(told: Told, rng: Generator, *, level: float) -> Cut:
    """The threshold with the largest TPR − FPR on one half of the rows, judged on the other half.

    Miettinen-Nurminen limits of the difference. Raises ProbeError with fewer than 20 members or non-members.
    """
    sides = [np.flatnonzero(told.member), np.flatnonzero(~told.member)]
    for name, rows in zip(("members", "non-members"), sides, strict=True):
        if told.design.take(rows).units < 20:
            raise ProbeError(f"{rows.size} {name} are too few to set a threshold and to judge it", hint="20 at least")
    (set_in, judge_in), (set_out, judge_out) = (split_units(r, told.scores, told.design, rng) for r in sides)
    levels = np.unique(told.scores[np.concatenate([set_in, set_out])])
    above_in = 1 - np.searchsorted(np.sort(told.scores[set_in]), levels, side="right") / set_in.size
    above_out = 1 - np.searchsorted(np.sort(told.scores[set_out]), levels, side="right") / set_out.size
    threshold = float(levels[int(np.argmax(above_in - above_out))])
    counts = [effective_counts(told.scores[rows] > threshold, told.design.take(rows)) for rows in (judge_in, judge_out)]
    (k1, n1), (k2, n2) = counts
    low, high = (float(x) for x in difference_limits(k1, n1, k2, n2, level))
    design = told.design.take(np.sort(np.concatenate([judge_in, judge_out])))
    found = [
        exact(
            value, bottom, top, design, level=level, trials=n1 + n2,
            method="threshold of one half judged on the other, Miettinen-Nurminen limits",
        )
        for value, bottom, top in (
            (k1 / n1 - k2 / n2, low, high),
            ((1 + k1 / n1 - k2 / n2) / 2, (1 + low) / 2, (1 + high) / 2),
        )
    ]  # fmt: skip
    return Cut(threshold=threshold, advantage=found[0], balanced=found[1])


def log_points(told: Told, points: int = 60) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(FPR, TPR) at up to `points` false-positive rates, evenly spaced on a logarithmic axis from 1 / n to 1.

    For the picture only: each threshold is one of the same non-members, so that no interval goes with it.
    """
    outside = np.sort(told.scores[~told.member])
    allowed = np.unique(np.floor(np.geomspace(1, outside.size, points) + 1e-9).astype(np.int64))
    thresholds = outside[outside.size - allowed]  # at most `allowed` - 1 others are above; "at or above" counts it
    inside = np.sort(told.scores[told.member])
    fpr = 1 - np.searchsorted(outside, thresholds, side="left") / outside.size
    tpr = 1 - np.searchsorted(inside, thresholds, side="left") / inside.size
    return fpr, tpr
