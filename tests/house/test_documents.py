"""The documents are true: links lead somewhere, plans are valid, verdicts, codes and commands are those of the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from steelyard.audit.cli import COMMANDS
from steelyard.audit.plan_file import load_plan
from steelyard.audit.policy import EXIT_MEANING
from steelyard.audit.prepare import sense
from steelyard.audit.types import Status

LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def documents(own_files: tuple[Path, ...], repo_root: Path) -> dict[Path, str]:
    return {path: (repo_root / path).read_text(encoding="utf-8") for path in own_files if path.suffix == ".md"}


@pytest.fixture(scope="module")
def readme(repo_root: Path) -> str:
    return (repo_root / "README.md").read_text(encoding="utf-8")


def plans(text: str) -> list[str]:
    """The YAML blocks that are whole plans."""
    blocks = [body for language, body in BLOCK.findall(text) if language == "yaml"]
    return [
        body for body in blocks if isinstance(held := yaml.safe_load(body), dict) and {"target", "gates"} <= set(held)
    ]


def test_links_lead_somewhere(documents: dict[Path, str], repo_root: Path) -> None:
    broken = [
        f"{path}: {link}"
        for path, text in documents.items()
        for link in LINK.findall(BLOCK.sub("", text))
        if not re.match("https?:|mailto:", link) and not (repo_root / path.parent / link).exists()
    ]
    assert not broken


def test_plans_in_documents_are_valid(documents: dict[Path, str], tmp_path: Path) -> None:
    found = [(path, body) for path, text in documents.items() for body in plans(text)]
    assert Path("README.md") in {path for path, _ in found}
    for path, body in found:
        file = tmp_path / f"{path.stem}.yaml"
        file.write_text(body, encoding="utf-8")
        assert sense(load_plan(file)).probes, path


def test_example_plans_are_valid(own_files: tuple[Path, ...], repo_root: Path) -> None:
    found = [path for path in own_files if path.parts[0] == "examples" and path.name.endswith("audit.yaml")]
    assert found
    assert all(sense(load_plan(repo_root / path)).probes for path in found)


def test_readme_has_the_seven_verdicts(readme: str) -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", readme, re.MULTILINE)) == {status.value for status in Status}


def test_readme_has_the_exit_codes(readme: str) -> None:
    assert [int(code) for code in re.findall(r"^\| (\d) \|", readme, re.MULTILINE)] == sorted(EXIT_MEANING)


def test_readme_names_commands_that_exist(readme: str) -> None:
    named = set(re.findall(r"^steelyard (\w+)", readme, re.MULTILINE))
    assert named
    assert named <= set(COMMANDS)


def test_decisions_are_numbered_without_a_gap(own_files: tuple[Path, ...], documents: dict[Path, str]) -> None:
    decisions: list[Any] = [path for path in own_files if path.parts[:2] == ("docs", "decisions")]
    assert [int(path.name[:4]) for path in decisions] == list(range(1, len(decisions) + 1))
    for number, path in enumerate(decisions, start=1):
        assert documents[path].startswith(f"# {number}. ")
        assert re.search(r"^\*(Accepted|Superseded by \d+)\.\*", documents[path], re.MULTILINE)
