"""The Makefile: the demo needs no development tools, success is quiet, failure shows everything and fails."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


@pytest.fixture
def house(tmp_path: Path, repo_root: Path) -> Path:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(repo_root / name, tmp_path)
    return tmp_path


def make(house: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`make` as a person would call it, even where these tests run below another make."""
    environment = {name: value for name, value in os.environ.items() if not re.match("MAKE|MFLAGS|PYTHON$", name)}
    return subprocess.run(
        ["make", *arguments], cwd=house, env=environment, capture_output=True, text=True, check=False, timeout=60
    )


def script(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def pretend_installed(house: Path, python: str) -> None:
    script(house / ".venv" / "bin" / "python", python)
    for stamp in (".made", ".core", ".dev"):
        (house / ".venv" / stamp).touch()


def test_demo_installs_the_core_alone(house: Path) -> None:
    shown = make(house, "-n", "demo").stdout
    assert "--editable ." in shown
    assert "[dev]" not in shown
    assert "examples/adult/demo.py" in shown
    assert "[dev]" in make(house, "-n", "test").stdout


def test_installs_are_pinned_and_fetch_no_build_backend(house: Path) -> None:
    installs = [line for line in make(house, "-n", "test", "demo").stdout.splitlines() if "pip install" in line]
    assert installs
    assert all("--constraint constraints.txt" in line and "--no-build-isolation" in line for line in installs)


def test_a_second_run_installs_nothing(house: Path) -> None:
    pretend_installed(house, "exit 0")
    for target in ("demo", "test", "lint"):
        assert "pip install" not in make(house, "-n", target).stdout


@pytest.mark.parametrize("changed", ["pyproject.toml", "constraints.txt"])
def test_a_changed_requirement_installs_again(changed: str, house: Path) -> None:
    pretend_installed(house, "exit 0")
    later = (house / ".venv" / ".dev").stat().st_mtime + 10
    os.utime(house / changed, (later, later))
    assert "pip install" in make(house, "-n", "test").stdout


def test_success_is_quiet(house: Path) -> None:
    pretend_installed(house, "echo a great deal; exit 0")
    done = make(house, "lint")
    assert done.returncode == 0
    assert done.stdout == "ruff\n"


def test_failure_is_shown_whole_and_fails(house: Path) -> None:
    pretend_installed(house, "echo said on the way; echo and on stderr >&2; exit 3")
    done = make(house, "lint")
    assert done.returncode != 0
    assert "said on the way" in done.stdout
    assert "and on stderr" in done.stdout


def test_failing_tests_fail(house: Path) -> None:
    pretend_installed(house, "echo 1 failed; exit 1")
    assert make(house, "test").returncode != 0


def test_an_old_python_is_refused_by_name(house: Path) -> None:
    script(house / "python3.9", "exit 1")
    done = make(house, "demo", "PYTHON=./python3.9")
    assert done.returncode != 0
    assert "python3.9 is older than Python 3.11" in done.stdout
    assert not (house / ".venv").exists()


def test_help_names_the_commands(house: Path) -> None:
    shown = make(house).stdout
    assert all(f"make {name}" in shown for name in ("demo", "test", "check", "bench", "clean"))


def test_clean_keeps_what_is_the_users(house: Path) -> None:
    for kept in ("runs/one/record.json", ".venv/lib/__pycache__/a.pyc"):
        (house / kept).parent.mkdir(parents=True)
        (house / kept).touch()
    for gone in ("build/lib", "audit/__pycache__", ".mypy_cache"):
        (house / gone).mkdir(parents=True)
    assert make(house, "clean").returncode == 0
    assert (house / "runs/one/record.json").exists()
    assert (house / ".venv/lib/__pycache__/a.pyc").exists()
    assert not any((house / gone).exists() for gone in ("build", "audit/__pycache__", ".mypy_cache"))
