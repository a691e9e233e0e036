"""From the plan's `data` to the samples: the table that is tested on and, where there is one, the training table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.data.bundled import Bundled, load_bundled
from steelyard.models.data.reduced import counted_sample
from steelyard.models.data.sample import build_sample
from steelyard.models.data.tables import read_table, read_tables
from steelyard.models.data.urls import is_url, read_remote

__all__ = ["Samples", "load_samples"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Samples:
    """What an audit's data came to. `data` is the plan's part with a bundled set's defaults filled in."""

    test: Sample
    train: Sample | None
    data: DataPart
    source: str
    licence: str = ""


def load_samples(data: DataPart, *, target: TargetPart | None, base: Path) -> Samples:
    """Read and check both tables; the test labels keep to the classes of the training labels.

    `base` is the folder of the plan file. A target of kind `predictions` brings its own table, which may be a glob.
    Raises DataError.
    """
    predictions = target is not None and target.kind == "predictions"
    if data.dataset is not None:
        if data.train is not None or data.test is not None or predictions:
            raise DataError(
                f"data.dataset is {data.dataset!r}, and a table is named beside it",
                where="data",
                hint="take either the bundled data set or your own files",
            )
        return _bundled_samples(load_bundled(data.dataset), data, target)
    if data.test is None and not predictions:
        raise DataError(
            "names no table", where="data", hint="set data.test to a CSV or parquet file, or data.dataset to adult"
        )
    train = None
    if data.train is not None:
        train = build_sample(read_table(data.train, base=base), data, target=target, split="train", source=data.train)
    path = target.path if target is not None and predictions else data.test
    if path is None:
        raise DataError("names no table", where="target.path", hint="name the CSV or parquet file with the decisions")
    if predictions and data.test not in (None, path):
        raise DataError("data.test and target.path name two tables", where="data", hint="leave data.test out")
    classes = _classes(train)
    if predictions and target is not None:
        counted = counted_sample(path, data, target, base=base, classes=classes)
        if counted is not None:
            return Samples(test=counted, train=train, data=data, source=path)
    frame = read_remote(path) if is_url(path) else read_tables(path, base=base)
    test = build_sample(frame, data, target=target, split="test", classes=classes, source=path)
    return Samples(test=_beside(test, train), train=train, data=data, source=path)


def _bundled_samples(bundled: Bundled, data: DataPart, target: TargetPart | None) -> Samples:
    given = data.model_fields_set
    own_label = "label" in given and data.label != bundled.label
    full = data.model_copy(
        update={
            "label": data.label or bundled.label,
            "positive": data.positive if "positive" in given or own_label else bundled.positive,
            "task": data.task or (None if own_label else bundled.task),
            "groups": data.groups if "groups" in given else list(bundled.groups),
        }
    )
    train, test = (
        build_sample(
            bundled.frame[rows].reset_index(drop=True),
            full,
            target=target,
            split=split,
            source=f"data.dataset {bundled.name}",
        )
        for rows, split in ((~bundled.held_out, "train"), (bundled.held_out, "test"))
    )
    if bundled.arrays:
        train, test = (replace(sample, inputs=sample.inputs.to_numpy()) for sample in (train, test))
    return Samples(test=test, train=train, data=full, source=bundled.source, licence=bundled.licence)


def _classes(train: Sample | None) -> tuple[str, ...] | None:
    return None if train is None else train.classes


def _beside(test: Sample, train: Sample | None) -> Sample:
    if train is None or train.fingerprint != test.fingerprint or test.modality is Modality.PREDICTIONS:
        return test
    note = "the training table holds the very rows of the test table: what models learnt from it is overrated"
    return replace(test, notes=(*test.notes, note))
