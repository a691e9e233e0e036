"""Turn a table and the plan's words about it into a `Sample`: labels and groups as codes, rows counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import FrozenMap, digest
from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Groups, Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.data.columns import (
    label_missing,
    row_clusters,
    row_ids,
    row_weights,
    without_missing_labels,
)
from steelyard.models.data.fingerprint import fingerprint_array, fingerprint_inputs
from steelyard.models.data.groups import code_groups
from steelyard.models.data.outcome import Outcome, read_outcome
from steelyard.models.data.roles import find_roles
from steelyard.models.data.tables import column_named
from steelyard.models.data.texts import text_inputs

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["build_sample", "find_outcome", "seal_sample"]


def build_sample(
    frame: pd.DataFrame,
    data: DataPart,
    *,
    target: TargetPart | None = None,
    split: str = "test",
    classes: Sequence[str] | None = None,
    source: str = "",
    images: NDArray[Any] | None = None,
) -> Sample:
    """The sample that `data` describes in `frame`; its inputs are `images` (n, …), where these are given.

    `target` matters where it is a table of predictions: its columns are then the inputs, and a label may be lacking.
    `classes` are those of the other split, which the labels here must keep to. `source` is what errors call the table.
    Rows without a label are left out and counted in `notes`. A training table may lack group, cluster and id columns.
    Raises DataError for a column that is missing or does not fit its role, duplicate ids, one class only, no rows.
    """
    where = source or f"data.{split}"
    notes: list[str] = []
    if len(frame) == 0:
        raise DataError("has no rows", where=where)
    roles = find_roles(frame, data, target, split=split, where=where, notes=notes, images=images is not None)
    if roles.label is not None:
        kept = ~label_missing(frame[roles.label]).to_numpy()
        frame, dropped = without_missing_labels(frame, roles.label, where=where)
        if dropped:
            images = None if images is None else images[kept]
            notes.append(f"{dropped:,} rows of {where} have no {roles.label!r} and are left out")
    outcome = find_outcome(frame, roles.label, data, target, classes=classes, where=where, notes=notes)
    compare = data.unknown == "compare"
    groups = {
        name: code_groups(frame[column], attribute=name, where=where, compare_unknown=compare)
        for name, column in roles.groups.items()
    }
    decided = target is not None and target.kind == "predictions" and split == "test"
    texts = images is None and not decided and (data.text is not None or outcome.task is Task.LANGUAGE)
    inputs: Any = frame[list(roles.inputs)] if images is None else images
    return seal_sample(
        text_inputs(frame[roles.inputs[0]], where=where) if texts else inputs,
        outcome=outcome,
        groups=groups,
        weights=None if roles.weight is None else row_weights(frame[roles.weight], where=where),
        clusters=None if roles.cluster is None else row_clusters(frame[roles.cluster], where=where),
        ids=None if roles.id is None else row_ids(frame[roles.id], where=where),
        modality=_modality(images=images is not None, texts=texts, decided=decided),
        split=split,
        min_n=data.min_n,
        notes=notes,
        answers=roles.answers,
    )


def _modality(*, images: bool, texts: bool, decided: bool) -> Modality:
    if decided:
        return Modality.PREDICTIONS
    return Modality.IMAGE if images else Modality.TEXT if texts else Modality.TABULAR


def seal_sample(
    inputs: Any,
    *,
    outcome: Outcome,
    groups: Mapping[str, Groups],
    weights: NDArray[Any] | None,
    clusters: NDArray[Any] | None,
    ids: NDArray[Any] | None,
    modality: Modality,
    split: str,
    min_n: int,
    notes: Sequence[str],
    answers: tuple[str, ...] = (),
) -> Sample:
    """The sample of these parts. Its fingerprint covers every row of them, not `split`, `min_n` and `notes`."""
    counted = [
        f"{(g.codes == g.unknown).sum():,} rows have no {name!r} and are the group 'unknown'"
        for name, g in groups.items()
        if g.unknown >= 0
    ]
    content = {
        "inputs": fingerprint_inputs(inputs),
        "labels": fingerprint_array(outcome.labels),
        "task": outcome.task,
        "classes": outcome.classes,
        "groups": [[name, fingerprint_array(g.codes), g.levels] for name, g in groups.items()],
        "weights": fingerprint_array(weights),
        "clusters": fingerprint_array(clusters),
        "ids": fingerprint_array(ids),
    }
    return Sample(
        inputs=inputs,
        labels=outcome.labels,
        task=outcome.task,
        modality=modality,
        fingerprint=digest(content),
        classes=outcome.classes,
        groups=FrozenMap(groups),
        weights=weights,
        clusters=clusters,
        ids=ids,
        split=split,
        min_n=min_n,
        notes=(*notes, *counted),
        answers=answers,
    )


def find_outcome(
    frame: pd.DataFrame,
    label: str | None,
    data: DataPart,
    target: TargetPart | None,
    *,
    classes: Sequence[str] | None,
    where: str,
    notes: list[str],
) -> Outcome:
    """What is predicted, by the label column or, without one, by what a table of predictions decides.

    A language model decides nothing: its texts have neither classes nor labels.
    """
    if data.task == "language":
        return Outcome(task=Task.LANGUAGE, classes=(), labels=None)
    if label is not None:
        return read_outcome(
            frame[label], task=data.task, positive=data.positive, classes=classes,
            label=f"the label {label!r}", where=where, notes=notes,
        )  # fmt: skip
    assert target is not None  # find_roles has refused every other case  # noqa: S101
    if target.decision is not None:
        column = column_named(frame, target.decision, key="target.decision", where=where)
        found = read_outcome(
            frame[column].dropna(), task=data.task, positive=data.positive, classes=classes,
            label=f"the decision {column!r}", where=where, notes=notes,
        )  # fmt: skip
        return Outcome(task=found.task, classes=found.classes, labels=None)
    if data.task == "regression":
        return Outcome(task=Task.REGRESSION, classes=(), labels=None)
    return Outcome(task=Task.BINARY, classes=tuple(classes or ("0", "1")), labels=None)
