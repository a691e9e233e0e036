"""Run one probe on one target, in isolation: whatever happens in it ends as rows, never as a hole."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

from steelyard.audit.canonical import digest, generator, sha256, to_plain
from steelyard.audit.errors import NotApplicable, ProbeError, SteelyardError
from steelyard.audit.store import UnitResult
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Failure, Finding, Inapplicable
from steelyard.models.targets.drawn_rows import HINT, behind, draw, wants_rows, why_not
from steelyard.models.threads import one_thread

# What asks the model itself, and so needs the process where it lives.
_AT_THE_MODEL = frozenset(Capability) - {Capability.PREDICT, Capability.PREDICT_PROBA}

__all__ = ["Unit", "misfit", "run_unit", "run_units", "unit_key", "whole_failure"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One probe of one target. The candidate is weighed beside `references`; a reference stands alone."""

    probe: Probe
    target: Target
    references: References
    key: str


def misfit(probe: Probe, target: Target, sample: Sample) -> Inapplicable | None:
    """Why a probe does not fit a target and a sample, or None where it does."""
    capabilities = {item for item in probe.requires if isinstance(item, Capability)}
    rows = wants_rows(probe, sample)
    able = (behind(target) or target).capabilities if rows else target.capabilities
    lacking = sorted(str(c) for c in capabilities - able)
    lacking += sorted(str(d) for d in (probe.requires - capabilities) - sample.provides)
    if sample.task not in probe.tasks:
        tasks = " or ".join(sorted(probe.tasks))
        reason = f"it is for {tasks} tasks, and this one is {sample.task.value}"
    elif lacking:
        reason = f"it needs {', '.join(lacking)}, which the target and its data do not have"
    elif rows and why_not(probe, target):
        lacking = ["rows"]
        reason = f"{why_not(probe, target)}; {HINT}"
    else:
        return None
    return Inapplicable(
        probe=probe.id,
        target=target.name,
        reason=reason,
        missing=tuple(lacking),
        metrics=tuple(spec.id for spec in probe.metrics),
    )


def unit_key(
    probe: Probe, target: Target, references: References, sample: Sample, *, seed: int, versions: object
) -> str:
    """A digest of all that a unit's findings depend on: equal keys mean equal findings."""
    return digest(
        {
            "probe": [probe.id, probe.version, {f.name: _setting(probe, f.name) for f in fields(probe)}],
            "target": [target.name, target.fingerprint],
            "references": [[name, t.fingerprint] for name, t in references.items()],
            "sample": [sample.fingerprint, sample.min_n, [[a, g.reference] for a, g in sample.groups.items()]],
            "training": sample.training.fingerprint
            if sample.training is not None and Data.TRAINING in probe.requires
            else None,
            "seed": seed,
            "versions": versions,
        }
    )


def _setting(probe: Probe, name: str) -> object:
    value = getattr(probe, name)
    if name in probe.files and value and Path(value).is_file():
        return sha256(Path(value).read_bytes())
    return to_plain(value)


def run_unit(unit: Unit, sample: Sample, seed: int) -> UnitResult:
    """Everything the probe yields; a crash keeps what came before it and adds a `Failure` for the rest."""
    started = time.process_time()
    findings: list[Finding] = []
    failures: list[Failure] = []
    inapplicable: list[Inapplicable] = []
    tracebacks: list[str] = []
    kinds = {Finding: findings, Failure: failures, Inapplicable: inapplicable}
    probe, target = unit.probe, unit.target
    rng = generator(seed, f"probe:{probe.id}:{target.name}")
    try:
        with one_thread():
            drawn = draw(target, sample) if wants_rows(probe, sample) else None
            asked = (target, sample) if drawn is None else (drawn.target, drawn.sample)
            for found in probe.run(*asked, unit.references, rng):
                row = found if drawn is None else drawn.mark(found)
                if type(row) not in kinds:
                    raise TypeError(f"it yielded a {type(row).__name__}, not a Finding")
                kinds[type(row)].append(row)  # type: ignore[attr-defined]
        if not findings and not failures and not inapplicable:
            raise ProbeError("it measured nothing and did not say why")
    except NotApplicable as error:
        metrics = tuple(spec.id for spec in probe.metrics)
        inapplicable.append(Inapplicable(probe=probe.id, target=target.name, reason=str(error), metrics=metrics))
    except SteelyardError as error:
        failures.append(Failure(probe=probe.id, target=target.name, reason=error.message, hint=error.hint))
    except Exception as error:  # noqa: BLE001 (a crash of a probe becomes a row, never a hole)
        reason = " ".join(f"it crashed: {type(error).__name__}: {error}".split())[:500]
        hint = "the traceback is in the run folder's record.json, under environment"
        failures.append(Failure(probe=probe.id, target=target.name, reason=reason, hint=hint))
        tracebacks.append(f"{probe.id} on {target.name}\n{traceback.format_exc()}")
    return UnitResult(
        key=unit.key,
        probe=probe.id,
        target=target.name,
        findings=tuple(findings),
        failures=tuple(failures),
        inapplicable=tuple(inapplicable),
        seconds=time.process_time() - started,
        tracebacks=tuple(tracebacks),
    )


def whole_failure(unit: UnitResult) -> bool:
    """Whether the probe as a whole broke off (not merely some part that could not be measured)."""
    return any(not failure.metrics for failure in unit.failures)


def run_units(
    units: Sequence[Unit], sample: Sample, *, seed: int, jobs: int, done: Callable[[UnitResult], None]
) -> Iterator[UnitResult]:
    """Run the units, in this process or on `jobs` worker processes; `done` is called as each one ends.

    Units are independent and each has its own named generator, so neither jobs nor order changes a number. A probe that
    puts new questions to the model runs in this process: the model itself need not survive the way to another. So does
    one that is put to drawn rows.
    """
    sent = [unit for unit in units if _may_leave(unit, sample)] if jobs > 1 else []
    sent = sent if len(sent) > 1 else []
    away = {unit.key for unit in sent}
    for unit in [unit for unit in units if unit.key not in away]:
        result = run_unit(unit, sample, seed)
        done(result)
        yield result
    if sent:
        if not any(Data.TRAINING in unit.probe.requires for unit in sent):
            sample = replace(sample, training=None)  # not worth the way to every worker
        yield from _run_in_workers(sent, sample, seed=seed, jobs=jobs, done=done)


def _may_leave(unit: Unit, sample: Sample) -> bool:
    """Whether a worker has all that the unit needs: neither the model nor the files that rows are drawn from."""
    return not unit.probe.requires & _AT_THE_MODEL and not wants_rows(unit.probe, sample)


def _run_in_workers(
    units: Sequence[Unit], sample: Sample, *, seed: int, jobs: int, done: Callable[[UnitResult], None]
) -> Iterator[UnitResult]:
    from joblib import Parallel, delayed

    workers = Parallel(n_jobs=min(jobs, len(units)), return_as="generator_unordered")
    finished: set[str] = set()
    try:
        for result in workers(delayed(run_unit)(unit, sample, seed) for unit in units):
            finished.add(result.key)
            done(result)
            yield result
    except (RuntimeError, OSError) as error:  # a worker was killed: out of memory, or a crash below Python
        for unit in units:
            if unit.key not in finished:
                reason = f"its worker process died ({type(error).__name__}); it may have run out of memory"
                lost = Failure(probe=unit.probe.id, target=unit.target.name, reason=reason, hint="try --jobs 1")
                yield UnitResult(
                    key=unit.key,
                    probe=unit.probe.id,
                    target=unit.target.name,
                    findings=(),
                    failures=(lost,),
                    inapplicable=(),
                )
