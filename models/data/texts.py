"""Tables whose inputs are texts: CSV, TSV, JSONL, parquet, a plain .txt, or a folder saved by `datasets`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import DataError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.data.arrow_folders import is_saved_dataset, read_saved_dataset
from steelyard.models.data.tables import read_table, resolve_path

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["TEXT_SUFFIXES", "empty_language_sample", "read_texts", "text_inputs"]

TEXT_SUFFIXES = (".csv", ".csv.gz", ".tsv", ".jsonl", ".parquet", ".pq", ".txt")


def read_texts(path: str, *, base: Path, text: str, named: Sequence[str], split: str) -> pd.DataFrame:
    """The table in `path`, its column `text` read as it stands: "NA" and "null" are texts, too, not missing values.

    A .txt has one text a line (in the column `text`). A .tsv has no quotes; where `text` and every other column in
    `named` are whole numbers and its first line has no such names, it has no header and its columns are counted from 0.
    Raises DataError.
    """
    full = resolve_path(path, base)
    name = full.name.lower()
    if full.is_dir():
        if not is_saved_dataset(full):
            raise DataError("is a folder, and not one saved by datasets", where=path, hint="name a table of texts")
        return read_saved_dataset(full, split=split, where=path)
    if name.endswith((".parquet", ".pq")):
        return read_table(path, base=base)
    if name.endswith((".csv", ".csv.gz")):
        return _read_csv(path, base=base, text=text)
    if not name.endswith(TEXT_SUFFIXES):
        raise DataError(f"has the ending {full.suffix!r}", where=path, hint=f"texts are {', '.join(TEXT_SUFFIXES)}")
    lines = _lines(full, where=path)
    if name.endswith(".txt"):
        import pandas as pd

        kept = [line for line in lines if line.strip()]
        return pd.DataFrame({text: pd.Series(kept, dtype=object)})
    return _read_jsonl(lines, where=path) if name.endswith(".jsonl") else _read_tsv(lines, named, where=path)


def text_inputs(column: pd.Series[Any], *, where: str) -> NDArray[Any]:
    """(n,) object array of str. Raises DataError with the number of rows that have no text, or something else."""
    import numpy as np

    missing = int(column.isna().sum())
    if missing:
        raise DataError(
            f"the text {column.name!r} is missing in {missing:,} of {len(column):,} rows",
            where=where,
            hint="leave these rows out, or write an empty text",
        )
    odd = sum(not isinstance(value, str) for value in column)
    if odd:
        raise DataError(
            f"the text {column.name!r} is no text in {odd:,} of {len(column):,} rows", where=where, hint="see data.text"
        )
    return np.array(column.tolist(), dtype=object)


def empty_language_sample(min_n: int) -> Sample:
    """A sample without rows, for language models whose probes bring their own texts."""
    import numpy as np

    return Sample(
        inputs=np.empty(0, dtype=object),
        labels=None,
        task=Task.LANGUAGE,
        modality=Modality.TEXT,
        fingerprint=digest(["no rows", Task.LANGUAGE]),
        min_n=min_n,
        notes=("the plan names no data: every probe brings its own texts",),
    )


def _read_csv(path: str, *, base: Path, text: str) -> pd.DataFrame:
    import pandas as pd

    frame = read_table(path, base=base)
    full = resolve_path(path, base)
    if text in frame.columns:
        raw = pd.read_csv(full, usecols=lambda name: str(name) == text, keep_default_na=False, dtype=str)
        frame[text] = raw[text].astype(object)
    return frame


def _read_tsv(lines: list[str], named: Sequence[str], *, where: str) -> pd.DataFrame:
    """Fields between tabs, as they stand: a quotation mark in a sentence is a quotation mark."""
    import pandas as pd

    rows = [line.split("\t") for line in lines if line.strip()]
    if not rows:
        raise DataError("has no rows", where=where)
    bare = all(column.isdigit() for column in named) and not set(named) <= set(rows[0])
    header = [str(place) for place in range(len(rows[0]))] if bare else rows[0]
    body = rows if bare else rows[1:]
    for place, row in enumerate(body):
        if len(row) != len(header):
            line = place + (1 if bare else 2)
            raise DataError(f"line {line} has {len(row)} fields, not {len(header)}", where=where)
    if len(set(header)) != len(header):
        raise DataError("two of its columns have one name", where=where, hint="column names must differ")
    columns = {name: pd.Series([row[place] for row in body], dtype=object) for place, name in enumerate(header)}
    return pd.DataFrame(columns)


def _read_jsonl(lines: list[str], *, where: str) -> pd.DataFrame:
    import pandas as pd

    records = []
    for place, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except ValueError as error:
            raise DataError(f"line {place} is not JSON: {error}", where=where) from None
        if not isinstance(record, dict):
            raise DataError(f"line {place} is a {type(record).__name__}, not a record", where=where)
        records.append(record)
    if not records:
        raise DataError("has no rows", where=where)
    return pd.DataFrame.from_records(records)


def _lines(path: Path, *, where: str) -> list[str]:
    try:
        data = path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise DataError("no such file", where=where, hint="paths are relative to the plan file's folder") from None
    except UnicodeDecodeError as error:
        raise DataError(f"is not UTF-8 text (byte {error.start})", where=where, hint="save it as UTF-8") from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from None
    if not data.strip():
        raise DataError("is empty", where=where)
    # at line feeds alone: U+2028 and the like stand inside texts
    return [line.removesuffix("\r") for line in data.split("\n")]
