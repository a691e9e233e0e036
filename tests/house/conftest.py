"""What the tests of the house share: the project's own files, and its metadata."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOMS = ("audit", "models", "probes", "reports")


@pytest.fixture(scope="session")
def rooms() -> tuple[str, ...]:
    return ROOMS


@pytest.fixture(scope="session")
def pyproject(repo_root: Path) -> dict[str, Any]:
    return tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def own_files(repo_root: Path) -> tuple[Path, ...]:
    """Every file that is committed or would be, relative to the root: what git ignores is nobody's business."""
    if shutil.which("git") is None or not (repo_root / ".git").exists():
        pytest.skip("not a git checkout: which files belong to the project cannot be told")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=repo_root,
        check=True,
        capture_output=True,
    )
    names = sorted(set(listed.stdout.decode().split("\0")) - {""})
    return tuple(Path(name) for name in names if (repo_root / name).is_symlink() or (repo_root / name).is_file())


@pytest.fixture(scope="session")
def room_modules(own_files: tuple[Path, ...]) -> tuple[Path, ...]:
    """The Python files of the four rooms."""
    return tuple(path for path in own_files if path.suffix == ".py" and path.parts[0] in ROOMS)
