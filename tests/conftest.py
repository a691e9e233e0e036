"""Fixtures every room shares."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def repo_root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (never committed): $STEELYARD_DATA, else ../shared/data beside the project."""
    named = os.environ.get("STEELYARD_DATA")
    folder = Path(named) if named else ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}: set STEELYARD_DATA to the folder that holds compas/, adult_uci/ …")
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Trained references are cached for the test session, never in the user's own cache."""
    base = tmp_path_factory.getbasetemp() / "steelyard-cache"
    monkeypatch.setenv("STEELYARD_CACHE", os.environ.get("STEELYARD_TEST_CACHE", str(base)))
