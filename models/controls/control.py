"""What a control is: a recipe whose model has one planted defect, of a size that is known."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import UNKNOWN, Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.recipe import Recipe

__all__ = ["Control", "accused_group"]


@dataclass(frozen=True, kw_only=True)
class Control(Recipe):
    """A model with a planted defect, dialled by `size`; at size 0 it is its own clean twin.

    A reading is trusted when a known sample reads right: a probe is tried on a control before it is believed. The
    defect is laid over an ordinary model (`learner.py`) by a rule of known effect, not hoped for from training, so that
    its size can be stated. Where a rule touches a share of the rows, a hash of the row and the seed chooses them: the
    same row always gets the same answer, in any order.

    `defect` says what is planted, `unit` in what `size` counts, `truth` what `true_size` is, `exact_for` what it is
    exact for, `seen_by` which question ought to see it.
    """

    family: ClassVar[str] = "control"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR, Modality.IMAGE})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    defect: ClassVar[str]
    unit: ClassVar[str]
    truth: ClassVar[str]
    exact_for: ClassVar[str]
    seen_by: ClassVar[tuple[str, ...]]
    most: ClassVar[float] = 1.0  # the largest size there is

    size: float = 0.0

    def __post_init__(self) -> None:
        if not isinstance(self.size, int | float) or not math.isfinite(self.size) or not 0 <= self.size <= self.most:
            raise PlanError(f"size is {self.size!r}", where=self.id, hint=f"it lies between 0 and {self.most:g}")

    def clean(self) -> Self:
        """The clean twin: the same model on the same rows and seed, without the defect."""
        return replace(self, size=0.0)

    def plant(self, sample: Sample) -> Sample:
        """What of the defect lies in the data, put into these rows. A sample that needs nothing comes back as it is."""
        return sample

    def fit(self, train: Sample, seed: int) -> Any:
        """A fitted model with `predict`, `predict_proba` and `classes_`, which takes `Sample.inputs`."""
        raise NotImplementedError

    def true_size(self, model: Any, sample: Sample) -> float:
        """The size of the defect of `model`, which this control has fitted, on these rows: see `truth`.

        It follows from the rule that was planted; it is not read off what the planted model answers.
        """
        raise NotImplementedError


def accused_group(control: Control, sample: Sample, attribute: str, level: str) -> tuple[str, str]:
    """The attribute and the group that the defect is about; by default the first, and its second largest group.

    Raises TargetError where the sample has no such attribute, or the attribute no such group.
    """
    import numpy as np

    if not sample.groups:
        raise TargetError("is about groups, and the training data has none", where=control.id, hint="data.groups")
    name = attribute or next(iter(sample.groups))
    if name not in sample.groups:
        hint = f"there are {', '.join(sample.groups)}"
        raise TargetError(f"has no group column {name!r}", where=control.id, hint=hint)
    groups = sample.groups[name]
    known = [place for place, one in enumerate(groups.levels) if one != UNKNOWN]
    if level and level not in groups.levels:
        hint = f"it has {', '.join(groups.levels[:8])}"
        raise TargetError(f"{name!r} has no group {level!r}", where=control.id, hint=hint)
    if len(known) < 2:
        raise TargetError(f"finds fewer than two groups in {name!r}", where=control.id, hint="name another attribute")
    counts = np.bincount(groups.codes, minlength=len(groups.levels))[known]
    second = known[int(np.argsort(-counts, kind="stable")[1])]
    return name, level or groups.levels[second]
