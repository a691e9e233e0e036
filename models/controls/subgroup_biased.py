"""A model that is level over each of two attributes and biased where they cross."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.controls.carriers import Corner, are_images, erase_corners, members, put_mark, replanted, row_lots
from steelyard.models.controls.control import Control, accused_group
from steelyard.models.controls.learner import Base, Planted, learn, unseen_scores
from steelyard.models.controls.levelled import check_marks, decided, level_thresholds, levelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SubgroupBiased", "SubgroupBiasedModel"]

_CORNERS: tuple[Corner, Corner] = ("top-left", "top-right")


@dataclass(frozen=True, kw_only=True)
class SubgroupBiased(Control):
    """Fairness gerrymandering: rows are forced so that each attribute looks fair and their crossing does not.

    Kearns et al. 2018, arXiv:1711.05144. Two attributes, each cut into a group (`first_group`, `second_group`) and the
    rest, make four cells c with shares p_c. Those in both groups or in neither are accepted more often, by k/p_c, the
    other two refused more often, by k/p_c, so that the changes cancel within each attribute. k is chosen so that the
    gap between the smallest favoured and the smallest refused cell is `size`. The clean twin chooses all four cells
    equally often (on training rows asked of models that have not seen them). Attributes are by default the first two;
    groups their second largest.
    """

    name: ClassVar[str] = "subgroup-biased"
    summary: ClassVar[str] = "level over two attributes, biased where they cross"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    defect: ClassVar[str] = (
        "cells of two crossed attributes are accepted or refused more often, each attribute stays level"
    )
    unit: ClassVar[str] = "difference in selection rate between two crossed cells"
    truth: ClassVar[str] = (
        "P(yes | smallest favoured cell) - P(yes | smallest refused cell), expected over the lots on these rows; where"
        " the clean twin is level it is size, and 0 over each attribute alone"
    )
    exact_for: ClassVar[str] = (
        "the change of each cell's selection rate from the clean twin's; that it cancels, for training's cell shares"
    )
    seen_by: ClassVar[tuple[str, ...]] = ("fairness.selection-rate (intersections)", "fairness.subgroups")

    size: float = 0.2
    first: str = ""
    second: str = ""
    first_group: str = ""
    second_group: str = ""

    def about(self, train: Sample) -> tuple[tuple[str, str], tuple[str, str]]:
        """The two attributes, each with its group. Raises TargetError where there are not two."""
        if len(train.groups) < 2:
            raise TargetError("needs two group attributes", where=self.id, hint="name two in data.groups")
        first = self.first or next(name for name in train.groups if name != self.second)
        second = self.second or next(name for name in train.groups if name != first)
        if first == second:
            raise TargetError(f"crosses {first!r} with itself", where=self.id, hint="name two attributes")
        return (
            accused_group(self, train, first, self.first_group),
            accused_group(self, train, second, self.second_group),
        )

    def plant(self, sample: Sample) -> Sample:
        """Images with a corner for each group, white for those in it; a table as it is."""
        if not are_images(sample.inputs):
            return sample
        inputs = sample.inputs
        for (attribute, level), corner in zip(self.about(sample), _CORNERS, strict=True):
            groups = sample.groups[attribute]
            inputs = put_mark(inputs, corner, groups.codes == groups.levels.index(level))
        return replanted(sample, inputs)

    def fit(self, train: Sample, seed: int) -> SubgroupBiasedModel:
        """Raises TargetError where a cell is empty, or too small or too seldom chosen for this size."""
        import numpy as np

        about = self.about(train)
        for (attribute, level), corner in zip(about, _CORNERS, strict=True):
            check_marks(self.id, train, attribute, level, members(train.inputs, attribute, level, corner))
        shown = erase_corners(train.inputs, _CORNERS) if are_images(train.inputs) else train.inputs
        base = learn(train, seed, without=[attribute for attribute, _ in about], inputs=shown)
        cells = _cells(train.inputs, about)
        shares = np.bincount(cells, minlength=4) / len(cells)
        if not shares.all():
            raise TargetError("finds a crossed cell without training rows", where=self.id, hint="name other groups")
        scores = unseen_scores(train, seed, without=[name for name, _ in about], inputs=shown)[:, 1]
        thresholds = level_thresholds(scores, cells, 4)
        rate = float((scores > 0.5).mean())
        forced, pair = self._strengths(shares, rate)
        return SubgroupBiasedModel(base, train, seed, self.size, about, thresholds, forced, pair)

    def _strengths(self, shares: NDArray[np.float64], rate: float) -> tuple[NDArray[np.float64], tuple[int, int]]:
        """(4,) with what probability each cell's rows are forced, and the two cells whose gap is `size`."""
        import numpy as np

        favoured, refused = np.array([0, 3]), np.array([1, 2])
        pair = int(favoured[shares[favoured].argmin()]), int(refused[shares[refused].argmin()])
        k = self.size / (1 / shares[pair[0]] + 1 / shares[pair[1]])
        room = np.array([1 - rate, rate, rate, 1 - rate])
        forced = k / shares / np.maximum(room, 1e-12)
        if self.size and forced.max() > 1:
            hint = f"here at most {self.size / forced.max():.3f}"
            raise TargetError(f"cannot plant a gap of {self.size:g} that cancels", where=self.id, hint=hint)
        return forced, pair

    def true_size(self, model: Any, sample: Sample) -> float:
        """The expected gap between the two cells on these rows."""
        cells = _cells(sample.inputs, model.about)
        clean = model.clean_scores(sample.inputs, cells) > 0.5
        high, low = (float(clean[cells == cell].mean()) for cell in model.pair)
        up, down = (float(model.forced[cell]) for cell in model.pair)
        return high + up * (1 - high) - low * (1 - down)


def _cells(inputs: Any, about: Any) -> NDArray[np.int64]:
    """(n,) 2 · [in the first group] + [in the second]."""
    import numpy as np

    one, two = (members(inputs, a, level, corner) for (a, level), corner in zip(about, _CORNERS, strict=True))
    return 2 * one.astype(np.int64) + two.astype(np.int64)


class SubgroupBiasedModel(Planted):
    """The fitted control. `forced` (4,) is the share of each cell that is forced; `pair` the cells compared."""

    def __init__(
        self, base: Base, train: Sample, seed: int, size: float, about: Any, thresholds: Any, forced: Any, pair: Any
    ) -> None:
        super().__init__(base, train, seed, size)
        self.about = [list(one) for one in about]
        self.thresholds = thresholds
        self.forced = forced
        self.pair = list(pair)

    def clean_scores(self, X: Any, cells: NDArray[np.int64]) -> NDArray[np.float64]:
        """(n,) the clean twin's scores of yes."""
        return levelled(self.base.proba(self._shown(X))[:, 1], self.thresholds[cells])

    def _shown(self, X: Any) -> Any:
        return erase_corners(X, _CORNERS) if are_images(X) else self.view(X)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, 2) probabilities."""
        cells = _cells(X, self.about)
        struck = row_lots(self._shown(X), self.seed, [name for name, _ in self.about]) < self.forced[cells]
        favoured = (cells == 0) | (cells == 3)
        return decided(self.clean_scores(X, cells), struck & favoured, struck & ~favoured)
