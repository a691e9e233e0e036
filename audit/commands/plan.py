"""`steelyard plan`: what a run would do, what it cannot do and why, and how many rows its gates need."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.commands.opening import open_plan
from steelyard.audit.commands.options import add_format, add_plan
from steelyard.audit.console import Console, Progress, apart, clean

if TYPE_CHECKING:
    from collections.abc import Mapping

    from steelyard.audit.plan_source import PlanSource
    from steelyard.audit.policy import ResolvedGate
    from steelyard.audit.prepare import Prepared
    from steelyard.audit.target import Sample

HELP = "show what a plan will run, what it cannot and why, and the n its gates need"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `plan`."""
    add_plan(parser)
    add_format(parser)
    parser.add_argument("--trust-pickle", action="store_true", help="open a .pkl or .joblib model after a scan")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Read the data and load the candidate, but train nothing that the candidate is not, and measure nothing."""
    source = open_plan(args.plan, console)
    progress = console.progress()
    try:
        with apart():
            found = _foresee(source, trust_pickle=args.trust_pickle, progress=progress)
    finally:
        progress.done()
    if args.format == "json":
        console.json(found)
    else:
        _print(found, console)
    return 0


def _foresee(source: PlanSource, *, trust_pickle: bool, progress: Progress) -> dict[str, Any]:
    from steelyard.audit.policy import resolve_gates
    from steelyard.audit.prepare import chosen_recipes, prepare, sense

    meant = sense(source)
    plan = source.plan
    # The references are not needed to tell what fits, so they are not trained here: neither are gates against them.
    alone = {"references": [], "gates": [gate for gate in plan.gates if gate.versus is None], "waivers": []}
    prepared = prepare(
        replace(source, plan=plan.model_copy(update=alone)), trust_pickle=trust_pickle, progress=progress
    )
    sample = prepared.samples.test
    return {
        "plan": str(source.path),
        "plan_digest": plan.digest,
        "name": plan.audit.name,
        "seed": plan.audit.seed,
        "alpha": plan.audit.alpha,
        "task": sample.task.value,
        "n": sample.n,
        "groups": _groups(sample),
        "references": list(chosen_recipes(source, prepared.samples.train)),
        "uncovered": [
            name for name in plan.required if name not in {u.probe.id.split(".", 1)[0] for u in prepared.units}
        ],
        "will_run": [unit.probe.id for unit in prepared.units],
        "cannot_run": [{"probe": row.probe, "reason": row.reason} for row in prepared.inapplicable],
        "gates": [_gate(gate, prepared, sample) for gate in resolve_gates(_with_groups(plan, sample), meant.specs)],
    }


def _with_groups(plan: Any, sample: Sample) -> Any:
    """The plan with the attributes that a bundled data set brings."""
    return plan.model_copy(update={"data": plan.data.model_copy(update={"groups": list(sample.groups)})})


def _groups(sample: Sample) -> dict[str, dict[str, int]]:
    return {
        attribute: {
            level: int(n)
            for level, n in zip(groups.levels, sample.count(groups.codes, len(groups.levels)), strict=True)
        }
        for attribute, groups in sample.groups.items()
    }


def _gate(gate: ResolvedGate, prepared: Prepared, sample: Sample) -> dict[str, Any]:
    runs = [unit.probe.id for unit in prepared.units]
    why_not = "" if any(gate.metric.startswith(f"{probe}.") for probe in runs) else "no probe of the plan measures it"
    why_not = next((row.reason for row in prepared.inapplicable if gate.metric in row.metrics), why_not)
    why_not = why_not or _alone(gate, sample) or _too_rare(gate, prepared, sample)
    needed, basis = (None, why_not) if why_not else _needed(gate, prepared.plan.audit.alpha, sample)
    return {
        "gate": gate.number,
        "metric": gate.metric,
        "tolerance": gate.threshold,
        "measurable": not why_not,
        "n_needed_per_group": needed,
        "n_needed_basis": basis,
    }


def _alone(gate: ResolvedGate, sample: Sample) -> str:
    """Which attribute of a gate that compares groups has no two to compare; "" where each has."""
    from steelyard.audit.policy import is_contrast

    if not is_contrast(gate.metric) or "intersection" in gate.part.where:
        return ""
    named = gate.part.where.get("attribute")
    for attribute, groups in sample.groups.items():
        if named in (None, attribute):
            counts = sample.count(groups.codes, len(groups.levels))
            compared = [
                n
                for code, n in enumerate(counts)
                if n >= sample.min_n and (code != groups.unknown or groups.compare_unknown)
            ]
            if len(compared) < 2:
                return f"{attribute} has fewer than two groups of at least {sample.min_n} rows (data.min_n)"
    return ""


def _too_rare(gate: ResolvedGate, prepared: Prepared, sample: Sample) -> str:
    """Why a gate at a false-positive rate finds nothing: no probe asks for the rate, or there are too few rows."""
    probe = next((unit.probe for unit in prepared.units if gate.metric.startswith(f"{unit.probe.id}.")), None)
    rates, fpr = getattr(probe, "fprs", ()), gate.part.where.get("fpr")
    if not rates or not isinstance(fpr, (int, float)):
        return ""
    if fpr not in rates:
        return f"fprs of the probe does not hold {fpr:g}: it is {', '.join(f'{rate:g}' for rate in rates)}"
    from steelyard.probes.stats.thresholds import least_non_members

    needed, there = least_non_members(float(fpr)), min(sample.n, getattr(probe, "max_rows", sample.n))
    return f"a rate of {fpr:g} needs {needed:,} rows that were not trained on, there are {there:,}" * (there < needed)


def _needed(gate: ResolvedGate, alpha: float, sample: Sample) -> tuple[int | None, str]:
    """The n per group that decides for groups that are alike, where that can be told before anything is measured."""
    statistic = gate.metric.rsplit(".", 1)[-1]
    tolerance = {"ratio": gate.part.min, "difference": gate.part.max}.get(statistic)
    if gate.metric != f"fairness.selection-rate.{statistic}" or not tolerance or not 0 < tolerance < 1:
        return None, "depends on what is measured; an inconclusive verdict says how many"
    rate, said = _base_rate(sample)
    from steelyard.probes.stats.power import n_per_group_difference, n_per_group_ratio

    if statistic == "ratio":
        n = n_per_group_ratio(rate, 1.0, tau=tolerance, alpha=alpha, directions=2)
    else:
        n = n_per_group_difference(rate, 0.0, tau=tolerance, alpha=alpha)
    return n, f"to pass at 80 % power for two groups that are alike, {said}"


def _base_rate(sample: Sample) -> tuple[float, str]:
    if sample.labels is None or len(sample.classes) != 2:
        return 0.5, "each favoured half of the time"
    rate = float(min(max(sample.count(sample.labels, 2)[1] / sample.n, 0.01), 0.99))
    return rate, f"each favoured as often as the label is, {rate:.3f}"


def _print(found: Mapping[str, Any], console: Console) -> None:
    console.out(
        f"{found['name']}: {found['task']}, {found['n']:,} rows, seed {found['seed']}, alpha {found['alpha']:g}"
    )
    console.out(f"plan digest: {found['plan_digest']}")
    for attribute, levels in found["groups"].items():
        console.out(f"{attribute}: {', '.join(f'{level} {n:,}' for level, n in levels.items())}")
    console.out(f"references: {', '.join(found['references']) or 'none'}")
    console.out("")
    rows = [(probe, "runs", "") for probe in found["will_run"]]
    rows += [(row["probe"], "cannot run", row["reason"]) for row in found["cannot_run"]]
    console.table(("probe", "on the candidate", "why not"), rows)
    console.out("")
    console.table(
        ("gate", "measurable", "n per group", "tolerance, and what that n does"),
        [
            (
                str(gate["gate"]),
                "yes" if gate["measurable"] else "no",
                f"about {gate['n_needed_per_group']:,}" if gate["n_needed_per_group"] else "–",
                f"{clean(gate['tolerance'])}\n{clean(gate['n_needed_basis'])}",
            )
            for gate in found["gates"]
        ],
    )
    blind = [f"gate {gate['gate']}" for gate in found["gates"] if not gate["measurable"]]
    blind += [f"required family '{family}'" for family in found["uncovered"]]
    if blind:
        console.out("")
        console.out(
            f"cannot be measured: {', '.join(blind)}; a run of this plan ends with exit code 4, or 1 if a gate fails"
        )
