"""Questions to a parquet or CSV table of any size, put by DuckDB: in bounded memory, without loading its rows.

A cell of a CSV file is text here: what its column means is told from the values that were counted, all at once.
Column names are quoted, paths and values are parameters. No extension is downloaded.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.models.data.urls import Files

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = ["MEMORY", "Duck", "available", "open_duck", "quoted"]

MEMORY = "512MB"
"""What DuckDB may hold; what does not fit is written to the system's temporary folder."""
_PARQUET = "read_parquet($files, union_by_name => true, hive_partitioning => false) AS t"
_MISSING = (
    "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN", "<NA>", "N/A", "NA",
    "NULL", "NaN", "None", "n/a", "nan", "null",
)  # fmt: skip
"""What a cell of a CSV file is missing by: the words that pandas takes for it."""
_CSV = (
    "read_csv($files, header => true, all_varchar => true, delim => ',', quote => '\"', escape => '\"', "
    f"nullstr => {list(_MISSING)!r}, union_by_name => true, hive_partitioning => false) AS t"
)


def available() -> bool:
    """Whether the package `duckdb` is here (the extra `big`)."""
    return find_spec("duckdb") is not None


def quoted(name: str) -> str:
    """A column of the table as SQL, whatever is in its name."""
    return 't."' + name.replace('"', '""') + '"'


@dataclass(frozen=True, slots=True, kw_only=True)
class Duck:
    """An open connection to the files of one table."""

    connection: Any
    files: Files

    @property
    def scan(self) -> str:
        """SQL of the table's rows, called t."""
        return _CSV if self.files.csv else _PARQUET

    def ask(self, sql: str, values: Mapping[str, Any] | None = None) -> pa.Table:
        """The answer to one question, in which `scan` is the table. Raises DataError where a file cannot be read."""
        import duckdb

        given = {"files": list(self.files.names)} if "$files" in sql else {}
        try:
            return self.connection.sql(sql, params={**given, **(values or {})}).to_arrow_table()
        except duckdb.OutOfMemoryException as error:
            raise DataError(
                f"does not fit into {MEMORY} when it is counted: {_line(error)}", where=self.files.names[0],
                hint="fewer groups, or room in the temporary folder",
            ) from None  # fmt: skip
        except (duckdb.IOException, duckdb.InvalidInputException, duckdb.BinderException) as error:
            raise DataError(f"cannot be counted: {_line(error)}", where=self.files.names[0]) from None

    def know(self, name: str, table: pa.Table) -> None:
        """Let questions name `table` (small: a row for each cell)."""
        self.connection.register(name, table)


@contextmanager
def open_duck(files: Files, *, threads: int | None = None) -> Iterator[Duck]:
    """A connection in bounded memory, on all cores or on `threads`."""
    import duckdb

    with tempfile.TemporaryDirectory(prefix="steelyard-") as folder:
        connection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "memory_limit": MEMORY,
                "threads": threads or _cores(),
                "temp_directory": folder,
                "preserve_insertion_order": False,
                "python_enable_replacements": False,  # a name in a question is never a Python variable
            },
        )
        try:
            if files.protocol:
                connection.register_filesystem(files.storage())
            yield Duck(connection=connection, files=files)
        finally:
            connection.close()


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _line(error: BaseException) -> str:
    return " ".join(str(error).split())[:200]
