"""Some rows of a table too large to be read: a simple random sample, the same whatever the cores and the reader.

The places of the rows are drawn first, without replacement and by the seed alone, from 0 to N - 1 in the order of the
files' names and of the rows in them; then the files are read in blocks and those rows kept. So neither the number of
threads nor the size of a block changes which rows they are, as it may where a database draws them.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import generator
from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.models.data.sample import build_sample
from steelyard.models.data.urls import Files

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["ROWS", "draw_rows", "rows_at"]

ROWS = 20_000
"""How many rows are drawn: enough for a share to be known to ± .7 %, and for a search of subgroups of 1 % of them."""
_BLOCK = 65_536


def draw_rows(
    files: Files, total: int, data: DataPart, target: TargetPart, *, classes: Sequence[str], seed: int, source: str
) -> Sample:
    """`ROWS` of the `total` rows of `files` (all, where there are no more) as the sample that rows read whole would be.

    Those without a label are then left out, as they are there. Raises DataError where the files have changed, or what
    is drawn makes no sample: one class only, say.
    """
    import numpy as np

    size = min(ROWS, total)
    places = np.sort(generator(seed, "row-sample").choice(total, size=size, replace=False, shuffle=False))
    frame = rows_at(files, places, total=total, source=source)
    sample = build_sample(frame, data, target=target, split="test", classes=classes, source=source)
    return with_note(sample, f"a seeded simple random sample of {size:,} of the {total:,} rows")


def with_note(sample: Sample, note: str) -> Sample:
    """The sample with one more note."""
    from dataclasses import replace

    return replace(sample, notes=(*sample.notes, note))


def rows_at(files: Files, places: NDArray[np.int64], *, total: int, source: str) -> pd.DataFrame:
    """The rows at `places` (n,), ascending. Raises DataError where the files do not have `total` rows."""
    import numpy as np

    kept, start = [], 0
    for rows, block in _text_blocks(files) if files.csv else _parquet_blocks(files):
        first, last = np.searchsorted(places, [start, start + rows])
        if last > first:
            kept.append(block.take(places[first:last] - start))
        start += rows
    if start != total:
        raise DataError(
            f"has {start:,} rows, and {total:,} were counted", where=source,
            hint="it may have changed since: run the audit again",
        )  # fmt: skip
    return _text_frame(kept) if files.csv else _parquet_frame(kept, source)


def _parquet_blocks(files: Files) -> Iterator[tuple[int, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    for name in files.names:
        try:
            with files.open(name) as stream:
                for block in pq.ParquetFile(stream).iter_batches(batch_size=_BLOCK):
                    yield block.num_rows, pa.Table.from_batches([block])
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"is not a parquet table: {error}", where=name) from None


def _parquet_frame(kept: Sequence[Any], source: str) -> pd.DataFrame:
    import pyarrow as pa

    table = pa.concat_tables(kept, promote_options="permissive")
    nested = [repr(field.name) for field in table.schema if pa.types.is_nested(field.type)]
    if nested:
        raise DataError(f"holds lists or records in {', '.join(nested[:8])}", where=source, hint="a cell is one value")
    frame: pd.DataFrame = table.to_pandas()
    named = [name for name in frame.index.names if name is not None]
    return frame.reset_index(drop=not named)


def _text_blocks(files: Files) -> Iterator[tuple[int, Any]]:
    """Cells as the text they are: types are inferred from all drawn rows at once, not block by block."""
    import pandas as pd

    for name in files.names:
        try:
            blocks = pd.read_csv(name, dtype=str, keep_default_na=False, index_col=False, chunksize=_BLOCK)
            with blocks:
                for block in blocks:
                    yield len(block), block
        except (ValueError, OSError, EOFError) as error:  # pandas' parser errors are ValueErrors
            raise DataError(f"is not a CSV table: {error}", where=name) from None


def _text_frame(kept: Sequence[Any]) -> pd.DataFrame:
    import pandas as pd

    text = io.StringIO()
    pd.concat(kept, ignore_index=True).to_csv(text, index=False)
    text.seek(0)
    return pd.read_csv(text, low_memory=False, index_col=False)
