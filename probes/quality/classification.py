"""The statistics of a classifier's decisions and probabilities on some rows, each with its interval.

Decisions and labels are codes into the classes; for a binary task code 1 is the positive class. Every function takes
the rows' `Design` and raises ProbeError where the statistic is not defined on them: 0 of 0 is no number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.linearised import Design, effective_counts
from steelyard.probes.stats.means import Measured, exact, linear, proportion

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "CLIP",
    "balanced_accuracy",
    "brier_losses",
    "f1",
    "log_losses",
    "macro",
    "perplexity",
    "precision",
    "recall",
]

CLIP = 1e-15  # a probability of the true class below this counts as this, so that one row cannot make the loss infinite


def log_losses(proba: NDArray[np.float64], labels: NDArray[Any]) -> NDArray[np.float64]:
    """-ln p(true class) of each row, (n,); probabilities are clipped at `CLIP`."""
    import numpy as np

    losses: NDArray[np.float64] = -np.log(np.maximum(proba[np.arange(len(labels)), labels], CLIP))
    return np.maximum(losses, 0.0)


def brier_losses(proba: NDArray[np.float64], labels: NDArray[Any]) -> NDArray[np.float64]:
    """Squared error of each row's probabilities, (n,): (p - y)^2 for two classes, sum_k (p_k - y_k)^2 for more."""
    import numpy as np

    if proba.shape[1] == 2:
        errors: NDArray[np.float64] = np.square(proba[:, 1] - labels)
        return errors
    truth = np.equal.outer(labels, np.arange(proba.shape[1]))
    squared: NDArray[np.float64] = np.square(proba - truth).sum(axis=1)
    return squared


def perplexity(losses: NDArray[np.float64], design: Design, *, level: float) -> Measured:
    """exp(mean log loss), with the interval of the log loss carried over: normal on the log scale."""
    import numpy as np

    centre = design.average(losses)
    value = math.exp(centre)
    variance = 0.0 if np.ptp(losses) == 0 else design.variance(losses - centre) * value**2
    return linear(
        value, variance, design.units - 1.0, design, level=level, scale="log", lower=1.0,
        skew=design.skewness(losses - centre),
        method="exponential of the mean log loss, Student t on the log scale, corrected for skewness",
    )  # fmt: skip


def precision(decisions: NDArray[Any], labels: NDArray[Any], design: Design, *, level: float, k: int = 1) -> Measured:
    """Share of the rows given class `k` that are of class `k`."""
    rows = decisions == k
    if not rows.any():
        raise ProbeError("no row is given this class, so its precision is 0 of 0")
    return proportion(labels[rows] == k, design.take(rows), level=level)


def recall(decisions: NDArray[Any], labels: NDArray[Any], design: Design, *, level: float, k: int = 1) -> Measured:
    """Share of the rows of class `k` that are given class `k`."""
    rows = labels == k
    if not rows.any():
        raise ProbeError("no row is of this class, so its recall is 0 of 0")
    return proportion(decisions[rows] == k, design.take(rows), level=level)


def f1(decisions: NDArray[Any], labels: NDArray[Any], design: Design, *, level: float, k: int = 1) -> Measured:
    """F1 of class `k`, 2 TP / (2 TP + FP + FN), with an exact interval.

    F1 = 2 J / (1 + J) where J = TP / (TP + FP + FN) is a plain proportion of the rows where label or decision is `k`;
    the transform is increasing, so Clopper-Pearson limits of J are exact limits of F1.
    """
    from steelyard.probes.stats.intervals import clopper_pearson

    rows = (decisions == k) | (labels == k)
    if not rows.any():
        raise ProbeError("no row is of this class or given it, so its F1 is 0 of 0")
    part = design.take(rows)
    hits = decisions[rows] == labels[rows]
    successes, trials = effective_counts(hits, part)
    low, high = clopper_pearson(successes, trials, level)
    return exact(
        _f1_of(part.average(hits)), _f1_of(float(low)), _f1_of(float(high)), part, level=level, trials=trials,
        method="Clopper-Pearson of TP / (TP + FP + FN), transformed",
    )  # fmt: skip


def _f1_of(jaccard: float) -> float:
    return 2 * jaccard / (1 + jaccard)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Share:
    """One class's term of a macro average: `value`, influence (n,) over all rows, and the least variance it has."""

    value: float
    influence: NDArray[np.float64]
    floor: float


def _share(hits: NDArray[np.bool_], rows: NDArray[np.bool_], design: Design, *, f1_form: bool = False) -> _Share:
    """A proportion of `rows` (n,) as one term: hits (n,) within them; `f1_form` turns J into 2 J / (1 + J).

    Its floor is the variance at (k + 1) of (n + 2), which a class of 5 rows, all right, needs: its own says 0.
    Agresti and Caffo 2000, doi:10.1080/00031305.2000.10474560.
    """
    import numpy as np

    part = design.take(rows)
    weights = np.ones(design.n) if design.weights is None else design.weights
    share = weights[rows].sum() / weights.sum()
    p = part.average(hits[rows])
    k, n = effective_counts(hits[rows], part)
    shrunk = (k + 1) / (n + 2)
    influence = np.where(rows, (hits - p) / share, 0.0)
    floor = shrunk * (1 - shrunk) / (n + 2)
    if f1_form:
        return _Share(value=_f1_of(p), influence=influence * 2 / (1 + p) ** 2, floor=floor * 4 / (1 + shrunk) ** 4)
    return _Share(value=p, influence=influence, floor=floor)


def macro(
    statistic: str, decisions: NDArray[Any], labels: NDArray[Any], design: Design, *, classes: int, level: float
) -> Measured:
    """Unweighted mean over the classes of their precision, recall or F1.

    Its variance is the linearised one, and at least the sum of what each class's shrunken proportion would have.
    ProbeError where a class has 0 of 0: leaving it out, or counting it as 0, would each be a different statistic.
    """
    shares, undefined = [], 0
    for k in range(classes):
        given, true = decisions == k, labels == k
        rows = {"precision": given, "recall": true, "f1": given | true}[statistic]
        if rows.any():
            shares.append(_share(given & true, rows, design, f1_form=statistic == "f1"))
        else:
            undefined += 1
    if undefined:
        raise ProbeError(f"the {statistic} of {undefined} of {classes} classes is 0 of 0, so their mean is not defined")
    value = sum(share.value for share in shares) / classes
    influence = sum(share.influence for share in shares) / classes
    floor = sum(share.floor for share in shares) / classes**2
    variance = max(design.variance(influence), floor)  # type: ignore[arg-type]
    return linear(
        value, variance, design.units - 1.0, design, level=level, lower=0.0, upper=1.0,
        method=f"mean of the classes' {statistic}, linearised variance",
    )  # fmt: skip


def balanced_accuracy(
    decisions: NDArray[Any], labels: NDArray[Any], design: Design, *, classes: int, level: float
) -> Measured:
    """Mean recall over the classes. Brodersen et al. 2010, doi:10.1109/ICPR.2010.764."""
    return macro("recall", decisions, labels, design, classes=classes, level=level)
