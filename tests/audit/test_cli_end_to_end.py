"""The commands one after the other on a small table of decisions, with the real engine."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.cli import main


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Decisions that favour men grossly, and are right nine times in ten otherwise."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    n = 2000
    sex = rng.choice(["Female", "Male"], n)
    repaid = rng.integers(0, 2, n)
    right = np.where(rng.random(n) < 0.1, 1 - repaid, repaid)
    approved = np.where((sex == "Female") & (rng.random(n) < 0.7), 0, right)
    pd.DataFrame({"sex": sex, "repaid": repaid, "approved": approved}).to_csv("decisions.csv", index=False)
    return tmp_path


def test_from_a_table_to_a_verdict(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "decisions.csv", "-q"]) == 0
    assert main(["plan", "-q", "--format", "json"]) == 0
    said = capsys.readouterr().out
    foreseen = json.loads(said[said.index("{") :])
    assert {"quality.performance", "fairness.selection-rate", "fairness.error-rates"} <= {*foreseen["will_run"]}
    assert "quality.calibration" in [row["probe"] for row in foreseen["cannot_run"]]
    assert foreseen["groups"]["sex"].keys() == {"Female", "Male"}
    ratio = foreseen["gates"][0]
    assert ratio["measurable"] is True
    assert 150 < ratio["n_needed_per_group"] < 400  # half are favoured: fewer than the 800 of a base rate of .3

    assert main(["run", "-q", "--out", "r", "--format", "json"]) == 1
    outcome = json.loads(capsys.readouterr().out)
    assert [verdict["status"] for verdict in outcome["verdicts"]] == ["fail", "pass"]
    assert Path(outcome["reports"]["html"]).is_file()

    assert main(["verify", "r", "--digest", outcome["record_digest"]]) == 0
    assert main(["run", "-q", "--out", "r"]) == 2  # a finished run is not overwritten
    assert "holds a run already" in capsys.readouterr().err
    assert main(["run", "-q", "--resume", "r"]) == 1

    assert main(["gate", "r", "--format", "json"]) == 1
    again = json.loads(capsys.readouterr().out.partition("exit code 1: a gate failed\n")[2])
    assert again["record_digest"] == outcome["record_digest"]
    assert again["exploratory"] == ""

    plan = Path("audit.yaml").read_text()
    Path("lax.yaml").write_text(plan.replace("min: 0.8", "min: 0.1"))
    assert main(["gate", "r", "--plan", "lax.yaml", "--format", "json"]) == 0
    lax = json.loads(capsys.readouterr().out)
    assert lax["exploratory"] == "gates were changed after the run: 1"

    def waived_until(day: date) -> int:
        waiver = f"waivers:\n  - {{gate: 1, owner: me, expires: {day}, reason: known}}\n"
        Path("waived.yaml").write_text(plan + waiver)
        return main(["gate", "r", "--plan", "waived.yaml"])

    assert waived_until(date.today() + timedelta(days=1)) == 0
    assert "WAIVED" in capsys.readouterr().out
    assert waived_until(date.today() - timedelta(days=1)) == 1
    assert "expired on" in capsys.readouterr().err

    assert main(["report", "r", "--format", "markdown", "--out", "elsewhere"]) == 0
    assert list(Path("elsewhere").iterdir())

    record = Path("r/record.json")
    record.write_bytes(record.read_bytes().replace(b'"fail"', b'"pass"', 1))
    assert main(["verify", "r"]) == 5
    assert "record.json: was changed after the audit" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("old", "new", "code", "line"),
    [
        ("decisions.csv", "nothing.csv", 2, "nothing.csv"),
        ('label: "repaid"', 'label: "repayed"', 2, "repaid"),
        ('decision: "approved"', 'decision: "aproved"', 2, "approved"),
        ("quality.*", "qualty.*", 2, "did you mean 'quality.*'?"),
        ("fairness.selection-rate.ratio", "fairness.selection_rate.ratio", 2, "did you mean"),
    ],
)
def test_bad_input_is_one_line(
    table: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, code: int, line: str
) -> None:
    assert main(["init", "decisions.csv", "-q"]) == 0
    plan = Path("audit.yaml")
    assert old in plan.read_text()
    plan.write_text(plan.read_text().replace(old, new))
    capsys.readouterr()
    assert main(["run", "-q", "--out", "r"]) == code
    said = capsys.readouterr()
    assert line in said.err
    assert said.err.startswith("steelyard: error: ")
    assert "Traceback" not in said.err
    assert said.out == ""


def test_an_unwritable_folder_is_one_line(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "decisions.csv", "-q"])
    Path("file").write_text("")
    assert main(["run", "-q", "--out", "file/r"]) == 2
    assert "a part of this path is a file" in capsys.readouterr().err


def test_probes_tells_what_each_metric_means(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["probes", "fairness.selection-rate.ratio", "--format", "json"]) == 0
    (probe,) = json.loads(capsys.readouterr().out)
    assert probe["id"] == "fairness.selection-rate"
    assert all(metric["definition"] for metric in probe["metrics"])
    assert main(["probes"]) == 0
    assert "quality.performance.accuracy (also quality.accuracy); higher is better" in capsys.readouterr().out
    assert main(["probes", "fairness.selection-rat"]) == 2
    assert "did you mean 'fairness.selection-rate'?" in capsys.readouterr().err


def test_doctor_looks_at_libraries_and_folders(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    states = {check["name"]: check["state"] for check in found["checks"]}
    assert found["ok"] is True
    assert states["scikit-learn"] == states["python"] == states["cache folder"] == "ok"
    assert "extra torch" in states


def test_doctor_fails_where_a_library_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from steelyard.audit.commands import doctor

    monkeypatch.setitem(doctor.CORE, "no-such-library", "no_such_library")
    assert main(["doctor"]) == 2
    said = capsys.readouterr().out
    assert "no-such-library  missing" in said
    assert said.endswith("not ready: mend what is missing\n")


def test_train_tells_what_came_from_the_cache(
    table: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEELYARD_CACHE", str(table / "cache"))
    frame = pd.read_csv("decisions.csv").drop(columns="approved").assign(x=np.arange(2000) % 7)
    frame.to_csv("train.csv", index=False)
    frame.to_csv("test.csv", index=False)
    assert main(["init", "test.csv", "--model", "m.skops", "-q"]) == 0
    assert main(["train", "-q"]) == 0
    assert "trained in" in capsys.readouterr().out
    assert main(["train", "-q"]) == 0
    said = capsys.readouterr().out
    assert said.count("from the cache") == 2
    assert "baseline/boosting" in said
