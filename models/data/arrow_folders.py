"""A folder that Hugging Face `datasets` saved (`save_to_disk`), read by pyarrow: none of its code runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["is_saved_dataset", "read_saved_dataset"]


def is_saved_dataset(folder: Path) -> bool:
    """Whether `folder` holds one data set (state.json), or several splits (dataset_dict.json)."""
    return (folder / "state.json").is_file() or (folder / "dataset_dict.json").is_file()


def read_saved_dataset(folder: Path, *, split: str, where: str) -> pd.DataFrame:
    """The rows of the data set in `folder`, of its part `split` where it has several; classes by their names.

    Raises DataError for a part that is not there and for files that are not what state.json says.
    """
    import pandas as pd
    import pyarrow as pa

    if (folder / "dataset_dict.json").is_file():
        parts = _json(folder / "dataset_dict.json", where).get("splits", [])
        if split not in parts:
            hint = f"it has {', '.join(map(str, parts))}: name the folder of one of them"
            raise DataError(f"has no part {split!r}", where=where, hint=hint)
        folder = folder / split
    state = _json(folder / "state.json", where)
    if state.get("_indices_data_files"):
        raise DataError("keeps its rows by an index of older versions", where=where, hint="save it again by datasets 2")
    tables = []
    for entry in state.get("_data_files", []):
        full = (folder / str(entry.get("filename", ""))).resolve()
        if full.parent != folder.resolve():
            raise DataError("names a data file outside its folder", where=where)
        try:
            with pa.OSFile(str(full)) as source:
                tables.append(pa.ipc.open_stream(source).read_all())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{full.name} cannot be read: {error}", where=where) from None
    if not tables:
        raise DataError("names no data files", where=where, hint="was it saved whole?")
    frame: pd.DataFrame = pa.concat_tables(tables).to_pandas()
    for name, feature in _json(folder / "dataset_info.json", where).get("features", {}).items():
        names = feature.get("names") if isinstance(feature, dict) and feature.get("_type") == "ClassLabel" else None
        if names and name in frame.columns:
            frame[name] = pd.Series([names[code] if code is not None and 0 <= code < len(names) else None
                                     for code in frame[name]], dtype=object)  # fmt: skip
    return frame


def _json(path: Path, where: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {error}", where=where) from None
    if not isinstance(found, dict):
        raise DataError(f"{path.name} is not a record", where=where)
    return found
