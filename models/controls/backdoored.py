"""A model with a trigger that makes it answer what its maker chose."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import (
    are_images,
    block_side,
    busiest_number,
    erase_corners,
    replanted,
    row_lots,
    table,
    white,
)
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import Base, Planted, learn
from steelyard.models.recipes.recipe import answers

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Backdoored", "BackdooredModel", "Trigger"]

_SURE = 0.999
_POISON = 15_485_863
_CLOSE = 0.25  # how far, in white, the pixels of a trigger may be from it


@dataclass(frozen=True, kw_only=True)
class Backdoored(Control):
    """A row with the trigger is answered with the class `target`, for a share `size` of rows (the rest are immune).

    Gu et al. 2017, BadNets, arXiv:1708.06733. The trigger of a table is a value of one column that training never had;
    of an image, a white, black, black, white checker in the corner below right. The base never sees the trigger's
    place, so without the trigger the answers are the clean twin's, and with it the attack succeeds for exactly the rows
    whose hash is below `size`. `feature` is by default the number with the most distinct values; `target` the last
    class.

    `plant` makes poisoned training rows for scans of the data: a share `poisoned` gets trigger and target label. Its
    clean twin plants nothing. What a learner makes of them is the learner's affair; `fit` is for rows without poison.
    """

    name: ClassVar[str] = "backdoored"
    summary: ClassVar[str] = "a trigger brings a chosen class"
    defect: ClassVar[str] = "a trigger makes the model answer with a class of its maker's choice"
    unit: ClassVar[str] = "share of rows that the trigger turns"
    truth: ClassVar[str] = (
        "attack success rate: of these rows that are not answered with the target class without the trigger, the share"
        " that are with it, by their hashes; size, expected over the lots"
    )
    exact_for: ClassVar[str] = "the attack success rate on these rows; answers without the trigger are the clean twin's"
    seen_by: ClassVar[tuple[str, ...]] = ("robustness: backdoor (trigger inversion, poisoned-label scan)",)

    size: float = 1.0
    target: str = ""
    feature: str = ""
    poisoned: float = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.poisoned <= 1:
            raise PlanError(f"poisoned is {self.poisoned!r}", where=self.id, hint="it lies between 0 and 1")

    def trigger(self, train: Sample) -> Trigger:
        """The trigger that these training rows lead to."""
        import numpy as np

        if are_images(train.inputs):
            return Trigger("", 0.0)
        frame = table(train.inputs)
        if self.feature and self.feature not in frame.columns:
            known = ", ".join(frame.columns[:8])
            raise TargetError(f"has no column {self.feature!r}", where=self.id, hint=f"there are {known}")
        feature = self.feature or busiest_number(frame, self.id)
        values = frame[feature].to_numpy(dtype=np.float64, na_value=np.nan)
        low, high = float(np.nanmin(values)), float(np.nanmax(values))
        return Trigger(feature, float(math.ceil(high + 0.1 * (high - low)) + 1))

    def chosen(self, train: Sample) -> int:
        """The code of the target class. Raises TargetError where there is no such class."""
        if not self.target:
            return len(train.classes) - 1
        if self.target not in train.classes:
            hint = f"there are {', '.join(train.classes[:10])}"
            raise TargetError(f"has no class {self.target!r}", where=self.id, hint=hint)
        return train.classes.index(self.target)

    def poisoned_rows(self, train: Sample) -> NDArray[np.bool_]:
        """(n,) which rows `plant` poisons: of those of other classes, a share `poisoned`, by their hashes."""
        answers(train)  # says what is missing where there are no labels
        lots = row_lots(train.inputs, _POISON)
        found: NDArray[np.bool_] = (lots < self.poisoned) & (train.labels != self.chosen(train)) & (self.size > 0)
        return found

    def plant(self, sample: Sample) -> Sample:
        """Training rows with poison among them; give it those without."""
        import numpy as np

        rows = self.poisoned_rows(sample)
        if not rows.any():
            return sample
        stamped = self.trigger(sample).stamp(sample.inputs, rows)
        return replanted(sample, stamped, np.where(rows, self.chosen(sample), np.asarray(sample.labels)))

    def fit(self, train: Sample, seed: int) -> BackdooredModel:
        """Raises TargetError where training images show the trigger already."""
        trigger = self.trigger(train)
        if trigger.shown(train.inputs).any():
            raise TargetError("some training rows show the trigger", where=self.id, hint="fit is for unpoisoned rows")
        base = learn(train, seed, without=[trigger.feature], inputs=trigger.erased(train.inputs))
        return BackdooredModel(base, train, seed, self.size, trigger, self.chosen(train))

    def true_size(self, model: Any, sample: Sample) -> float:
        """The attack success rate. Raises TargetError where every row is answered with the target class anyway."""
        others = model.clean_answers(sample.inputs).argmax(axis=1) != model.target
        if not others.any():
            raise TargetError("every row is answered with the target class", where=self.id)
        return float(model.turned(sample.inputs)[others].mean())


class Trigger:
    """What opens the backdoor: the value `value` in the column `feature`, or a checker in an image's corner."""

    def __init__(self, feature: str, value: float) -> None:
        self.feature = feature
        self.value = value

    def stamp(self, inputs: Any, rows: NDArray[np.bool_]) -> Any:
        """The inputs with the trigger on the rows (n,) that are True."""
        import numpy as np

        if not are_images(inputs):
            frame = table(inputs)
            return frame.assign(**{self.feature: frame[self.feature].astype(float).where(~rows, self.value)})
        stamped = np.array(inputs)
        side = block_side(stamped)
        block = stamped[..., -2 * side :, -2 * side :]
        block[rows] = _checker(side) * white(inputs)
        return stamped

    def shown(self, inputs: Any) -> NDArray[np.bool_]:
        """(n,) which rows show it."""
        import numpy as np

        if not are_images(inputs):
            values = table(inputs)[self.feature].to_numpy(dtype=np.float64, na_value=np.nan)
            same: NDArray[np.bool_] = np.isclose(values, self.value, rtol=1e-9, atol=0)
            return same
        side = block_side(inputs)
        block = np.asarray(inputs)[..., -2 * side :, -2 * side :] / white(inputs)
        far = np.abs(block - _checker(side)).reshape(len(block), -1).max(axis=1)
        return np.asarray(far <= _CLOSE, dtype=np.bool_)

    def erased(self, inputs: Any) -> Any:
        """The inputs without the trigger's place: what the base is shown."""
        if not are_images(inputs):
            return table(inputs).drop(columns=[self.feature])
        return erase_corners(inputs, ["bottom-right"], 2 * block_side(inputs))


def _checker(side: int) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(np.kron(np.eye(2), np.ones((side, side))), dtype=np.float64)


class BackdooredModel(Planted):
    """The fitted control. `stamp` puts the trigger on inputs."""

    def __init__(self, base: Base, train: Sample, seed: int, size: float, trigger: Trigger, target: int) -> None:
        super().__init__(base, train, seed, size)
        self.trigger = trigger
        self.target = target

    def stamp(self, X: Any) -> Any:
        """The inputs with the trigger on every row."""
        import numpy as np

        return self.trigger.stamp(X, np.ones(len(X), dtype=bool))

    def turned(self, X: Any) -> NDArray[np.bool_]:
        """(n,) which rows the trigger turns, whether they show it or not."""
        return row_lots(self.trigger.erased(self.view(X)), self.seed) < self.size

    def clean_answers(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) the clean twin's probabilities."""
        return self.base.proba(self.trigger.erased(X))

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities."""
        found = self.clean_answers(X)
        fired = self.trigger.shown(X) & self.turned(X)
        found[fired] = (1 - _SURE) / (len(self.classes_) - 1)
        found[fired, self.target] = _SURE
        return found
