"""A model that leans by a known amount on a feature which has nothing to do with the matter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import are_images, block_side, busiest_number, replanted, row_lots, table, white
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import Base, Planted, learn

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["COLUMN", "Shortcut", "ShortcutModel"]

COLUMN = "shortcut"
"""The column that `plant` adds to a table: the code of the class that the shortcut points to."""
_ANOTHER = 104_729


@dataclass(frozen=True, kw_only=True)
class Shortcut(Control):
    """p(class) = (1 - size) · base + size · [the shortcut points to the class]; the base never sees the shortcut.

    So the shortcut moves the probability of a class by exactly `size`, in every row and whatever the other features
    say: its Shapley value for P(c) is size · ([points to c] - the share of the background that points to c). Range 0 to
    1.

    `plant` puts it into the rows: a column "shortcut", or one white block among the places along an image's upper and
    lower edge, one place for each class. It points to the label with probability `agreement`, else to another class. In
    a table without that column it is an existing one, `feature` (by default the number with the most distinct values),
    cut into as many parts of equal size on the training rows as there are classes.
    """

    name: ClassVar[str] = "shortcut-taking"
    summary: ClassVar[str] = "leans on a spurious feature by a known amount"
    defect: ClassVar[str] = "a spurious column or patch moves the probabilities"
    unit: ClassVar[str] = "probability that the shortcut moves"
    truth: ClassVar[str] = "size times the share of these rows in which the shortcut is there"
    exact_for: ClassVar[str] = "the change of every row's probabilities when the shortcut alone is changed"
    seen_by: ClassVar[tuple[str, ...]] = ("explainability: Shapley values, permutation importance, reliance",)

    size: float = 0.5
    feature: str = ""
    agreement: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.agreement <= 1:
            raise PlanError(f"agreement is {self.agreement!r}", where=self.id, hint="it lies between 0 and 1")

    def plant(self, sample: Sample) -> Sample:
        """The rows with a shortcut that points to their label, mostly. Raises TargetError for rows without labels."""
        import numpy as np

        if self.feature:
            return sample
        if sample.labels is None:
            raise TargetError("points to labels, and the rows have none", where=self.id)
        k = len(sample.classes)
        lots = row_lots(sample.inputs, _ANOTHER)
        wrong = lots >= self.agreement
        shift = 1 + (row_lots(sample.inputs, 2 * _ANOTHER) * (k - 1)).astype(np.int64)  # 1 … k - 1
        points = np.where(wrong, (sample.labels + shift) % k, sample.labels)
        return replanted(sample, _pointed(sample.inputs, points, k, self.id))

    def fit(self, train: Sample, seed: int) -> ShortcutModel:
        """Raises TargetError for images without the patches of `plant`."""
        import numpy as np

        k = len(train.classes)
        if are_images(train.inputs):
            if (_pointed_to(train.inputs, k, self.id) >= 0).mean() < 0.5:  # a few pictures look so by themselves
                hint = "mark them by plant(sample), or in files by plant_files, see docs/controls.md"
                raise TargetError("finds no patch in most training images", where=self.id, hint=hint)
            base = learn(train, seed, inputs=_erased(train.inputs, k, self.id))
            return ShortcutModel(base, train, seed, self.size, "", None)
        frame = table(train.inputs)
        if self.feature and self.feature not in frame.columns:
            known = ", ".join(frame.columns[:8])
            raise TargetError(f"has no column {self.feature!r}", where=self.id, hint=f"there are {known}")
        feature = self.feature or (COLUMN if COLUMN in frame.columns else busiest_number(frame, self.id))
        values = frame[feature].to_numpy(dtype=np.float64, na_value=np.nan)
        planted = feature == COLUMN and not self.feature
        cuts = np.arange(k - 1) + 0.5 if planted else np.nanquantile(values, np.arange(1, k) / k)
        base = learn(train, seed, without=[feature])
        return ShortcutModel(base, train, seed, self.size, feature, cuts)

    def true_size(self, model: Any, sample: Sample) -> float:
        """By how much the shortcut moves probabilities, on average over these rows."""
        return float(self.size * (model.points(sample.inputs) >= 0).mean())


class ShortcutModel(Planted):
    """The fitted control. `cuts` (classes - 1,) part the column's values; without a shortcut the base answers."""

    def __init__(self, base: Base, train: Sample, seed: int, size: float, feature: str, cuts: Any) -> None:
        super().__init__(base, train, seed, size)
        self.feature = feature
        self.cuts = cuts

    def points(self, X: Any) -> NDArray[np.int64]:
        """(n,) the class that each row's shortcut points to, -1 where there is none."""
        import numpy as np

        if are_images(X):
            return _pointed_to(X, len(self.classes_), "control/shortcut-taking")
        frame = table(X)
        if self.feature not in frame.columns:
            return np.full(len(frame), -1)
        values = frame[self.feature].to_numpy(dtype=np.float64, na_value=np.nan)
        found: NDArray[np.int64] = np.where(np.isnan(values), -1, np.searchsorted(self.cuts, values, side="left"))
        return found

    def turned(self, X: Any, codes: NDArray[np.int64]) -> Any:
        """The inputs with the shortcut pointing to the classes `codes` (n,), all else as it is."""
        import numpy as np

        if are_images(X):
            return _pointed(X, codes, len(self.classes_), "control/shortcut-taking")
        edges = np.concatenate([[self.cuts[0] - 1], self.cuts, [self.cuts[-1] + 1]])
        return table(X).assign(**{self.feature: ((edges[:-1] + edges[1:]) / 2)[codes]})

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities."""
        import numpy as np

        points = self.points(X)
        there = points >= 0
        shown = _erased(X, len(self.classes_), "control/shortcut-taking") if are_images(X) else X
        answers = self.base.proba(shown)
        answers[there] *= 1 - self.size
        answers[np.flatnonzero(there), points[there]] += self.size
        return answers


# the patch: k places along the upper edge, then the lower one


def _places(images: Any, k: int, where: str) -> list[tuple[slice, slice]]:
    side = block_side(images)
    height, width = images.shape[-2:]
    across = width // side
    if k > 2 * across or height < 3 * side:
        raise TargetError(f"has no room for {k} patches on {height} x {width} pixels", where=where)
    upper, lower = slice(0, side), slice(height - side, height)
    return [(upper if c < across else lower, slice(c % across * side, (c % across + 1) * side)) for c in range(k)]


def _erased(images: Any, k: int, where: str) -> NDArray[Any]:
    import numpy as np

    erased = np.array(images)
    for rows, columns in _places(erased, k, where):
        erased[..., rows, columns] = 0
    return erased


def _pointed_to(images: Any, k: int, where: str) -> NDArray[np.int64]:
    """(n,) the class whose place alone is white, all others being black; -1 where that is not so."""
    import numpy as np

    array = np.asarray(images)
    light = np.column_stack(
        [array[..., r, c].reshape(len(array), -1).mean(axis=1) / white(array) for r, c in _places(array, k, where)]
    )  # (n, k)
    clear = ((light > 0.5).sum(axis=1) == 1) & ((light < 0.25).sum(axis=1) == k - 1)
    found: NDArray[np.int64] = np.where(clear, light.argmax(axis=1), -1)
    return found


def _pointed(inputs: Any, codes: NDArray[np.int64], k: int, where: str) -> Any:
    import numpy as np

    if not are_images(inputs):
        return table(inputs).assign(**{COLUMN: np.asarray(codes, dtype=np.float64)})
    marked = _erased(inputs, k, where)
    for code, (rows, columns) in enumerate(_places(marked, k, where)):
        block = marked[..., rows, columns]
        block[codes == code] = white(inputs)
    return marked
