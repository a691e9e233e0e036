"""What does a place in a ranking get, and who has it? Exposure and shares of the top, free of the order of ties.

Rows of one score hold a run of places. Each is given the mean of what those places give, which is its expectation when
ties are broken at random: no number depends on how the rows are sorted in the file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Ranking", "exposure_influence", "ndkl", "rank"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """n rows in T runs of equal scores, best first: `run` (n,) is each row's; `size` (T,) and `start` (T,), from 0."""

    run: NDArray[np.int64]
    size: NDArray[np.int64]
    start: NDArray[np.int64]

    @property
    def n(self) -> int:
        """How many rows."""
        return int(self.run.size)

    @property
    def exposure(self) -> NDArray[np.float64]:
        """(T,) the mean over a run's places r, counted from 1, of 1 / log2(1 + r)."""
        import numpy as np

        sums = np.concatenate([[0.0], np.cumsum(_discount(self.n))])
        found: NDArray[np.float64] = (sums[self.start + self.size] - sums[self.start]) / self.size
        return found

    def seats(self, k: int) -> NDArray[np.float64]:
        """(T,) the chance of a run's rows to be among the first `k`: 1, 0, or a share where the run straddles k."""
        import numpy as np

        return np.clip((k - self.start) / self.size, 0.0, 1.0)


def rank(scores: NDArray[Any]) -> Ranking:
    """The ranking of `scores` (n,), the highest first."""
    import numpy as np

    _, run, size = np.unique(-np.asarray(scores, dtype=np.float64), return_inverse=True, return_counts=True)
    return Ranking(run=run.astype(np.int64), size=size, start=np.cumsum(size) - size)


def _discount(n: int) -> NDArray[np.float64]:
    import numpy as np

    return 1 / np.log2(1 + np.arange(1, n + 1))


def exposure_influence(ranking: Ranking, group: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n,) how much each row moves the mean exposure of a group, to first order; centred at 0.

    A row of the group counts by its own exposure. And any row, of whatever group, pushes the rows below it one place
    down: the mean over the group of the loss of exposure at their places (the Hajek projection of a mean of a function
    of ranks). That second part is shared by the groups, and falls out where their scores are alike.
    """
    import numpy as np

    worth = ranking.exposure
    members = np.bincount(ranking.run, weights=group, minlength=worth.size)
    count = members.sum()
    own = np.where(group, (worth[ranking.run] - (members @ worth) / count) * ranking.n / count, 0.0)
    place = np.clip(ranking.start + (ranking.size + 1) / 2, 1, None)
    slope = 1 / np.log2(2 + place) - 1 / np.log2(1 + place)  # of one place further down
    lost = members * slope / count * ranking.n
    below = lost.sum() - np.cumsum(lost) + lost / 2  # summed over the runs below, half for those of the same run
    pushed = below[ranking.run]
    total: NDArray[np.float64] = own + pushed - pushed.mean()
    return total


def ndkl(ranking: Ranking, codes: NDArray[np.int64], groups: int) -> float:
    """Normalised discounted KL divergence: sum_i w_i KL(share among the first i || share of all) / sum_i w_i.

    w_i = 1 / log2(1 + i), i from 1 to n. Geyik, Ambler, Kenthapadi 2019, arXiv:1905.01989, equation 5. `codes` (n,).
    """
    import numpy as np

    held = np.bincount(ranking.run * groups + codes, minlength=ranking.size.size * groups).reshape(-1, groups)
    each = np.repeat(held / ranking.size[:, None], ranking.size, axis=0)  # (n, G) expected holders of each place
    share = np.cumsum(each, axis=0) / np.arange(1, ranking.n + 1)[:, None]
    whole = held.sum(axis=0) / ranking.n
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(share > 0, share * np.log(share / whole), 0.0)
    w = _discount(ranking.n)
    return max(float(np.dot(w, terms.sum(axis=1)) / w.sum()), 0.0)
