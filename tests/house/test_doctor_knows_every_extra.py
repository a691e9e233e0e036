"""`steelyard doctor` looks for every extra that pyproject.toml offers to users."""

from __future__ import annotations

import tomllib

from steelyard.audit.commands.doctor import EXTRAS


def test_doctor_knows_every_extra(repo_root):
    project = tomllib.loads((repo_root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(EXTRAS) == set(project["optional-dependencies"]) - {"all", "dev"}
