"""Where a browser is promised, its tests may not fall away unnoticed."""

from __future__ import annotations

import importlib.util
import os
import subprocess

import pytest


@pytest.mark.browser
@pytest.mark.skipif(
    os.environ.get("STEELYARD_REQUIRE_BROWSER") != "1", reason="no browser promised: STEELYARD_REQUIRE_BROWSER is not 1"
)
def test_promised_browser_and_its_driver_are_there() -> None:
    browser = os.environ.get("STEELYARD_CHROMIUM", "/usr/bin/chromium")
    shown = subprocess.run([browser, "--version"], capture_output=True, text=True, check=True, timeout=60)
    assert "Chrom" in shown.stdout
    assert importlib.util.find_spec("playwright") is not None
    assert importlib.util.find_spec("axe_playwright_python") is not None
