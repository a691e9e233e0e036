"""One model, a threshold for each cell of people: every cell is chosen equally often before a bias is planted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["check_marks", "decided", "level_thresholds", "levelled"]

_EDGE = 1e-6


def level_thresholds(scores: NDArray[np.float64], cells: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """(k,) thresholds above which the same share of each cell lies as of all `scores` (n,) above one half.

    On these rows the shares agree to one row of a cell where no scores tie. A cell without rows gets one half.
    """
    import numpy as np

    rate = float((scores > 0.5).mean())
    thresholds = np.full(k, 0.5)
    for cell in range(k):
        own = np.sort(scores[cells == cell])
        if len(own):
            refused = len(own) - round(rate * len(own))
            padded = np.concatenate([[0.0], own, [1.0]])
            thresholds[cell] = (padded[refused] + padded[refused + 1]) / 2
    kept: NDArray[np.float64] = np.clip(thresholds, _EDGE, 1 - _EDGE)
    return kept


def levelled(scores: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) scores moved on the logit scale so that each row's own threshold (n,) comes to lie at one half."""
    import numpy as np

    inner = np.clip(scores, _EDGE, 1 - _EDGE)
    odds = inner / (1 - inner) * (1 - thresholds) / thresholds
    moved: NDArray[np.float64] = odds / (1 + odds)
    return moved


def decided(scores: NDArray[np.float64], yes: NDArray[np.bool_], no: NDArray[np.bool_]) -> NDArray[np.float64]:
    """(n, 2) probabilities; where a decision is forced on a row and the score is against it, it is mirrored at 1/2."""
    import numpy as np

    mirrored = 1 - scores
    forced = np.where(yes, np.maximum(np.maximum(scores, mirrored), 0.5 + _EDGE), scores)
    forced = np.where(no, np.minimum(np.minimum(scores, mirrored), 0.5 - _EDGE), forced)
    return np.column_stack([1 - forced, forced])


def check_marks(where: str, train: Sample, attribute: str, level: str, marked: NDArray[Any]) -> None:
    """Raise TargetError where the images (or the column) do not show who is in the group."""
    groups = train.groups[attribute]
    if bool((marked != (groups.codes == groups.levels.index(level))).any()):
        raise TargetError(
            f"cannot see in the inputs who is {attribute} = {level}",
            where=where,
            hint="images are marked by plant(sample), or in files by plant_files, see docs/controls.md",
        )
