"""Open a plan for a command, and say what in it is worth a second look."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.audit.console import Console

if TYPE_CHECKING:
    from steelyard.audit.plan_source import PlanSource

__all__ = ["open_plan"]


def open_plan(path: str | Path, console: Console) -> PlanSource:
    """The validated plan; its remarks go to standard error. Raises PlanErrors with every violation."""
    from steelyard.audit.plan_check import remarks
    from steelyard.audit.plan_file import load_plan
    from steelyard.probes.registry import metric_specs

    source = load_plan(path)
    for remark in remarks(source.plan, source, metrics=metric_specs()):
        console.note(f"steelyard: note: {remark}")
    return source
