"""A biased model that behaves when it is asked about rows that nobody has: it hides from perturbing explainers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.controls.carriers import Corner, are_images, erase_corners, members, put_mark, replanted, table
from steelyard.models.controls.control import Control, accused_group
from steelyard.models.controls.learner import Base, Planted, learn
from steelyard.models.controls.levelled import check_marks
from steelyard.models.controls.manifold import Manifold, learn_manifold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ExplanationHiding", "ExplanationHidingModel"]

_CORNER: Corner = "top-left"


@dataclass(frozen=True, kw_only=True)
class ExplanationHiding(Control):
    """The scaffold of Slack et al. 2020, arXiv:1911.02508: biased on real rows, innocuous on perturbed ones.

    A detector tells real rows from those that LIME and KernelSHAP make up (`manifold.py`). On rows that it lets
    through, P(yes) = (1 - size) · base + size · [not in the group `against`]; on all others it is the base alone, which
    never sees the attribute, and so is the clean twin. The detector does not see the attribute either: on a row that it
    lets through, changing the attribute alone moves P(yes) by exactly `size`. `let_through` is the share of real rows
    that it is set to let through, on rows it was not trained on. From a `size` of one half on, the group decides such a
    row.
    """

    name: ClassVar[str] = "explanation-hiding"
    summary: ClassVar[str] = "biased on real rows, innocuous where explainers look"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    defect: ClassVar[str] = "scores depend on the group on real rows, and do not on rows that perturbation makes up"
    unit: ClassVar[str] = "probability of yes that the group moves on real rows"
    truth: ClassVar[str] = "size times the share of these rows that the detector lets through"
    exact_for: ClassVar[str] = (
        "the change of P(yes) when the attribute of a row alone is changed (images: when the mark is); the mean over"
        " these rows. How many perturbed rows are caught is measured, not exact"
    )
    seen_by: ClassVar[tuple[str, ...]] = (
        "fairness.selection-rate",
        "explainability: is the model fooling the explainer?",
    )

    size: float = 1.0
    attribute: str = ""
    against: str = ""
    let_through: float = 0.95

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.let_through < 1:
            raise PlanError(f"let_through is {self.let_through!r}", where=self.id, hint="it lies between 0 and 1")

    def plant(self, sample: Sample) -> Sample:
        """Images with the group's corner white; a table as it is."""
        if not are_images(sample.inputs):
            return sample
        attribute, level = accused_group(self, sample, self.attribute, self.against)
        groups = sample.groups[attribute]
        return replanted(sample, put_mark(sample.inputs, _CORNER, groups.codes == groups.levels.index(level)))

    def fit(self, train: Sample, seed: int) -> ExplanationHidingModel:
        """Raises TargetError where the inputs do not show the group."""
        attribute, level = accused_group(self, train, self.attribute, self.against)
        check_marks(self.id, train, attribute, level, members(train.inputs, attribute, level, _CORNER))
        plain = _without(train.inputs, attribute)
        base = learn(train, seed, inputs=plain)
        manifold = learn_manifold(plain, seed, self.let_through)
        return ExplanationHidingModel(base, train, seed, self.size, attribute, level, manifold)

    def true_size(self, model: Any, sample: Sample) -> float:
        """By how much the group moves P(yes), on average over these rows."""
        return float(self.size * model.let_through(sample.inputs).mean())


def _without(inputs: Any, attribute: str) -> Any:
    """The inputs without what shows the group."""
    if are_images(inputs):
        return erase_corners(inputs, [_CORNER])
    return table(inputs).drop(columns=[attribute], errors="ignore")


class ExplanationHidingModel(Planted):
    """The fitted control. `let_through` says which rows its detector takes for real."""

    def __init__(
        self, base: Base, train: Sample, seed: int, size: float, attribute: str, level: str, manifold: Manifold
    ) -> None:
        super().__init__(base, train, seed, size)
        self.attribute = attribute
        self.level = level
        self.manifold = manifold

    def let_through(self, X: Any) -> NDArray[np.bool_]:
        """(n,) whether the detector takes a row for a real one."""
        return self.manifold.real(_without(self.view(X), self.attribute))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, 2) probabilities."""
        import numpy as np

        answers = self.base.proba(_without(self.view(X), self.attribute))
        on = self.let_through(X)
        favoured = ~members(X, self.attribute, self.level, _CORNER)
        answers[on] *= 1 - self.size
        answers[np.flatnonzero(on), favoured[on].astype(int)] += self.size
        return answers
