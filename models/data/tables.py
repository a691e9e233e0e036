"""Read a CSV or parquet file (or several of one shape) into a data frame, or say in one line why not."""

from __future__ import annotations

import csv
import difflib
import gzip
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["SUFFIXES", "column_named", "csv_header", "read_table", "read_tables", "resolve_path"]

SUFFIXES = (".csv", ".csv.gz", ".parquet", ".pq")
_GLOB_SIGNS = frozenset("*?[")


def resolve_path(path: str | Path, base: Path) -> Path:
    """`path` as it stands if absolute, else below `base`, the folder of the plan file; `~` is the home folder."""
    return base / Path(path).expanduser()


def read_table(path: str | Path, *, base: Path) -> pd.DataFrame:
    """The table in one CSV or parquet file, with a plain row index.

    CSV is read as pandas reads it (empty cells, NA and the like are missing), so that a model sees the values it
    was trained on. Raises DataError for a missing, empty or unreadable file, a table without rows, two columns of
    one name.
    """
    full = resolve_path(path, base)
    where = str(path)
    _check_file(full, where)
    frame = _read_csv(full, where) if _suffix(full) in {".csv", ".csv.gz"} else _read_parquet(full, where)
    if len(frame) == 0:
        raise DataError("has no rows", where=where, hint="an audit needs at least the header and some rows")
    if len(frame.columns) == 0:
        raise DataError("has no columns", where=where)
    frame.columns = frame.columns.map(str)
    _refuse_duplicates(list(frame.columns), where)
    return frame


def read_tables(pattern: str | Path, *, base: Path) -> pd.DataFrame:
    """The rows of every file that `pattern` names (a path, or a glob such as `runs/*.parquet`), in name order.

    All files must have the same columns; raises DataError naming the first that has not, or where nothing fits.
    """
    full = resolve_path(pattern, base)
    if full.exists() or not _GLOB_SIGNS & set(str(pattern)):
        return read_table(pattern, base=base)
    import glob

    import pandas as pd

    names = sorted(glob.glob(str(full), recursive=True))
    if not names:
        raise DataError("fits no file", where=str(pattern), hint=f"it was looked for below {base}")
    frames = [read_table(name, base=base) for name in names]
    for name, frame in zip(names[1:], frames[1:], strict=True):
        if set(frame.columns) != set(frames[0].columns):
            odd = sorted(set(frame.columns) ^ set(frames[0].columns))
            raise DataError(
                f"its columns are not those of {Path(names[0]).name}: {_some(odd)}",
                where=name,
                hint="the files of one table need the same columns",
            )
    return pd.concat(frames, ignore_index=True)


def column_named(frame: pd.DataFrame, name: str, *, key: str, where: str) -> str:
    """The column called `name`, by its exact name or, failing that, with blanks around it ignored.

    `key` is the plan's key that asks for it. Raises DataError with the nearest names there are.
    """
    if name in frame.columns:
        return name
    stripped = [column for column in frame.columns if str(column).strip() == name.strip()]
    if len(stripped) == 1:
        return str(stripped[0])
    raise DataError(
        f"{key} names the column {name!r}, which is not there", where=where, hint=_nearest(name, frame.columns)
    )


def _nearest(name: str, columns: Iterable[Any]) -> str:
    known = [str(column) for column in columns]
    by_lower = {column.lower(): column for column in known}
    close = difflib.get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    if close:
        return f"did you mean {by_lower[close[0]]!r}?"
    return f"there are {_some(known)}"


def _some(names: Sequence[str], most: int = 8) -> str:
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _suffix(path: Path) -> str:
    name = path.name.lower()
    return next((suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)), path.suffix)


def _check_file(path: Path, where: str) -> None:
    try:
        if path.is_symlink() and not path.exists():
            raise DataError(
                "is a link to a file that is not there", where=where, hint=f"it points to {path.readlink()}"
            )
        if not path.exists():
            near = difflib.get_close_matches(path.name, _siblings(path), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "paths are relative to the plan file's folder"
            raise DataError("no such file", where=where, hint=hint)
        if path.is_dir():
            raise DataError(
                "is a folder, not a table", where=where, hint="name a file, or a pattern such as folder/*.parquet"
            )
        if _suffix(path) not in SUFFIXES:
            raise DataError(f"has the ending {path.suffix!r}", where=where, hint=f"allowed are {', '.join(SUFFIXES)}")
        if path.stat().st_size == 0:
            raise DataError("is empty (0 bytes)", where=where)
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from None


def _siblings(path: Path) -> list[str]:
    return [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []


def _read_csv(path: Path, where: str) -> pd.DataFrame:
    import pandas as pd

    try:
        header = csv_header(path)
        _refuse_duplicates(header, where)
        frame = pd.read_csv(path, low_memory=False, index_col=False)
    except pd.errors.EmptyDataError:
        raise DataError("has no header and no rows", where=where) from None
    except UnicodeDecodeError as error:
        raise DataError(
            f"is not UTF-8 text (byte {error.start})", where=where, hint="save it as UTF-8 or as parquet"
        ) from None
    except (pd.errors.ParserError, pd.errors.ParserWarning, ValueError, csv.Error, EOFError) as error:
        raise DataError(f"is not a CSV table: {error}", where=where) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from None
    if len(header) == 1 and any(sign in header[0] for sign in ";\t|"):
        raise DataError(
            "has one column only; its separator is not a comma", where=where, hint="save it with commas, or as parquet"
        )
    if "\x00" in "".join(header):
        raise DataError("is not a CSV table: it holds binary data", where=where)
    return frame


def csv_header(path: Path) -> list[str]:
    """The names as they stand in the file: pandas would silently rename the second of two equal ones."""
    opener: Any = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as stream:
        return next((row for row in csv.reader(stream) if row), [])


def _read_parquet(path: Path, where: str) -> pd.DataFrame:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()  # one file, never a partitioned folder
        _refuse_duplicates(table.column_names, where)
        nested = [field.name for field in table.schema if pa.types.is_nested(field.type)]
        if nested:
            raise DataError(f"holds lists or records in {_some(nested)}", where=where, hint="a cell is one value")
        frame: pd.DataFrame = table.to_pandas()
    except (pa.ArrowException, ValueError, NotImplementedError) as error:
        raise DataError(f"is not a parquet table: {error}", where=where) from None
    except OSError as error:
        raise DataError(f"cannot be read: {error.strerror or error}", where=where) from None
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(drop=not named)


def _refuse_duplicates(columns: Sequence[str], where: str) -> None:
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise DataError(f"more than one column is called {_some(twice)}", where=where, hint="column names must differ")
