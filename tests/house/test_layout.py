"""The repository's own shape: folders and packages agree, files stay small, nothing foreign lies about."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

AT_THE_TOP = {
    *("audit", "models", "probes", "reports", "tests", "docs", "examples", "benchmarks", "scripts"),
    *("pyproject.toml", "Makefile", "constraints.txt", "README.md", "LICENSE", "NOTICE", "CHANGELOG.md"),
}
# Spelled in parts, so that this file does not hold what it forbids.
FORBIDDEN = {
    "a note to oneself": re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b"),
    "a path of one machine": re.compile("/wo" + r"rk/|/ro" + r"ot/|/ho" + r"me/[a-z]+/|/tm" + r"p/[a-z]"),
    "a package registry's host": re.compile(r"py" + r"pi\.org|python" + r"hosted\.org|registry\.np" + r"mjs"),
    "a trace of conflict": re.compile(r"^(<<<<" + r"<<<|>>>>" + r">>>) ", re.MULTILINE),
}
LONGEST = 500


def test_every_folder_is_a_listed_package(
    pyproject: dict[str, Any], room_modules: tuple[Path, ...], repo_root: Path
) -> None:
    folders = {path.parent for path in room_modules}
    listed = set(pyproject["tool"]["setuptools"]["packages"])
    assert listed == {".".join(("steelyard", *folder.parts)) for folder in folders}
    assert all((repo_root / folder / "__init__.py").is_file() for folder in folders)


def test_package_names_mirror_folders(pyproject: dict[str, Any], rooms: tuple[str, ...]) -> None:
    assert pyproject["tool"]["setuptools"]["package-dir"] == {f"steelyard.{room}": room for room in rooms}


def test_symlinks_for_the_type_checkers_resolve(repo_root: Path, rooms: tuple[str, ...]) -> None:
    links = {path.name: path for path in (repo_root / ".ns" / "steelyard").iterdir()}
    assert set(links) == set(rooms)
    for name, link in links.items():
        assert link.is_symlink(), f"{link} is a copy, not a link"
        assert link.resolve() == repo_root / name


def test_every_room_says_it_is_typed(repo_root: Path, rooms: tuple[str, ...]) -> None:
    assert all((repo_root / room / "py.typed").is_file() for room in rooms)


def test_only_known_entries_at_the_top(own_files: tuple[Path, ...]) -> None:
    top = {path.parts[0] for path in own_files}
    assert {name for name in top if not name.startswith(".")} <= AT_THE_TOP


def test_tests_are_no_packages(own_files: tuple[Path, ...]) -> None:
    tests = [path for path in own_files if path.parts[0] == "tests"]
    assert not [path for path in tests if path.name == "__init__.py"]
    names = [path.name for path in tests if path.name.startswith("test_")]
    assert not {name for name in names if names.count(name) > 1}, "two test files of one name"


def test_no_file_is_long(room_modules: tuple[Path, ...], repo_root: Path) -> None:
    lengths = {path: len((repo_root / path).read_text(encoding="utf-8").splitlines()) for path in room_modules}
    assert not {str(path): n for path, n in lengths.items() if n > LONGEST}


def test_every_module_says_what_it_is(room_modules: tuple[Path, ...], repo_root: Path) -> None:
    trees = {path: ast.parse((repo_root / path).read_text(encoding="utf-8")) for path in room_modules}
    assert not [str(path) for path, tree in trees.items() if not ast.get_docstring(tree)]


def test_no_module_is_named_for_nothing(room_modules: tuple[Path, ...]) -> None:
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "base", "manager", "handler"}
    assert not [str(path) for path in room_modules if path.stem in vague]


@pytest.mark.parametrize("what", FORBIDDEN)
def test_no_file_holds(what: str, own_files: tuple[Path, ...], repo_root: Path) -> None:
    found = []
    for path in own_files:
        if (repo_root / path).is_symlink():
            continue
        try:
            text = (repo_root / path).read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            continue  # a parquet file or a picture
        found += [f"{path}: {hit.group()}" for hit in FORBIDDEN[what].finditer(text)]
    assert not found


@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("a note to oneself", "# TO" + "DO: later"),
        ("a path of one machine", "/wo" + "rk/main"),
        ("a package registry's host", "https://py" + "pi.org/simple"),
        ("a trace of conflict", "a\n<<<<" + "<<< HEAD\n"),
    ],
)
def test_what_is_forbidden_is_recognised(what: str, text: str) -> None:
    assert FORBIDDEN[what].search(text)
