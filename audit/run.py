"""Carry out an audit into a run folder: measure, judge, record, report; resume what was killed."""

from __future__ import annotations

import contextlib
import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.assemble import assemble, uncovered_families
from steelyard.audit.canonical import canonical_json, digest
from steelyard.audit.errors import IntegrityError, PlanError, SteelyardError, StorageError
from steelyard.audit.judge import Measured, judge
from steelyard.audit.plan_source import PlanSource
from steelyard.audit.policy import exit_code
from steelyard.audit.prepare import Prepared, prepare, sense
from steelyard.audit.record import Record
from steelyard.audit.store import (
    UnitResult,
    read_evidence,
    read_record,
    read_unit,
    storage,
    write_atomic,
    write_manifest,
    write_unit,
)
from steelyard.audit.units import run_units, whole_failure

if TYPE_CHECKING:
    from steelyard.audit.console import Progress

__all__ = ["RunResult", "prepare", "regate", "render", "run_audit"]


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    """A finished run: its record, its folder, and the reports by format."""

    record: Record
    folder: Path
    reports: dict[str, Path]


def run_audit(
    source: PlanSource,
    *,
    out: Path,
    jobs: int = 1,
    resume: bool = False,
    trust_pickle: bool = False,
    progress: Progress,
) -> RunResult:
    """Do all of it. With `resume`, units that finished before are taken as they are; the record is the same.

    Raises PlanError where `resume` meets another plan, StorageError where the folder cannot be written.
    """
    sense(source)  # before the folder exists: a plan that makes no sense leaves nothing behind
    kept = (out / "plan.yaml").exists()
    origin = _open_folder(source, out, resume=resume)
    try:
        prepared = prepare(source, trust_pickle=trust_pickle, progress=progress)
    except SteelyardError:
        if not kept:
            _clear(out)  # nothing was measured: once mended, the same call begins anew
        raise
    results = _measure(prepared, out, jobs=jobs, progress=progress)
    evidence = {
        item.digest: f"{item.digest}.{item.kind}" for result in results for f in result.findings for item in f.evidence
    }
    progress.start("judging", None)
    record = assemble(prepared, results, table=lambda key: read_evidence(out, key), evidence=evidence, origin=origin)
    write_atomic(out / "record.json", record.to_bytes())
    progress.start("writing the reports", None)
    reports = render(out, prepared.plan.report.formats)
    progress.done()
    return RunResult(record=record, folder=out, reports=reports)


def _open_folder(source: PlanSource, out: Path, *, resume: bool) -> dict[str, str]:
    """Fix the plan on disk, or find it there on resume; returns how and when the run was first started."""
    written = out / "plan.yaml"
    if written.exists():
        if not resume:
            raise StorageError("holds a run already", where=str(out), hint="add --resume, or choose another --out")
        if _written_digest(written) != source.plan.digest:
            raise PlanError(
                f"the run in {out} was started with another plan",
                where=str(source.path),
                hint="start a new run, or restore the plan it was started with",
            )
        return _origin(out)
    if resume and not out.exists():
        raise StorageError("there is no run here to resume", where=str(out), hint="leave out --resume to start one")
    import shlex

    import yaml

    dated = dt.datetime.now(dt.UTC).isoformat(timespec="seconds")
    resolved = yaml.safe_dump(source.plan.model_dump(mode="json"), sort_keys=False, allow_unicode=True)
    head = (
        f"# The plan as it was resolved and fixed at {dated}, before anything was measured.\n"
        f"# Its digest, over the values and not this file's bytes, is {source.plan.digest}.\n"
    )
    command = shlex.join(["steelyard", "run", source.path.name])
    origin = {"plan": str(source.path.absolute()), "command": command, "started": dated, "thresholds_set": dated}
    write_atomic(out / "origin.json", canonical_json(origin) + b"\n")
    write_atomic(written, (head + resolved).encode())
    return _origin(out)


def _clear(out: Path) -> None:
    """Take back what `_open_folder` wrote, and the folder where it holds nothing else."""
    for name in ("plan.yaml", "origin.json"):
        (out / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # somebody else put something into it meanwhile
        out.rmdir()


def _origin(out: Path) -> dict[str, str]:
    try:
        told = json.loads((out / "origin.json").read_text(encoding="utf-8"))
        return {key: str(told[key]) for key in ("command", "started", "thresholds_set")}
    except (OSError, ValueError, KeyError, TypeError):
        raise IntegrityError("cannot be read as the origin of a run", where=str(out / "origin.json")) from None


def _written_digest(path: Path) -> str:
    import yaml

    try:
        return digest(json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")))))
    except (OSError, ValueError, TypeError, yaml.YAMLError):
        raise IntegrityError("cannot be read as the plan of a run", where=str(path)) from None


def _measure(prepared: Prepared, out: Path, *, jobs: int, progress: Progress) -> list[UnitResult]:
    """Every unit's result, from disk where it finished before; each new one is stored as soon as it ends.

    A unit that broke off is measured again on resume: what broke it may have been a full disk or memory.
    """
    kept = {unit.key: read_unit(out, unit.key) for unit in prepared.units}
    results = [result for result in kept.values() if result is not None and not whole_failure(result)]
    have = {result.key for result in results}
    todo = [unit for unit in prepared.units if unit.key not in have]
    progress.start("measuring", len(prepared.units))
    for result in results:
        progress.advance(f"{result.probe} on {result.target} (kept)")
    sample = prepared.samples.test

    def done(result: UnitResult) -> None:
        write_unit(out, result)
        progress.advance(f"{result.probe} on {result.target}")

    results += run_units(todo, sample, seed=prepared.plan.audit.seed, jobs=jobs, done=done)
    return results


def render(folder: Path, formats: Sequence[str], out: Path | None = None) -> dict[str, Path]:
    """Write the reports of a finished run, into its folder (and then its manifest) or elsewhere."""
    from steelyard.reports.render import render as write_reports

    record = read_record(folder)
    where = out or folder
    with storage(where):
        where.mkdir(parents=True, exist_ok=True)
        reports = write_reports(record, formats, where)
    if out is None or out.resolve() == folder.resolve():
        write_manifest(folder, record)
    return reports


def regate(folder: Path, source: PlanSource) -> Record:
    """Judge a finished run by another plan's gates, without measuring anything again.

    Where the tolerances are not the ones that were fixed before the run, the result is marked exploratory (rule 1).
    """
    import dataclasses

    old = read_record(folder)
    meant = sense(source)
    plan = source.plan
    measured = Measured(
        findings=old.findings,
        failures=old.failures,
        inapplicable=old.inapplicable,
        attributes=tuple(dict.fromkeys(group.attribute for group in old.sample.groups)),
        candidate=old.candidate().name,
        table=lambda key: read_evidence(folder, key),
        references=tuple(card.name for card in old.targets if card.role == "reference"),
    )
    verdicts = judge(plan, measured, meant.specs)
    uncovered = uncovered_families(plan.required, old.findings, measured.candidate)
    broke = any(not failure.metrics for failure in old.failures)
    now = plan.model_dump(mode="json")
    changed, dropped = changed_gates(old.plan, now), dropped_demands(old.plan, now)
    verdicts = tuple(dataclasses.replace(v, exploratory=bool(dropped) or v.gate in changed) for v in verdicts)
    said = ["gates were changed after the run: " + ", ".join(map(str, sorted(changed)))] if changed else []
    said += [f"taken out after the run: {', '.join(dropped)}"] if dropped else []
    return dataclasses.replace(
        old,
        plan={**old.plan, **{key: plan.model_dump(mode="json")[key] for key in ("gates", "required", "waivers")}},
        verdicts=verdicts,
        uncovered=uncovered,
        exit_code=exit_code(verdicts, uncovered, incomplete=broke),
        judged=True,
        exploratory="; ".join(said),
    ).sealed()


def changed_gates(before: Any, after: Any) -> set[int]:
    """The numbers of the gates in `after` that are not, word for word, among those fixed before the run.

    Policies (`on_inconclusive`, `id`) are not part of a tolerance; alpha, which every gate shares, is.
    """
    fixed = {_claim(gate) for gate in before["gates"]}
    same_alpha = before["audit"]["alpha"] == after["audit"]["alpha"]
    return {
        number for number, gate in enumerate(after["gates"], start=1) if not same_alpha or _claim(gate) not in fixed
    }


def dropped_demands(before: Any, after: Any) -> list[str]:
    """What was asked before the run and is no longer: gates, and required families. Fewer gates are easier to pass."""
    kept = {_question(gate) for gate in after["gates"]}
    gates = [f"gate {i}" for i, gate in enumerate(before["gates"], start=1) if _question(gate) not in kept]
    return gates + [f"required {name}" for name in before["required"] if name not in after["required"]]


def _claim(gate: Any) -> bytes:
    policy = {"id", "on_inconclusive", "on_not_refuted"}
    return canonical_json({key: value for key, value in gate.items() if key not in policy})


def _question(gate: Any) -> bytes:
    """What a gate asks about, whatever tolerance it sets."""
    return canonical_json({key: gate[key] for key in ("metric", "where", "intersections", "versus")})
