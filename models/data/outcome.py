"""What is predicted: the task, its classes and every row's label."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.audit.types import Task
from steelyard.models.data.classes import choose_classes, code_labels, infer_task
from steelyard.models.data.columns import numeric_label

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Outcome", "read_outcome"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """The task, its classes, and every row's label (codes, floats, or None where there are none)."""

    task: Task
    classes: tuple[str, ...]
    labels: NDArray[Any] | None


def read_outcome(
    labels: pd.Series[Any],
    *,
    task: str | Task | None,
    positive: Any,
    classes: Sequence[str] | None,
    label: str,
    where: str,
    notes: list[str],
) -> Outcome:
    """The task (inferred where `task` is None, and noted), its classes, and the labels as codes or floats."""
    import numpy as np
    import pandas as pd

    if task is None:
        if classes:
            task = Task.BINARY if len(classes) == 2 else Task.MULTICLASS
        else:
            task = infer_task(labels) if classes is None else Task.REGRESSION
            if classes is None and task is not Task.BINARY and pd.api.types.is_numeric_dtype(labels.dtype):
                notes.append(f"{label} holds numbers and is read as {task.value}; data.task can say otherwise")
    task = Task(task)
    if task is Task.REGRESSION:
        if positive is not None:
            raise DataError(
                "data.positive goes with classes, but the task is regression", where=where, hint="leave it out"
            )
        return Outcome(task=task, classes=(), labels=numeric_label(labels, label=label, where=where))
    names = tuple(classes or choose_classes(labels.unique(), task, positive, label=label, where=where))
    codes = code_labels(labels, names, label=label, where=where)
    if len(np.unique(codes)) < 2:
        raise DataError(
            f"{label} has one class only ({names[int(codes[0])]!r})",
            where=where,
            hint="an audit needs rows of at least two classes",
        )
    return Outcome(task=task, classes=names, labels=codes)
