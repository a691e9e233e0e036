"""Starting costs little: the command's help, the package and the reports load none of the heavy libraries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

HEAVIEST = {"torch", "transformers", "shap", "captum", "opacus"}
HEAVY = HEAVIEST | {"pandas", "scipy", "sklearn", "skops", "pyarrow", "matplotlib"}

LOADED = "import json, sys; print(); print(json.dumps(sorted({name.split('.')[0] for name in sys.modules})))"
HELP = """
import runpy, sys
sys.argv = ["steelyard", "--help"]
try:
    runpy.run_module("steelyard.audit", run_name="__main__", alter_sys=True)
except SystemExit as leaving:
    assert not leaving.code, leaving.code
"""


def loaded_by(code: str, folder: Path) -> set[str]:
    """Names of the top-level modules that a fresh interpreter holds after `code`."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", f"{code}\n{LOADED}"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


@pytest.mark.parametrize(
    ("code", "heavy"),
    [
        pytest.param("import steelyard.audit", HEAVY | {"numpy", "pydantic", "yaml", "jinja2"}, id="the package"),
        pytest.param(HELP, HEAVY | {"numpy", "pydantic", "jinja2"}, id="the help"),
        pytest.param("import steelyard.audit.plan", HEAVY | {"numpy"}, id="the plan"),
        pytest.param("import steelyard.audit.record", HEAVY, id="the record"),
        pytest.param("import steelyard.probes, steelyard.models", HEAVIEST, id="probes and models"),
    ],
)
def test_import_is_light(code: str, heavy: set[str], tmp_path: Path) -> None:
    assert not loaded_by(code, tmp_path) & heavy


def test_reports_need_no_array_library(tmp_path: Path, room_modules: tuple[Path, ...]) -> None:
    names = [
        ".".join(("steelyard", *path.with_suffix("").parts)) for path in room_modules if path.parts[0] == "reports"
    ]
    code = "\n".join(f"import {name.removesuffix('.__init__')}" for name in names)
    assert not loaded_by(code, tmp_path) & (HEAVY | {"numpy"})


def test_a_heavy_import_would_be_noticed(tmp_path: Path) -> None:
    assert {"numpy", "scipy"} <= loaded_by("import scipy.special", tmp_path)


def test_a_users_own_packages_of_the_same_names_do_not_collide(tmp_path: Path) -> None:
    for room in ("models", "audit", "probes", "reports"):
        (tmp_path / f"{room}.py").write_text("WHOSE = 'the user'\n", encoding="utf-8")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\nimport steelyard.models, models, audit, probes, reports\n"
    )
    code += "assert {m.WHOSE for m in (models, audit, probes, reports)} == {'the user'}"
    assert "steelyard" in loaded_by(code, tmp_path)
