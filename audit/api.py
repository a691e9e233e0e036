"""The same audit from Python, for a notebook or a test: `audit(model, X, y, groups=…)`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from steelyard.audit.assemble import assemble
from steelyard.audit.errors import PlanError
from steelyard.audit.plan import AuditPart, DataPart, GatePart, Plan, ReportPart, TargetPart
from steelyard.audit.plan_source import PlanSource, raise_all
from steelyard.audit.prepare import Sense, arrange, with_reference_groups
from steelyard.audit.record import Record
from steelyard.audit.target import References
from steelyard.audit.types import MetricSpec
from steelyard.audit.units import run_units

__all__ = ["audit"]


def audit(
    model: Any,
    X: Any,
    y: Any,
    *,
    groups: Any = None,
    gates: Sequence[Mapping[str, Any]] = (),
    probes: Sequence[str | Mapping[str, Mapping[str, Any]]] = ("quality.*", "fairness.*"),
    references: Mapping[str, Any] | None = None,
    positive: Any = None,
    task: str | None = None,
    weights: Any = None,
    clusters: Any = None,
    reference_groups: Mapping[str, str] | None = None,
    min_n: int = 30,
    seed: int = 0,
    alpha: float = 0.05,
    name: str = "audit",
) -> Record:
    """Audit a fitted model on rows it has not seen; returns the record, which a notebook shows as a table.

    `model` is a fitted estimator, any object with `predict` (and `predict_proba`), or a callable; `references` are more
    of them, by name. `X` (n rows), `y` (n,), `groups` (a data frame or a mapping of names to columns), `weights` and
    `clusters` (n,). `gates` are the plan's, as dicts: `{"metric": "fairness.selection-rate.ratio", "min": 0.8}`.
    Without gates the record is measured, not judged, and `record.assert_gates()` fails.

    Raises PlanError, DataError or TargetError with one line where something does not fit.
    """
    from steelyard.models.data.arrays import sample_from_arrays
    from steelyard.models.data.load import Samples
    from steelyard.models.targets.load import wrap
    from steelyard.probes.registry import metric_specs, select

    sample = sample_from_arrays(
        X, y, groups, positive=positive, task=task, weights=weights, clusters=clusters, min_n=min_n
    )
    sample = with_reference_groups(sample, reference_groups or {})
    specs = metric_specs()
    data = DataPart(groups=list(sample.groups), min_n=min_n, reference_groups=dict(reference_groups or {}))
    beside = {key: wrap(other, sample, name=key) for key, other in (references or {}).items()}
    plan = Plan.model_construct(
        audit=AuditPart(name=name, seed=seed, alpha=alpha),
        target=TargetPart(kind="python"),
        data=data,
        references=list(beside),
        probes=[entry if isinstance(entry, str) else {k: dict(v) for k, v in entry.items()} for entry in probes],
        gates=_gates(gates, specs, data, list(beside)),
        required=[],
        waivers=[],
        standards=[],
        report=ReportPart(formats=[]),
    )
    chosen = select(probes)
    if not chosen:
        raise PlanError("no probe was named", where="audit()", hint="leave out `probes` for all of them")
    prepared = arrange(
        plan,
        Sense(probes=chosen, specs=specs),
        Samples(test=sample, train=None, data=data, source="from Python"),
        wrap(model, sample, name="candidate"),
        References(beside),
        {},
    )
    results = list(run_units(prepared.units, sample, seed=seed, jobs=1, done=lambda result: None))
    store = {item.digest: item.data for result in results for f in result.findings for item in f.evidence}
    return assemble(prepared, results, table=store.__getitem__, evidence=dict.fromkeys(store, ""), judged=bool(gates))


def _gates(
    gates: Sequence[Mapping[str, Any]], specs: Mapping[str, MetricSpec], data: DataPart, references: list[str]
) -> list[GatePart]:
    """The gates, checked as those of a plan file are."""
    from pydantic import ValidationError

    from steelyard.audit.plan_gates import gate_errors
    from steelyard.probes.registry import all_probes

    made = []
    for index, gate in enumerate(gates):
        try:
            made.append(GatePart.model_validate(dict(gate)))
        except ValidationError as error:
            first = error.errors()[0]
            key = ".".join(str(part) for part in first["loc"])
            raise PlanError(f"gates[{index}].{key}: {first['msg']}", where="audit()") from None
    known = [kind.id for kind in all_probes()]
    plan = Plan.model_construct(
        target=TargetPart(kind="python"), data=data, references=list(references), probes=list(known), gates=made
    )
    source = PlanSource(plan=plan, text="", path=Path("audit()"), base=Path())
    raise_all(gate_errors(plan, source, metrics=specs, chosen=known, known=known, recipes=references))
    return made
