"""From the plan's `data` to the samples: the table that is tested on and, where there is one, the training table."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from steelyard.audit.canonical import digest
from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.data.bundled import Bundled, load_bundled
from steelyard.models.data.held_out import held_out_rows
from steelyard.models.data.images import as_images
from steelyard.models.data.large import counted_sample, why_read_whole
from steelyard.models.data.rows import Rows, read_rows
from steelyard.models.data.sample import build_sample
from steelyard.models.data.tables import read_tables
from steelyard.models.data.texts import empty_language_sample
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


def load_samples(data: DataPart, *, target: TargetPart | None, base: Path, seed: int = 0) -> Samples:
    """Read and check both tables; the test labels keep to the classes of the training labels.

    `base` is the folder of the plan file. A target of kind `predictions` brings its own table, which may be a glob.
    `seed` draws the rows that data.held_out asks for. A language model needs no rows: the sample is then empty.
    Raises DataError.
    """
    predictions = target is not None and target.kind == "predictions"
    if data.task is None and target is not None and target.head in ("causal", "masked"):
        data = data.model_copy(update={"task": "language"})
    if data.dataset is not None:
        if data.train is not None or data.test is not None or predictions:
            raise DataError(
                f"data.dataset is {data.dataset!r}, and a table is named beside it",
                where="data",
                hint="take either the bundled data set or your own files",
            )
        return _bundled_samples(load_bundled(data.dataset), data, target)
    if data.test is None and not predictions:
        return _without_test(data, target, base=base, seed=seed)
    train = None
    if data.train is not None:
        rows = read_rows(data.train, data, base=base, split="train")
        train = _sample(rows, data, target, split="train", source=data.train)
    path = target.path if target is not None and predictions else data.test
    if path is None:
        raise DataError("names no table", where="target.path", hint="name the CSV or parquet file with the decisions")
    if predictions and data.test not in (None, path):
        raise DataError("data.test and target.path name two tables", where="data", hint="leave data.test out")
    classes = _classes(train)
    if predictions and target is not None:
        counted = counted_sample(path, data, target, base=base, classes=classes, seed=seed)
        if counted is not None:
            return Samples(test=counted, train=train, data=data, source=path)
    if is_url(path):
        rows = Rows(frame=read_remote(path))
    elif predictions or _is_glob(path, base):
        rows = Rows(frame=read_tables(path, base=base))
    else:
        rows = read_rows(path, data, base=base, split="test")
    test = _sample(rows, data, target, split="test", source=path, classes=classes)
    if predictions:
        test = replace(test, notes=(*test.notes, *why_read_whole(test, data)))
    return Samples(test=_beside(test, train), train=train, data=data, source=path)


def _without_test(data: DataPart, target: TargetPart | None, *, base: Path, seed: int) -> Samples:
    """The share data.held_out of data.train as the test rows; for a language model without any rows, none."""
    path = data.train
    if path is None and data.task == "language":
        return Samples(test=empty_language_sample(data.min_n), train=None, data=data, source="no data")
    if path is None or data.held_out is None:
        hint = "set data.test to a file, data.held_out to a share of data.train, or data.dataset to adult"
        raise DataError("names no table", where="data", hint=hint)
    rows = read_rows(path, data, base=base, split="train")
    frame, label = rows.frame, rows.label or data.label
    held = held_out_rows(
        len(frame),
        data.held_out,
        seed,
        labels=frame[label] if label in frame.columns else None,
        clusters=frame[data.cluster] if data.cluster in frame.columns else None,
        where=path,
    )
    train = _sample(rows.take(~held), data, target, split="train", source=path)
    test = _sample(rows.take(held), data, target, split="test", source=path, classes=_classes(train))
    note = f"{int(held.sum()):,} of the {len(frame):,} rows of {path} were held out by the seed, and are tested on"
    return Samples(test=_beside(replace(test, notes=(note, *test.notes)), train), train=train, data=data, source=path)


def _sample(
    rows: Rows,
    data: DataPart,
    target: TargetPart | None,
    *,
    split: str,
    source: str,
    classes: tuple[str, ...] | None = None,
) -> Sample:
    named = data if rows.label is None else data.model_copy(update={"label": rows.label})
    return build_sample(
        rows.frame, named, target=target, split=split, classes=classes, source=source, images=rows.images
    )


def _is_glob(path: str, base: Path) -> bool:
    return bool(set("*?[") & set(path)) and not (base / Path(path).expanduser()).exists()


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
    if bundled.image is not None:
        train, test = (_as_images(sample, bundled.image, bundled.brightest) for sample in (train, test))
    return Samples(test=test, train=train, data=full, source=bundled.source, licence=bundled.licence)


def _as_images(sample: Sample, size: tuple[int, int], brightest: float) -> Sample:
    images = as_images(sample.inputs.to_numpy().reshape(-1, *size) / brightest, where="data.dataset")
    return replace(
        sample, inputs=images, modality=Modality.IMAGE, fingerprint=digest([sample.fingerprint, "images", size])
    )


def _classes(train: Sample | None) -> tuple[str, ...] | None:
    return None if train is None else train.classes


def _beside(test: Sample, train: Sample | None) -> Sample:
    if train is None or train.fingerprint != test.fingerprint or test.modality is Modality.PREDICTIONS:
        return test
    note = "the training table holds the very rows of the test table: what models learnt from it is overrated"
    return replace(test, notes=(*test.notes, note))
