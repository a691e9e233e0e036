"""Contract of the plan file: what loads, and the one line each mistake gets."""

from __future__ import annotations

import pickle
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.errors import PlanError
from steelyard.audit.plan_file import PlanErrors, PlanSource, load_plan, parse_plan

GOOD = """\
audit: {name: adult income, seed: 7}
target: {kind: sklearn, path: model.skops}
data:
  train: train.parquet
  test: test.parquet
  label: income
  positive: ">50K"
  groups: [sex, race]
references: [baseline]
probes: [quality.*, fairness.*]
gates:
  - {metric: fairness.selection-rate.ratio, min: 0.8, on_inconclusive: review}
  - {metric: quality.accuracy, versus: baseline, not_worse_by: 0.01}
required: [fairness]
waivers: [{gate: 1, owner: name@org, expires: 2027-01-31, reason: "known"}]
standards: [nyc-ll144]
"""


def write(folder: Path, text: str, name: str = "audit.yaml") -> Path:
    path = folder / name
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    return path


def load(folder: Path, text: str) -> PlanSource:
    return load_plan(write(folder, text))


def lines_of(folder: Path, text: str) -> list[str]:
    """The messages of a wrong plan, with the folder taken off."""
    with pytest.raises(PlanError) as caught:
        load(folder, text)
    errors = caught.value.errors if isinstance(caught.value, PlanErrors) else [caught.value]
    return [str(error).replace(f"{folder}/", "") for error in errors]


def test_good_plan_loads_with_its_lines(tmp_path: Path) -> None:
    source = load(tmp_path, GOOD)
    assert source.plan.audit.seed == 7
    assert source.plan.data.positive == ">50K"
    assert source.plan.waivers[0].expires.isoformat() == "2027-01-31"
    assert source.base == tmp_path
    assert source.text == GOOD
    assert source.line(("gates", 1, "metric")) == 13
    assert source.line(("data", "label")) == 6
    assert source.line(("data", "cluster")) == 3  # not written: the line of what is around it
    assert source.where(("gates", 0)).endswith("audit.yaml:12")


def test_digest_is_of_the_values_not_of_the_text(tmp_path: Path) -> None:
    plain = load(tmp_path, GOOD).plan.digest
    assert load(tmp_path, f"# a comment\n{GOOD}").plan.digest == plain
    assert load(tmp_path, GOOD.replace("min: 0.8", "min: 0.80")).plan.digest == plain
    assert load(tmp_path, GOOD.replace("min: 0.8", "min: 0.81")).plan.digest != plain


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [
        ("path: model.skops", "pth: model.skops", "audit.yaml:2: target.pth is an unknown key; did you mean 'path'?"),
        ("references:", "refrences:", "audit.yaml:9: refrences is an unknown key; did you mean 'references'?"),
        ("kind: sklearn", "kind: sklern", "audit.yaml:2: target.kind is 'sklern'; did you mean 'sklearn'?"),
        ("seed: 7", "seed: seven", "audit.yaml:1: audit.seed is 'seven'; it must be a whole number"),
        ("seed: 7", "seed: -1", "audit.yaml:1: audit.seed is -1; it must be at least 0"),
        ("seed: 7", "seed: yes", "audit.yaml:1: audit.seed is true; it must be a number"),
        ("seed: 7", "alpha: 0.7", "audit.yaml:1: audit.alpha is 0.7; it must be less than 0.5"),
        ("min: 0.8", "min: .nan", "audit.yaml:12: gates[0].min is nan; it must be a finite number"),
        ("min: 0.8", "min: .inf", "audit.yaml:12: gates[0].min is inf; it must be a finite number"),
        ("min: 0.8", "min: on", "audit.yaml:12: gates[0].min is true; it must be a number"),
        ("groups: [sex, race]", "groups: sex", "audit.yaml:8: data.groups is 'sex'; it must be a list; write [sex]"),
        ("label: income", "label: 3", "audit.yaml:6: data.label is 3; it must be text; put it in quotes"),
        (
            "references: [baseline]",
            "references:",
            "audit.yaml:9: references has no value; give it one, or remove the key",
        ),
        ("2027-01-31", "soon", "audit.yaml:15: waivers[0].expires is 'soon'; it must be a date, such as 2027-01-31"),
        (
            "2027-01-31",
            "2027-02-31",
            "audit.yaml:15: '2027-02-31' is not a valid date; put it in quotes if it is meant as text",
        ),
        ("owner: name@org, ", "", "audit.yaml:15: waivers[0].owner is missing; add it"),
        ("gate: 1", "gate: yes", "audit.yaml:15: waivers[0].gate is true; it must be a number"),
        (
            "probes: [quality.*, fairness.*]",
            "probes: [3]",
            "audit.yaml:10: probes[0] is 3; a probe is a name such as quality.*, or {name: {setting: value}}",
        ),
        (
            "probes: [quality.*, fairness.*]",
            "probes: []",
            "audit.yaml:10: probes is empty; an audit needs at least one probe",
        ),
        (
            "label: income",
            "label: income\n  label: wage",
            "audit.yaml:7: the key 'label' is given twice (first on line 6); keep one of them",
        ),
        (
            "label: income",
            "label: !!python/name:os.system",
            "audit.yaml:6: the tag '!!python/name:os.system' is not allowed",
        ),
    ],
)
def test_each_mistake_gets_one_line(tmp_path: Path, old: str, new: str, line: str) -> None:
    assert old in GOOD
    found = lines_of(tmp_path, GOOD.replace(old, new, 1))
    assert found[0].startswith(line)
    assert all("\n" not in text for text in found)


@pytest.mark.parametrize("gates", ["gates: []", ""])
def test_no_gates_is_an_error(tmp_path: Path, gates: str) -> None:
    head, _, rest = GOOD.partition("gates:\n")
    tail = rest[rest.index("required:") :]
    (line,) = lines_of(tmp_path, f"{head}{gates}\n{tail}")
    assert "gates is" in line
    assert "an audit needs at least one gate" in line


def test_all_violations_are_told_in_the_order_of_lines(tmp_path: Path) -> None:
    text = GOOD.replace("min: 0.8", "minn: 0.8").replace("seed: 7", "sead: 7").replace("label:", "labell:")
    path = write(tmp_path, text)
    with pytest.raises(PlanErrors) as caught:
        load_plan(path)
    assert [error.where.rpartition(":")[2] for error in caught.value.errors] == ["1", "6", "12"]
    assert str(caught.value).endswith("(and 2 more)")
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert len(again.errors) == 3


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "audit.yaml: is empty"),
        ("# nothing\n", "audit.yaml: is empty"),
        ("- a\n", "audit.yaml:1: holds a list"),
        ("just text\n", "audit.yaml:1: holds a single value"),
        ("a: 1\n---\nb: 2\n", "audit.yaml:2: holds more than one YAML document"),
        ("data:\n\tlabel: x\n", "audit.yaml:2: is not valid YAML: a tab is used for indentation"),
        ("data: {positive: >50K}\n", "audit.yaml:1: is not valid YAML"),
        ("a: [1, 2\n", "audit.yaml:2: is not valid YAML"),
        ("a: \x07\n", "audit.yaml: is not valid YAML"),
        ("[" * 5000, "audit.yaml: is nested too deeply"),
        ("a: &a [*a]\n", "audit.yaml: is larger or deeper"),
        ("? [a, b]\n: c\n", "audit.yaml:1: a key must be plain text"),
    ],
)
def test_what_is_not_a_plan_at_all(tmp_path: Path, text: str, line: str) -> None:
    assert lines_of(tmp_path, text)[0].startswith(line)


def test_a_billion_laughs_is_refused_quickly(tmp_path: Path) -> None:
    bomb = "a0: &a0 [lol]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10))
    assert "larger or deeper than any plan" in lines_of(tmp_path, bomb)[0]
    many = "a: &a 1\nb: [" + ", ".join(["*a"] * 200) + "]\n"
    assert "more than 100 aliases" in lines_of(tmp_path, many)[0]


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"does not exist; 'steelyard init DATA' writes a plan"):
        load_plan(tmp_path / "no.yaml")
    with pytest.raises(PlanError, match="is a folder"):
        load_plan(tmp_path)
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"audit:\n  name: caf\xe9\n")
    with pytest.raises(PlanError, match=r"latin\.yaml:2: is not UTF-8"):
        load_plan(latin)
    large = tmp_path / "large.yaml"
    large.write_bytes(b"#" * 1_000_001)
    with pytest.raises(PlanError, match="larger than 1,000,000 bytes"):
        load_plan(large)


TOML = """\
[project]
name = "x"

[tool.steelyard]
probes = ["quality.*"]

[tool.steelyard.target]
kind = "sklearn"
path = "m.skops"

[tool.steelyard.data]
test = "t.csv"
label = "y"

[[tool.steelyard.gates]]
metric = "quality.accuracy"
min = 0.5

[[tool.steelyard.gates]]
metric = "quality.auc"
min = 0.5

[tool.other]
min = 1
"""


def test_pyproject_holds_the_same_plan(tmp_path: Path) -> None:
    source = load_plan(write(tmp_path, TOML, "pyproject.toml"))
    assert source.line(("gates", 1, "min")) == 21
    assert source.line(("gates", 0)) == 15
    assert source.line(("target", "path")) == 9
    yaml = """\
        probes: [quality.*]
        target: {kind: sklearn, path: m.skops}
        data: {test: t.csv, label: y}
        gates: [{metric: quality.accuracy, min: 0.5}, {metric: quality.auc, min: 0.5}]
        """
    assert load(tmp_path, yaml).plan == source.plan


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            TOML.replace("min = 0.5\n\n[tool.other]", "mni = 0.5\n\n[tool.other]"),
            "pyproject.toml:21: gates[1].mni is an unknown key",
        ),
        ("[project]\nname = 'x'\n", "pyproject.toml: has no table [tool.steelyard]"),
        ("tool = 3\n", "pyproject.toml: has no table [tool.steelyard]"),
        ("a = 1\nb = \n", "pyproject.toml:2: is not valid TOML"),
    ],
)
def test_mistakes_in_pyproject(tmp_path: Path, text: str, line: str) -> None:
    path = write(tmp_path, text, "pyproject.toml")
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert str(caught.value).replace(f"{tmp_path}/", "").startswith(line)


def test_a_call_from_python_is_validated_alike(tmp_path: Path) -> None:
    with pytest.raises(PlanErrors, match=r"plan: target is missing; add it, with the keys kind, path"):
        parse_plan({"data": {"test": "t.csv"}, "probes": ["quality.*"], "gates": [{"metric": "quality.accuracy"}]})


@given(text=st.text(max_size=200))
def test_any_text_gives_a_plan_error_and_never_a_crash(text: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(PlanError) as caught:
        load_plan(path)
    assert "\n" not in str(caught.value)


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=8,
    ),
    key=st.sampled_from(["audit", "target", "data", "references", "gates", "required", "waivers", "report", "probes"]),
)
def test_any_value_at_any_key_is_a_plan_or_a_plan_error(value: object, key: str) -> None:
    good = {
        "target": {"kind": "sklearn", "path": "m.skops"},
        "data": {"test": "t.csv", "label": "y"},
        "probes": ["quality.*"],
        "gates": [{"metric": "quality.accuracy", "min": 0.5}],
    }
    error = ""
    try:
        parse_plan({**good, key: value})
    except PlanError as refused:
        error = str(refused)
    assert not error or error.startswith("plan: ")
