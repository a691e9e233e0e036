"""A count table as bytes: an npz archive whose every byte follows from the table (no clock, no compression)."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from typing import Any

import numpy as np

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import IntegrityError
from steelyard.probes.stats.moments import SecondMoment
from steelyard.probes.stats.table import CountTable

__all__ = ["table_from_bytes", "table_to_bytes"]

_FORMAT = "steelyard.count-table/1"
# All that zipfile, NumPy and JSON are known to raise on bytes that are not what they claim to be.
_MALFORMED = (
    ValueError, KeyError, TypeError, IndexError, AttributeError, OSError, EOFError, MemoryError, OverflowError,
    NotImplementedError, RuntimeError, struct.error, zipfile.BadZipFile,
)  # fmt: skip
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip entry can carry


def table_to_bytes(table: CountTable) -> bytes:
    """The npz bytes of `table`."""
    meta = {
        "format": _FORMAT,
        "attributes": table.attributes,
        "levels": table.levels,
        "unknown": table.unknown,
        "compare_unknown": table.compare_unknown,
        "labelled": table.labelled,
        "weighted": table.weighted,
        "units": None if table.moment is None else table.moment.units,
        "clustered": table.moment is not None and table.moment.clustered,
    }
    arrays: dict[str, Any] = {
        "meta": np.frombuffer(canonical_json(meta), dtype=np.uint8),
        "cells": table.cells.astype("<i8"),
        "counts": table.counts.astype("<f8"),
        "rows": table.rows.astype("<i8"),
    }
    if table.moment is not None:
        arrays |= {
            "moment_row": table.moment.row.astype("<i8"),
            "moment_column": table.moment.column.astype("<i8"),
            "moment_value": table.moment.value.astype("<f8"),
        }
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            entry = io.BytesIO()
            np.lib.format.write_array(entry, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            info = zipfile.ZipInfo(f"{name}.npy", date_time=_EPOCH)
            info.create_system = 3  # Unix, whatever this machine is
            archive.writestr(info, entry.getvalue())
    return buffer.getvalue()


def table_from_bytes(data: bytes, *, where: str = "") -> CountTable:
    """The table of `data`. Raises IntegrityError where the bytes hold no count table."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                raise ValueError("an entry is compressed")  # we write none; a small file cannot grow without bound
            if archive.testzip() is not None:
                raise ValueError("a checksum is wrong")
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        table = _build(json.loads(arrays["meta"].tobytes()), arrays)
        _check(table)
    except _MALFORMED as error:
        raise IntegrityError(f"is not a count table: {error}", where=where) from None
    return table


def _build(meta: dict[str, Any], arrays: dict[str, Any]) -> CountTable:
    if meta["format"] != _FORMAT:
        raise ValueError(f"its format is {meta['format']!r}, not {_FORMAT!r}")
    moment = None
    if meta["units"] is not None:
        moment = SecondMoment(
            row=arrays["moment_row"],
            column=arrays["moment_column"],
            value=arrays["moment_value"],
            units=int(meta["units"]),
            clustered=bool(meta["clustered"]),
        )
    return CountTable(
        attributes=tuple(meta["attributes"]),
        levels=tuple(tuple(level) for level in meta["levels"]),
        unknown=tuple(int(code) for code in meta["unknown"]),
        compare_unknown=tuple(bool(flag) for flag in meta["compare_unknown"]),
        cells=arrays["cells"],
        counts=arrays["counts"],
        rows=arrays["rows"],
        labelled=bool(meta["labelled"]),
        weighted=bool(meta["weighted"]),
        moment=moment,
    )


def _check(table: CountTable) -> None:
    c, a = len(table.cells), len(table.attributes)
    if table.cells.shape != (c, a) or table.counts.shape != (c, 2, 2) or table.rows.shape != (c, 2, 2):
        raise ValueError("its arrays do not fit each other")
    if not (len(table.levels) == len(table.unknown) == len(table.compare_unknown) == a):
        raise ValueError("its attributes do not fit its levels")
    if table.cells.dtype.kind != "i" or table.rows.dtype.kind != "i" or table.counts.dtype.kind != "f":
        raise ValueError("an array has the wrong type")
    sizes = np.array([len(level) for level in table.levels], dtype=np.int64)
    if c == 0 or table.cells.min(initial=0) < 0 or (table.cells >= sizes).any():
        raise ValueError("a cell lies outside the levels")
    if table.rows.min() < 0 or not np.isfinite(table.counts).all() or table.counts.min() < 0:
        raise ValueError("a count is negative or not finite")
    if table.moment is not None:
        moment, f = table.moment, 4 * c
        if not moment.row.shape == moment.column.shape == moment.value.shape or moment.row.ndim != 1:
            raise ValueError("its second moment does not fit")
        if moment.row.size and (min(moment.row.min(), moment.column.min()) < 0 or moment.column.max() >= f):
            raise ValueError("its second moment lies outside its cells")
