"""What pip installs: exactly the four rooms, with the right metadata, and it starts without the checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

DATA_SUFFIXES = (".csv", ".parquet", ".npz", ".npy", ".pkl", ".joblib", ".skops", ".safetensors", ".zip", ".gz")
BUNDLED = {"steelyard/models/data/adult.parquet"}
LARGEST = 3_000_000


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, repo_root: Path, own_files: tuple[Path, ...]) -> Path:
    """A folder with the sdist, and the wheel built from that sdist, without network and outside the checkout."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for path in own_files:
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(repo_root / path, source / path, follow_symlinks=False)
    done = subprocess.run(
        [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(source)],
        env=os.environ | {"PIP_NO_INDEX": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> Path:
    (found,) = built.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def contents(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if not name.endswith("/")}


@pytest.fixture(scope="module")
def metadata(wheel: Path, contents: set[str]) -> Message:
    (name,) = [name for name in contents if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as archive:
        return Parser().parsestr(archive.read(name).decode("utf-8"))


def test_wheel_holds_the_rooms_and_nothing_else(
    contents: set[str], own_files: tuple[Path, ...], rooms: tuple[str, ...]
) -> None:
    ours = {name for name in contents if ".dist-info/" not in name}
    assert ours == {f"steelyard/{path.as_posix()}" for path in own_files if path.parts[0] in rooms}


def test_no_data_leaks(contents: set[str], wheel: Path) -> None:
    assert {name for name in contents if name.endswith(DATA_SUFFIXES)} <= BUNDLED
    assert wheel.stat().st_size < LARGEST


def test_source_archive_holds_no_data_either(built: Path) -> None:
    (archive,) = built.glob("*.tar.gz")
    with tarfile.open(archive) as held:
        names = {name.split("/", 1)[1] for name in held.getnames() if "/" in name}
    assert {f"steelyard/{name}" for name in names if name.endswith(DATA_SUFFIXES)} <= BUNDLED
    assert {"LICENSE", "NOTICE", "pyproject.toml", "audit/types.py"} <= names


def test_metadata(metadata: Message, pyproject: dict[str, Any], repo_root: Path) -> None:
    project = pyproject["project"]
    assert metadata["Name"] == "steelyard"
    assert metadata["Version"] == project["version"]
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["License-Expression"] == "Apache-2.0"
    assert metadata.get_all("License-File") == ["LICENSE", "NOTICE"]
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert set(metadata.get_all("Provides-Extra") or ()) == set(project["optional-dependencies"])
    required = [line for line in metadata.get_all("Requires-Dist") or () if "extra ==" not in line]
    assert len(required) == len(project["dependencies"])


def test_licence_and_attribution_travel_along(contents: set[str], wheel: Path, repo_root: Path) -> None:
    for text in ("LICENSE", "NOTICE"):
        (name,) = [name for name in contents if name.endswith(f".dist-info/licenses/{text}")]
        with zipfile.ZipFile(wheel) as archive:
            assert archive.read(name) == (repo_root / text).read_bytes()


def test_wheel_starts_without_the_checkout(wheel: Path, tmp_path: Path, pyproject: dict[str, Any]) -> None:
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    done = subprocess.run(
        [sys.executable, "-P", "-m", "steelyard.audit", "--version"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert pyproject["project"]["version"] in done.stdout
    where = "import steelyard.audit as a, steelyard.reports as r; print(a.__file__); print(r.__file__)"
    found = subprocess.run(
        [sys.executable, "-P", "-c", where],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(site)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(line.startswith(str(site)) for line in found.stdout.split()), "the checkout answered, not the wheel"
    assert (site / "bin" / "steelyard").is_file()
