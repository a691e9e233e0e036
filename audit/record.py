"""The record of an audit: all that was measured and judged, and the digest that covers it.

`record.json` alone feeds every report. Its digest covers the plan, the fingerprints, the findings, failures and
verdicts and the versions; host, times and cost are kept in `environment`, outside it, so that the same plan, data and
model give the same digest on another day.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cache
from typing import Any

from steelyard.audit.canonical import FrozenMap, canonical_json, digest, to_plain
from steelyard.audit.errors import IntegrityError
from steelyard.audit.types import Failure, Finding, Inapplicable, Scalar, Verdict

__all__ = ["SCHEMA", "GroupCount", "Record", "SampleCard", "TargetCard", "TrainedCard"]

SCHEMA = "steelyard.record/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedCard:
    """How a reference came to be. `metrics` are on the training rows, `curves` hold one value an epoch.

    What the training cost depends on the machine and stands in the record's environment, under `training`.
    """

    recipe: str
    seed: int
    n_train: int
    data: str  # the fingerprint of the training rows
    metrics: Mapping[str, float] = field(default_factory=FrozenMap)
    curves: Mapping[str, tuple[float, ...]] = field(default_factory=FrozenMap)
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "metrics", FrozenMap(self.metrics))
        object.__setattr__(self, "curves", FrozenMap(self.curves))


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetCard:
    """One model of the audit: the candidate or a reference. `training` is there where Steelyard trained it."""

    name: str
    role: str  # "candidate" or "reference"
    kind: str
    task: str
    fingerprint: str
    capabilities: tuple[str, ...]
    description: str = ""
    settings: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    training: TrainedCard | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "settings", FrozenMap(self.settings))


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupCount:
    """How many rows of the sample one group has."""

    attribute: str
    group: str
    n: int
    unknown: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleCard:
    """The rows of the audit: where from, how many, how many of each group and class."""

    source: str
    fingerprint: str
    n: int
    n_train: int | None
    task: str
    modality: str
    classes: tuple[str, ...]
    class_counts: tuple[int, ...]
    groups: tuple[GroupCount, ...]
    weighted: bool = False
    clusters: int | None = None
    licence: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, repr=False)
class Record:
    """Everything an audit found. `judged` is False where it had no gates: "measured, not judged".

    `uncovered` are required families of which nothing was measured, each of them an incomplete audit.
    """

    plan: Mapping[str, Any]
    plan_digest: str
    targets: tuple[TargetCard, ...]
    sample: SampleCard
    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    inapplicable: tuple[Inapplicable, ...]
    verdicts: tuple[Verdict, ...]
    uncovered: tuple[str, ...]
    exit_code: int
    judged: bool
    versions: Mapping[str, str]
    evidence: Mapping[str, str]  # digest -> file name under evidence/
    environment: Mapping[str, Any] = field(default_factory=dict)
    exploratory: str = ""  # why the verdicts are exploratory: thresholds changed after the run
    schema: str = SCHEMA
    digest: str = ""

    def sealed(self) -> Record:
        """The same record with its digest filled in."""
        return replace(self, digest=self.computed_digest())

    def computed_digest(self) -> str:
        """SHA-256 of the canonical JSON of all but `environment` and `digest`."""
        covered = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in {"environment", "digest"}}
        return digest(covered)

    def to_plain(self) -> dict[str, Any]:
        """Plain data, as in record.json."""
        plain: dict[str, Any] = to_plain(self)
        return plain

    def to_bytes(self) -> bytes:
        """The bytes of record.json: canonical JSON and a newline."""
        return canonical_json(self) + b"\n"

    @classmethod
    def from_bytes(cls, data: bytes, *, where: str = "record.json") -> Record:
        """Read record.json. Raises IntegrityError where it is not one, or its digest does not fit."""
        try:
            plain = json.loads(data)
            schema = plain.get("schema")
        except (ValueError, AttributeError) as error:
            raise IntegrityError(f"is not a record: {error}", where=where) from None
        if schema != SCHEMA:
            raise IntegrityError(f"has schema {schema!r}; this version reads {SCHEMA!r}", where=where)
        try:
            record: Record = _adapter().validate_python(plain)
        except ValueError as error:
            first = str(error).splitlines()[:3]
            raise IntegrityError(f"does not hold a record: {' '.join(first)}", where=where) from None
        if record.digest != record.computed_digest():
            raise IntegrityError("its content does not fit its digest; it was changed after the audit", where=where)
        return record

    def candidate(self) -> TargetCard:
        """The model under audit."""
        return next(card for card in self.targets if card.role == "candidate")

    def findings_of(self, metric: str, target: str | None = None) -> tuple[Finding, ...]:
        """The findings of one metric id, of one target or of all."""
        return tuple(f for f in self.findings if f.metric == metric and target in (None, f.target))

    def assert_gates(self) -> None:
        """Raise AssertionError, naming the gates, unless the audit's exit code is 0 (for tests)."""
        if self.exit_code != 0 or not self.judged:
            lines = [f"gate {v.gate} {v.status.value}: {v.threshold}: {v.reason}" for v in self.verdicts]
            lines += [f"required family '{name}' has nothing measured" for name in self.uncovered]
            head = f"the audit's exit code is {self.exit_code}" if self.judged else "the audit has no gates"
            raise AssertionError("\n".join([head, *lines]))

    def __repr__(self) -> str:
        """One line: a record holds thousands of numbers."""
        said = ", ".join(f"gate {v.gate} {v.status.value}" for v in self.verdicts) if self.judged else "not judged"
        return (
            f"<Record {str(self.plan.get('audit', {}).get('name', 'audit'))!r}: {said}; exit code {self.exit_code};"
            f" {len(self.findings):,} findings, {len(self.failures):,} failures; {self.digest[:16]}>"
        )

    def _repr_html_(self) -> str:
        from steelyard.reports.notebook import render_notebook

        return render_notebook(self)


@cache
def _adapter() -> Any:
    from pydantic import TypeAdapter

    return TypeAdapter(Record)
