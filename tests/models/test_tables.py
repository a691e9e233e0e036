"""A table is read, or one line says why not."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from steelyard.audit.errors import DataError
from steelyard.models.data.tables import column_named, read_table, read_tables


def table() -> pd.DataFrame:
    return pd.DataFrame({"age": [31, 42, 53], "sex": ["F", "M", None], "income": ["low", "high", "low"]})


def test_csv_and_parquet_hold_the_same(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    table().to_csv(tmp_path / "t.csv.gz", index=False)
    table().to_parquet(tmp_path / "t.parquet")
    frames = [read_table(name, base=tmp_path) for name in ("t.csv", "t.csv.gz", "t.parquet")]
    for frame in frames:
        assert list(frame.columns) == ["age", "sex", "income"]
        assert frame["age"].tolist() == [31, 42, 53]
        assert frame["sex"].isna().tolist() == [False, False, True]


def test_an_absolute_path_ignores_the_base(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t.csv", index=False)
    assert len(read_table(tmp_path / "t.csv", base=Path("/nowhere"))) == 3


def test_a_named_index_is_a_column(tmp_path: Path) -> None:
    table().set_index("age").to_parquet(tmp_path / "t.parquet")
    assert "age" in read_table("t.parquet", base=tmp_path).columns


def test_a_glob_joins_in_name_order(tmp_path: Path) -> None:
    for name, age in (("b", 2), ("a", 1)):
        pd.DataFrame({"age": [age]}).to_csv(tmp_path / f"part-{name}.csv", index=False)
    assert read_tables("part-*.csv", base=tmp_path)["age"].tolist() == [1, 2]
    pd.DataFrame({"years": [3]}).to_csv(tmp_path / "part-c.csv", index=False)
    with pytest.raises(DataError, match=r"part-c\.csv.*'age', 'years'"):
        read_tables("part-*.csv", base=tmp_path)
    with pytest.raises(DataError, match="fits no file"):
        read_tables("none-*.csv", base=tmp_path)


def test_a_file_whose_name_looks_like_a_glob(tmp_path: Path) -> None:
    table().to_csv(tmp_path / "t[1].csv", index=False)
    assert len(read_tables("t[1].csv", base=tmp_path)) == 3


def write(folder: Path, name: str, data: bytes) -> str:
    (folder / name).write_bytes(data)
    return name


BAD = {
    "empty.csv": (b"", r"empty \(0 bytes\)"),
    "blank.csv": (b"\n\n", "no header|no rows"),
    "header.csv": (b"a,b\n", "has no rows"),
    "twice.csv": (b"a,a\n1,2\n", "more than one column is called 'a'"),
    "ragged.csv": (b"a,b\n1,2\n1,2,3\n", "not a CSV table"),
    "latin.csv": ("a,b\nMüller,1\n".encode("latin-1"), "not UTF-8"),
    "binary.csv": (b"\x00\x01\x02,\x00\n\x00,\x01\n", "CSV"),
    "semicolon.csv": (b"a;b\n1;2\n", "separator is not a comma"),
    "not.parquet": (b"PAR1 no", "not a parquet table"),
    "not.csv.gz": (b"plain", "cannot be read|not a CSV"),
    "sheet.xlsx": (b"PK", "allowed are"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_one_line(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    with pytest.raises(DataError, match=message) as caught:
        read_table(write(tmp_path, name, data), base=tmp_path)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(name)


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    write(tmp_path, "adult.csv", b"a\n1\n")
    with pytest.raises(DataError, match=r"no such file; did you mean 'adult\.csv'\?"):
        read_table("adlt.csv", base=tmp_path)
    (tmp_path / "folder.csv").mkdir()
    with pytest.raises(DataError, match="is a folder"):
        read_table("folder.csv", base=tmp_path)


def test_duplicate_columns_in_parquet(tmp_path: Path) -> None:
    doubled = pa.table([pa.array([1]), pa.array([2])], names=["a", "a"])
    pq.write_table(doubled, tmp_path / "t.parquet")
    with pytest.raises(DataError, match="more than one column is called 'a'"):
        read_table("t.parquet", base=tmp_path)


def test_nested_columns_in_parquet(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1], "tags": [["x", "y"]]}), tmp_path / "t.parquet")
    with pytest.raises(DataError, match="holds lists or records in 'tags'"):
        read_table("t.parquet", base=tmp_path)


def test_a_column_is_found_by_name_or_without_blanks() -> None:
    frame = pd.DataFrame({"sex": [1], " income": [1], "Race": [1]})
    assert column_named(frame, "sex", key="data.groups", where="t.csv") == "sex"
    assert column_named(frame, "income", key="data.label", where="t.csv") == " income"
    with pytest.raises(DataError, match=r"t\.csv: data\.groups names the column 'race'.*did you mean 'Race'\?"):
        column_named(frame, "race", key="data.groups", where="t.csv")
    with pytest.raises(DataError, match=r"there are 'sex', ' income', 'Race'"):
        column_named(frame, "qqqq", key="data.groups", where="t.csv")


def test_numbers_stay_numbers(tmp_path: Path) -> None:
    frame = pd.DataFrame({"x": np.array([0.1, np.nan, 1e300])})
    frame.to_csv(tmp_path / "t.csv", index=False)
    read = read_table("t.csv", base=tmp_path)["x"].to_numpy()
    assert np.array_equal(read, frame["x"].to_numpy(), equal_nan=True)
