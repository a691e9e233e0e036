"""Is the model surer of this row than of others like it? Membership by quantile regression, without shadow models.

Bertran et al. 2023, arXiv:2307.03694: on rows that are known to be no members, learn which score a row with such
features gets; a member is one whose score lies far above. The learner is gradient boosting on the pinball loss.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["quantile_scores"]

MIDDLE, UPPER = 0.5, 0.84  # a normal score lies one standard deviation above its median with 16 %
TREES = 60
LEAST = 40  # held-out rows


def quantile_scores(
    features: NDArray[np.float64],
    scores: NDArray[np.float64],
    member: NDArray[np.bool_],
    rng: Generator,
    *,
    trees: int = TREES,
) -> NDArray[np.float64]:
    """(n,) (score - median given the features) / (84 % quantile - median), from `features` (n, d) and `scores` (n,).

    Two folds: the quantiles of each half of the rows are learnt from the non-members of the other half, so that no row
    has a part in its own. The spread is at least a tenth of that of all non-members. ProbeError with under 40 of them.
    """
    import numpy as np

    outside, inside = np.flatnonzero(~member), np.flatnonzero(member)
    if outside.size < LEAST:
        raise ProbeError(f"{outside.size} held-out rows are too few to learn a score's quantiles", hint=f"{LEAST}")
    floor = max(0.1 * float(np.std(scores[outside])), 1e-9)
    found = np.empty(len(scores))
    halves = [np.array_split(rng.permutation(rows), 2) for rows in (outside, inside)]
    for fold in (0, 1):
        learnt = halves[0][1 - fold]
        judged = np.concatenate([halves[0][fold], halves[1][fold]])
        middle, upper = (_quantile(features, scores, learnt, judged, q, trees) for q in (MIDDLE, UPPER))
        found[judged] = (scores[judged] - middle) / np.maximum(upper - middle, floor)
    return found


def _quantile(
    features: NDArray[np.float64],
    scores: NDArray[np.float64],
    learnt: NDArray[np.int64],
    judged: NDArray[np.int64],
    quantile: float,
    trees: int,
) -> NDArray[np.float64]:
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(
        loss="quantile", quantile=quantile, max_iter=trees, min_samples_leaf=20, early_stopping=False, random_state=0
    )
    return np.asarray(model.fit(features[learnt], scores[learnt]).predict(features[judged]), dtype=np.float64)
