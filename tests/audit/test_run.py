"""Runs on disk: what is written, that it resumes after kill -9, and that nothing measured is ever lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import pytest

from steelyard.audit import store
from steelyard.audit.cli import main
from steelyard.audit.console import NoProgress
from steelyard.audit.errors import PlanError, StorageError
from steelyard.audit.plan_file import load_plan
from steelyard.audit.record import Record
from steelyard.audit.run import run_audit
from steelyard.audit.store import read_record
from steelyard.audit.target import Probe
from steelyard.audit.types import Direction, Finding, MetricSpec, Status
from steelyard.audit.verify import verify
from steelyard.probes import registry


def run(plan: Path, out: Path, **kwargs) -> Record:
    return run_audit(load_plan(plan), out=out, progress=NoProgress(), **kwargs).record


def test_a_run_writes_what_it_promises(finished_run):
    names = {p.name for p in finished_run.iterdir()}
    assert {"plan.yaml", "record.json", "manifest.json", "evidence", "report.html"} <= names
    record = read_record(finished_run)
    assert [v.status for v in record.verdicts] == [Status.PASS, Status.PASS]
    assert record.exit_code == 0
    plain = json.loads((finished_run / "record.json").read_bytes())
    wanted = {"schema", "plan", "findings", "failures", "inapplicable", "verdicts", "environment", "digest"}
    assert wanted <= plain.keys()
    assert {"gate", "metric", "where", "status", "estimate", "n_needed"} <= plain["verdicts"][0].keys()
    assert record.plan_digest in (finished_run / "plan.yaml").read_text(encoding="utf-8")
    for digest, name in record.evidence.items():
        assert store.sha256((finished_run / "evidence" / name).read_bytes()) == digest


def test_every_number_has_an_interval_an_n_and_a_definition(finished_run):
    record = read_record(finished_run)
    assert len(record.findings) > 100
    for finding in record.findings:
        assert finding.definition
        assert finding.estimate.n >= 1
        assert finding.estimate.low is not None or finding.estimate.no_interval


def test_the_same_plan_gives_the_same_digest_whatever_the_jobs(small_plan, tmp_path, finished_run):
    one = run(small_plan, tmp_path / "one", jobs=1)
    two = run(small_plan, tmp_path / "two", jobs=2)
    assert one.digest == two.digest == read_record(finished_run).digest
    assert one.findings == two.findings


def test_another_seed_or_another_row_gives_another_digest(small_plan, tmp_path, finished_run, rewrite_decisions):
    before = read_record(finished_run).digest
    text = small_plan.read_text(encoding="utf-8")
    small_plan.write_text(text.replace("seed: 5", "seed: 6"), encoding="utf-8")
    assert run(small_plan, tmp_path / "seed").digest != before
    small_plan.write_text(text, encoding="utf-8")
    rewrite_decisions(seed=2)
    assert run(small_plan, tmp_path / "row").digest != before


@pytest.mark.slow
@pytest.mark.parametrize("after", ["plan.yaml", "units:1", "units:3", "record.json"])
def test_kill_minus_nine_and_resume_gives_the_same_digest(after, small_plan, tmp_path, finished_run):
    out = tmp_path / "killed"
    command = [sys.executable, "-P", "-m", "steelyard.audit", "-q", "run", str(small_plan), "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _wait_for(out, after, process)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = len(list((out / "units").glob("*.json"))) if (out / "units").exists() else 0
    record = run(small_plan, out, resume=True)
    assert record.digest == read_record(finished_run).digest
    assert verify(out) == []
    assert kept >= int(after.partition(":")[2] or 0)


def _wait_for(out: Path, after: str, process: subprocess.Popen) -> None:
    name, _, count = after.partition(":")
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        there = len(list((out / name).glob("*.json"))) >= int(count) if count else (out / name).exists()
        if there:
            return
        assert process.poll() is None or (out / name).exists(), "the run ended before it could be killed"
        time.sleep(0.002)
    pytest.fail(f"{after} never appeared")


def test_a_finished_unit_is_not_measured_again(small_plan, tmp_path, monkeypatch, finished_run):
    out = tmp_path / "run"
    run(small_plan, out)
    for name in ("record.json", "manifest.json"):
        (out / name).unlink()
    monkeypatch.setattr("steelyard.audit.units.run_unit", lambda *_: pytest.fail("measured again"))
    assert run(small_plan, out, resume=True).digest == read_record(finished_run).digest


@pytest.mark.parametrize("harm", ["cut", "flip", "evidence"])
def test_a_damaged_unit_is_measured_again(harm, small_plan, tmp_path, finished_run):
    out = tmp_path / "run"
    run(small_plan, out)
    unit = sorted((out / "units").iterdir())[0]
    body = unit.read_bytes()
    if harm == "cut":
        unit.write_bytes(body[: len(body) // 2])
    elif harm == "flip":
        unit.write_bytes(body.replace(b"0", b"1", 1))
    else:
        for path in (out / "evidence").iterdir():
            path.write_bytes(b"not what it was")
    assert run(small_plan, out, resume=True).digest == read_record(finished_run).digest
    assert verify(out) == []


def test_resume_refuses_another_plan_and_a_missing_run(small_plan, tmp_path):
    out = tmp_path / "run"
    run(small_plan, out)
    with pytest.raises(StorageError, match="--resume"):
        run(small_plan, out)
    small_plan.write_text(small_plan.read_text(encoding="utf-8").replace("max: 0.1", "max: 0.2"), encoding="utf-8")
    with pytest.raises(PlanError, match="another plan"):
        run(small_plan, out, resume=True)
    with pytest.raises(StorageError, match="no run here"):
        run(small_plan, tmp_path / "nowhere", resume=True)


def test_a_full_disk_is_one_line_and_what_was_measured_stays(small_plan, tmp_path, monkeypatch, capsys, finished_run):
    out = tmp_path / "run"
    real, calls = os.fsync, []

    def full_after_three_units(descriptor: int) -> None:
        calls.append(descriptor)
        if len(list((out / "units").glob("[!.]*.json"))) >= 3:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(descriptor)

    monkeypatch.setattr(os, "fsync", full_after_three_units)
    assert main(["-q", "run", str(small_plan), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "disk is full" in error
    assert "--resume" in error
    assert len(list((out / "units").glob("[!.]*.json"))) == 3
    assert not list(out.rglob("*.tmp"))
    monkeypatch.setattr(os, "fsync", real)
    assert run(small_plan, out, resume=True).digest == read_record(finished_run).digest


def test_an_unwritable_folder_is_one_line(small_plan, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    assert main(["-q", "run", str(small_plan), "--out", str(tmp_path / "file" / "run")]) == 2
    error = capsys.readouterr().err
    assert len(error.strip().splitlines()) == 1
    assert "--out" in error


@dataclass(frozen=True, kw_only=True)
class Breaks(Probe):
    """Does a crash stay a row?"""

    id: ClassVar[str] = "quality.breaks"
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(id="quality.breaks.first", definition="measured before the crash", direction=Direction.LOWER),
        MetricSpec(id="quality.breaks.second", definition="never measured", direction=Direction.LOWER),
    )

    def run(self, target, sample, references, rng) -> Iterator[Finding]:
        from steelyard.probes.quality.performance import Performance

        one = next(row for row in Performance().run(target, sample, references, rng) if isinstance(row, Finding))
        spec = self.metrics[0]
        yield Finding(
            metric=spec.id,
            target=target.name,
            estimate=one.estimate,
            definition=spec.definition,
            direction=spec.direction,
            ideal=None,
            probe=self.id,
            probe_version=1,
            basis=one.basis,
        )
        raise RuntimeError("planted\ncrash")


@pytest.fixture
def breaking(monkeypatch):
    monkeypatch.setattr(registry, "BUILT_IN", (*registry.BUILT_IN, Breaks))
    registry.all_probes.cache_clear()
    yield
    registry.all_probes.cache_clear()


def test_a_crash_is_a_row_keeps_what_came_before_and_exits_four(breaking, small_plan, tmp_path):
    out = tmp_path / "run"
    assert main(["-q", "run", str(small_plan), "--out", str(out)]) == 4
    record = read_record(out)
    (failure,) = [f for f in record.failures if f.probe == "quality.breaks"]
    assert "RuntimeError: planted crash" in failure.reason
    assert record.findings_of("quality.breaks.first")
    assert [v.status for v in record.verdicts] == [Status.PASS, Status.PASS]  # the gates are not touched by it
    assert "planted" in record.environment["tracebacks"][0]
    report = (out / "report.html").read_text(encoding="utf-8")
    assert "planted crash" in report


def test_a_gate_on_what_crashed_is_not_measured(breaking, small_plan, tmp_path):
    text = small_plan.read_text(encoding="utf-8")
    text = text.replace("{metric: quality.accuracy, min: 0.5}", "{metric: quality.breaks.second, max: 0.5}")
    small_plan.write_text(text, encoding="utf-8")
    record = run(small_plan, tmp_path / "run")
    assert record.verdicts[1].status is Status.NOT_MEASURED
    assert "planted crash" in record.verdicts[1].reason
    assert record.exit_code == 4


def test_a_failed_gate_beats_a_crash(breaking, small_plan, tmp_path, rewrite_decisions):
    rewrite_decisions(gap=0.5)
    assert run(small_plan, tmp_path / "run").exit_code == 1


def test_a_crashed_probe_is_tried_again_on_resume(small_plan, tmp_path, monkeypatch, finished_run):
    from steelyard.probes.quality.calibration import Calibration

    out = tmp_path / "run"
    whole = Calibration.run

    def out_of_memory(*_):
        raise MemoryError
        yield

    monkeypatch.setattr(Calibration, "run", out_of_memory)
    assert run(small_plan, out).exit_code == 4
    monkeypatch.setattr(Calibration, "run", whole)
    for name in ("record.json", "manifest.json"):
        (out / name).unlink()
    assert run(small_plan, out, resume=True).digest == read_record(finished_run).digest


def test_a_worker_that_dies_is_a_failure_and_not_a_hang(small_plan, tmp_path, monkeypatch):
    """The operating system kills a worker (out of memory): every unit it did not finish is a row."""

    def dies(*_):
        raise RuntimeError("a worker process was terminated")

    monkeypatch.setattr("joblib.Parallel", lambda **_: dies)
    record = run(small_plan, tmp_path / "run", jobs=2)
    assert record.exit_code == 4
    planned = {"quality.performance", "quality.calibration", "fairness.selection-rate", "fairness.error-rates"}
    assert {f.probe for f in record.failures} == planned
    assert all("worker process died" in f.reason for f in record.failures)


def test_rule_1_fixed_before_the_run_and_exploratory_after(finished_run, tmp_path, small_plan, capsys):
    base = finished_run.parent
    digest = read_record(finished_run).digest
    assert main(["-q", "gate", str(finished_run), "--format", "json"]) == 0
    same = json.loads(capsys.readouterr().out)
    assert same["exploratory"] == ""
    assert same["record_digest"] == digest
    edited = base / "stricter.yaml"
    text = (base / "audit.yaml").read_text(encoding="utf-8")
    edited.write_text(text.replace("max: 0.1", "max: 0.001"), encoding="utf-8")
    assert main(["-q", "gate", str(finished_run), "--plan", str(edited), "--format", "json"]) == 3
    again = json.loads(capsys.readouterr().out)
    assert "gate" in again["exploratory"]
    assert [v["exploratory"] for v in again["verdicts"]] == [True, False]
    assert again["verdicts"][0]["status"] == "inconclusive"
    fewer = base / "fewer.yaml"
    kept = [line for line in text.splitlines() if "selection-rate.difference" not in line]
    fewer.write_text("\n".join(kept), encoding="utf-8")
    assert main(["-q", "gate", str(finished_run), "--plan", str(fewer), "--format", "json"]) == 0
    less = json.loads(capsys.readouterr().out)
    assert "taken out after the run: gate 1" in less["exploratory"]
    assert all(v["exploratory"] for v in less["verdicts"])
    assert verify(finished_run) == []  # looking again changes nothing


def test_every_changed_byte_is_found(finished_run, tmp_path):
    import random

    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    assert verify(copy) == []
    dice = random.Random(3)
    for path in sorted(p for p in copy.rglob("*") if p.is_file()):
        body = path.read_bytes()
        for place in {0, len(body) - 1, *(dice.randrange(len(body)) for _ in range(4))}:
            path.write_bytes(body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :])
            assert verify(copy), f"byte {place} of {path.name}"
        path.write_bytes(body + b"\n")
        assert verify(copy), f"a byte added to {path.name}"
        path.unlink()
        assert verify(copy), f"{path.name} removed"
        path.write_bytes(body)
    (copy / "extra.txt").write_text("more", encoding="utf-8")
    assert verify(copy) == ["extra.txt: was added after the audit"]


def test_verify_exits_five_and_checks_a_digest_kept_elsewhere(finished_run, tmp_path, capsys):
    digest = read_record(finished_run).digest
    assert main(["verify", str(finished_run), "--digest", digest]) == 0
    assert main(["verify", str(finished_run), "--digest", "0" * 64]) == 5
    copy = tmp_path / "copy"
    shutil.copytree(finished_run, copy)
    record = (copy / "record.json").read_bytes()
    (copy / "record.json").write_bytes(record.replace(b'"status":"pass"', b'"status":"fail"', 1))
    assert main(["verify", str(copy)]) == 5
    assert "record.json: was changed" in capsys.readouterr().out
