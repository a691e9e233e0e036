"""`steelyard init` writes a plan that loads, makes sense, and holds the user's names as names."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.cli import main
from steelyard.audit.errors import DataError, PlanError
from steelyard.audit.init_plan import Written, scalar, write_plan
from steelyard.audit.plan import Plan
from steelyard.audit.plan_file import check, load_plan
from steelyard.probes.registry import all_probes, metric_specs

N = 200


@pytest.fixture
def people() -> pd.DataFrame:
    """Rows with a label, two protected attributes and a feature."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, N),
            "Sex": rng.choice(["Female", "Male"], N),
            "race": rng.choice(["Black", "White", "Other"], N),
            "income": rng.choice(["<=50K", ">50K"], N, p=[0.75, 0.25]),
        }
    )


def written(folder: Path, frame: pd.DataFrame, name: str = "test.csv", **options: Any) -> tuple[Written, Plan]:
    frame.to_csv(folder / name, index=False)
    done = write_plan(folder / name, out=folder / "audit.yaml", **options)
    source = load_plan(done.path)
    if not done.open_questions:
        known = [kind.id for kind in all_probes()]
        recipes = ["baseline/logistic", "baseline/boosting"]
        assert check(source.plan, source, metrics=metric_specs(), probes=known, recipes=recipes) == ()
    return done, source.plan


def test_a_table_and_a_model(tmp_path: Path, people: pd.DataFrame) -> None:
    done, plan = written(tmp_path, people, model=tmp_path / "model.skops")
    assert done.open_questions == ()
    assert (plan.target.kind, plan.target.path) == ("sklearn", "model.skops")
    assert (plan.data.test, plan.data.label, plan.data.positive) == ("test.csv", "income", ">50K")
    assert plan.data.groups == ["Sex", "race"]
    assert [gate.metric for gate in plan.gates] == ["fairness.selection-rate.ratio", "quality.accuracy"]
    most = people["income"].value_counts(normalize=True).iloc[0]
    assert plan.gates[1].min == pytest.approx(most, abs=0.001)
    assert plan.gates[1].min <= most
    assert plan.references == []
    text = done.path.read_text()
    assert "# intersections: 2" in text
    assert plan.gates[0].intersections == 1
    uncommented = text.replace("# intersections: 2", "intersections: 2")
    done.path.write_text(uncommented)
    assert load_plan(done.path).plan.gates[0].intersections == 2


def test_a_training_table_beside_it_brings_references(tmp_path: Path, people: pd.DataFrame) -> None:
    people.to_csv(tmp_path / "train.csv", index=False)
    _, plan = written(tmp_path, people, model="m.skops")
    assert (plan.data.train, plan.references) == ("train.csv", ["baseline"])


def test_decisions_and_no_model(tmp_path: Path, people: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    table = people.drop(columns="income").assign(
        repaid=rng.integers(0, 2, N), approved=rng.integers(0, 2, N), Score=rng.random(N), person_id=np.arange(N) // 2
    )
    done, plan = written(tmp_path, table)
    assert done.open_questions == ()
    assert (plan.target.kind, plan.target.decision, plan.target.score) == ("predictions", "approved", "Score")
    assert plan.target.path == "test.csv"
    assert (plan.data.label, plan.data.positive, plan.data.cluster) == ("repaid", 1, "person_id")
    assert plan.data.test is None


def test_a_score_alone_states_its_threshold(tmp_path: Path, people: pd.DataFrame) -> None:
    _, plan = written(tmp_path, people.assign(proba=np.linspace(0, 1, N)))
    assert (plan.target.kind, plan.target.score, plan.target.threshold) == ("predictions", "proba", 0.5)


def test_a_score_that_is_no_probability_is_left_alone(tmp_path: Path, people: pd.DataFrame) -> None:
    done, plan = written(tmp_path, people.assign(score=np.arange(N)))
    assert plan.target.kind == "sklearn"
    assert done.open_questions == ("there is no model and no column of decisions; name one in target",)


def test_the_outcome_is_the_column_with_the_values_of_the_decisions(tmp_path: Path, people: pd.DataFrame) -> None:
    rng = np.random.default_rng(1)
    money = people.assign(income=rng.normal(50, 9, N), repaid=rng.integers(0, 2, N))
    decided = money.assign(approved=rng.integers(0, 2, N))
    assert written(tmp_path, decided)[1].data.label == "repaid"  # and not the income, though it comes first
    scored = money.assign(score=rng.uniform(size=N))
    assert written(tmp_path, scored, force=True)[1].data.label == "repaid"
    three = people.drop(columns="income").assign(level=rng.choice(["a", "b", "c"], N), region=rng.choice(["n", "s"], N))
    done, plan = written(tmp_path, three.assign(predicted=three["level"].sample(frac=1).to_numpy()), force=True)
    assert (plan.data.label, plan.target.decision, done.open_questions) == ("level", "predicted", ())


def test_what_a_model_says_of_a_number_is_a_number(tmp_path: Path, people: pd.DataFrame) -> None:
    rng = np.random.default_rng(2)
    frame = people.drop(columns="income").assign(price=rng.normal(50, 9, N), pred=rng.normal(50, 9, N), approved=1)
    _, plan = written(tmp_path, frame, label="price")
    assert (plan.target.kind, plan.target.score, plan.target.decision) == ("predictions", "pred", None)
    assert plan.target.threshold is None
    assert [gate.metric for gate in plan.gates] == ["quality.r2"]


def test_an_outcome_without_a_value_is_one_line(tmp_path: Path, people: pd.DataFrame) -> None:
    with pytest.raises(PlanError, match="'income' has no value in any row"):
        written(tmp_path, people.assign(income=None), label="income")


@pytest.mark.parametrize(("kind", "metric"), [("regression", "quality.r2"), ("multiclass", "quality.accuracy")])
def test_other_tasks_get_a_gate_that_suits_them(tmp_path: Path, people: pd.DataFrame, kind: str, metric: str) -> None:
    y = np.linspace(0, 9.5, N) if kind == "regression" else np.arange(N) % 4
    _, plan = written(tmp_path, people.drop(columns="income").assign(target=y), model="m.skops")
    assert plan.data.positive is None
    assert [gate.metric for gate in plan.gates] == [metric]


def test_what_cannot_be_told_is_asked(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": range(30), "outcome": ["cat", "dog", "dog"] * 10})
    done, plan = written(tmp_path, frame, model="m.skops")
    assert plan.data.positive is None
    assert plan.data.groups == []
    assert done.open_questions == (
        "which value of 'outcome' is favourable, 'cat' or 'dog': write it as data.positive",
        "no column looks like a protected attribute; name them in data.groups, or with --groups",
    )
    assert '# positive: write its favourable value here, "cat" or "dog", and remove the #' in done.path.read_text()


def test_an_adverse_name_is_pointed_out(tmp_path: Path, people: pd.DataFrame) -> None:
    frame = people.drop(columns="income").assign(two_year_recid=np.arange(N) % 2)
    done, _ = written(tmp_path, frame, model="m.skops")
    assert "1 is the favourable value of 'two_year_recid', although its name sounds adverse" in done.assumed


def test_named_columns_win_and_must_exist(tmp_path: Path, people: pd.DataFrame) -> None:
    frame = people.assign(hired=np.arange(N) % 2)
    _, plan = written(tmp_path, frame, model="m.skops", label="hired", groups=["race"])
    assert (plan.data.label, plan.data.groups) == ("hired", ["race"])
    with pytest.raises(PlanError, match=r"test\.csv: has no column 'hird'; did you mean 'hired'\?"):
        written(tmp_path, frame, model="m.skops", label="hird", force=True)


def test_it_does_not_overwrite_unless_told_to(tmp_path: Path, people: pd.DataFrame) -> None:
    written(tmp_path, people, model="m.skops")
    (tmp_path / "audit.yaml").write_text("mine")
    with pytest.raises(PlanError, match="exists already; choose another --out, or replace it with --force"):
        write_plan(tmp_path / "test.csv", out=tmp_path / "audit.yaml")
    assert (tmp_path / "audit.yaml").read_text() == "mine"
    write_plan(tmp_path / "test.csv", model="m.skops", out=tmp_path / "audit.yaml", force=True)
    assert load_plan(tmp_path / "audit.yaml").plan.data.label == "income"


@pytest.mark.parametrize(
    ("model", "kind", "path", "factory"),
    [
        ("m.joblib", "sklearn", "m.joblib", None),
        ("sub/model.py:load", "python", "sub/model.py", "load"),
    ],
)
def test_kinds_of_models(
    tmp_path: Path,
    people: pd.DataFrame,
    monkeypatch: pytest.MonkeyPatch,
    model: str,
    kind: str,
    path: str,
    factory: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    done, plan = written(tmp_path, people, model=model)
    assert (plan.target.kind, plan.target.path, plan.target.factory) == (kind, path, factory)
    assert not plan.target.trust_pickle
    assert ("# trust_pickle: true" in done.path.read_text()) is model.endswith(".joblib")


@pytest.mark.parametrize("model", ["model.py", "model.bin", "model"])
def test_models_that_are_not_known_write_nothing(tmp_path: Path, people: pd.DataFrame, model: str) -> None:
    with pytest.raises(PlanError):
        written(tmp_path, people, model=model)
    assert not (tmp_path / "audit.yaml").exists()


def test_no_data_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError):
        write_plan(tmp_path / "none.csv", out=tmp_path / "audit.yaml")


HOSTILE = [
    "x, kind: python, path: evil.py}",
    'a"b\\c',
    "a\n  kind: python",
    "# comment",
    "yes",
    "&a *b !!python/object:os.system",
    "\u202e\x1b[2J\u2028\x85",
    "- [",
    "{{ 7*7 }}",
    "名前 🙂",
]


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_names_stay_names(tmp_path: Path, people: pd.DataFrame, name: str) -> None:
    frame = people.drop(columns="income").assign(**{name: ["no\n# x", 'yes"'] * (N // 2)})
    frame.to_parquet(tmp_path / "test.parquet")
    done = write_plan(tmp_path / "test.parquet", "m.skops", tmp_path / "audit.yaml", label=name)
    plan = load_plan(done.path).plan
    assert plan.data.label == name.strip()  # U+0085 is a blank
    assert plan.target.kind == "sklearn"
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u202e]", done.path.read_text())


@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_reads_back_as_itself(text: str) -> None:
    line = f"a: {{b: {scalar(text)}, c: [{scalar(text)}]}}  # {scalar(text)}"
    assert "\n" not in line
    assert yaml.safe_load(line) == {"a": {"b": text, "c": [text]}}


@given(
    value=st.one_of(st.integers(-(2**40), 2**40), st.booleans(), st.floats(-1e6, 1e6).filter(lambda x: abs(x) > 1e-3))
)
def test_numbers_read_back_as_themselves(value: float) -> None:
    assert yaml.safe_load(scalar(value)) == value


def test_the_command_says_what_is_left_to_do(
    tmp_path: Path, people: pd.DataFrame, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    people.to_csv("rows.csv", index=False)
    assert main(["init", "rows.csv", "--groups", "Sex, race"]) == 0
    said = capsys.readouterr()
    assert said.out == (
        "wrote audit.yaml\n"
        "to do: there is no model and no column of decisions; name one in target\n"
        "next: steelyard plan audit.yaml\n"
    )
    assert "assumed: 'income' is the true outcome" in said.err
    assert main(["init", "rows.csv"]) == 2
    assert main(["plan", "audit.yaml", "-q"]) == 2  # what was left undone is one clear line
    assert "model.skops" in capsys.readouterr().err


def test_real_compas(shared_data: Path, tmp_path: Path) -> None:
    done = write_plan(shared_data / "compas" / "compas-scores-two-years.csv", "m.skops", tmp_path / "audit.yaml")
    plan = load_plan(done.path).plan
    assert (plan.data.label, plan.data.positive) == ("two_year_recid", 1)
    assert plan.data.groups == ["sex", "age_cat", "race"]
