"""The plan's words about a table, turned into a sample: task, classes, groups, roles, notes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.load import load_samples
from steelyard.models.data.sample import build_sample


def frame(**changes: Any) -> pd.DataFrame:
    columns: dict[str, Any] = {
        "age": [20, 30, 40, 50, 60, 70],
        "sex": ["F", "M", None, "F", " ", "M"],
        "income": ["low", "high", "low", "high", "low", "high"],
        "w": [1.0, 2.0, 1.0, 1.0, 1.0, 0.5],
        "person": ["a", "a", "b", "c", "c", "c"],
        "row": [1, 2, 3, 4, 5, 6],
    }
    return pd.DataFrame(columns | changes)


def sample(data: pd.DataFrame | None = None, *, target: TargetPart | None = None, **part: Any) -> Sample:
    part = {"label": "income", "positive": "high", "groups": ["sex"]} | part
    return build_sample(frame() if data is None else data, DataPart(**part), target=target)


def test_a_binary_sample() -> None:
    made = sample(weight="w", cluster="person", id="row")
    assert (made.task, made.classes, made.n) == (Task.BINARY, ("low", "high"), 6)
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert list(made.inputs.columns) == ["age", "sex"]
    assert made.weights is not None
    assert made.weights.tolist() == [1, 2, 1, 1, 1, 0.5]
    assert made.clusters is not None
    assert made.clusters.tolist() == [0, 0, 1, 2, 2, 2]
    assert made.ids is not None
    assert made.ids.tolist() == ["1", "2", "3", "4", "5", "6"]
    assert made.modality is Modality.TABULAR


def test_missing_and_blank_groups_are_unknown_and_counted() -> None:
    made = sample()
    sex = made.groups["sex"]
    assert sex.levels == ("F", "M", "unknown")
    assert sex.unknown == 2
    assert sex.codes.tolist() == [0, 1, 2, 0, 2, 1]
    assert not sex.compare_unknown
    assert any("2 rows have no 'sex'" in note for note in made.notes)
    assert sample(unknown="compare").groups["sex"].compare_unknown


def test_the_word_unknown_joins_the_missing() -> None:
    made = sample(frame(sex=["F", "unknown", None, "M", "F", "M"]))
    assert made.groups["sex"].levels == ("F", "M", "unknown")
    assert made.groups["sex"].codes.tolist() == [0, 2, 2, 1, 0, 1]


def test_numeric_groups_are_levels_in_order() -> None:
    made = sample(frame(band=[10, 9, 10, 100, 9, np.nan]), groups=["band"])
    assert made.groups["band"].levels == ("9", "10", "100", "unknown")
    with pytest.raises(DataError, match="'x' has 300 different values; cut it into bins"):
        build_sample(
            pd.DataFrame({"x": np.arange(300.0), "y": [0, 1] * 150, "z": 1}), DataPart(label="y", groups=["x"])
        )


@pytest.mark.parametrize(
    ("values", "classes"),
    [([0, 1], ("0", "1")), ([True, False], ("False", "True")), (["0", "1"], ("0", "1")), ([0.0, 1.0], ("0", "1"))],
)
def test_one_and_true_are_favourable_by_themselves(values: list[Any], classes: tuple[str, str]) -> None:
    made = sample(frame(income=values * 3), positive=None)
    assert made.classes == classes
    assert made.labels is not None
    assert made.labels.tolist() == [classes.index(str(int(v) if isinstance(v, float) else v)) for v in values * 3]


def test_the_favourable_value_can_be_zero_or_spelt_otherwise() -> None:
    assert sample(frame(income=[0, 1] * 3), positive=0).classes == ("1", "0")
    assert sample(frame(income=[True, False] * 3), positive=1).classes == ("False", "True")
    assert sample(frame(income=[1.0, 2.0] * 3), positive="2").classes == ("1", "2")


def test_labels_keep_blanks_from_mattering() -> None:
    made = sample(frame(income=[" low", " high"] * 3))
    assert made.classes == ("low", "high")


def test_rows_without_a_label_are_left_out_and_counted() -> None:
    made = sample(frame(income=["low", None, "low", "high", "", "high"]))
    assert made.n == 4
    assert made.inputs["age"].tolist() == [20, 40, 50, 70]
    assert made.groups["sex"].codes.tolist() == [0, 2, 0, 1]
    assert any(note.startswith("2 rows") and "left out" in note for note in made.notes)


@pytest.mark.parametrize(
    ("values", "task"),
    [
        (["a", "b", "c"], Task.MULTICLASS),
        ([1, 2, 3], Task.MULTICLASS),
        ([0.1, 0.2, 0.3], Task.REGRESSION),
        (list(range(30)), Task.REGRESSION),
    ],
)
def test_the_task_is_inferred(values: list[Any], task: Task) -> None:
    data = pd.DataFrame({"x": np.arange(60.0), "y": (values * 60)[:60]})
    assert build_sample(data, DataPart(label="y")).task is task


def test_the_plan_s_task_wins() -> None:
    data = pd.DataFrame({"x": np.arange(6.0), "y": [1, 2, 3] * 2})
    made = build_sample(data, DataPart(label="y", task="regression"))
    assert made.task is Task.REGRESSION
    assert made.classes == ()
    assert made.labels is not None
    assert made.labels.dtype == np.float64
    assert build_sample(data, DataPart(label="y", task="multiclass")).classes == ("1", "2", "3")


def test_multiclass_order_is_natural() -> None:
    data = pd.DataFrame({"x": range(24), "y": list(range(12)) * 2})
    assert build_sample(data, DataPart(label="y")).classes == tuple(str(i) for i in range(12))


BAD: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "wrong label": ({}, {"label": "incme"}, r"data\.label names the column 'incme'.*did you mean 'income'"),
    "wrong group": ({}, {"groups": ["gender"]}, r"data\.groups names the column 'gender'"),
    "no label": ({}, {"label": None}, "no label is named"),
    "one class": ({"income": ["low"] * 6}, {}, "one class only"),
    "open positive": ({}, {"positive": None}, "'high' and 'low'.*set data.positive"),
    "strange positive": ({}, {"positive": "rich"}, "positive is 'rich', but the label 'income' has 'high' and 'low'"),
    "three values": (
        {"income": ["a", "b", "c"] * 2},
        {"task": "binary", "positive": "a"},
        "has 3 values: 'a', 'b', 'c'",
    ),
    "positive of many": ({"income": ["a", "b", "c"] * 2}, {"positive": "a"}, "leave data.positive out"),
    "no label at all": ({"income": [None] * 6}, {}, "missing in every row"),
    "words for numbers": ({}, {"task": "regression", "positive": None}, "not a finite number in 6 of 6 rows"),
    "constant number": ({"income": [2.0] * 6}, {"task": "regression", "positive": None}, "the same in every row"),
    "empty group": ({"sex": [None] * 6}, {}, "'sex' has no value in any row"),
    "zero weight": ({"w": [1, 2, 0, -1, 1, 1]}, {"weight": "w"}, "zero or negative in 2 of 6 rows"),
    "missing weight": ({"w": [1, 2, None, 1, 1, 1]}, {"weight": "w"}, "not a finite number in 1 of 6 rows"),
    "word weight": ({}, {"weight": "person"}, "not a finite number in 6 of 6"),
    "missing cluster": ({"person": ["a", None, "b", "c", "d", "e"]}, {"cluster": "person"}, "missing in 1 of 6 rows"),
    "double id": ({"row": [7, 7, 8, 8, 9, 10]}, {"id": "row"}, r"2 ids stand in more than one row \(7, 8\)"),
    "label as feature": ({}, {"features": ["age", "income"]}, "holds the label 'income'"),
    "label as group": ({}, {"groups": ["income"]}, "both the label and a group"),
    "nothing left": ({}, {"drop": ["age", "sex", "w", "person", "row"]}, "no column is left"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line(case: str) -> None:
    changes, part, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        sample(frame(**changes), **part)
    assert "\n" not in str(caught.value)
    assert caught.value.exit_code == 2


def test_an_error_about_ids_tells_no_other_value() -> None:
    with pytest.raises(DataError) as caught:
        sample(frame(row=[7] * 6, income=["secret", "other"] * 3), id="row", positive="other")
    assert "secret" not in str(caught.value)


def test_an_empty_table() -> None:
    with pytest.raises(DataError, match="no rows"):
        sample(frame().iloc[:0])


def test_test_labels_keep_to_the_classes_of_the_training_labels(tmp_path: Path) -> None:
    frame(income=["a", "b", "c"] * 2).to_csv(tmp_path / "train.csv", index=False)
    frame(income=["a", "b"] * 3).to_csv(tmp_path / "test.csv", index=False)
    part = DataPart(train="train.csv", test="test.csv", label="income")
    samples = load_samples(part, target=None, base=tmp_path)
    assert samples.train is not None
    assert samples.test.classes == samples.train.classes == ("a", "b", "c")
    frame(income=["a", "b", "d"] * 2).to_csv(tmp_path / "test.csv", index=False)
    with pytest.raises(DataError, match=r"test\.csv: the label 'income' has values that the other data have not: 'd'"):
        load_samples(part, target=None, base=tmp_path)


def test_regression_from_two_tables(tmp_path: Path) -> None:
    for name in ("train", "test"):
        frame(income=[0.5, 1.5, 2.5, 3.0, 1.0, 7.25]).to_csv(tmp_path / f"{name}.csv", index=False)
    part = DataPart(train="train.csv", test="test.csv", label="income")
    samples = load_samples(part, target=None, base=tmp_path)
    assert samples.test.task is Task.REGRESSION
    assert any("read as regression" in note for note in samples.train.notes)  # type: ignore[union-attr]


def test_training_on_the_test_rows_is_noted(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "t.csv", index=False)
    part = DataPart(train="t.csv", test="t.csv", label="income", positive="high")
    assert any("the very rows" in note for note in load_samples(part, target=None, base=tmp_path).test.notes)


def test_a_training_table_may_lack_groups_not_labels(tmp_path: Path) -> None:
    frame().to_csv(tmp_path / "test.csv", index=False)
    frame().drop(columns=["sex", "row"]).to_csv(tmp_path / "train.csv", index=False)
    part = DataPart(train="train.csv", test="test.csv", label="income", positive="high", groups=["sex"], id="row")
    train = load_samples(part, target=None, base=tmp_path).train
    assert train is not None
    assert dict(train.groups) == {}
    assert any("no column 'sex'" in note for note in train.notes)


def test_two_data_sources_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="take either"):
        load_samples(DataPart(dataset="adult", test="t.csv"), target=None, base=tmp_path)
    with pytest.raises(DataError, match="names no table"):
        load_samples(DataPart(label="y"), target=None, base=tmp_path)
    with pytest.raises(DataError, match=r"'adlt' is not bundled; there are adult, digits"):
        load_samples(DataPart(dataset="adlt"), target=None, base=tmp_path)


def test_the_fingerprint_covers_every_part() -> None:
    plain = sample()
    assert plain.fingerprint == sample().fingerprint
    assert plain.fingerprint == sample(min_n=5).fingerprint
    others = [
        sample(weight="w", features=["age", "sex"]),
        sample(cluster="person", features=["age", "sex"]),
        sample(id="row", features=["age", "sex"]),
        sample(features=["age", "sex"]),
        sample(features=["age", "sex"], positive="low"),
        sample(features=["age", "sex"], groups=[]),
        sample(frame(age=[20, 30, 40, 50, 60, 71]), features=["age", "sex"]),
        sample(frame().iloc[::-1].reset_index(drop=True), features=["age", "sex"]),
    ]
    assert len({made.fingerprint for made in others}) == len(others)


def test_predictions_bring_their_own_columns(tmp_path: Path) -> None:
    frame(approved=["high", "low"] * 3, p=[0.9, 0.1] * 3).to_csv(tmp_path / "d.csv", index=False)
    target = TargetPart(kind="predictions", path="d.csv", decision="approved", score="p")
    part = DataPart(label="income", positive="high", groups=["sex"])
    made = load_samples(part, target=target, base=tmp_path).test
    assert made.modality is Modality.PREDICTIONS
    assert list(made.inputs.columns)[-2:] == ["approved", "p"]
    assert part.model_copy(update={"label": None}).label is None
    bare = load_samples(part.model_copy(update={"label": None}), target=target, base=tmp_path).test
    assert bare.labels is None
    assert bare.classes == ("low", "high")
    assert not bare.provides & {"labels"}


def test_predictions_are_never_training_inputs(tmp_path: Path) -> None:
    table = frame(approved=["high", "low"] * 3)
    table.to_csv(tmp_path / "d.csv", index=False)
    table.to_csv(tmp_path / "train.csv", index=False)
    target = TargetPart(kind="predictions", path="d.csv", decision="approved")
    part = DataPart(train="train.csv", label="income", positive="high")
    train = load_samples(part, target=target, base=tmp_path).train
    assert train is not None
    assert "approved" not in train.inputs.columns


@pytest.mark.parametrize("kind", ["frame", "array"])
def test_arrays(kind: str) -> None:
    table = frame()
    X = table[["age"]] if kind == "frame" else table[["age"]].to_numpy()
    for groups in (table[["sex"]], {"sex": table["sex"].to_numpy()}, table["sex"]):
        made = sample_from_arrays(X, table["income"], groups, positive="high", weights=table["w"], min_n=2)
        assert made.groups["sex"].levels == ("F", "M", "unknown")
        assert made.classes == ("low", "high")
        assert made.min_n == 2
    two = sample_from_arrays(X, [0, 1] * 3, table[["sex", "person"]].to_numpy())
    assert set(two.groups) == {"group_0", "group_1"}


def test_arrays_go_by_position_not_by_index() -> None:
    table = frame()
    shifted = table.set_index(pd.Index([15, 14, 13, 12, 11, 10]))
    made = sample_from_arrays(table[["age"]], shifted["income"], shifted[["sex"]], positive="high")
    assert made.labels is not None
    assert made.labels.tolist() == [0, 1, 0, 1, 0, 1]
    assert made.groups["sex"].codes.tolist() == [0, 1, 2, 0, 2, 1]


def test_arrays_with_missing_labels_stay_aligned() -> None:
    y = np.array([np.nan, 1, 0, 1, 0, 1])
    made = sample_from_arrays(np.arange(12.0).reshape(6, 2), y, np.array(list("abcabc")), weights=np.arange(1.0, 7))
    assert made.n == 5
    assert made.inputs[:, 0].tolist() == [2, 4, 6, 8, 10]
    assert made.weights is not None
    assert made.weights.tolist() == [2, 3, 4, 5, 6]
    assert made.groups["group"].codes.tolist() == [1, 2, 0, 1, 2]


def test_arrays_with_lists_in_them() -> None:
    X = pd.DataFrame({"tags": [["a"], ["b"], ["a"], []]})
    prints = {sample_from_arrays(x, [0, 1, 0, 1]).fingerprint for x in (X, X.iloc[::-1], X.copy())}
    assert len(prints) == 2
    with pytest.raises(DataError, match="'tags' holds lists"):
        sample_from_arrays(X, [0, 1, 0, 1], X)


def test_arrays_that_do_not_fit() -> None:
    X = np.zeros((4, 2))
    with pytest.raises(DataError, match="y has 3 values, X has 4 rows"):
        sample_from_arrays(X, [0, 1, 0])
    with pytest.raises(DataError, match=r"groups\['group'\] has 2 values"):
        sample_from_arrays(X, [0, 1, 0, 1], np.array(["a", "b"]))
    with pytest.raises(DataError, match="X has 1 dimensions"):
        sample_from_arrays(np.zeros(4), [0, 1, 0, 1])
    with pytest.raises(DataError, match="X has no rows"):
        sample_from_arrays(np.zeros((0, 2)), [])


def test_another_order_of_the_same_rows_is_refused() -> None:
    """By place they would go to other rows, and every group's numbers would be wrong in silence."""
    X = pd.DataFrame({"x": range(6)}, index=list("abcdef"))
    y = pd.Series([0, 1] * 3, index=X.index)
    sex = pd.Series(list("fmfmfm"), index=X.index, name="sex")
    turned = sex.iloc[::-1]
    for columns in ({"y": y.iloc[::-1]}, {"groups": turned}, {"groups": turned.to_frame()}, {"weights": y.iloc[::-1]}):
        with pytest.raises(DataError, match="another order"):
            sample_from_arrays(X, **{"y": y, "groups": sex, **columns})
    fine = sample_from_arrays(X, y.reset_index(drop=True), groups=sex.to_numpy())
    assert fine.n == 6


def test_a_star_in_the_name_of_a_group_column_is_refused() -> None:
    with pytest.raises(DataError, match="joins the attributes"):
        sample_from_arrays(np.zeros((4, 1)), [0, 1, 0, 1], groups={"a*b": list("xyxy")})
