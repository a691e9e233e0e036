"""The spine: what an audit is. `from steelyard.audit import audit` is all a notebook needs.

Importing this package is light: names are loaded when they are first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from steelyard.audit.api import audit
    from steelyard.audit.errors import SteelyardError
    from steelyard.audit.record import Record
    from steelyard.audit.target import Groups, Probe, References, Sample, Target
    from steelyard.audit.types import Estimate, Failure, Finding, Inapplicable, MetricSpec, Status, Verdict

__all__ = [
    "Estimate",
    "Failure",
    "Finding",
    "Groups",
    "Inapplicable",
    "MetricSpec",
    "Probe",
    "Record",
    "References",
    "Sample",
    "Status",
    "SteelyardError",
    "Target",
    "Verdict",
    "audit",
]

_HOMES = {
    "audit": "api",
    "Record": "record",
    "SteelyardError": "errors",
    **dict.fromkeys(("Groups", "Probe", "References", "Sample", "Target"), "target"),
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES.get(name, 'types')}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
