"""From a plan's file to a validated `Plan`: every mistake is one line that names the file, the line and the way out.

`load_plan` checks the shape (keys, types, limits); `check`, of `audit/plan_check.py`, checks the sense against the
probes, metrics and recipes that are installed. Both gather all they find before they raise.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import Plan
from steelyard.audit.plan_check import check
from steelyard.audit.plan_faults import unsound_numbers, violations
from steelyard.audit.plan_lines import PlanText, read_toml, read_yaml
from steelyard.audit.plan_source import PlanErrors, PlanSource, raise_all

__all__ = ["PlanErrors", "PlanSource", "check", "load_plan", "parse_plan"]

MAX_BYTES = 1_000_000


def load_plan(path: str | Path) -> PlanSource:
    """Read and validate `audit.yaml`, or `[tool.steelyard]` of a pyproject.toml.

    Raises PlanError where the file cannot be read, PlanErrors with every violation where the plan is wrong.
    """
    path = Path(path)
    text = _read_text(path)
    read = read_toml if path.suffix.lower() == ".toml" else read_yaml
    return _validated(read(text, str(path)), text=text, path=path, base=path.absolute().parent)


def parse_plan(data: Mapping[str, Any], *, base: Path | None = None, name: str = "plan") -> PlanSource:
    """Validate a plan that is already plain data, for a call from Python. Raises PlanErrors."""
    text = PlanText(data=data, lines={})
    return _validated(text, text="", path=Path(name), base=(base or Path.cwd()).absolute())


def _read_text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        raise PlanError("does not exist", where=str(path), hint="'steelyard init DATA' writes a plan") from None
    except IsADirectoryError:
        raise PlanError("is a folder", where=str(path), hint="name the plan file in it") from None
    except OSError as error:
        raise PlanError(f"cannot be read: {error.strerror}", where=str(path)) from None
    if len(raw) > MAX_BYTES:
        raise PlanError(f"is larger than {MAX_BYTES:,} bytes, which no plan is", where=str(path))
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise PlanError("is not UTF-8 text", where=f"{path}:{line}", hint="save it as UTF-8") from None


def _validated(read: PlanText, *, text: str, path: Path, base: Path) -> PlanSource:
    found = list(read.faults)
    plan: Plan | None = None
    try:
        plan = Plan.model_validate(read.data)
    except ValidationError as error:
        found += violations(error, read, str(path))
    found += unsound_numbers(plan, read, str(path))
    raise_all(found)
    assert plan is not None  # noqa: S101 (a ValidationError has at least one error, so raise_all has raised)
    return PlanSource(plan=plan, text=text, path=path, base=base, lines=read.lines)
