"""Counting tables by DuckDB: where from, what is refused, and what a hostile column name can do (nothing)."""

from __future__ import annotations

import pickle
import uuid
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("duckdb", reason="counting needs the extra `big`")
pytest.importorskip("fsspec", reason="addresses need the extra `big`")

from steelyard.audit.errors import DataError, SteelyardError, TargetError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Data, Task
from steelyard.audit.units import misfit
from steelyard.models.data import counting, duck, large
from steelyard.models.data.fingerprint import fingerprint_inputs
from steelyard.models.data.load import load_samples
from steelyard.models.recipes.registry import resolve
from steelyard.models.targets.load import load_target
from steelyard.models.targets.memoised import freeze
from steelyard.probes.registry import BUILT_IN


def decided(n: int = 300) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    score = rng.uniform(size=n)
    return pd.DataFrame(
        {
            "score": score,
            "d": np.where(score > 0.5, "yes", "no"),
            "y": rng.choice(["yes", "no"], n),
            "sex": rng.choice(["f", "m"], n),
            "w": rng.uniform(1, 3, n),
            "who": rng.integers(0, 50, n),
            "row": np.arange(n),
        }
    )


def load(frame: pd.DataFrame | str, folder: Path, above: int = 10, *, target: Any = None, **data: Any) -> Sample:
    path = frame if isinstance(frame, str) else "t.parquet"
    if not isinstance(frame, str):
        frame.to_parquet(folder / path)
    part = TargetPart(kind="predictions", path=path, **(target or {"decision": "d"}))
    settings = {"label": "y", "positive": "yes", "groups": ["sex"], **data}
    sample = load_samples(DataPart(**settings, reduce_above=above), target=part, base=folder).test
    load_target(part, base=folder, sample=sample)
    return sample


def said(frame: pd.DataFrame, folder: Path, above: int, **rest: Any) -> str:
    with pytest.raises(SteelyardError) as error:
        load(frame, folder, above, **rest)
    return f"{type(error.value).__name__} {error.value}"


def spoilt(column: str, value: Any) -> pd.DataFrame:
    frame = decided()
    frame[column] = frame[column].astype(object) if isinstance(value, str) else frame[column]
    frame.loc[[3, 7], column] = value
    return frame


@pytest.mark.parametrize(
    ("frame", "rest"),
    [
        pytest.param(spoilt("d", None), {}, id="decision missing"),
        pytest.param(spoilt("score", np.nan), {"target": {"score": "score"}}, id="score NaN"),
        pytest.param(spoilt("score", np.inf), {"target": {"score": "score"}}, id="score infinite"),
        pytest.param(spoilt("score", 7.5), {"target": {"score": "score"}}, id="score no probability"),
        pytest.param(spoilt("w", -1.0), {"weight": "w"}, id="weight negative"),
        pytest.param(spoilt("w", np.nan), {"weight": "w"}, id="weight missing"),
        pytest.param(spoilt("who", np.nan), {"cluster": "who"}, id="cluster missing"),
        pytest.param(decided().assign(y=None), {}, id="no labels at all"),
        pytest.param(decided().assign(y="yes"), {}, id="one class"),
        pytest.param(decided().assign(sex=None), {}, id="no group at all"),
        pytest.param(decided(), {"positive": "perhaps"}, id="no such favourable value"),
        pytest.param(decided(), {"groups": ["race"]}, id="no such column"),
        pytest.param(decided(), {"target": {"decision": "d", "threshold": 0.5}}, id="two rules"),
    ],
)
def test_what_is_wrong_is_said_as_of_rows(frame: pd.DataFrame, rest: dict[str, Any], tmp_path: Path) -> None:
    assert said(frame, tmp_path, 10, **rest) == said(frame, tmp_path, 1000, **rest)


def test_an_unknown_decision_is_named(tmp_path: Path) -> None:
    assert "'maybe'" in said(spoilt("d", "maybe"), tmp_path, 10)


def test_ids_that_stand_twice_are_refused(tmp_path: Path) -> None:
    frame = decided()
    frame.loc[4, "row"] = 3
    assert "not unique: 1 ids" in said(frame, tmp_path, 10, id="row")
    assert load(decided(), tmp_path, id="row").n == 300


def test_missing_labels_are_left_out_and_noted(tmp_path: Path) -> None:
    frame = decided()
    frame.loc[:4, "y"] = None
    frame.loc[5:6, "y"] = "  "
    rows, counts = load(frame, tmp_path, 1000), load(frame, tmp_path)
    assert rows.n == counts.n == 293
    assert rows.notes[0] == counts.notes[0]
    assert "counted" in counts.notes[-1]
    assert "293 rows were counted" in counts.notes[-1]


@pytest.mark.parametrize(
    "name", ['se"x', "sex'; DROP TABLE cells; --", "k0", "id", "cells", "t.sex", "größe %s $files", "rows"]
)
def test_no_column_name_reaches_into_the_question(name: str, tmp_path: Path) -> None:
    frame = decided().rename(columns={"sex": name, "score": f"{name} score", "y": f"{name} y"})
    got = load(
        frame, tmp_path, groups=[name], label=f"{name} y", target={"score": f"{name} score"}, weight="w", cluster="who"
    )
    (tmp_path / "plain").mkdir()
    plain = load(decided(), tmp_path / "plain", target={"score": "score"}, weight="w", cluster="who")
    assert (got.reduced.rows == plain.reduced.rows).all()
    assert got.reduced.histogram(whole=False).rows.sum() == 300
    assert (got.reduced.losses().log.total == plain.reduced.losses().log.total).all()


def test_other_tasks_and_small_tables_are_read_whole(tmp_path: Path) -> None:
    three = decided().assign(y=np.arange(300) % 3, d=np.arange(300) % 3)
    assert load(three, tmp_path, positive=None).task is Task.MULTICLASS
    assert load(three, tmp_path, positive=None).reduced is None
    many = decided().assign(y=np.linspace(0, 1, 300))
    assert load(many, tmp_path, positive=None, target={"score": "score"}).task is Task.REGRESSION
    assert load(decided(), tmp_path, 300).reduced is None


@pytest.mark.parametrize("path", ["t.csv", "t.csv.gz", "parts/*.csv"])
def test_a_csv_is_counted_as_parquet_is(path: str, tmp_path: Path) -> None:
    """Values mean what pandas makes of the file: missing words, numbers, words with commas, quotes and line ends."""
    frame = decided()
    frame["sex"] = np.resize(["f", "NA", "m, w", 'say "x"', "two\nlines"], 300)
    frame["age"] = np.resize(["20", "30", "", "30"], 300)
    target = {"score": "score"}
    (tmp_path / "parts").mkdir()
    halves = frame[:170], frame[170:]
    for i, part in enumerate(halves):
        part.to_csv(tmp_path / "parts" / f"{i}.csv", index=False)
    for name in ("t.csv", "t.csv.gz"):
        frame.to_csv(tmp_path / name, index=False)
    kept = {"groups": ["sex", "age"], "weight": "w", "cluster": "who"}
    rows = load(path, tmp_path, 300, target=target, **kept)
    counts = load(path, tmp_path, target=target, **kept)
    assert rows.reduced is None
    assert (rows.n, rows.classes, rows.notes) == (counts.n, counts.classes, counts.notes[:-1])
    for name, groups in rows.groups.items():
        other = counts.groups[name]
        assert groups.levels == other.levels
        assert list(rows.count(groups.codes, len(groups.levels))) == list(counts.count(other.codes, len(other.levels)))
    assert counts.reduced.weights.sum() == pytest.approx(rows.weights.sum())
    assert counts.reduced.pairs.units == len(set(rows.clusters.tolist()))
    log = -np.log(np.where(frame["y"] == "yes", frame["score"], 1 - frame["score"]))
    assert counts.reduced.losses().log.total.sum() == pytest.approx(float((log * frame["w"]).sum()))


def test_a_csv_that_cannot_be_counted_is_named_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("d,y,sex\n" + "yes,no,f\n" * 30 + "yes,no,f,and more\n" + "yes,no,m\n" * 30)
    with pytest.raises(DataError, match=r"t\.csv.*cannot be counted"):
        load("t.csv", tmp_path)
    decided().to_csv(tmp_path / "s.csv", index=False, sep=";")
    with pytest.raises(DataError, match="separator is not a comma"):
        load("s.csv", tmp_path)


def test_a_small_csv_is_not_opened_to_be_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    decided().to_csv(tmp_path / "t.csv", index=False)
    monkeypatch.setattr(large, "number_of_rows", lambda files: pytest.fail("it was counted"))
    assert load("t.csv", tmp_path, 1_000_000).reduced is None


def test_too_many_combinations_end_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "MOST_CELLS", 5)
    with pytest.raises(DataError, match="more than 5 combinations"):
        load(decided(), tmp_path)


def test_without_duckdb_the_rows_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(large, "available", lambda: False)
    sample = load(decided(), tmp_path)
    assert sample.reduced is None
    assert "install steelyard[big]" in sample.notes[-1]
    assert "300 rows are more than data.reduce_above (10)" in sample.notes[-1]
    assert load(decided(), tmp_path, 300).notes == ()


def test_files_of_different_columns_are_refused(tmp_path: Path) -> None:
    decided().to_parquet(tmp_path / "a.parquet")
    decided().drop(columns="w").to_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"its columns are not those of a.parquet: 'w'"):
        load("*.parquet", tmp_path)


@pytest.fixture
def bucket() -> str:
    return f"memory://bucket-{uuid.uuid4().hex}"


def test_object_storage_is_read_by_address(bucket: str, tmp_path: Path) -> None:
    """One file, many, counted or read whole: fsspec's memory file system stands for any storage."""
    import fsspec

    frame, storage = decided(), fsspec.filesystem("memory")
    for i, part in enumerate((frame[:100], frame[100:])):
        with storage.open(f"{bucket}/part-{i}.parquet", "wb") as file:
            part.to_parquet(file)
    local = load(frame, tmp_path, target={"score": "score"})
    remote = load(f"{bucket}/*.parquet", tmp_path, target={"score": "score"})
    assert (remote.reduced.rows == local.reduced.rows).all()
    assert remote.reduced.losses().brier.total.sum() == local.reduced.losses().brier.total.sum()
    whole = load(f"{bucket}/*.parquet", tmp_path, 1000)
    assert whole.reduced is None
    assert whole.n == 300
    assert load(f"{bucket}/part-0.parquet", tmp_path).n == 100
    with pytest.raises(DataError, match="fits no file"):
        load(f"{bucket}/none/*.parquet", tmp_path)
    with pytest.raises(DataError, match=r"steelyard\[big\]"):
        load("nosuchstorage://x/*.parquet", tmp_path)


def test_pickled_it_leaves_the_files_behind(tmp_path: Path) -> None:
    sample = load(decided(), tmp_path, target={"score": "score"})
    sent = pickle.loads(pickle.dumps(sample))
    (tmp_path / "t.parquet").unlink()
    assert sent.n == 300
    assert sent.reduced.losses().log.total.sum() > 0
    assert sent.reduced.histogram(whole=True).rows.sum() == 300


def test_a_file_that_changes_while_it_is_audited_is_noticed(tmp_path: Path) -> None:
    sample = load(decided(), tmp_path, target={"score": "score"})
    decided(250).to_parquet(tmp_path / "t.parquet")
    for ask in (sample.reduced.losses, lambda: sample.reduced.histogram(whole=True)):
        with pytest.raises(DataError, match="has changed since it was counted"):
            ask()


def test_the_fingerprint_follows_the_bytes_and_the_columns(tmp_path: Path) -> None:
    first = load(decided(), tmp_path).fingerprint
    assert first == load(decided(), tmp_path).fingerprint
    assert first != load(decided(), tmp_path, weight="w").fingerprint
    other = decided()
    other.loc[0, "score"] += 1e-9
    assert first != load(other, tmp_path).fingerprint


def test_probes_that_need_rows_are_put_to_drawn_ones_or_inapplicable(tmp_path: Path) -> None:
    """Those that need a model to ask stay inapplicable; without the table behind it so does all that needs rows."""
    sample = load(decided(), tmp_path, target={"score": "score"})
    part = TargetPart(kind="predictions", path="t.parquet", score="score")
    target = load_target(part, base=tmp_path, sample=sample)
    assert Capability.PREDICT_PROBA in target.capabilities
    assert fingerprint_inputs(sample.inputs) == target.inputs_digest
    for kind in BUILT_IN:
        why = misfit(kind(), target, sample)
        asks_the_model = bool(kind.requires & {c for c in Capability if c not in target.capabilities})
        missing = bool((kind.requires & set(Data)) - sample.provides)
        fits = Task.BINARY in kind.tasks and not asks_the_model and not missing
        fits = fits and (kind.reads_counts or not getattr(kind, "needs_every_row", False))
        assert (why is None) == fits, kind.id
        lost = misfit(kind(), replace(target, model=None), sample)
        if not kind.reads_counts and Task.BINARY in kind.tasks:
            assert lost is not None
            assert lost.missing
    assert sum(kind.reads_counts for kind in BUILT_IN) >= 4


def test_a_reference_is_not_asked_about_counts(tmp_path: Path) -> None:
    from steelyard.models.cache import train_reference

    frame = decided()
    sample = load(frame, tmp_path)
    frame.to_csv(tmp_path / "train.csv", index=False)
    data = DataPart(train="train.csv", test="train.csv", label="y", positive="yes", drop=["d", "row", "who"])
    train = load_samples(data, target=None, base=tmp_path).train
    assert train is not None
    recipe = resolve("baseline")[0]
    model, _ = train_reference(recipe, train, 0)
    with pytest.raises(TargetError, match="counted, not read"):
        freeze(model, sample)


def test_memory_is_bounded_and_nothing_is_downloaded(tmp_path: Path) -> None:
    sample = load(decided(), tmp_path)
    with duck.open_duck(sample.reduced.files) as opened:
        (set_to,) = opened.ask("SELECT current_setting('memory_limit') AS m")["m"].to_pylist()
        asked = "SELECT current_setting($name) AS v"
        names = ("autoinstall_known_extensions", "autoload_known_extensions")
        assert [opened.ask(asked, {"name": name})["v"].to_pylist() for name in names] == [[False], [False]]
    assert float(set_to.split()[0]) < 600
