"""The benchmark runner finds files, keeps their rows, and calls a crash a crash and a missed target a missed target."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import pytest

GOOD = 'def main():\n    return [{"name": "fast", "value": 1, "unit": "s", "target": 5, "ok": True, "ratio": 150000.0}]'
SLOW = 'def main():\n    return [{"name": "slow", "value": 2.0, "unit": "s", "target": 0.05, "ok": False}]'


@pytest.fixture
def run(repo_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmarks_run", repo_root / "benchmarks" / "run.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "OUT", tmp_path / "out")
    monkeypatch.setattr(module.discover, "__defaults__", (tmp_path,))
    monkeypatch.setattr(module.measure, "__defaults__", (tmp_path / "out",))
    return module


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")


def test_table_and_json(run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path, good=GOOD)
    assert run.main([]) == 0
    shown = capsys.readouterr().out
    assert "meets" in shown
    assert "150,000 x" in shown
    kept = json.loads((tmp_path / "out" / "latest.json").read_text(encoding="utf-8"))
    assert [row["name"] for row in kept["rows"]] == ["fast"]


def test_a_missed_target_is_said_and_not_punished(
    run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, good=GOOD, slow=SLOW)
    assert run.main([]) == 0
    assert "misses target" in capsys.readouterr().out


@pytest.mark.parametrize(
    "broken",
    ["raise RuntimeError('no data')", "x = 1", "def main():\n    return [{'name': 'half'}]", "import os\nos._exit(0)"],
)
def test_a_crash_fails_and_the_others_still_run(
    broken: str, run: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path, broken=broken, good=GOOD)
    assert run.main([]) == 1
    assert "fast" in capsys.readouterr().out


def test_old_rows_do_not_stand_in_for_a_crash(run: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, good=GOOD)
    assert run.main([]) == 0
    write(tmp_path, good="raise SystemExit(3)")
    assert run.main([]) == 1


def test_an_unknown_name_lists_the_known(run: ModuleType, tmp_path: Path) -> None:
    write(tmp_path, good=GOOD)
    with pytest.raises(SystemExit, match="there are: good"):
        run.main(["bad"])
