"""Is a table of predictions counted or read row by row, and why?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.models.data.duck import available
from steelyard.models.data.reduced import reduce_table
from steelyard.models.data.table_size import is_no_table, number_of_rows, surely_small
from steelyard.models.data.urls import find_table

__all__ = ["counted_sample", "why_read_whole"]


def counted_sample(
    path: str, data: DataPart, target: TargetPart, *, base: Path, classes: Sequence[str] | None, seed: int = 0
) -> Sample | None:
    """The sample of counts of a table with more than `data.reduce_above` rows; None where it is to be read.

    Read whole are tables with a task other than binary, and all tables where DuckDB is not installed:
    `why_read_whole` says so. `seed` is that of the rows that are drawn for questions about single rows.
    """
    files = find_table(path, base=base)
    if files is None or not available() or surely_small(files, data.reduce_above) or is_no_table(files):
        return None
    rows = number_of_rows(files)
    if rows <= data.reduce_above:
        return None
    return reduce_table(files, data, target, classes=classes, source=path, rows=rows, seed=seed)


def why_read_whole(sample: Sample, data: DataPart) -> tuple[str, ...]:
    """A note where a table of predictions was read row by row although it has more than `data.reduce_above` rows."""
    if sample.reduced is not None or sample.n <= data.reduce_above:
        return ()
    why = "counting it needs DuckDB: install steelyard[big]"
    if available():
        why = "only binary decisions in files of one kind are counted"
    return (f"{sample.n:,} rows are more than data.reduce_above ({data.reduce_above:,}), and were read whole: {why}",)
