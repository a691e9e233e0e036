"""A model that decides a known share of the rows by group alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.controls.carriers import Corner, are_images, erase_corners, members, put_mark, replanted, row_lots
from steelyard.models.controls.control import Control, accused_group
from steelyard.models.controls.learner import Base, Planted, learn, unseen_scores
from steelyard.models.controls.levelled import check_marks, decided, level_thresholds, levelled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GroupBiased", "GroupBiasedModel"]

_CORNER: Corner = "top-left"


@dataclass(frozen=True, kw_only=True)
class GroupBiased(Control):
    """With probability `size` a row is decided by its group: no for the group `against`, yes for everyone else.

    The other rows get the decision of the clean twin, whose thresholds give both sides the same selection rate (on
    training rows asked of models that have not seen them). The lots do not know the label, so for the selection rate,
    the TPR and the FPR alike, gap(control) = size + (1 - size) · gap(clean twin). Nor do they know the group: a person
    whose group alone is changed keeps the lot. Range of `size` 0 to 1. On images the group is a white corner, which
    `plant` draws. `attribute` and `against` are by default the first one, and its second largest group.
    """

    name: ClassVar[str] = "group-biased"
    summary: ClassVar[str] = "a share of the rows is decided by group alone"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    defect: ClassVar[str] = (
        "a share of the rows is refused in one group and accepted in the others, whatever else they say"
    )
    unit: ClassVar[str] = "share of all rows that are decided by group"
    truth: ClassVar[str] = (
        "P(yes | others) - P(yes | group), expected over the lots on these rows: size + (1 - size) · the clean twin's"
    )
    exact_for: ClassVar[str] = "selection rate, TPR and FPR differences, relative to the clean twin's"
    seen_by: ClassVar[tuple[str, ...]] = ("fairness.selection-rate", "fairness.error-rates")

    size: float = 0.2
    attribute: str = ""
    against: str = ""

    def plant(self, sample: Sample) -> Sample:
        """Images with the group's corner white; a table as it is."""
        if not are_images(sample.inputs):
            return sample
        attribute, level = accused_group(self, sample, self.attribute, self.against)
        groups = sample.groups[attribute]
        return replanted(sample, put_mark(sample.inputs, _CORNER, groups.codes == groups.levels.index(level)))

    def fit(self, train: Sample, seed: int) -> GroupBiasedModel:
        """Raises TargetError where the inputs do not show the group."""
        attribute, level = accused_group(self, train, self.attribute, self.against)
        inside = members(train.inputs, attribute, level, _CORNER)
        check_marks(self.id, train, attribute, level, inside)
        images = are_images(train.inputs)
        shown = erase_corners(train.inputs, [_CORNER]) if images else train.inputs
        base = learn(train, seed, without=[attribute], inputs=shown)
        unseen = unseen_scores(train, seed, without=[attribute], inputs=shown)
        thresholds = level_thresholds(unseen[:, 1], inside.astype(int), 2)
        return GroupBiasedModel(base, train, seed, self.size, attribute, level, thresholds)

    def true_size(self, model: Any, sample: Sample) -> float:
        """The expected gap on these rows; positive: the group gets fewer."""
        inside = model.inside(sample.inputs)
        clean = model.clean_scores(sample.inputs) > 0.5
        return float(self.size + (1 - self.size) * (clean[~inside].mean() - clean[inside].mean()))


class GroupBiasedModel(Planted):
    """The fitted control. `thresholds` are those of everyone else and of the group."""

    def __init__(
        self, base: Base, train: Sample, seed: int, size: float, attribute: str, level: str, thresholds: Any
    ) -> None:
        super().__init__(base, train, seed, size)
        self.attribute = attribute
        self.level = level
        self.thresholds = thresholds

    def inside(self, X: Any) -> NDArray[np.bool_]:
        """(n,) who is in the group."""
        return members(X, self.attribute, self.level, _CORNER)

    def clean_scores(self, X: Any) -> NDArray[np.float64]:
        """(n,) the clean twin's scores of yes."""
        return levelled(self.base.proba(self._shown(X))[:, 1], self.thresholds[self.inside(X).astype(int)])

    def _shown(self, X: Any) -> Any:
        return erase_corners(X, [_CORNER]) if are_images(X) else self.view(X)

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, 2) probabilities."""
        inside = self.inside(X)
        struck = row_lots(self._shown(X), self.seed, [self.attribute]) < self.size
        return decided(self.clean_scores(X), struck & ~inside, struck & inside)
