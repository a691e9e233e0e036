"""What do models trained without a row say of it, beside the one that may have seen it? LiRA and RMIA, as arrays.

Shadow models k = 1 … K were trained on halves of one pool of n rows; `members` (K, n) says which rows each one saw.
All scores are higher where the row seems to be a member of the target's training rows.

LiRA compares the logit-scaled confidence φ of the target with the shadows' (Carlini et al. 2022, arXiv:2112.03570):

    online   log N(φ; μ_in, σ_in) - log N(φ; μ_out, σ_out)          shadows with and without the row
    offline  (φ - μ_out) / σ_out                                    shadows without it only

RMIA compares the row's likelihood ratio with those of other rows (Zarifzadeh, Liu and Shokri 2024, arXiv:2312.03262):

    score(x) = P_z( ratio(x) / ratio(z) >= γ ),   ratio(x) = p_target(x) / p(x),

p(x) the mean probability over the shadows. It is read from the sorted ratios of the z, by binary search, so that the
n x m matrix of pairs is never made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LEAST_PER_ROW", "balanced_members", "lira_offline", "lira_online", "per_record_p", "ratios", "rmia"]

LEAST_PER_ROW = 16  # shadows with, and without, a row from which its own standard deviation is estimated
FLOOR = 1e-3  # of a standard deviation of logits: shadows that agree to the last digit prove no certainty
Variance = Literal["auto", "per-row", "global"]


def balanced_members(K: int, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """(K, n) bool: every row in K // 2 of the K models, at random, each model with about half of the rows."""
    import numpy as np

    if K < 2:
        raise ProbeError(f"{K} shadow model cannot both hold and lack a row", hint="shadows: 4 at least")
    return np.asarray(rng.random((K, n)).argsort(axis=0) < K // 2)


def _moments(
    phi: NDArray[np.float64], chosen: NDArray[np.bool_], variance: Variance, what: str
) -> tuple[NDArray[np.float64], Any]:
    """Mean (n,) and standard deviation, (n,) or one for all rows, of `phi` (K, n) over the `chosen` models of a row."""
    import numpy as np

    counts = chosen.sum(axis=0)
    if (counts == 0).any():
        raise ProbeError(f"{int((counts == 0).sum())} rows have no shadow model {what} them", hint="more shadows")
    mean = (phi * chosen).sum(axis=0) / counts
    squares = (np.square(phi - mean) * chosen).sum(axis=0)
    if variance == "per-row" or (variance == "auto" and counts.min() >= LEAST_PER_ROW):
        return mean, np.maximum(np.sqrt(squares / np.maximum(counts - 1, 1)), FLOOR)
    spare = int((counts - 1).sum())
    if spare == 0:
        raise ProbeError(f"one shadow model {what} each row shows no spread", hint="4 shadows at least")
    return mean, max(float(np.sqrt(squares.sum() / spare)), FLOOR)


def lira_online(
    target: NDArray[np.float64],
    shadows: NDArray[np.float64],
    members: NDArray[np.bool_],
    *,
    variance: Variance = "auto",
) -> NDArray[np.float64]:
    """(n,) log-likelihood ratios from logit-scaled confidences of the `target` (n,) and the `shadows` (K, n).

    "global" pools the variance over rows (the paper's fixed variance, better with few shadows), "per-row" takes each
    row's own; "auto" takes the row's own where every row has 16 shadows on each side.
    """
    import numpy as np

    mean_in, sd_in = _moments(shadows, members, variance, "with")
    mean_out, sd_out = _moments(shadows, ~members, variance, "without")
    inside = -0.5 * np.square((target - mean_in) / sd_in) - np.log(sd_in)
    outside = -0.5 * np.square((target - mean_out) / sd_out) - np.log(sd_out)
    return np.asarray(inside - outside)


def lira_offline(
    target: NDArray[np.float64],
    shadows: NDArray[np.float64],
    members: NDArray[np.bool_],
    *,
    variance: Variance = "auto",
) -> NDArray[np.float64]:
    """(n,) how many standard deviations the target's φ lies above that of shadows without the row."""
    import numpy as np

    mean, sd = _moments(shadows, ~members, variance, "without")
    return np.asarray((target - mean) / sd)


def per_record_p(offline: NDArray[np.float64], members: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) P(a model without this row is as sure of it as the target is): the false-positive rate of calling it.

    From `lira_offline`'s z scores: the upper tail of Student's t with a prediction's factor, z / sqrt(1 + 1 / m), for m
    shadows without the row and m - 1 degrees of freedom. Needs no other row, and no threshold from the data.
    """
    import numpy as np
    from scipy.special import stdtr

    out = np.maximum((~members).sum(axis=0), 2)
    return np.asarray(stdtr(out - 1.0, -offline / np.sqrt(1 + 1 / out)), dtype=np.float64)


def ratios(
    target: NDArray[np.float64],
    shadows: NDArray[np.float64],
    members: NDArray[np.bool_],
    *,
    offline: bool = False,
    a: float = 0.3,
) -> NDArray[np.float64]:
    """(n,) p_target / p from probabilities of the true label: of the `target` (n,) and of the `shadows` (K, n).

    p is the mean of the mean over shadows with the row and that over shadows without it; `offline` has only the latter
    and takes ((1 + a) p_out + 1 - a) / 2, the paper's linear guess of the former, with a = 0.3 for like data.
    """
    import numpy as np

    out = ~members
    counts = out.sum(axis=0)
    if (counts == 0).any() or (not offline and (counts == len(members)).any()):
        raise ProbeError("a row has shadow models on one side only", hint="more shadows")
    without = (shadows * out).sum(axis=0) / counts
    if offline:
        expected = ((1 + a) * without + 1 - a) / 2
    else:
        expected = (without + (shadows * members).sum(axis=0) / members.sum(axis=0)) / 2
    return np.asarray(target / np.maximum(expected, 1e-300))


def rmia(ratio: NDArray[np.float64], others: NDArray[np.float64], *, gamma: float = 1.0) -> NDArray[np.float64]:
    """(n,) share of the `others` (m,) whose ratio, times `gamma`, is at most the row's `ratio` (n,).

    O((n + m) log m) time and O(n + m) memory.
    """
    import numpy as np

    if others.size == 0:
        raise ProbeError("RMIA needs other rows to compare with, and there are none")
    return np.asarray(np.searchsorted(np.sort(others * gamma), ratio, side="right") / others.size)
