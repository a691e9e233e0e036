"""How many rows has a table, and which columns, before any of it is read?"""

from __future__ import annotations

import csv
from pathlib import Path

from steelyard.audit.errors import DataError
from steelyard.models.data.counting import all_rows
from steelyard.models.data.duck import open_duck
from steelyard.models.data.tables import csv_header
from steelyard.models.data.urls import Files

__all__ = ["column_names", "is_no_table", "number_of_rows", "surely_small"]

_PACKED = 1000  # gzip packs no file to less than a thousandth


def surely_small(files: Files, rows: int) -> bool:
    """Whether CSV files are too short to hold more than `rows` rows, of two bytes at least: then none are counted."""
    if not files.csv:
        return False
    packed = any(name.lower().endswith(".gz") for name in files.names)
    size = sum(Path(name).stat().st_size for name in files.names)
    return size * (_PACKED if packed else 1) <= 2 * rows


def is_no_table(files: Files) -> bool:
    """Whether a CSV file has no header of several names: then the row reader says what is wrong with it."""
    for name in files.names if files.csv else ():
        try:
            header = csv_header(Path(name))
        except (UnicodeDecodeError, OSError, EOFError, csv.Error):
            return True
        if len(header) < 2 or "\x00" in "".join(header):
            return True
    return False


def number_of_rows(files: Files) -> int:
    """Rows in all the files: of parquet by their footers, of CSV counted."""
    if files.csv:
        with open_duck(files) as duck:
            return all_rows(duck)
    import pyarrow as pa
    import pyarrow.parquet as pq

    total = 0
    for name in files.names:
        try:
            with files.open(name) as stream:
                total += pq.ParquetFile(stream).metadata.num_rows
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"is not a parquet table: {error}", where=name) from None
    return total


def column_names(files: Files) -> list[str]:
    """The columns of the table, which every file must have. Raises DataError naming the first that has not."""
    first: list[str] = []
    for name in files.names:
        own = csv_header(Path(name)) if files.csv else _parquet_header(files, name)
        first = first or own
        odd = sorted(set(own) ^ set(first))
        if odd:
            raise DataError(
                f"its columns are not those of {files.names[0].rsplit('/', 1)[-1]}: {', '.join(map(repr, odd[:8]))}",
                where=name,
                hint="the files of one table need the same columns",
            )
        twice = sorted({column for column in own if own.count(column) > 1})
        if twice:
            raise DataError(f"more than one column is called {twice[0]!r}", where=name, hint="names must differ")
    return first


def _parquet_header(files: Files, name: str) -> list[str]:
    import pyarrow.parquet as pq

    with files.open(name) as stream:
        return list(pq.ParquetFile(stream).schema_arrow.names)
