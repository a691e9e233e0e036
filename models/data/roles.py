"""Which column plays which part, and which are left as inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.models.data.tables import column_named

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Roles", "find_roles"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Roles:
    """Which column plays which part, by the names as they stand in the table."""

    label: str | None
    groups: Mapping[str, str]
    weight: str | None
    cluster: str | None
    id: str | None
    inputs: tuple[str, ...]
    answers: tuple[str, ...] = ()  # those of the inputs that are a prediction


@dataclass(frozen=True, slots=True, kw_only=True)
class _Finder:
    """Looks columns up; in a training table, a column that models do not learn from may be lacking, and is noted."""

    frame: pd.DataFrame
    where: str
    training: bool
    notes: list[str] = field(default_factory=list)

    def find(self, name: str, key: str) -> str:
        return column_named(self.frame, name, key=key, where=self.where)

    def has(self, name: str) -> bool:
        return name.strip() in {str(column).strip() for column in self.frame.columns}

    def find_unless_training(self, name: str | None, key: str) -> str | None:
        if name is None:
            return None
        if self.training and not self.has(name):
            self.notes.append(f"{self.where} has no column {name!r} ({key})")
            return None
        return self.find(name, key)


def find_roles(
    frame: pd.DataFrame,
    data: DataPart,
    target: TargetPart | None,
    *,
    split: str,
    where: str,
    notes: list[str],
    images: bool = False,
) -> Roles:
    """The columns of `frame` by their parts; `notes` grows by what a training table lacks.

    With data.text that column is the one input; where the rows are `images`, no column is.

    The decision and score columns of a `predictions` target are inputs of the test table, never of the training table.
    Raises DataError for a column that is not there, one in two parts that exclude each other, and no input left.
    """
    finder = _Finder(frame=frame, where=where, training=split == "train", notes=notes)
    decides = data.task != "language"
    if not decides and data.label is not None:
        raise DataError(
            "a label goes with a decision, and the task is language", where="data.label", hint="leave it out"
        )
    if data.label is None and decides and (target is None or target.kind != "predictions"):
        raise DataError("no label is named", where="data.label", hint="name the column with the true outcome")
    label = None if data.label is None else finder.find(data.label, "data.label")
    groups = {name: finder.find_unless_training(name, "data.groups") for name in dict.fromkeys(data.groups)}
    if label is not None and label in groups.values():
        raise DataError(f"{label!r} is both the label and a group", where=where, hint="take it out of data.groups")
    weight = None if data.weight is None else finder.find(data.weight, "data.weight")
    cluster = finder.find_unless_training(data.cluster, "data.cluster")
    row_id = finder.find_unless_training(data.id, "data.id")
    dropped = {finder.find_unless_training(name, "data.drop") for name in data.drop}
    decided = _predicted_columns(finder, target)
    if label in decided:
        raise DataError(f"{label!r} is both the label and a prediction", where=where, hint="name two columns")
    if (images or data.text is not None or not decides) and not decided:
        text = None if images else finder.find(data.text or "text", "data.text")
        if text is not None and text in {label, weight, cluster, row_id, *groups.values()}:
            raise DataError(f"data.text {text!r} has another part, too", where=where, hint="name two columns")
        return Roles(
            label=label,
            groups={name: column for name, column in groups.items() if column is not None},
            weight=weight,
            cluster=cluster,
            id=row_id,
            inputs=() if text is None else (text,),
        )
    inputs = _inputs(finder, data, label=label, aside={label, weight, cluster, row_id}, never={*dropped, *decided})
    inputs += [] if finder.training else decided
    if not inputs:
        raise DataError("no column is left as an input", where=where, hint="see data.features and data.drop")
    return Roles(
        label=label,
        groups={name: column for name, column in groups.items() if column is not None},
        weight=weight,
        cluster=cluster,
        id=row_id,
        inputs=tuple(inputs),
        answers=() if finder.training else tuple(decided),
    )


def _predicted_columns(finder: _Finder, target: TargetPart | None) -> list[str]:
    if target is None or target.kind != "predictions":
        return []
    wanted = {"target.decision": target.decision, "target.score": target.score}
    named = {key: name for key, name in wanted.items() if name is not None}
    return [finder.find(name, key) for key, name in named.items() if not finder.training or finder.has(name)]


def _inputs(
    finder: _Finder, data: DataPart, *, label: str | None, aside: set[str | None], never: set[str | None]
) -> list[str]:
    if data.features is None:
        return [str(column) for column in finder.frame.columns if column not in aside | never]
    inputs = [finder.find(name, "data.features") for name in dict.fromkeys(data.features)]
    if label in inputs:
        raise DataError(
            f"data.features holds the label {label!r}", where=finder.where, hint="take it out: it is the answer"
        )
    return [name for name in inputs if name not in never]
