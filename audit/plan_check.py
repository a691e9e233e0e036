"""Does a well-formed plan make sense with the probes, metrics and recipes that are installed?

Everything that can be known without opening the data or the model is said here, before either is opened. The gates
have a file of their own, `audit/plan_gates.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date
from fnmatch import fnmatchcase

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import DataPart, Plan
from steelyard.audit.plan_gates import gate_errors, gate_warnings, reference_members
from steelyard.audit.plan_source import PlanSource, did_you_mean, raise_all
from steelyard.audit.policy import gate_number
from steelyard.audit.types import MetricSpec

__all__ = ["check", "chosen_probes", "remarks"]

# kind: (fields it must have, fields it may have)
TARGET_FIELDS: dict[str, tuple[frozenset[str], frozenset[str]]] = {
    "sklearn": (frozenset({"path"}), frozenset({"threshold", "trust_pickle", "trusted"})),
    "predictions": (frozenset({"path"}), frozenset({"decision", "score", "threshold"})),
    "python": (frozenset({"path"}), frozenset({"factory", "threshold"})),
    "recipe": (frozenset({"name"}), frozenset({"variant", "threshold", "settings"})),
    "torch": (frozenset({"path"}), frozenset({"factory", "weights", "threshold", "settings"})),
    "onnx": (frozenset({"path"}), frozenset({"threshold", "settings"})),
    "transformers": (
        frozenset({"path"}),
        frozenset({"revision", "head", "trust_remote_code", "threshold", "settings"}),
    ),
}


def check(
    plan: Plan,
    source: PlanSource,
    *,
    metrics: Mapping[str, MetricSpec],
    probes: Sequence[str],
    recipes: Sequence[str],
    settings: Mapping[str, Collection[str]] | None = None,
    today: date | None = None,
) -> tuple[str, ...]:
    """Raise PlanErrors with everything in the plan that cannot be meant; return warnings, one line each.

    `metrics` maps every metric id and alias to its definition; `probes` and `recipes` are the ids there are; `settings`
    the names of each probe's settings (not checked where it is None). `today` is the day waivers are weighed against.
    """
    chosen = chosen_probes(plan, probes)
    found = [
        *_target_errors(plan, source, recipes),
        *_data_errors(plan, source),
        *_reference_errors(plan, source, recipes),
        *_probe_errors(plan, source, probes, settings),
        *gate_errors(plan, source, metrics=metrics, chosen=chosen, known=probes, recipes=recipes),
        *_required_errors(plan, source, chosen, probes),
        *_waiver_errors(plan, source),
    ]
    raise_all(found)
    return remarks(plan, source, metrics=metrics, today=today)


def remarks(
    plan: Plan, source: PlanSource, *, metrics: Mapping[str, MetricSpec], today: date | None = None
) -> tuple[str, ...]:
    """What is allowed but worth a second look, one line each: waivers that have expired, gates that cannot fail."""
    late = (f"{source.where(('waivers', i))}: {text}" for i, text in _expired(plan, today or date.today()))
    return (*late, *gate_warnings(plan, source, metrics))


def chosen_probes(plan: Plan, probes: Sequence[str]) -> dict[str, dict[str, object]]:
    """The ids of the probes that the plan asks for, in its order, with their settings; later entries win."""
    chosen: dict[str, dict[str, object]] = {}
    for entry in plan.probes:
        for pattern, values in entry.items() if isinstance(entry, dict) else [(entry, {})]:
            for probe in probes:
                if fnmatchcase(probe, pattern):
                    chosen.setdefault(probe, {}).update(values)
    return chosen


def _target_errors(plan: Plan, source: PlanSource, recipes: Sequence[str]) -> Iterator[PlanError]:
    target = plan.target
    if target.kind not in TARGET_FIELDS:
        built = ", ".join(TARGET_FIELDS)
        yield source.error(
            ("target", "kind"), f"target.kind '{target.kind}' is not available in this version", f"it is one of {built}"
        )
        return
    required, optional = TARGET_FIELDS[target.kind]
    given = {
        name
        for name, field in type(target).model_fields.items()
        if name != "kind" and getattr(target, name) != field.get_default(call_default_factory=True)
    }
    for name in sorted(required - given):
        yield source.error(("target",), f"target.{name} is missing", f"kind '{target.kind}' needs it")
    for name in sorted(given - required - optional):
        allowed = ", ".join(sorted(required | optional))
        message = f"target.{name} does not belong to kind '{target.kind}'"
        yield source.error(("target", name), message, f"its keys are {allowed}")
    if target.kind == "predictions" and target.decision is None and target.score is None:
        yield source.error(("target",), "target has no decision and no score column", "name at least one of them")
    if target.kind == "recipe" and target.name and recipes and not reference_members(target.name, recipes):
        hint = did_you_mean(target.name, recipes, f"there are {', '.join(recipes)}")
        yield source.error(("target", "name"), f"target.name {target.name!r} is no recipe", hint)
    if target.kind == "python" and target.path and target.factory is None and ".py:" not in target.path:
        hint = "name the function that returns the model, or write path: file.py:function"
        yield source.error(("target",), "target.factory is missing", hint)


def _data_errors(plan: Plan, source: PlanSource) -> Iterator[PlanError]:
    data, kind = plan.data, plan.target.kind
    language = data.task == "language" or plan.target.head in ("causal", "masked")
    yield from _split_errors(data, kind, source, language=language)
    unnamed = data.labels is None and not any(_has_no_columns(path) for path in (data.train, data.test))
    if data.label is None and data.dataset is None and kind != "predictions" and unnamed and not language:
        yield source.error(("data",), "data.label is missing", "name the column with the true outcome")
    if data.label is not None and language:
        hint = "a language model decides nothing: remove it"
        yield source.error(("data", "label"), "data.label does not go with task language", hint)
    if kind == "recipe" and data.train is None and data.dataset is None:
        yield source.error(("data",), "data.train is missing", "a recipe is trained; name the training table")
    yield from _column_errors(data, source)


def _split_errors(data: DataPart, kind: str, source: PlanSource, *, language: bool) -> Iterator[PlanError]:
    """What is tested on: a table of its own, a bundled data set, or a share of the training table."""
    files = [name for name in ("train", "test") if getattr(data, name) is not None]
    held_out = data.held_out is not None and data.train is not None and data.test is None and data.dataset is None
    if kind == "predictions":
        for name in [n for n in ("dataset", "test") if getattr(data, n) is not None]:
            message = f"data.{name} does not go with a table of predictions"
            yield source.error(("data", name), message, "the columns are those of target.path; remove it")
    elif data.dataset is None and data.test is None and not held_out and (data.train is not None or not language):
        hint = "name the table the audit is measured on"
        hint += "" if data.train is None else ", or set data.held_out to a share of data.train"
        yield source.error(("data",), "data has no test and no dataset", hint)
    elif data.dataset is not None and files:
        message = f"data.dataset and data.{files[0]} are both given"
        yield source.error(("data", files[0]), message, "a bundled data set brings its own split; keep one of them")
    if data.held_out is not None and (not held_out or kind == "predictions"):
        hint = "it is a share of data.train, where nothing else is tested on"
        yield source.error(("data", "held_out"), "data.held_out does not go with this data", hint)


def _has_no_columns(path: str | None) -> bool:
    """Whether a path names a folder of images or an IDX file, whose labels have no column."""
    return path is not None and ("." not in path.rstrip("/").rpartition("/")[2] or "-idx" in path)


def _column_errors(data: DataPart, source: PlanSource) -> Iterator[PlanError]:
    """Columns with two meanings that exclude each other."""
    for name in ("cluster", "weight", "id"):
        column = getattr(data, name)
        if column is not None and column == data.label:
            yield source.error(("data", name), f"data.{name} is the label {column!r}", "name another column")
        if column is not None and name != "cluster" and column in data.groups:
            yield source.error(("data", name), f"data.{name} is also in data.groups", "a column is one or the other")
    for key, columns in (("groups", data.groups), ("features", data.features or []), ("drop", data.drop)):
        for i, column in enumerate(columns):
            if column in columns[:i]:
                yield source.error(("data", key, i), f"data.{key}[{i}] {column!r} is there twice", "keep one of them")
            if column == data.label:
                hint = "a model that sees its outcome proves nothing" if key == "features" else "remove it"
                yield source.error(("data", key, i), f"data.{key}[{i}] {column!r} is the label", hint)
            if key == "groups" and "*" in column:
                message = f"data.groups[{i}] {column!r} holds '*', which joins the attributes of an intersection"
                yield source.error(("data", key, i), message, "rename the column")
            if key == "drop" and column in (data.features or []):
                yield source.error(("data", key, i), f"data.drop[{i}] {column!r} is in data.features too", "choose one")
    for attribute in data.reference_groups:
        if data.groups and attribute not in data.groups:
            message = f"data.reference_groups.{attribute} is not one of data.groups"
            hint = did_you_mean(attribute, data.groups, f"these are {', '.join(data.groups)}")
            yield source.error(("data", "reference_groups", attribute), message, hint)


def _reference_errors(plan: Plan, source: PlanSource, recipes: Sequence[str]) -> Iterator[PlanError]:
    names = sorted({*recipes, *(recipe.split("/", 1)[0] for recipe in recipes)})
    entries = plan.named_references
    for i, entry in enumerate(entries):
        earlier = [(e.called or e.name, e.variant) for e in entries[:i]]
        if not reference_members(entry.name, recipes):
            hint = did_you_mean(entry.name, names, f"there are {', '.join(names) or 'none installed'}")
            yield source.error(("references", i), f"references[{i}] {entry.name!r} is unknown", hint)
        elif (entry.called or entry.name, entry.variant) in earlier:
            hint = "keep one of them" if isinstance(plan.references[i], str) else "tell them apart by as: a name"
            yield source.error(("references", i), f"references[{i}] {entry.name!r} is there twice", hint)
    if plan.references and plan.data.train is None and plan.data.dataset is None:
        hint = "references are trained; name the training table, or remove the references"
        yield source.error(("references",), "references need data.train", hint)


def _probe_errors(
    plan: Plan, source: PlanSource, probes: Sequence[str], settings: Mapping[str, Collection[str]] | None
) -> Iterator[PlanError]:
    families = {f"{probe.split('.', 1)[0]}.*" for probe in probes}
    known = sorted({*probes, *families})
    for i, entry in enumerate(plan.probes):
        if isinstance(entry, dict) and not entry:
            yield source.error(("probes", i), f"probes[{i}] is empty", "write {name: {setting: value}}")
        for pattern, values in entry.items() if isinstance(entry, dict) else [(entry, {})]:
            matched = [probe for probe in probes if fnmatchcase(probe, pattern)]
            if not matched:
                hint = did_you_mean(pattern, known, f"there are {', '.join(known)}")
                yield source.error(("probes", i), f"probes[{i}] {pattern!r} matches no probe", hint)
            for probe in matched if settings is not None and values else []:
                yield from _setting_errors(source, i, probe, pattern, values, sorted((settings or {}).get(probe, ())))


def _setting_errors(
    source: PlanSource, i: int, probe: str, pattern: str, values: Mapping[str, object], known: Sequence[str]
) -> Iterator[PlanError]:
    for key in values:
        if key not in known:
            hint = did_you_mean(key, known, f"its settings are {', '.join(known)}" if known else "it has no settings")
            yield source.error(("probes", i, pattern, key), f"probes[{i}] {probe} has no setting {key!r}", hint)


def _required_errors(
    plan: Plan, source: PlanSource, chosen: Mapping[str, object], probes: Sequence[str]
) -> Iterator[PlanError]:
    asked = {probe.split(".", 1)[0] for probe in chosen}
    known = {probe.split(".", 1)[0] for probe in probes}
    for i, family in enumerate(plan.required):
        if family not in known:
            hint = did_you_mean(family, sorted(known), f"the families are {', '.join(sorted(known))}")
            yield source.error(("required", i), f"required[{i}] {family!r} is an unknown family", hint)
        elif family not in asked:
            message = f"required[{i}] {family!r} is a family of which the plan asks no probe"
            yield source.error(("required", i), message, f"add {family}.* to probes")


def _waiver_errors(plan: Plan, source: PlanSource) -> Iterator[PlanError]:
    ids = [gate.id for gate in plan.gates if gate.id]
    for i, waiver in enumerate(plan.waivers):
        if gate_number(waiver.gate, plan.gates) is None:
            allowed = f"gates are counted from 1 to {len(plan.gates)}, or named by their id"
            hint = did_you_mean(waiver.gate, ids, allowed) if isinstance(waiver.gate, str) else allowed
            yield source.error(("waivers", i, "gate"), f"waivers[{i}].gate {waiver.gate!r} does not exist", hint)


def _expired(plan: Plan, today: date) -> Iterator[tuple[int, str]]:
    for i, waiver in enumerate(plan.waivers):
        if waiver.expires < today:
            yield i, f"waivers[{i}] of gate {waiver.gate} expired on {waiver.expires.isoformat()} and waives nothing"
