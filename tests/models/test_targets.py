"""Every kind of target answers in the sample's own codes, or says in one line why it cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io as sio
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LinearRegression, LogisticRegression, RidgeClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from steelyard.audit.errors import DataError, NotApplicable, PlanError, PluginError, TargetError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Capability, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.load import load_samples
from steelyard.models.targets import load as load_module
from steelyard.models.targets.load import load_target, wrap

rng = np.random.default_rng(1)
X = pd.DataFrame({"a": rng.normal(size=120), "b": rng.normal(size=120), "w": rng.choice(["u", "v"], 120)})
truth = (X["a"] + 0.1 * X["b"] > 0).to_numpy()
words = np.where(truth, "yes", "no")


def model(labels: Any) -> Any:
    columns = make_column_transformer((OneHotEncoder(), ["w"]), remainder="passthrough")
    return make_pipeline(columns, LogisticRegression()).fit(X, labels)


def binary(positive: Any = "yes", labels: Any = words, inputs: Any = X) -> Sample:
    return sample_from_arrays(inputs, labels, {"w": X["w"]}, positive=positive)


class Answers:
    """A model that answers what it is told to."""

    def __init__(self, decisions: Any = None, scores: Any = None) -> None:
        self.decisions, self.scores = decisions, scores
        if scores is not None:
            self.predict_proba = lambda _: scores

    def predict(self, _: Any) -> Any:
        return self.decisions


# the classes of the model and of the sample


@pytest.mark.parametrize(
    "labels",
    [words, truth, truth.astype(int), truth.astype(float), np.where(truth, "1", "0"), np.where(truth, "True", "False")],
)
@pytest.mark.parametrize("positive", ["yes", "no"])
def test_classes_are_mapped_to_codes(labels: Any, positive: str) -> None:
    """A model trained on 0/1 names the favourable class 1; a model trained on the words follows the words."""
    if positive == "no" and labels is not words:
        labels = np.where(truth, *((0, 1) if labels.dtype.kind in "if" else (labels[~truth][0], labels[truth][0])))
    target = wrap(model(labels), binary(positive))
    favourable = truth if positive == "yes" else ~truth
    assert (target.predict(X) == favourable).mean() > 0.9
    assert ((target.predict_proba(X)[:, 1] > 0.5) == target.predict(X)).all()
    assert target.predict(X).dtype == np.int64
    assert isinstance(target, Target)


def test_probability_columns_follow_the_sample() -> None:
    fitted = model(words)
    one, other = (wrap(fitted, binary(p)).predict_proba(X) for p in ("yes", "no"))
    assert np.allclose(one[:, 1], fitted.predict_proba(X)[:, 1])
    assert np.allclose(one, other[:, ::-1])


def test_multiclass_classes_in_another_order() -> None:
    labels = np.array(["b10", "b9", "a"])[rng.integers(0, 3, 120)]
    numbers = np.array([10, 9, 2])[rng.integers(0, 3, 120)]
    for y in (labels, numbers):
        sample = sample_from_arrays(X, y)
        fitted = model(y)
        target = wrap(fitted, sample)
        named = np.array(sample.classes)[target.predict(X)]
        assert (named == fitted.predict(X).astype(str)).all()
        assert (target.predict_proba(X).argmax(axis=1) == target.predict(X)).all()


def test_other_classes_list_both() -> None:
    with pytest.raises(TargetError, match="its classes are 'bad', 'good', those of the data 'no', 'yes'"):
        wrap(model(np.where(truth, "good", "bad")), binary())
    with pytest.raises(TargetError, match="its classes are '-1', '1'"):
        wrap(model(np.where(truth, 1, -1)), binary())


def test_labels_that_do_not_match_the_decisions() -> None:
    with pytest.raises(TargetError, match="decides 'maybe', but the classes are 'no', 'yes'"):
        wrap(Answers(np.repeat("maybe", 120)), binary())


# the columns


def test_columns_are_taken_by_name_in_the_model_s_order() -> None:
    fitted = model(words)
    shuffled = X[["w", "b", "a"]].assign(extra=1)
    assert (wrap(fitted, binary(inputs=shuffled)).predict(shuffled) == wrap(fitted, binary()).predict(X)).all()


def test_missing_columns_are_named() -> None:
    with pytest.raises(TargetError, match=r"needs columns that the data has not .*: 'b', 'w'"):
        wrap(model(words), binary(inputs=X[["a"]]))


def test_a_model_of_arrays_takes_a_frame_and_the_other_way_round() -> None:
    numbers = X[["a", "b"]]
    on_arrays = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers.to_numpy(), words)
    on_frames = make_pipeline(StandardScaler(), LogisticRegression()).fit(numbers, words)
    expected = wrap(on_frames, binary(inputs=numbers)).predict(numbers)
    assert (wrap(on_arrays, binary(inputs=numbers)).predict(numbers) == expected).all()
    array = numbers.to_numpy()
    assert (wrap(on_frames, binary(inputs=array)).predict(array) == expected).all()
    with pytest.raises(TargetError, match="was trained on 2 columns, the data has 3"):
        wrap(on_arrays, binary(inputs=X))


# answers that are none


def scores(change: Any = None) -> np.ndarray[Any, Any]:
    p = np.where(truth, 0.8, 0.2)
    table = np.column_stack([1 - p, p])
    if change is not None:
        change(table)
    return table


def put(rows: slice, value: float) -> Any:
    def change(table: np.ndarray[Any, Any]) -> None:
        table[rows] = value

    return change


BAD_SCORES = {
    "nan": (scores(put(slice(0, 7), np.nan)), "NaN or infinite in 7 of 120 rows"),
    "inf": (scores(put(slice(0, 2), np.inf)), "NaN or infinite in 2 of 120 rows"),
    "sum": (scores(put(slice(0, 3), 0.9)), "do not sum to 1 in 3 of 120 rows"),
    "range": (scores(lambda t: t.__setitem__(0, [-0.5, 1.5])), "leave 0 to 1 in 1 of 120 rows"),
    "shape": (scores()[:, :1].repeat(3, axis=1), r"shape \(120, 3\), not \(120, 2\)"),
    "short": (scores()[:100], r"shape \(100, 2\), not \(120, 2\)"),
    "words": (np.full((120, 2), "x"), "are not numbers"),
}


@pytest.mark.parametrize("case", BAD_SCORES)
def test_bad_scores_are_one_line(case: str) -> None:
    given, message = BAD_SCORES[case]
    with pytest.raises(TargetError, match=message) as caught:
        wrap(Answers(words, given), binary())
    assert "\n" not in str(caught.value)


def test_bad_decisions_are_one_line() -> None:
    with pytest.raises(TargetError, match=r"shape \(7,\), not \(120,\)"):
        wrap(Answers(words[:7]), binary())
    with pytest.raises(TargetError, match="missing in 2 of 120 rows"):
        wrap(Answers(np.array([None, None, *words[2:]], dtype=object)), binary())
    regression = sample_from_arrays(X, X["a"], task="regression")
    with pytest.raises(TargetError, match="prediction is NaN or infinite in 1 of 120"):
        wrap(Answers(np.array([np.nan, *X["a"][1:]])), regression)


def test_a_model_that_raises_is_one_line() -> None:
    class Broken:
        def predict(self, X: Any) -> Any:
            raise RuntimeError("first\nsecond")

    with pytest.raises(TargetError, match="its predict failed: RuntimeError: first second") as caught:
        wrap(Broken(), binary())
    assert "\n" not in str(caught.value)


def test_what_is_no_model() -> None:
    for thing, message in ((3, "a int is no model"), (LogisticRegression, "is the class LogisticRegression")):
        with pytest.raises(TargetError, match=message):
            wrap(thing, binary())
    with pytest.raises(TargetError, match="NotFittedError"):
        wrap(LogisticRegression(), binary(inputs=X[["a"]]))


# what it can do


def test_capabilities_are_what_it_has() -> None:
    numbers = X[["a", "b"]]
    ridge = wrap(RidgeClassifier().fit(numbers, words), binary(inputs=numbers))
    assert ridge.capabilities == {Capability.PREDICT, Capability.QUERY, Capability.FIT_AGAIN}
    with pytest.raises(NotApplicable, match="no probabilities"):
        ridge.predict_proba(numbers)
    line = sample_from_arrays(numbers, X["a"], task="regression")
    fitted = wrap(LinearRegression().fit(numbers, X["a"]), line)
    assert fitted.task is Task.REGRESSION
    assert np.allclose(fitted.predict(numbers), X["a"])
    with pytest.raises(TargetError, match="is a classifier, but the task is regression"):
        wrap(RidgeClassifier().fit(numbers, words), line)


def test_a_function_is_a_model() -> None:
    decides = wrap(lambda rows: np.where(rows["a"] > 0, "yes", "no"), binary())
    assert decides.capabilities == {Capability.PREDICT, Capability.QUERY}
    grades = wrap(lambda rows: 1 / (1 + np.exp(-rows["a"].to_numpy())), binary())
    assert Capability.PREDICT_PROBA in grades.capabilities
    assert (decides.predict(X) == grades.predict(X)).all()
    numbers = wrap(lambda rows: rows["a"].to_numpy(), sample_from_arrays(X, X["a"], task="regression"))
    assert (numbers.predict(X) == X["a"]).all()


# files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    X.assign(label=words, said=np.where(truth, "yes", "no"), p=np.where(truth, 0.75, 0.25)).to_csv(
        tmp_path / "t.csv", index=False
    )
    sio.dump(model(words), tmp_path / "m.skops")
    return tmp_path


def load(folder: Path, target: dict[str, Any], **data: Any) -> Any:
    part = TargetPart(**target)
    drop = [] if part.kind == "predictions" else ["said", "p"]
    table = {} if part.kind == "predictions" else {"test": "t.csv"}
    given = DataPart(**({"label": "label", "positive": "yes", "drop": drop} | table | data))
    samples = load_samples(given, target=part, base=folder)
    return load_target(part, base=folder, sample=samples.test, train=samples.train), samples.test


def test_a_skops_file(folder: Path) -> None:
    target, sample = load(folder, {"kind": "sklearn", "path": "m.skops"})
    assert target.kind == "sklearn"
    assert (target.predict(sample.inputs) == sample.labels).mean() > 0.9
    strict, _ = load(folder, {"kind": "sklearn", "path": "m.skops", "threshold": 0.9})
    assert (strict.predict(sample.inputs) == (strict.predict_proba(sample.inputs)[:, 1] >= 0.9)).all()
    assert strict.predict(sample.inputs).sum() < target.predict(sample.inputs).sum()
    assert strict.fingerprint != target.fingerprint


def test_a_file_that_holds_no_model(folder: Path) -> None:
    sio.dump({"a": 1}, folder / "d.skops")
    with pytest.raises(TargetError, match=r"d\.skops: holds a dict, which has no predict"):
        load(folder, {"kind": "sklearn", "path": "d.skops"})


def test_decisions_and_scores(folder: Path) -> None:
    both, sample = load(folder, {"kind": "predictions", "path": "t.csv", "decision": "said", "score": "p"})
    assert (both.predict(sample.inputs) == truth).all()
    assert (both.predict_proba(sample.inputs)[:, 1] == np.where(truth, 0.75, 0.25)).all()
    said, sample = load(folder, {"kind": "predictions", "path": "t.csv", "decision": "said"})
    assert said.capabilities == {Capability.PREDICT}
    graded, sample = load(folder, {"kind": "predictions", "path": "t.csv", "score": "p"})
    assert (graded.predict(sample.inputs) == truth).all()
    assert "0.5 on (the default)" in graded.description
    high, sample = load(folder, {"kind": "predictions", "path": "t.csv", "score": "p", "threshold": 0.8})
    assert high.predict(sample.inputs).sum() == 0
    assert len({t.fingerprint for t in (both, said, graded, high)}) == 4


def test_decisions_without_labels(folder: Path) -> None:
    target, sample = load(folder, {"kind": "predictions", "path": "t.csv", "decision": "said"}, label=None)
    assert sample.labels is None
    assert (target.predict(sample.inputs) == truth).all()


def test_a_decile_needs_a_threshold(folder: Path) -> None:
    pd.DataFrame({"label": words, "decile": np.where(truth, 9, 2), "x": 1}).to_csv(folder / "d.csv", index=False)
    with pytest.raises(TargetError, match=r"from 2 to 9.*set target\.threshold"):
        load(folder, {"kind": "predictions", "path": "d.csv", "score": "decile"})
    cut, sample = load(folder, {"kind": "predictions", "path": "d.csv", "score": "decile", "threshold": 5})
    assert cut.capabilities == {Capability.PREDICT}
    assert (cut.predict(sample.inputs) == truth).all()


def test_bad_predictions_are_one_line(folder: Path) -> None:
    table = pd.read_csv(folder / "t.csv")
    table.assign(p=[np.nan] * 4 + [0.5] * 116).to_csv(folder / "nan.csv", index=False)
    with pytest.raises(TargetError, match="NaN or infinite in 4 of 120 rows"):
        load(folder, {"kind": "predictions", "path": "nan.csv", "score": "p"})
    table.assign(said=["oui"] * 120).to_csv(folder / "other.csv", index=False)
    with pytest.raises(TargetError, match="decides 'oui', but the classes are 'no', 'yes'"):
        load(folder, {"kind": "predictions", "path": "other.csv", "decision": "said"})
    with pytest.raises(DataError, match=r"target\.decision names the column 'sad'.*did you mean 'said'"):
        load(folder, {"kind": "predictions", "path": "t.csv", "decision": "sad"})
    with pytest.raises(TargetError, match="neither decision nor score"):
        load(folder, {"kind": "predictions", "path": "t.csv"})
    with pytest.raises(TargetError, match="take one out"):
        load(folder, {"kind": "predictions", "path": "t.csv", "decision": "said", "threshold": 0.5})


def test_kinds_to_come_and_recipes_without_data(folder: Path) -> None:
    with pytest.raises(TargetError, match=r"'http' is not available.*kinds: sklearn, predictions, python, recipe"):
        load(folder, {"kind": "http", "path": "m"})
    with pytest.raises(TargetError, match=r"trained on data\.train"):
        load(folder, {"kind": "recipe", "name": "logistic"})
    with pytest.raises(PlanError, match=r"family of \d; say baseline/logistic or baseline/boosting"):
        load(folder, {"kind": "recipe", "name": "baseline"})
    learnt, sample = load(folder, {"kind": "recipe", "name": "logistic"}, train="t.csv")
    assert (learnt.predict(sample.inputs) == sample.labels).mean() > 0.9
    assert learnt.name == "candidate"


# Python files


def test_a_factory_with_the_user_s_own_modules(folder: Path) -> None:
    for name in ("models", "utils", "audit"):
        (folder / f"{name}.py").write_text(f"WHO = 'the user\\'s {name}'\n")
    (folder / "mine.py").write_text(
        "import models, utils, audit\n"
        "import numpy as np\n"
        "SAID = [m.WHO for m in (models, utils, audit)]\n"
        "class Model:\n"
        "    def predict(self, X):\n"
        '        assert SAID == ["the user\'s models", "the user\'s utils", "the user\'s audit"], SAID\n'
        "        return np.where(X['a'] > 0, 'yes', 'no')\n"
        "def load():\n"
        "    return Model()\n"
    )
    before = list(sys.path)
    ours = sys.modules["steelyard.models"]
    target, sample = load(folder, {"kind": "python", "path": "mine.py", "factory": "load"})
    assert (target.predict(sample.inputs) == (sample.inputs["a"] > 0)).all()
    assert sys.path == before
    assert sys.modules["steelyard.models"] is ours
    again, _ = load(folder, {"kind": "python", "path": "mine.py:load"})
    assert again.fingerprint == target.fingerprint


def test_modules_of_two_folders_do_not_mix(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    for place, answer in ((folder, "yes"), (tmp_path_factory.mktemp("other"), "no")):
        (place / "helper_of_mine.py").write_text(f"ANSWER = {answer!r}\n")
        (place / "mine.py").write_text(
            "import helper_of_mine\nimport numpy as np\n"
            "def load():\n    return lambda X: np.full(len(X), helper_of_mine.ANSWER)\n"
        )
        part = TargetPart(kind="python", path=str(place / "mine.py"), factory="load")
        target = load_target(part, base=place, sample=binary())
        assert set(target.predict(binary().inputs)) == {int(answer == "yes")}


def test_a_model_may_import_its_neighbours_late(folder: Path) -> None:
    (folder / "late_neighbour.py").write_text("CUT = 0\n")
    (folder / "mine.py").write_text(
        "class Model:\n"
        "    def predict(self, X):\n"
        "        from late_neighbour import CUT\n"
        "        return (X['a'] > CUT).astype(int)\n"
        "def load():\n"
        "    return Model()\n"
    )
    target, sample = load(folder, {"kind": "python", "path": "mine.py:load"})
    assert (target.predict(sample.inputs) == (sample.inputs["a"] > 0)).all()


def test_a_factory_can_train(folder: Path) -> None:
    (folder / "mine.py").write_text(
        "from sklearn.linear_model import LogisticRegression\n"
        "def load(train):\n"
        "    return LogisticRegression().fit(train.inputs[['a', 'b']], train.labels)\n"
    )
    with pytest.raises(TargetError, match=r"asks for the training data; name data\.train"):
        load(folder, {"kind": "python", "path": "mine.py:load"})
    target, sample = load(folder, {"kind": "python", "path": "mine.py:load"}, train="t.csv")
    assert (target.predict(sample.inputs) == sample.labels).mean() > 0.9


def test_the_fingerprint_follows_what_the_model_does(folder: Path) -> None:
    """The factory's source is the same; the file that it reads is not."""
    (folder / "mine.py").write_text(
        "from pathlib import Path\n"
        "def load():\n"
        "    cut = float((Path(__file__).parent / 'cut.txt').read_text())\n"
        "    return lambda X: (X['a'] > cut).to_numpy()\n"
    )
    prints = []
    for cut in ("0", "0", "0.5"):
        (folder / "cut.txt").write_text(cut)
        prints.append(load(folder, {"kind": "python", "path": "mine.py:load"})[0].fingerprint)
    assert prints[0] == prints[1] != prints[2]


BROKEN = {
    "def load(: pass": r"mine\.py:load: failed with SyntaxError.*\(line 1 of mine\.py\)",
    "import no_such_thing": r"ModuleNotFoundError: No module named 'no_such_thing' \(line 1 of mine\.py\)",
    "import sys\nsys.exit(3)": "failed with SystemExit",
    "def other(): pass": r"has no function 'load'; it has other",
    "def load(a, b): pass": "asks for a, b; a factory takes nothing, or `train`",
    "def load():\n    return 1 / 0": r"ZeroDivisionError: division by zero \(line 2 of mine\.py\)",
    "def load(): return 3": "a int is no model",
}


@pytest.mark.parametrize("source", BROKEN)
def test_a_broken_file_is_one_line(source: str, folder: Path) -> None:
    (folder / "mine.py").write_text(source)
    with pytest.raises(TargetError, match=BROKEN[source]) as caught:
        load(folder, {"kind": "python", "path": "mine.py", "factory": "load"})
    assert "\n" not in str(caught.value)


def test_a_missing_python_file(folder: Path) -> None:
    for part, message in (
        ({"path": "no.py:load"}, "no such file"),
        ({"path": "t.csv", "factory": "load"}, "is not a Python file"),
        ({"path": "mine.py"}, "names no function"),
        ({}, "names no file"),
    ):
        with pytest.raises(TargetError, match=message):
            load(folder, {"kind": "python"} | part)


# plugins


class Entry:
    name, value = "http", "theirs:load"

    def __init__(self, load: Any) -> None:
        self.load = load


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (lambda: 1 / 0, "theirs:load does not load: ZeroDivisionError"),
        (lambda: lambda part, **_: 1 / 0, "theirs:load does not load: ZeroDivisionError"),
        (lambda: lambda part, **_: 3, "theirs:load returned a int, not a Target"),
    ],
)
def test_a_plugin_that_fails_is_named(loader: Any, message: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "entry_points", lambda group: [Entry(loader)])
    with pytest.raises(PluginError, match=message):
        load(folder, {"kind": "http", "path": "m.onnx"})


def test_a_plugin_brings_a_kind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def theirs(part: TargetPart, *, base: Path, sample: Sample, train: Sample | None, name: str) -> Target:
        return wrap(model(words), sample, name=name)

    monkeypatch.setattr(load_module, "entry_points", lambda group: [Entry(lambda: theirs)])
    target, sample = load(folder, {"kind": "http", "path": "m.onnx"})
    assert (target.predict(sample.inputs) == truth).mean() > 0.9


def test_wrapping_a_target_gives_it_the_name() -> None:
    once = wrap(model(words), binary(), name="one")
    assert wrap(once, binary(), name="two").name == "two"


def test_what_the_command_imports_stays_light() -> None:
    """Plan validation asks for the names of recipes; that loads no numpy, pandas or scikit-learn."""
    code = (
        "import sys\n"
        "import steelyard.models.recipes.registry as r, steelyard.models.cache, steelyard.models.targets.load\n"
        "import steelyard.models.data.load\n"
        "r.recipe_names()\n"
        "heavy = {'numpy', 'pandas', 'sklearn', 'scipy', 'pyarrow', 'skops', 'joblib', 'torch'}\n"
        "print(sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_classes_of_a_model_may_be_a_list() -> None:
    class Own:
        def __init__(self, classes: Any) -> None:
            self.classes_ = classes

        def predict(self, X: Any) -> Any:
            return ["yes"] * len(X)

    made = sample_from_arrays(np.zeros((4, 1)), ["no", "yes"] * 2, positive="yes")
    assert wrap(Own(["no", "yes"]), made, name="own").predict(made.inputs).tolist() == [1] * 4
    two = Own([np.array(["no", "yes"]), np.array(["a", "b"])])
    with pytest.raises(TargetError, match="several labels at once"):
        wrap(two, made, name="own")
