"""From finished units to a sealed record: cards, verdicts, coverage, exit code."""

from __future__ import annotations

import datetime as dt
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from steelyard.audit.judge import Measured, judge
from steelyard.audit.policy import exit_code
from steelyard.audit.prepare import Prepared, numeric_versions
from steelyard.audit.record import GroupCount, Record, SampleCard, TargetCard, TrainedCard
from steelyard.audit.store import UnitResult
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Finding, Task
from steelyard.audit.units import whole_failure

if TYPE_CHECKING:
    from steelyard.models.cache import TrainingCard

__all__ = ["assemble", "environment", "uncovered_families"]


def assemble(
    prepared: Prepared,
    results: Sequence[UnitResult],
    *,
    table: Callable[[str], bytes],
    evidence: Mapping[str, str],
    judged: bool = True,
    today: dt.date | None = None,
    origin: Mapping[str, str] | None = None,
) -> Record:
    """The record of a run. The order of `results` does not matter: rows are ordered by the plan's units.

    `table` fetches evidence by digest, `evidence` names its files. `origin` tells how the run was started, and goes
    into the environment: neither it nor the day changes the digest.
    """
    place = {unit.key: index for index, unit in enumerate(prepared.units)}
    ordered = sorted(results, key=lambda result: place[result.key])
    findings = tuple(f for r in ordered for f in r.findings)
    failures = tuple(f for r in ordered for f in r.failures)
    unfit = (*prepared.inapplicable, *(i for r in ordered for i in r.inapplicable))
    measured = Measured(
        findings=findings,
        failures=failures,
        inapplicable=unfit,
        attributes=tuple(prepared.samples.test.groups),
        candidate=prepared.candidate.name,
        table=table,
        references=tuple(prepared.references),
    )
    verdicts = judge(prepared.plan, measured, prepared.specs, today=today) if judged else ()
    uncovered = uncovered_families(prepared.plan.required, findings, prepared.candidate.name)
    broke = any(whole_failure(result) for result in ordered)
    versions = {key: str(value) for key, value in numeric_versions().items()}
    versions |= {f"probe {unit.probe.id}": str(unit.probe.version) for unit in prepared.units}
    return Record(
        plan=prepared.plan.model_dump(mode="json"),
        plan_digest=prepared.plan.digest,
        targets=_cards(prepared),
        sample=_sample_card(prepared),
        findings=findings,
        failures=failures,
        inapplicable=unfit,
        verdicts=verdicts,
        uncovered=uncovered,
        exit_code=exit_code(verdicts, uncovered, incomplete=broke, judged=judged),
        judged=judged,
        versions=versions,
        evidence=dict(sorted(evidence.items())),
        environment={**(origin or {}), **environment(ordered), "training": _spent(prepared)},
    ).sealed()


def _spent(prepared: Prepared) -> dict[str, dict[str, Any]]:
    """What each reference's training cost when it was trained, which may have been on another day."""
    return {
        name: {
            "cpu_seconds": round(card.seconds, 2),
            "from_cache": card.cached,
            "cost": dict(card.cost),
            "environment": dict(card.environment),
        }
        for name, card in prepared.cards.items()
    }


def uncovered_families(required: Sequence[str], findings: Sequence[Finding], candidate: str) -> tuple[str, ...]:
    """The required families of which nothing was measured on the candidate."""
    have = {f.metric.split(".", 1)[0] for f in findings if f.target == candidate}
    return tuple(family for family in required if family not in have)


def _cards(prepared: Prepared) -> tuple[TargetCard, ...]:
    def card(target: Target, role: str) -> TargetCard:
        trained = prepared.cards.get(target.name)
        return TargetCard(
            name=target.name,
            role=role,
            kind=target.kind,
            task=target.task.value,
            fingerprint=target.fingerprint,
            capabilities=tuple(sorted(str(c) for c in target.capabilities)),
            description=str(getattr(target, "description", "")),
            settings=dict(trained.settings) if trained is not None else {},
            training=None if trained is None else _trained(prepared, trained),
        )

    return (
        card(prepared.candidate, "candidate"),
        *(card(target, "reference") for target in prepared.references.values()),
    )


def _trained(prepared: Prepared, card: TrainingCard) -> TrainedCard:
    train = prepared.samples.train
    assert train is not None  # noqa: S101 (a reference was trained on it)
    return TrainedCard(
        recipe=card.recipe,
        seed=card.seed,
        n_train=card.n_train,
        data=card.data or train.fingerprint,
        metrics=card.metrics,
        curves={name: tuple(epoch[name] for epoch in card.curves) for name in _in_every(card.curves)},
        notes=card.notes,
    )


def _in_every(epochs: Sequence[Mapping[str, float]]) -> list[str]:
    """The quantities that every epoch has, in the order of the first."""
    return [name for name in (epochs[0] if epochs else ()) if all(name in epoch for epoch in epochs)]


def _sample_card(prepared: Prepared) -> SampleCard:
    samples, sample = prepared.samples, prepared.samples.test
    return SampleCard(
        source=samples.source,
        licence=samples.licence,
        fingerprint=sample.fingerprint,
        n=sample.n,
        n_train=samples.train.n if samples.train is not None else None,
        task=sample.task.value,
        modality=sample.modality.value,
        classes=sample.classes,
        class_counts=_class_counts(sample),
        groups=_group_counts(sample),
        weighted=sample.weights is not None,
        clusters=_clusters(sample),
        notes=sample.notes,
    )


def _clusters(sample: Sample) -> int | None:
    if sample.reduced is not None:
        return int(sample.reduced.pairs.units) if sample.reduced.pairs is not None else None
    return len(set(sample.clusters.tolist())) if sample.clusters is not None else None


def _class_counts(sample: Sample) -> tuple[int, ...]:
    if sample.labels is None or sample.task is Task.REGRESSION:
        return ()
    return tuple(int(n) for n in sample.count(sample.labels, len(sample.classes)))


def _group_counts(sample: Sample) -> tuple[GroupCount, ...]:
    return tuple(
        GroupCount(attribute=attribute, group=level, n=int(n), unknown=code == groups.unknown)
        for attribute, groups in sample.groups.items()
        for code, (level, n) in enumerate(
            zip(groups.levels, sample.count(groups.codes, len(groups.levels)), strict=True)
        )
    )


def environment(results: Sequence[UnitResult]) -> dict[str, Any]:
    """Where and when: outside the digest, for a person who wants to reproduce or to know the cost."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    scale = 1 if sys.platform == "darwin" else 1024
    return {
        "finished": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        "cpu_seconds": round(time.process_time(), 2),
        "peak_memory_bytes": own.ru_maxrss * scale,
        "unit_seconds": {f"{r.probe} on {r.target}": round(r.seconds, 3) for r in results},
        "tracebacks": [text for r in results for text in r.tracebacks],
    }
