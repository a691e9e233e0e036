"""Every mistake is one clear line on stderr and exit code 2, and leaves nothing half done."""

from __future__ import annotations

import json
import pickle
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.cli import main
from steelyard.audit.store import read_record


def refused(capsys, *args: str, code: int = 2) -> str:
    """The one line that the command leaves with."""
    assert main(["-q", *args]) == code
    captured = capsys.readouterr()
    lines = captured.err.strip().splitlines()
    assert len(lines) == 1, captured.err
    assert "Traceback" not in captured.err
    return lines[0]


def edited(plan: Path, old: str, new: str) -> str:
    text = plan.read_text(encoding="utf-8")
    assert old in text
    plan.write_text(text.replace(old, new), encoding="utf-8")
    return str(plan)


def table(plan: Path, change) -> None:
    path = plan.with_name("decisions.csv")
    frame = pd.read_csv(path)
    change(frame).to_csv(path, index=False)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("path: decisions.csv", "path: decision.csv", ["decision.csv", "decisions.csv"]),
        ("decision: approved", "decision: aproved", ["'aproved'", "approved"]),
        ("label: repaid", "label: paid", ["'paid'", "repaid"]),
        ("groups: [sex, race]", "groups: [sex, gender]", ["'gender'"]),
        ("positive: 1", "positive: 2", ["2"]),
        ("seed: 5", "sead: 5", ["sead", "seed", ":1"]),
        ("metric: quality.accuracy", "metric: quality.acuracy", ["quality.acuracy", "did you mean", ":7"]),
        ("min: 0.5", "min: high", [":7", "min"]),
        ("quality.*,", "quality.*, qualty.*,", ["qualty.*"]),
        ("score: p}", "score: race}", ["race"]),
        ("groups: [sex, race]", "groups: [sex, 'race*']", ["'race*'", "rename", ":3"]),
    ],
)
def test_the_plan_and_the_table_disagree(old, new, said, small_plan, tmp_path, capsys):
    line = refused(capsys, "run", edited(small_plan, old, new), "--out", str(tmp_path / "run"))
    for part in said:
        assert part in line, line
    assert not list((tmp_path / "run").glob("units/*"))


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("one class", lambda f: f.assign(repaid=1), ["repaid", "1"]),
        ("NaN scores", lambda f: f.assign(p=f["p"].mask(f.index < 3)), ["p", "3"]),
        ("a decision that is no class", lambda f: f.assign(approved=np.where(f.index == 0, "maybe", "1")), ["maybe"]),
        ("no rows", lambda f: f.head(0), ["row"]),
        ("no group at all", lambda f: f.assign(sex=None), ["sex"]),
    ],
)
def test_a_table_that_cannot_be_measured(name, change, said, small_plan, tmp_path, capsys):
    table(small_plan, change)
    line = refused(capsys, "run", str(small_plan), "--out", str(tmp_path / "run"))
    for part in said:
        assert part in line, (name, line)


def test_a_score_that_is_no_probability_is_not_read_as_one(small_plan, tmp_path):
    table(small_plan, lambda f: f.assign(p=f["p"] * 10))
    out = tmp_path / "run"
    assert main(["-q", "run", str(small_plan), "--out", str(out)]) == 0
    record = read_record(out)
    assert "quality.calibration" in {row.probe for row in record.inapplicable}
    assert "not read as a probability" in record.candidate().description


def test_duplicate_ids(small_plan, tmp_path, capsys):
    table(small_plan, lambda f: f.assign(id=f["id"] // 2))
    plan = edited(small_plan, "groups: [sex, race]", "groups: [sex, race], id: id")
    line = refused(capsys, "run", plan, "--out", str(tmp_path / "run"))
    assert "id" in line
    assert "1,000" in line or "2,000" in line or "twice" in line, line


@pytest.mark.parametrize("gone", ["gates", "probes"])
def test_a_plan_with_no_gate_or_no_probe(gone, small_plan, tmp_path, capsys):
    text = small_plan.read_text(encoding="utf-8")
    lines = text.splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(gone))
    below = next((i for i, line in enumerate(lines) if i > start and not line.startswith("  ")), len(lines))
    rest = lines[below:]
    small_plan.write_text("\n".join([*lines[:start], *rest]) + "\n", encoding="utf-8")
    assert gone in refused(capsys, "run", str(small_plan), "--out", str(tmp_path / "run"))
    small_plan.write_text("\n".join([*lines[:start], f"{gone}: []", *rest]) + "\n", encoding="utf-8")
    assert gone in refused(capsys, "run", str(small_plan), "--out", str(tmp_path / "run"))


MODEL_PLAN = """\
target: {kind: sklearn, path: PATH}
data: {dataset: adult, groups: [sex]}
probes: [fairness.selection-rate]
gates: [{metric: fairness.selection-rate.difference, max: 0.1}]
"""


class Harm:
    """Writes a file when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self):
        import os

        return os.system, (f"touch {self.mark}",)


@pytest.mark.parametrize(
    ("name", "content", "flags", "said"),
    [
        ("model.skops", b"", [], ["model.skops", "0 bytes"]),
        ("model.skops", b"not a zip file at all", [], ["model.skops"]),
        ("model.pkl", b"", ["--trust-pickle"], ["model.pkl", "0 bytes"]),
        ("model.pkl", None, [], ["model.pkl", "trust"]),
        ("model.pkl", None, ["--trust-pickle"], ["model.pkl", "system"]),
        ("model.joblib", None, ["--trust-pickle"], ["model.joblib", "system"]),
        ("model.h5", b"abc", [], ["model.h5", ".skops"]),
    ],
)
def test_a_model_file_that_is_not_safe_to_open(name, content, flags, said, tmp_path, capsys):
    mark = tmp_path / "harmed"
    (tmp_path / name).write_bytes(pickle.dumps(Harm(mark)) if content is None else content)
    plan = tmp_path / "audit.yaml"
    plan.write_text(MODEL_PLAN.replace("PATH", name), encoding="utf-8")
    line = refused(capsys, "run", str(plan), "--out", str(tmp_path / "run"), *flags)
    for part in said:
        assert part in line, line
    assert not mark.exists()


def test_a_missing_plan_and_a_missing_model(tmp_path, capsys):
    assert "audit.yaml" in refused(capsys, "run", str(tmp_path / "audit.yaml"))
    plan = tmp_path / "audit.yaml"
    plan.write_text(MODEL_PLAN.replace("PATH", "gone.skops"), encoding="utf-8")
    assert "gone.skops" in refused(capsys, "run", str(plan), "--out", str(tmp_path / "run"))


def test_hostile_values_in_the_data_harm_no_report(small_plan, tmp_path):
    script, formula = "<script>window.harm=1</script>", '=HYPERLINK("http://x.test","y")'
    table(small_plan, lambda f: f.assign(race=np.where(f["race"] == "a", script, formula)))
    out = tmp_path / "run"
    assert main(["-q", "run", str(small_plan), "--out", str(out)]) == 0
    page = (out / "report.html").read_text(encoding="utf-8")
    assert script not in page
    assert "&lt;script&gt;window.harm" in page
    assert script not in (out / "report.md").read_text(encoding="utf-8")
    assert script not in (out / "junit.xml").read_text(encoding="utf-8")


def test_a_plan_that_cannot_be_measured_says_so_before_the_run(small_plan, capsys):
    table(small_plan, lambda f: f.assign(race="one"))
    text = small_plan.read_text(encoding="utf-8")
    gate = "  - {metric: fairness.selection-rate.ratio, min: 0.8}\n  - {metric: quality.calibration.ece, max: 0.1}\n"
    small_plan.write_text(text.replace("gates:\n", "gates:\n" + gate).replace(", score: p", ""), encoding="utf-8")
    assert main(["-q", "plan", str(small_plan)]) == 0
    said = capsys.readouterr().out
    assert "race has fewer than two groups of at least 30 rows" in said
    assert "it needs predict_proba" in said
    assert "cannot be measured: gate 1, gate 2; a run of this plan ends with exit code 4" in said


def test_a_run_that_measured_nothing_leaves_nothing_behind(small_plan, tmp_path, capsys):
    out = tmp_path / "run"
    good = small_plan.read_text(encoding="utf-8")
    refused(capsys, "run", edited(small_plan, "label: repaid", "label: paid"), "--out", str(out))
    assert not out.exists()
    small_plan.write_text(good, encoding="utf-8")
    assert main(["-q", "run", str(small_plan), "--out", str(out)]) == 0
    before = sorted(path.name for path in out.iterdir())
    table(small_plan, lambda f: f.assign(repaid=1))
    refused(capsys, "run", str(small_plan), "--out", str(out), "--resume")
    assert sorted(path.name for path in out.iterdir()) == before  # what was there before stays


def test_what_a_model_prints_is_not_the_result(tmp_path, capfd):
    rows = "".join(f"{i % 7},{'fm'[i % 2]},{int(i % 7 > 2)}\n" for i in range(200))
    (tmp_path / "test.csv").write_text("x,sex,y\n" + rows, encoding="utf-8")
    (tmp_path / "model.py").write_text(
        "import os\nprint('loading')\n\ndef load():\n    os.system('echo below python')\n    return answer\n\n"
        "def answer(X):\n    print('asked')\n    return (X['x'] > 2).astype(int)\n",
        encoding="utf-8",
    )
    (tmp_path / "audit.yaml").write_text(
        "target: {kind: python, path: model.py, factory: load}\ndata: {test: test.csv, label: y, groups: [sex]}\n"
        "probes: [quality.performance]\ngates: [{metric: quality.accuracy, min: 0.5}]\n",
        encoding="utf-8",
    )
    assert main(["-q", "run", str(tmp_path / "audit.yaml"), "--out", str(tmp_path / "r"), "--format", "json"]) == 0
    said = capfd.readouterr()
    assert json.loads(said.out)["exit_code"] == 0
    assert {"loading", "asked", "below python"} <= set(said.err.split("\n"))


def test_many_small_groups_do_not_flood_the_terminal(small_plan, tmp_path, capsys):
    table(small_plan, lambda f: f.assign(race=[f"group {i % 400}" for i in range(len(f))], p=0.5))
    main(["-q", "run", str(small_plan), "--out", str(tmp_path / "run")])
    lines = capsys.readouterr().out.splitlines()
    assert max(map(len, lines)) < 600
    holes = [line for line in lines if line.startswith("not measured: ")]
    assert len(holes) == len(set(holes))
    assert any("sex = f: " in line for line in holes)


def test_a_probe_that_measured_a_part_says_which_part_it_could_not(small_plan, tmp_path, capsys):
    plan = edited(small_plan, ", score: p", "")
    assert main(["-q", "run", plan, "--out", str(tmp_path / "run")]) == 0
    assert "no AUC, log loss, perplexity and Brier score" in capsys.readouterr().out
    assert "quality.calibration, quality.performance (in part)" in (tmp_path / "run" / "report.html").read_text(
        encoding="utf-8"
    )


def test_a_link_to_nothing_is_said_to_be_one(small_plan, tmp_path, capsys):
    small_plan.with_name("decisions.csv").unlink()
    small_plan.with_name("decisions.csv").symlink_to("gone.csv")
    line = refused(capsys, "run", str(small_plan), "--out", str(tmp_path / "run"))
    assert "decisions.csv: is a link to a file that is not there; it points to gone.csv" in line


def test_gating_by_a_plan_of_other_data_is_told(finished_run, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    text = (finished_run.parent / "audit.yaml").read_text(encoding="utf-8")
    other.write_text(text.replace("groups: [sex, race]", "groups: [race, sex]"), encoding="utf-8")
    assert main(["gate", str(finished_run), "--plan", str(other)]) == 0
    assert "data differ from those of the run; judged is what this run measured" in capsys.readouterr().err
    assert main(["gate", str(finished_run)]) == 0
    assert "differ" not in capsys.readouterr().err


def test_junit_has_no_error_where_the_audit_passed(small_plan, tmp_path):
    table(small_plan, lambda f: f.assign(race=np.where(f.index < 3, "rare", f["race"])))
    assert main(["-q", "run", str(small_plan), "--out", str(tmp_path / "run")]) == 0
    text = (tmp_path / "run" / "junit.xml").read_text(encoding="utf-8")
    assert "<error" not in text
    assert "and so no reading: rare" in text  # told, as a skipped case


REFERENCES_PLAN = """\
target: {kind: recipe, name: logistic}
data: {train: train.csv, held_out: 0.4, label: y, groups: [sex]}
probes: [quality.performance]
gates: [{metric: quality.accuracy, min: 0.1}]
references:
  - logistic
  - ENTRY
"""


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("baseline: {penalty: 3}", "references[1] baseline/boosting has no setting 'penalty'; its settings are"),
        ("boosting: {iteration: 3}", "references[1] baseline/boosting has no setting 'iteration'; did you mean"),
        ("boosting: {iterations: many}", "references[1] baseline/boosting: iterations is 'many', not a whole number"),
        ("boosting: {variant: fairer}", "references[1] the variant 'fairer' is not known"),
        ("boosting:", "references[1] is {'boosting': None}; each entry is a recipe's name, or one name with"),
        ("words", "references[1] baseline/words: is for text data, and this is tabular"),
        ("control/group-biased: {size: 3}", "references[1] control/group-biased: size is 3.0; it lies between 0 and 1"),
        (
            "control/group-biased: {attribute: age, as: skewed}",
            "references[1] skewed, control/group-biased: has no group",
        ),
    ],
)
@pytest.mark.parametrize("command", ["run", "train"])
def test_a_reference_that_cannot_be_trained_is_told_by_its_line(command, entry, said, tmp_path, capsys):
    rows = "".join(f"{i % 7},{'fm'[i % 2]},{int(i % 7 > 2)}\n" for i in range(200))
    (tmp_path / "train.csv").write_text("x,sex,y\n" + rows, encoding="utf-8")
    (tmp_path / "audit.yaml").write_text(REFERENCES_PLAN.replace("ENTRY", entry), encoding="utf-8")
    out = ["--out", str(tmp_path / "r")] if command == "run" else []
    line = refused(capsys, command, str(tmp_path / "audit.yaml"), *out)
    assert f"audit.yaml:7: {said}" in line
    assert not (tmp_path / "r").exists()


def test_two_references_in_one_entry(tmp_path, capsys):
    (tmp_path / "audit.yaml").write_text(REFERENCES_PLAN.replace("ENTRY", "{boosting: {}, words: {}}"))
    line = refused(capsys, "train", str(tmp_path / "audit.yaml"))
    assert "each entry is a recipe's name, or one name with its settings: cnn: {epochs: 12}" in line


def test_settings_are_checked_before_the_candidate_is_opened(tmp_path, capsys):
    (tmp_path / "train.csv").write_text("x,sex,y\n" + "1,f,0\n2,m,1\n" * 50, encoding="utf-8")
    (tmp_path / "model.py").write_text("def load():\n    raise SystemError('opened')\n", encoding="utf-8")
    text = REFERENCES_PLAN.replace("{kind: recipe, name: logistic}", "{kind: python, path: model.py, factory: load}")
    (tmp_path / "audit.yaml").write_text(text.replace("ENTRY", "boosting: {iteration: 3}"), encoding="utf-8")
    assert "has no setting 'iteration'" in refused(capsys, "run", str(tmp_path / "audit.yaml"))


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ("{fairness.ll144: {exclude: [x]}}", "setting 'exclude' is ['x']; it is true or false, by default true"),
        ("{fairness.error-rates: {draws: many}}", "setting 'draws' is 'many'; it is a whole number, by default"),
    ],
)
def test_a_setting_of_another_kind_is_told_with_its_line(entry, said, small_plan, capsys):
    text = re.sub(
        r"probes: .*",
        f"probes:\n  - quality.*\n  - fairness.selection-rate\n  - {entry}",
        small_plan.read_text("utf-8"),
    )
    small_plan.write_text(text, encoding="utf-8")
    line = refused(capsys, "plan", str(small_plan))
    assert said in line
    at = next(i for i, row in enumerate(text.splitlines(), 1) if entry in row)
    assert f"{small_plan.name}:{at}:" in line


def test_a_seed_that_no_generator_takes(small_plan, capsys):
    text = re.sub(r"seed: \d+", "seed: 5000000000", small_plan.read_text("utf-8"))
    small_plan.write_text(text, encoding="utf-8")
    assert "audit.seed is 5000000000; it must be at most 4,294,967,295" in refused(capsys, "plan", str(small_plan))
