"""Contract of the command: exit codes, one line for every mistake, nothing heavy before it is needed."""

from __future__ import annotations

import errno
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from steelyard.audit import run as engine
from steelyard.audit.cli import COMMANDS, main
from steelyard.audit.console import BarProgress, Console, LineProgress, NoProgress, clean
from steelyard.audit.errors import IntegrityError, PlanError
from steelyard.audit.plan_file import PlanErrors
from steelyard.audit.record import Record, SampleCard, TargetCard
from steelyard.audit.run import RunResult
from steelyard.audit.types import Estimate, Failure, Inapplicable, Status, Verdict

PLAN = """\
target: {kind: sklearn, path: m.skops}
data: {test: t.csv, label: y, groups: [sex]}
probes: [quality.*]
gates: [{metric: quality.accuracy, min: 0.5}]
"""


def record(*, verdicts: tuple[Verdict, ...] = (), **changes: Any) -> Record:
    plain: dict[str, Any] = {
        "plan": {"audit": {"name": "a"}},
        "plan_digest": "0" * 64,
        "targets": (
            TargetCard(
                name="candidate", role="candidate", kind="sklearn", task="binary", fingerprint="f", capabilities=()
            ),
        ),
        "sample": SampleCard(
            source="t.csv",
            fingerprint="f",
            n=9,
            n_train=None,
            task="binary",
            modality="tabular",
            classes=(),
            class_counts=(),
            groups=(),
        ),
        "findings": (),
        "failures": (),
        "inapplicable": (),
        "verdicts": verdicts,
        "uncovered": (),
        "exit_code": 0,
        "judged": True,
        "versions": {},
        "evidence": {},
    }
    return Record(**{**plain, **changes}).sealed()


FAILED = Verdict(
    gate=1,
    metric="fairness.selection-rate.ratio",
    status=Status.FAIL,
    threshold="fairness.selection-rate.ratio ≥ 0.8, between all groups of sex",
    reason="broken",
    estimate=Estimate(value=0.4, low=0.3, high=0.5, level=0.95, n=1500, method="m"),
)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a plan in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("CI", raising=False)
    (tmp_path / "audit.yaml").write_text(PLAN)
    return tmp_path


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The engine replaced by one that notes what it was asked and gives `ran["record"]`."""
    seen: dict[str, Any] = {"record": record(verdicts=(FAILED,), exit_code=1)}

    def run_audit(source: Any, **asked: Any) -> RunResult:
        seen.update(asked, source=source)
        asked["progress"].start("measuring", 2)
        asked["progress"].advance("a probe")
        if isinstance(seen["record"], BaseException):
            raise seen["record"]
        return RunResult(record=seen["record"], folder=asked["out"], reports={"html": asked["out"] / "report.html"})

    monkeypatch.setattr(engine, "run_audit", run_audit)
    return seen


def test_help_names_every_command_and_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert all(f"    {name} " in text for name in COMMANDS)
    assert all(f"\n  {code}  " in text for code in range(6))


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, "--help"]) == 0
    assert f"usage: steelyard {name}" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["rum"], "steelyard: error: unknown command 'rum'; did you mean 'run'?"),
        (["zzz"], "steelyard: error: unknown command 'zzz'; the commands are init, doctor"),
        (["run", "a.yaml", "--jobs", "0"], "steelyard: error: argument --jobs: '0' is not a number of processes"),
        (["report", "x", "--format", "pdf"], "steelyard: error: argument --format: 'pdf' is not a list of formats"),
        (["run", "--frobnicate"], "steelyard: error: unrecognized arguments: --frobnicate"),
        (["verify"], "steelyard: error: the following arguments are required: RUN"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(argv: list[str], line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(argv) == 2
    said = capsys.readouterr()
    assert said.err.startswith(line)
    assert said.err.count("\n") == 1
    assert said.out == ""


def test_no_command_prints_the_help_and_exits_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "usage: steelyard" in capsys.readouterr().err


def test_run_prints_gates_reports_and_the_exit_code(
    here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "audit.yaml", "--out", "r", "--jobs", "2", "--trust-pickle"]) == 1
    said = capsys.readouterr()
    assert (ran["out"], ran["jobs"], ran["resume"], ran["trust_pickle"]) == (Path("r"), 2, False, True)
    assert "0.400 [0.300, 0.500]" in said.out
    assert "1,500" in said.out
    assert "html report: r/report.html" in said.out
    assert said.out.endswith("exit code 1: a gate failed\n")
    assert "measuring 1/2: a probe" in said.err


def test_the_default_folder_carries_time_and_plan(here: Path, ran: dict[str, Any]) -> None:
    main(["run", "-q"])
    out = ran["out"]
    assert out.parent == Path("runs")
    assert out.name.endswith(ran["source"].plan.digest[:8])
    assert len(out.name) == len("20260101T000000-") + 8


def test_run_as_json_is_for_programs(here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    ran["record"] = record(
        verdicts=(replace(FAILED, estimate=replace(FAILED.estimate, high=float("inf")), reason="\x1b[2J"),), exit_code=1
    )
    assert main(["run", "--format", "json", "--out", "r"]) == 1
    text = capsys.readouterr().out
    outcome = json.loads(text)
    assert outcome["schema"] == "steelyard.outcome/1"
    assert outcome["exit_code"] == 1
    assert outcome["verdicts"][0]["estimate"]["high"] == "inf"
    assert outcome["record_digest"] == ran["record"].digest
    assert "\x1b" not in text


def test_gaps_are_printed_beside_the_gates(here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    failures = tuple(Failure(probe=f"a.b{i}", target="candidate", reason="crashed") for i in range(7))
    unfit = Inapplicable(probe="a.c", target="candidate", reason="needs labels")
    waived = replace(FAILED, status=Status.WAIVED, waived_from=Status.FAIL, waiver="waived by x until 2027-01-31: y")
    ran["record"] = record(
        verdicts=(waived,), failures=failures, inapplicable=(unfit,), uncovered=("privacy",), exit_code=4
    )
    assert main(["run", "-q", "--out", "r"]) == 4
    said = capsys.readouterr()
    assert "required family 'privacy' has nothing measured" in said.out
    assert "not measured: a.b4 on candidate: crashed" in said.out
    assert "not measured: 2 more; the report lists them" in said.out
    assert "not applicable: a.c: needs labels" in said.out
    assert "WAIVED" in said.out
    assert "fail, waived by x until 2027-01-31: y" in said.out
    assert said.err == ""


def test_what_comes_from_data_cannot_move_the_cursor(
    here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = "\x1b[2J\x9b1m[red]ok[/red]\u202e\r\nexit code 0"
    ran["record"] = record(verdicts=(replace(FAILED, threshold=hostile, reason=hostile),), exit_code=1)
    main(["run", "--out", "r"])
    said = capsys.readouterr().out
    assert not set("\x1b\x9b\u202e\r") & set(said)
    assert "[red]ok[/red]" in said
    assert "\nexit code 0" not in said


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (
            PlanError("is wrong", where="audit.yaml:3", hint="mend it"),
            2,
            "steelyard: error: audit.yaml:3: is wrong; mend it\n",
        ),
        (
            PlanErrors([PlanError("one"), PlanError("two")]),
            2,
            "steelyard: error: one\nsteelyard: error: two\n",
        ),
        (IntegrityError("was changed"), 5, "steelyard: error: was changed\n"),
        (OSError(errno.ENOSPC, "No space left", "r/x"), 2, "steelyard: error: r/x: the disk is full; free some space"),
        (PermissionError(errno.EACCES, "denied", "r"), 2, "steelyard: error: r: no permission; choose another folder"),
        (MemoryError(), 4, "steelyard: error: out of memory"),
        (
            ZeroDivisionError("division"),
            70,
            "steelyard: error: this is a defect of Steelyard, not of your input: ZeroD",
        ),
        (BrokenPipeError(), 141, ""),
        (
            KeyboardInterrupt(),
            130,
            "what was measured is kept in r; resume with: steelyard run audit.yaml --resume r\n",
        ),
    ],
)
def test_every_end_has_its_code_and_no_traceback(
    error: BaseException, code: int, line: str, here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ran["record"] = error
    assert main(["run", "--out", "r"]) == code
    said = capsys.readouterr()
    assert said.err.removeprefix("measuring 1/2: a probe\n").startswith(line)
    assert "Traceback" not in said.err
    assert said.out == ""


def test_verbose_shows_the_traceback_of_a_defect(
    here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    ran["record"] = ZeroDivisionError("division")
    assert main(["-v", "run", "--out", "r"]) == 70
    assert "Traceback" in capsys.readouterr().err


def test_a_wrong_plan_is_told_line_by_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "audit.yaml").write_text(PLAN.replace("label", "labell").replace("min:", "mn:"))
    assert main(["run", "audit.yaml"]) == 2
    said = capsys.readouterr()
    assert said.err == (
        "steelyard: error: audit.yaml:2: data.labell is an unknown key; did you mean 'label'?\n"
        "steelyard: error: audit.yaml:4: gates[0].mn is an unknown key; did you mean 'min'?\n"
    )
    assert not (here / "runs").exists()


def test_a_missing_plan_says_how_to_get_one(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "none.yaml"]) == 2
    assert "none.yaml: does not exist; 'steelyard init DATA' writes a plan" in capsys.readouterr().err


def test_resume_finds_the_folder(here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "audit.yaml", "--resume"]) == 2
    assert "no run of this plan is in runs/; run without --resume" in capsys.readouterr().err
    main(["run", "audit.yaml", "-q"])
    first = ran["out"]
    for folder in (
        first,
        first.with_name("19990101T000000-" + first.name[-8:]),
        first.with_name("99990101T000000-other000"),
    ):
        folder.mkdir(parents=True)
    main(["run", "audit.yaml", "-q", "--resume"])
    assert (ran["out"], ran["resume"]) == (first, True)
    main(["run", "-q", "--resume", "audit.yaml"])  # the plan where a folder was expected
    assert (ran["out"], ran["resume"]) == (first, True)
    main(["run", "audit.yaml", "-q", "--resume", "elsewhere"])
    assert ran["out"] == Path("elsewhere")
    assert main(["run", "audit.yaml", "--resume", "a", "--out", "b"]) == 2
    assert "name two folders" in capsys.readouterr().err


def test_resume_of_a_folder_knows_its_plan(here: Path, ran: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    (here / "audit.yaml").rename(here / "other.yaml")
    folder = here / "r"
    folder.mkdir()
    assert main(["run", "--resume", "r"]) == 2
    assert "does not say which it was" in capsys.readouterr().err
    (folder / "origin.json").write_text(json.dumps({"plan": str(here / "other.yaml")}))
    assert main(["run", "-q", "--resume", "r"]) == 1
    assert ran["source"].path == here / "other.yaml"


def test_verify_says_what_was_changed_and_exits_5(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from steelyard.audit import verify

    asked: list[object] = []
    problems = ["record.json: was changed after the audit"]
    monkeypatch.setattr(verify, "verify", lambda folder, digest: asked.append((folder, digest)) or problems)
    assert main(["verify", "r", "--digest", "ab"]) == 5
    assert capsys.readouterr().out == "record.json: was changed after the audit\n"
    assert asked == [(Path("r"), "ab")]
    assert main(["verify", "r", "--format", "json"]) == 5
    assert json.loads(capsys.readouterr().out)["intact"] is False
    problems.clear()
    assert main(["verify", "r"]) == 0
    assert capsys.readouterr().out.startswith("r: intact (against its own manifest")


def test_gate_of_no_run_is_one_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["gate", "none"]) == 2
    assert "none: there is no record.json here" in capsys.readouterr().err


def test_gate_judges_by_its_own_plan_or_another(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = here / "r"
    folder.mkdir()
    (folder / "record.json").write_text("{}")
    (folder / "plan.yaml").write_text(PLAN.replace("0.5", "0.6"))
    asked: list[float | None] = []

    def regate(run: Path, source: Any) -> Record:
        asked.append(source.plan.gates[0].min)
        return record(verdicts=(replace(FAILED, exploratory=True),), exit_code=3, exploratory="gates were changed: 1")

    monkeypatch.setattr(engine, "regate", regate)
    assert main(["gate", "r"]) == 3
    assert main(["gate", "r", "--plan", "audit.yaml"]) == 3
    assert asked == [0.6, 0.5]
    assert "Exploratory: gates were changed: 1." in capsys.readouterr().out


def test_report_passes_formats_on(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[object] = []

    def render(folder: Path, formats: tuple[str, ...], out: Path | None) -> dict[str, Path]:
        asked.append((folder, formats, out))
        return {"html": Path("r/report.html")}

    monkeypatch.setattr(engine, "render", render)
    assert main(["report", "r", "--format", "html, json,html", "--out", "o"]) == 0
    assert asked == [(Path("r"), ("html", "json"), Path("o"))]
    assert capsys.readouterr().out == "html: r/report.html\n"


def test_clean_leaves_what_can_be_read() -> None:
    assert clean("≥ 0.8, größer, 東京, עברית") == "≥ 0.8, größer, 東京, עברית"
    assert clean("a\nb\x07") == "a b\\u0007"


def test_progress_follows_the_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.delenv("CI", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(Console(quiet=True).progress(), NoProgress)
    assert isinstance(Console().progress(), LineProgress)
    monkeypatch.setattr(sys, "stderr", Terminal())
    bars = Console().progress()
    assert isinstance(bars, BarProgress)
    bars.start("reading [red]", None)
    bars.start("measuring", 2)
    bars.advance("[bold]x\x1b")
    bars.done()
    monkeypatch.setenv("CI", "true")
    assert isinstance(Console().progress(), LineProgress)


def test_a_table_on_a_terminal_keeps_the_words(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", "60")
    monkeypatch.setenv("TERM", "xterm-256color")
    Console(color=False).table(("verdict", "why"), [("FAIL", "[link=http://x]a[/link]\x1b[2J")])
    assert "FAIL" in screen.getvalue()
    assert "[link=http://x]a[/link]\\u001b[2J" in screen.getvalue()
    assert "\x1b[3" not in screen.getvalue()


@pytest.mark.parametrize(("columns", "stacked"), [("80", True), ("140", False)])
def test_a_narrow_terminal_gets_the_sentences_below(
    columns: str, stacked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setenv("COLUMNS", columns)
    why = "a tolerance in some forty signs of text\nand the reason why, which is a sentence of more than sixty signs"
    rows = [("1", "INCONCLUSIVE", "0.758 [0.743, 0.774]", "2,672", why), ("2", "PASS", "–", "–", "short")]
    Console(color=False).table(("gate", "verdict", "estimate", "n", "tolerance, and why"), rows)
    lines = [line.rstrip() for line in screen.getvalue().splitlines()]
    assert any(line.endswith("a tolerance in some forty signs of text") for line in lines)  # not broken into words
    assert ("      a tolerance in some forty signs of text" in lines) is stacked
    assert max(len(line) for line in lines if "\x1b" not in line) <= int(columns)  # the headings may be bold


def command(*argv: str, cwd: Path, **kwargs: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "steelyard.audit", *argv], cwd=cwd, capture_output=True, text=True, **kwargs
    )


def test_the_module_is_the_command(tmp_path: Path) -> None:
    done = command("--version", cwd=tmp_path, check=True)
    assert done.stdout.startswith("steelyard 0.")
    wrong = command("plan", "none.yaml", cwd=tmp_path, check=False)
    assert wrong.returncode == 2
    assert wrong.stderr == "steelyard: error: none.yaml: does not exist; 'steelyard init DATA' writes a plan\n"


def test_a_closed_pipe_is_not_a_crash(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    schema = [sys.executable, "-P", "-m", "steelyard.audit", "schema"]
    done = subprocess.run(schema, cwd=tmp_path, stdout=write, stderr=subprocess.PIPE, text=True, check=False)
    os.close(write)
    assert done.returncode == 141
    assert done.stderr == ""


def test_a_mistake_in_the_plan_loads_nothing_heavy(here: Path) -> None:
    code = (
        "import sys\nfrom steelyard.audit.cli import main\n"
        "heavy = {'numpy', 'pandas', 'scipy', 'sklearn', 'torch', 'rich'}\n"
        "assert main(['--help']) == 0\n"
        "assert not (heavy | {'pydantic', 'yaml'}) & set(sys.modules)\n"
        "assert main(['plan', 'none.yaml']) == 2\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], cwd=here, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_long_step_says_how_far_it_is(monkeypatch):
    """A line every ten seconds, not one for each of a thousand steps; the bar stands between the steps."""
    clock = [100.0]
    monkeypatch.setattr("steelyard.audit.console.time.monotonic", lambda: clock[0])
    stream = io.StringIO()
    lines = LineProgress(stream)
    lines.start("training references", 2)
    lines.advance("network/cnn")
    for _ in range(30):
        clock[0] += 1
        lines.within((clock[0] - 100) / 40, "network/cnn, epoch 1/2, loss 0.7")
    assert stream.getvalue().count("network/cnn, epoch") == 3
    assert "training references: 25 % (network/cnn, epoch 1/2, loss 0.7)" in stream.getvalue()
    bar = BarProgress(color=False)
    bar.start("training references", 2)
    bar.advance("network/cnn")
    bar.within(0.25, "epoch 1/4")
    assert bar._bars.tasks[0].completed == 0.25
    bar.advance("network/mlp")
    assert bar._bars.tasks[0].completed == 2
    bar.done()
