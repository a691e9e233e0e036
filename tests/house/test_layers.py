"""Imports go one way: the contracts hold, cover every module, and notice a violation."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"
VIOLATIONS = {
    "a noun imports a probe": ("audit/types.py", "import steelyard.probes.stats"),
    "a model imports a report": ("models/__init__.py", "import steelyard.reports"),
    "a probe imports the judge": ("probes/fairness/__init__.py", "import steelyard.audit.judge"),
    "the plan imports a model": ("audit/plan.py", "import steelyard.models"),
    "a report imports a probe": ("reports/__init__.py", "import steelyard.probes.quality"),
    "a report imports torch": ("reports/__init__.py", "import torch"),
    "a report imports pandas inside a function": ("reports/__init__.py", "def f():\n    import pandas"),
    "statistics import scikit-learn": ("probes/stats/__init__.py", "import sklearn"),
    "a probe computes with an oracle": ("probes/quality/__init__.py", "import fairlearn"),
}


def lint(rooms_at: Path) -> subprocess.CompletedProcess[str]:
    """Run the project's contracts on the packages below `rooms_at`, a folder with `steelyard/` in it."""
    return subprocess.run(
        [sys.executable, "-c", LINT, "--config", "pyproject.toml", "--no-logo", "--no-cache"],
        cwd=rooms_at,
        env=os.environ | {"PYTHONPATH": str(rooms_at), "COLUMNS": "200"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path, repo_root: Path, rooms: tuple[str, ...]) -> Path:
    for room in rooms:
        ignored = shutil.ignore_patterns("__pycache__", "*.parquet")
        shutil.copytree(repo_root / room, tmp_path / "steelyard" / room, ignore=ignored)
    shutil.copy(repo_root / "pyproject.toml", tmp_path)
    return tmp_path


def test_contracts_hold(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("what", VIOLATIONS)
def test_a_violation_is_noticed(what: str, copy: Path) -> None:
    name, line = VIOLATIONS[what]
    module = copy / "steelyard" / name
    module.write_text(f"{module.read_text(encoding='utf-8')}\n{line}\n", encoding="utf-8")
    done = lint(copy)
    assert done.returncode != 0, f"{what}, and nobody noticed"
    assert "BROKEN" in done.stdout


def test_every_module_of_the_spine_has_its_layer(pyproject: dict[str, Any], room_modules: tuple[Path, ...]) -> None:
    """A module that no layer names would be bound by no contract."""
    rooms = next(c for c in pyproject["tool"]["importlinter"]["contracts"] if c["id"] == "rooms")
    named = set(re.findall(r"steelyard\.audit\.(\w+)", " ".join(rooms["layers"])))
    spine = {path.parts[1].removesuffix(".py") for path in room_modules if path.parts[0] == "audit"}
    assert spine - {"__init__"} <= named
