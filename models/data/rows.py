"""What a file of rows holds, whatever its form: a table, and images where the inputs are images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart
from steelyard.models.data.image_folders import class_folders, open_images, path_column
from steelyard.models.data.images import ARRAY_SUFFIXES, as_images, is_idx, read_array, read_idx
from steelyard.models.data.tables import read_table, resolve_path
from steelyard.models.data.texts import read_texts

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Rows", "read_rows"]

_METADATA = "metadata.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A table of n rows; `images` (n, …), where there are any, are the inputs, and the table says the rest.

    `label` is the column with the label, where the form of the data and not the plan names it.
    """

    frame: pd.DataFrame
    images: NDArray[np.float32] | None = None
    label: str | None = None

    def take(self, rows: NDArray[Any]) -> Rows:
        """Those of the rows where `rows` (n,) is True."""
        images = None if self.images is None else self.images[rows]
        return Rows(frame=self.frame[rows].reset_index(drop=True), images=images, label=self.label)


def read_rows(path: str, data: DataPart, *, base: Path, split: str) -> Rows:
    """The rows in `path`: texts where data.text is named (or the task is language), images where the file holds them.

    Images are an IDX file with its labels beside it, a .npy or .npz, a folder with a subfolder for each class, a folder
    with a metadata.csv, or a CSV with a column of paths. Anything else is a table. Raises DataError.
    """
    full = resolve_path(path, base)
    if data.text is not None or data.task == "language":
        named = [data.label, data.cluster, data.id, data.weight, *data.groups]
        columns = [name for name in (data.text or "text", *named) if name is not None]
        return Rows(frame=read_texts(path, base=base, text=data.text or "text", named=columns, split=split))
    if full.suffix.lower() in ARRAY_SUFFIXES:
        return _from_arrays(full, data, base=base, where=path)
    if full.is_dir() and not (full / _METADATA).is_file():
        return _from_class_folders(full, data, where=path)
    if full.is_file() and not path.lower().endswith((".csv", ".csv.gz", ".parquet", ".pq")) and is_idx(full):
        return _from_idx(full, data, base=base, where=path)
    inside = f"{path}/{_METADATA}" if full.is_dir() else path
    frame = read_table(inside, base=base)
    column = path_column(frame, data.features)
    if column is None:
        if full.is_dir():
            raise DataError("has no column with the paths of images", where=inside, hint="call it file_name")
        return Rows(frame=frame)
    folder = resolve_path(inside, base).parent
    images = open_images(list(frame[column]), folder=folder, where=inside)
    return Rows(frame=frame.drop(columns=column), images=as_images(images, where=inside))


def _from_class_folders(folder: Path, data: DataPart, *, where: str) -> Rows:
    label = data.label or "class"
    frame = class_folders(folder, label=label, where=where)
    images = as_images(open_images(list(frame["path"]), folder=folder, where=where), where=where)
    return Rows(frame=frame[[label]].reset_index(drop=True), images=images, label=label)


def _from_idx(path: Path, data: DataPart, *, base: Path, where: str) -> Rows:
    import pandas as pd

    images = as_images(read_idx(path, where=where), where=where)
    label = data.label or "label"
    codes = read_idx(_labels_file(path, data, base=base, where=where), where=data.labels or where)
    _same_length(codes, images, where=data.labels or where)
    return Rows(frame=pd.DataFrame({label: codes}), images=images, label=label)


def _labels_file(path: Path, data: DataPart, *, base: Path, where: str) -> Path:
    """data.labels, or the file beside the images that the IDX names give: `…-labels-idx1-…` for `…-images-idx3-…`."""
    beside = path.with_name(path.name.replace("images-idx3", "labels-idx1"))
    if data.labels is not None and not (data.train is not None and data.test is not None):
        return resolve_path(data.labels, base)
    if beside != path and beside.is_file():
        return beside
    if data.labels is not None:
        message = "data.labels is one file, and data.train and data.test are two"
        raise DataError(
            message, where=where, hint="name the files …-images-idx3-… and …-labels-idx1-…, and leave it out"
        )
    raise DataError("has no labels beside it", where=where, hint="name their file in data.labels")


def _from_arrays(path: Path, data: DataPart, *, base: Path, where: str) -> Rows:
    """Images are the array that data.features names, or the only one with three or more axes; the rest are columns."""
    import pandas as pd

    arrays = read_array(path, where=where)
    wide = [name for name, array in arrays.items() if array.ndim >= 3]
    if data.features is not None and len(data.features) == 1:
        wide = [name for name in arrays if name == data.features[0]]
    if len(wide) != 1:
        held = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataError(
            f"{len(wide)} of its arrays are images: it holds {held}",
            where=where,
            hint="images are (n, height, width) or (n, channels, height, width); data.features can name the array",
        )
    images = as_images(arrays.pop(wide[0]), where=where)
    label = None
    if data.labels is not None:
        label = data.label or "label"
        arrays = {**arrays, label: _labels_array(data.labels, base=base)}
    columns = {}
    for name, array in arrays.items():
        if array.ndim == 1:
            _same_length(array, images, where=f"{where}: {name}")
            columns[name] = array
    return Rows(frame=pd.DataFrame(columns, index=range(len(images))), images=images, label=label)


def _labels_array(path: str, *, base: Path) -> NDArray[Any]:
    full = resolve_path(path, base)
    if full.suffix.lower() not in ARRAY_SUFFIXES:
        return read_idx(full, where=path)
    arrays = read_array(full, where=path)
    if len(arrays) != 1:
        raise DataError(f"holds {len(arrays)} arrays, not the labels alone", where=path)
    return next(iter(arrays.values()))


def _same_length(values: NDArray[Any], images: NDArray[Any], *, where: str) -> None:
    if values.ndim != 1 or len(values) != len(images):
        shape = f"has the shape {values.shape}" if values.ndim != 1 else f"has {len(values):,} values"
        raise DataError(f"{shape}, and there are {len(images):,} images", where=where, hint="one for each image")
