"""The errors a person can meet, as one tree.

Every message says what was wrong, where, what is allowed and what to do, on one line. The command prints it
without a traceback and leaves with `exit_code`. A defect of Steelyard itself is never one of these.

    SteelyardError
    ├── PlanError            the plan (or the call) is wrong                     exit 2
    ├── DataError            a data file cannot be read or does not fit the plan exit 2
    ├── TargetError          a model cannot be loaded or does not fit the data   exit 2
    │   └── UnsafeArtifact   a model file that would run code when opened        exit 2
    ├── StorageError         the run folder cannot be written or read            exit 2
    ├── PluginError          a third party's plugin does not load                exit 2
    ├── ProbeError           a probe cannot give a number: becomes a `Failure`   exit 4
    │   └── NotApplicable    the probe does not fit: becomes an `Inapplicable`   exit 4
    └── IntegrityError       a record's bytes are not what its manifest says     exit 5
"""

from __future__ import annotations

from typing import ClassVar

__all__ = [
    "DataError",
    "IntegrityError",
    "NotApplicable",
    "PlanError",
    "PluginError",
    "ProbeError",
    "SteelyardError",
    "StorageError",
    "TargetError",
    "UnsafeArtifact",
]


class SteelyardError(Exception):
    """A mistake or a misfortune that a person can do something about.

    `where` is a file, a line or a key; `hint` is what to do. `str()` joins them into one line.
    """

    exit_code: ClassVar[int] = 2

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        self.message = message
        self.where = where
        self.hint = hint
        super().__init__(str(self))

    def __str__(self) -> str:
        text = f"{self.where}: {self.message}" if self.where else self.message
        return " ".join((f"{text}; {self.hint}" if self.hint else text).split())

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), self.message, self.where, self.hint)


def _rebuild(kind: type[SteelyardError], message: str, where: str, hint: str) -> SteelyardError:
    return kind(message, where=where, hint=hint)


class PlanError(SteelyardError):
    """The plan file, or the call from Python or the shell, is wrong."""


class DataError(SteelyardError):
    """A data file is missing, unreadable, or does not hold what the plan says."""


class TargetError(SteelyardError):
    """A model cannot be loaded, or its outputs do not fit the data."""


class UnsafeArtifact(TargetError):
    """A model file that can run code when opened, without the trust it needs."""


class StorageError(SteelyardError):
    """The run folder cannot be written or read."""


class PluginError(SteelyardError):
    """A third party's plugin is named but does not load."""


class ProbeError(SteelyardError):
    """A probe cannot give an honest number; the runner turns it into a `Failure` row."""

    exit_code = 4


class NotApplicable(ProbeError):
    """The probe does not fit this target or this data; becomes an `Inapplicable` row."""


class IntegrityError(SteelyardError):
    """A byte of a run folder is not what its manifest says."""

    exit_code = 5
