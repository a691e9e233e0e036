"""Texts are read as they stand, from every kind of file; a language model needs none."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.types import Data, Modality, Task
from steelyard.models.data.load import Samples, load_samples

TEXTS = ['he said "no" and left', "NA", "null", "a, b", "tab-free\u2028line", "", "ä ö", "7"]
FRAME = pd.DataFrame({"words": TEXTS, "y": [0, 1] * 4, "sex": ["f", "m"] * 4})
BINARY = {"text": "words", "label": "y"}


def load(base: Path, **data: Any) -> Samples:
    return load_samples(DataPart(**data), target=TargetPart(kind="transformers", path="m"), base=base)


def write(folder: Path, kind: str) -> str:
    path = folder / f"t.{kind}"
    if kind == "csv":
        FRAME.to_csv(path, index=False)
    elif kind == "csv.gz":
        FRAME.to_csv(path, index=False, compression="gzip")
    elif kind == "parquet":
        FRAME.to_parquet(path)
    elif kind == "jsonl":
        rows = [json.dumps(row, ensure_ascii=False) for row in FRAME.to_dict("records")]
        path.write_text("\n".join([*rows, ""]), encoding="utf-8")
    elif kind == "tsv":
        lines = ["\t".join(map(str, row)) for row in [FRAME.columns, *FRAME.itertuples(index=False)]]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path.name


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "parquet", "jsonl", "tsv"])
def test_every_file_gives_the_same_sample(kind: str, tmp_path: Path) -> None:
    found = load(tmp_path, test=write(tmp_path, kind), groups=["sex"], **BINARY).test
    assert found.inputs.tolist() == TEXTS
    assert found.inputs.dtype == object
    assert found.modality is Modality.TEXT
    assert np.array_equal(np.asarray(found.labels), FRAME["y"])
    assert found.groups["sex"].levels == ("f", "m")
    parquet = load(tmp_path, test=write(tmp_path, "parquet"), groups=["sex"], **BINARY).test
    assert found.fingerprint == parquet.fingerprint


def test_a_changed_word_changes_the_fingerprint(tmp_path: Path) -> None:
    first = load(tmp_path, test=write(tmp_path, "jsonl"), **BINARY).test.fingerprint
    FRAME.assign(words=[*TEXTS[:-1], "8"]).to_parquet(tmp_path / "other.parquet")
    assert load(tmp_path, test="other.parquet", **BINARY).test.fingerprint != first


def test_sst2_has_no_header(shared_data: Path) -> None:
    found = load(shared_data, train="sst2/train.tsv", test="sst2/test.tsv", text="0", label="1")
    assert found.train is not None
    assert (found.train.n, found.test.n) == (6920, 1821)
    assert np.bincount(np.asarray(found.test.labels)).tolist() == [912, 909]  # of the published test set
    assert found.test.inputs[0] == "no movement , no yuks , not much of anything"
    assert found.test.task is Task.BINARY


def test_texts_without_labels_are_for_language_models(tmp_path: Path) -> None:
    (tmp_path / "t.txt").write_text("one line\n\nanother\r\n", encoding="utf-8")
    found = load(tmp_path, test="t.txt", task="language").test
    assert found.inputs.tolist() == ["one line", "another"]
    assert found.labels is None
    assert found.task is Task.LANGUAGE
    assert found.classes == ()
    grouped = load(tmp_path, test=write(tmp_path, "csv"), task="language", text="words", groups=["sex"]).test
    assert grouped.provides == {Data.GROUPS}


def test_a_language_model_needs_no_rows() -> None:
    found = load(Path(), task="language").test
    assert found.n == 0
    assert found.notes == ("the plan names no data: every probe brings its own texts",)
    target = TargetPart(kind="transformers", path="m", head="masked")
    assert load_samples(DataPart(), target=target, base=Path()).test.task is Task.LANGUAGE
    with pytest.raises(DataError, match="names no table"):
        load(Path())


def test_rows_are_held_out_of_texts_too(tmp_path: Path) -> None:
    found = load(tmp_path, train=write(tmp_path, "csv"), held_out=0.5, **BINARY)
    assert found.train is not None
    assert sorted([*found.train.inputs, *found.test.inputs]) == sorted(TEXTS)
    assert np.bincount(np.asarray(found.test.labels)).tolist() == [2, 2]


def saved_dataset(folder: Path, splits: tuple[str, ...] = ()) -> None:
    """What `datasets` writes by save_to_disk: Arrow streams, their names, and what the columns are."""
    import pyarrow as pa

    for part in [folder / split for split in splits] or [folder]:
        part.mkdir(parents=True)
        table = pa.table({"words": TEXTS, "y": [0, 1] * 4})
        for place, rows in enumerate((table.slice(0, 5), table.slice(5))):
            with (
                pa.OSFile(str(part / f"data-{place}.arrow"), "wb") as sink,
                pa.ipc.new_stream(sink, table.schema) as out,
            ):
                out.write_table(rows)
        names = {"names": ["neg", "pos"], "_type": "ClassLabel"}
        (part / "dataset_info.json").write_text(json.dumps({"features": {"y": names}}))
        files = [{"filename": f"data-{place}.arrow"} for place in range(2)]
        (part / "state.json").write_text(json.dumps({"_data_files": files}))
    if splits:
        (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))


def test_a_folder_saved_by_datasets(tmp_path: Path) -> None:
    saved_dataset(tmp_path / "one")
    found = load(tmp_path, test="one", positive="pos", **BINARY).test
    assert found.inputs.tolist() == TEXTS
    assert found.classes == ("neg", "pos")
    saved_dataset(tmp_path / "both", ("train", "test"))
    both = load(tmp_path, train="both", test="both", positive="pos", **BINARY)
    assert both.test.fingerprint == found.fingerprint
    saved_dataset(tmp_path / "odd", ("train", "validation"))
    with pytest.raises(DataError, match="has no part 'test'; it has train, validation"):
        load(tmp_path, test="odd", positive="pos", **BINARY)
    (tmp_path / "one" / "state.json").write_text(json.dumps({"_data_files": [{"filename": "../secret"}]}))
    with pytest.raises(DataError, match="outside its folder"):
        load(tmp_path, test="one", positive="pos", **BINARY)


def test_datasets_itself_writes_such_a_folder(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    made = datasets.Dataset.from_dict({"words": TEXTS, "y": ["neg", "pos"] * 4}).class_encode_column("y")
    made.select(range(1, 8)).save_to_disk(tmp_path / "d")
    assert load(tmp_path, test="d", positive="pos", **BINARY).test.inputs.tolist() == TEXTS[1:]


BAD = {
    "no column": ("t.csv", b"a,y\nx,1\nz,0\n", r"data\.text names the column 'words', which is not there"),
    "missing": ("t.jsonl", b'{"words": "a", "y": 0}\n{"y": 1}\n', "the text 'words' is missing in 1 of 2 rows"),
    "number": ("t.jsonl", b'{"words": 3, "y": 0}\n{"words": "a", "y": 1}\n', "is no text in 1 of 2 rows"),
    "no JSON": ("t.jsonl", b'{"words": "a", "y": 0}\nhello\n', "line 2 is not JSON"),
    "no record": ("t.jsonl", b"[1]\n", "line 1 is a list, not a record"),
    "fields": ("t.tsv", b"words\ty\na\t1\nb\n", "line 3 has 1 fields, not 2"),
    "twice": ("t.tsv", b"words\twords\na\t1\n", "two of its columns have one name"),
    "latin": ("t.tsv", b"words\ty\n\xe4\t1\n", "is not UTF-8 text"),
    "empty": ("t.jsonl", b"\n", "is empty"),
    "ending": ("t.docx", b"x", r"has the ending '\.docx'"),
    "label": ("t.csv", b"words,y\nx,1\nz,1\n", "has one class only"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_texts_are_one_line(case: str, tmp_path: Path) -> None:
    name, data, message = BAD[case]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, test=name, **BINARY)
    assert "\n" not in str(caught.value)


def test_the_text_has_one_part_only(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"data\.text 'words' has another part, too"):
        load(tmp_path, test=write(tmp_path, "csv"), text="words", label="y", groups=["words"])
    with pytest.raises(DataError, match="the task is language"):
        load(tmp_path, test=write(tmp_path, "csv"), task="language", **BINARY)
