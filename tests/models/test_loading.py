"""A model file is opened without running what a stranger put into it."""

from __future__ import annotations

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import skops.io as sio
from sklearn.compose import ColumnTransformer
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

from steelyard.audit.errors import TargetError, UnsafeArtifact
from steelyard.models.loading import load_model
from steelyard.models.pickles import scan

X = np.random.default_rng(0).normal(size=(200, 3))
y = (X[:, 0] > 0).astype(int)
fitted = LogisticRegression().fit(X, y)


class Planted:
    """Unpickling it runs a command that leaves a file behind."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch '{self.mark}'",)


class Written:
    """The same through open(), which is not a process."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return exec, (f"open({str(self.mark)!r}, 'w').close()",)


@pytest.mark.parametrize("name", ["m.skops", "m.pkl", "m.pickle", "m.joblib"])
def test_a_harmless_model_opens(name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    if name.endswith("skops"):
        sio.dump(fitted, path)
    elif name.endswith("joblib"):
        joblib.dump(fitted, path)
    else:
        path.write_bytes(pickle.dumps(fitted))
    model = load_model(path, trust_pickle=True)
    assert (model.predict_proba(X) == fitted.predict_proba(X)).all()


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("lzma", 3), ("xz", 3)])
def test_joblib_with_any_compression(compress: Any, tmp_path: Path) -> None:
    joblib.dump(RandomForestClassifier(3, random_state=0).fit(X, y), tmp_path / "m.joblib", compress=compress)
    assert load_model(tmp_path / "m.joblib", trust_pickle=True).predict(X).shape == (200,)


def test_a_forest_is_opened_with_the_line_that_the_error_gives(tmp_path: Path) -> None:
    sio.dump(RandomForestClassifier(3).fit(X, y), tmp_path / "m.skops")
    with pytest.raises(UnsafeArtifact, match=r"set target\.trusted: \[sklearn\.tree\._tree\.Tree\]"):
        load_model(tmp_path / "m.skops")
    assert load_model(tmp_path / "m.skops", trusted=["sklearn.tree._tree.Tree"]).predict(X).shape == (200,)


def test_linear_estimators_need_no_trust_as_skops(tmp_path: Path) -> None:
    words = np.array([["a"], ["b"]] * 100, dtype=object)
    mixed = ColumnTransformer([("w", OneHotEncoder(), [0]), ("n", StandardScaler(), [1])])
    wide = np.hstack([words, X[:, :1]])
    for model in (
        make_pipeline(mixed, LogisticRegression()).fit(wide, y),
        DummyClassifier().fit(X, y),
    ):
        sio.dump(model, tmp_path / "m.skops")
        load_model(tmp_path / "m.skops")


def test_an_unknown_type_needs_trust_by_name(tmp_path: Path) -> None:
    sio.dump(make_pipeline(FunctionTransformer(os.path.basename), fitted), tmp_path / "m.skops")
    with pytest.raises(UnsafeArtifact, match=r"not trusted: posixpath\.basename; .*target\.trusted"):
        load_model(tmp_path / "m.skops")
    assert load_model(tmp_path / "m.skops", trusted=["posixpath.basename"])


def test_a_pickle_needs_trust(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Planted(mark)))
    with pytest.raises(UnsafeArtifact, match="--trust-pickle"):
        load_model(tmp_path / "m.pkl")
    assert not mark.exists()


def zip_bytes() -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.txt", "x")
    return stream.getvalue()


def through_a_module(mark: Path) -> bytes:
    """`joblib` has `os` as an attribute: the name joblib.os.system is on nobody's list."""
    command = f"touch '{mark}'".encode()
    return b"\x80\x04\x8c\x06joblib\x8c\x09os.system\x93X" + len(command).to_bytes(4, "little") + command + b"\x85R."


HIDDEN = {
    "plain.pkl": lambda mark: pickle.dumps(Planted(mark)),
    "exec.pkl": lambda mark: pickle.dumps(Written(mark)),
    "before-a-zip.pkl": lambda mark: pickle.dumps(Planted(mark)) + zip_bytes(),
    "protocol0.pkl": lambda mark: pickle.dumps(Planted(mark), protocol=0),
    "through-a-module.pkl": through_a_module,
    "second.pkl": lambda mark: pickle.dumps({"model": 1, "x": [Planted(mark)]}),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_a_malicious_pickle_is_refused_and_not_run(name: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    (tmp_path / name).write_bytes(HIDDEN[name](mark))
    with pytest.raises(UnsafeArtifact, match=r"would run .*(system|exec).*refused, trusted or not") as caught:
        load_model(tmp_path / name, trust_pickle=True)
    assert "\n" not in str(caught.value)
    assert not mark.exists()


def test_the_planted_pickle_does_run_when_opened_plainly(tmp_path: Path) -> None:
    """The test above can fail: nothing but the refusal keeps the planted code from running."""
    for name in ("plain.pkl", "through-a-module.pkl"):
        mark = tmp_path / f"mark-{name}"
        pickle.loads(HIDDEN[name](mark))
        assert mark.exists()


@pytest.mark.parametrize("compress", [0, 3])
@pytest.mark.parametrize("nested", [False, True])
def test_joblib_hides_nothing_behind_arrays(compress: int, nested: bool, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    planted = np.array([Planted(mark), 1], dtype=object) if nested else Planted(mark)
    joblib.dump([np.arange(5000), planted], tmp_path / "m.joblib", compress=compress)
    with pytest.raises(UnsafeArtifact, match=r"would run posix\.system"):
        load_model(tmp_path / "m.joblib", trust_pickle=True)
    assert not mark.exists()


def test_the_guard_is_off_afterwards(tmp_path: Path) -> None:
    (tmp_path / "m.pkl").write_bytes(pickle.dumps(Planted(tmp_path / "mark")))
    with pytest.raises(UnsafeArtifact):
        load_model(tmp_path / "m.pkl", trust_pickle=True)
    assert pickle.loads(pickle.dumps(os.system)) is os.system
    assert os.system("true") == 0


def damaged() -> bytes:
    data = bytearray(sio.dumps(RandomForestClassifier(2).fit(X, y)))
    data[200:400] = bytes(200)
    return bytes(data)


BAD = {
    "empty.skops": (b"", r"is empty \(0 bytes\)"),
    "empty.pkl": (b"", r"is empty \(0 bytes\)"),
    "text.skops": (b"hello", "is not a .skops file"),
    "cut.skops": (sio.dumps(fitted)[:300], "is not a .skops file"),
    "zip.skops": (zip_bytes(), "is damaged"),
    "damaged.skops": (damaged(), "is damaged|cannot be loaded"),
    "text.pkl": (b"hello", "cannot be loaded"),
    "cut.pkl": (pickle.dumps(fitted)[:50], "cannot be loaded"),
    "text.joblib": (b"xhello", "cannot be loaded"),
    "model.h5": (b"x", r"ending '\.h5'; a model file is \.skops"),
    "gone.pkl": (b"cno_such_module_here\nThing\n.", "needs a module that is not here"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_line(name: str, tmp_path: Path) -> None:
    data, message = BAD[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(TargetError, match=message) as caught:
        load_model(tmp_path / name, trust_pickle=True, where=name)
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith(f"{name}: ")


def test_missing_and_folder(tmp_path: Path) -> None:
    (tmp_path / "model.skops").mkdir()
    with pytest.raises(TargetError, match=r"did you mean 'model\.skops'"):
        load_model(tmp_path / "modle.skops")
    with pytest.raises(TargetError, match="is a folder"):
        load_model(tmp_path / "model.skops")


@pytest.mark.parametrize("compress", [0, 3, ("gzip", 3), ("bz2", 3), ("xz", 3)])
def test_the_scan_alone_sees_plain_and_compressed_calls(compress: Any, tmp_path: Path) -> None:
    joblib.dump(Planted(tmp_path / "mark"), tmp_path / "m.joblib", compress=compress)
    with pytest.raises(UnsafeArtifact, match=r"would run .*system"):
        scan(tmp_path / "m.joblib", "m.joblib")
    joblib.dump(fitted, tmp_path / "m.joblib", compress=compress)
    scan(tmp_path / "m.joblib", "m.joblib")
