"""What is wrong with the shape of a plan: pydantic's errors, one line each, with the nearest valid key."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import Plan
from steelyard.audit.plan_lines import Loc, PlanText
from steelyard.audit.plan_source import did_you_mean, show_loc, show_value, where_is

__all__ = ["unsound_numbers", "violations"]


def violations(error: ValidationError, read: PlanText, name: str) -> Iterator[PlanError]:
    """One PlanError for each value that pydantic refused."""
    seen: set[Loc] = set()
    for item in error.errors(include_url=False, include_context=True):
        loc = _without_branches(item["loc"])
        if loc in seen:  # the branches of a union each complain about the same value
            continue
        seen.add(loc)
        message, hint = _explain(dict(item), loc)
        yield PlanError(message, where=where_is(name, read.lines, loc), hint=hint)


# How deep a path of the plan goes where pydantic appends the name of the branch of a union that it tried.
_UNION_DEPTHS = (("probes", 2), ("references", 2), ("positive", 2), ("where", 4), ("gate", 3))


def _without_branches(loc: Loc) -> Loc:
    for key, depth in _UNION_DEPTHS:
        if key in loc[:depth] and len(loc) > depth:
            return loc[:depth]
    return loc


def _explain(item: dict[str, Any], loc: Loc) -> tuple[str, str]:
    """The message and the hint for one of pydantic's errors."""
    kind, given, context = item["type"], item.get("input"), item.get("ctx", {})
    at = show_loc(loc)
    if loc[:1] == ("probes",) and len(loc) == 2:
        return f"{at} is {show_value(given)}", "a probe is a name such as quality.*, or {name: {setting: value}}"
    if loc[:1] == ("references",) and (len(loc) == 2 or kind == "value_error"):
        hint = "each entry is a recipe's name, or one name with its settings: cnn: {epochs: 12}"
        return f"{at} is {show_value(given)}", hint
    if kind == "extra_forbidden":
        return _unknown_key(loc)
    if kind == "missing":
        return f"{at} is missing", _wanted(loc)
    if kind == "too_short":
        return f"{at} is empty", f"an audit needs at least one {str(loc[-1]).removesuffix('s')}"
    if kind == "literal_error":
        allowed = [str(value) for value in _literals(loc)]
        return f"{at} is {show_value(given)}", did_you_mean(str(given), allowed, f"it is one of {', '.join(allowed)}")
    if kind.startswith(("greater_than", "less_than")):
        sign = {"greater_than": "more than", "greater_than_equal": "at least", "less_than": "less than"}
        limit = next(iter(context.values()))
        return f"{at} is {show_value(given)}", f"it must be {sign.get(kind, 'at most')} {_plain(limit)}"
    if kind == "string_too_short":
        return f"{at} is empty", "write something there"
    if given is None:
        return f"{at} has no value", "give it one, or remove the key"
    return f"{at} is {show_value(given)}", _type_hint(kind, given)


_TYPE_HINTS = {
    "string": "it must be text; put it in quotes",
    "int": "it must be a whole number",
    "float": "it must be a number",
    "bool": "it must be true or false",
    "list": "it must be a list, such as [a, b]",
    "dict": "it must be a mapping, such as {key: value}",
    "model": "it must be a mapping, such as {key: value}",
    "date": "it must be a date, such as 2027-01-31",
}


def _type_hint(kind: str, given: Any) -> str:
    start = kind.split("_", 1)[0]
    if start == "list" and isinstance(given, str):
        return f"it must be a list; write [{given}]"
    return _TYPE_HINTS.get(start, "it must be text, a number, true or false")


def _unknown_key(loc: Loc) -> tuple[str, str]:
    key, parent = str(loc[-1]), loc[:-1]
    model = _model_at(parent)
    valid = sorted(model.model_fields) if model else []
    among = f"the keys of {show_loc(parent)} are" if parent else "the keys of a plan are"
    return f"{show_loc(loc)} is an unknown key", did_you_mean(key, valid, f"{among} {', '.join(valid)}")


def _wanted(loc: Loc) -> str:
    allowed = _literals(loc)
    if allowed:
        return f"it is one of {', '.join(map(str, allowed))}"
    if loc[-1:] in (("gates",), ("probes",)):
        return f"an audit needs at least one {str(loc[-1]).removesuffix('s')}"
    model = _model_at(loc)
    return f"add it, with the keys {', '.join(model.model_fields)}" if model else "add it"


def _model_at(loc: Loc) -> type[BaseModel] | None:
    """The pydantic model whose keys are found at `loc`."""
    model: type[BaseModel] = Plan
    for part in loc:
        if isinstance(part, int):
            continue
        if part not in model.model_fields:
            return None
        inner = _models_in(model.model_fields[part].annotation)
        if inner is None:
            return None
        model = inner
    return model


def _models_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for arg in get_args(annotation) if (model := _models_in(arg))), None)


@cache
def _literals(loc: Loc) -> tuple[Any, ...]:
    """The allowed values of the closed set at `loc`, or nothing."""
    names = [part for part in loc if isinstance(part, str)]
    model = _model_at(loc[: loc.index(names[-1])]) if names else None
    if model is None or names[-1] not in model.model_fields:
        return ()
    return tuple(_leaves(model.model_fields[names[-1]].annotation))


def _leaves(annotation: Any) -> Iterator[Any]:
    for arg in get_args(annotation):
        if isinstance(arg, (str, int)):
            yield arg
        else:
            yield from _leaves(arg)


def unsound_numbers(plan: Plan | None, read: PlanText, name: str) -> Iterator[PlanError]:
    """Where YAML's `yes` would count as 1, and where a number is not finite."""
    for loc, given in _leaves_of(read.data, ()):
        if isinstance(given, float) and not math.isfinite(given):
            where = where_is(name, read.lines, loc)
            yield PlanError(f"{show_loc(loc)} is {given}", where=where, hint="it must be a finite number")
        elif isinstance(given, bool) and plan is not None:
            taken = _value_at(plan, loc)
            if isinstance(taken, (int, float)) and not isinstance(taken, bool):
                where = where_is(name, read.lines, loc)
                yield PlanError(f"{show_loc(loc)} is {show_value(given)}", where=where, hint="it must be a number")


def _leaves_of(data: Any, loc: Loc) -> Iterator[tuple[Loc, Any]]:
    if isinstance(data, Mapping):
        for key, value in data.items():
            yield from _leaves_of(value, (*loc, key))
    elif isinstance(data, (list, tuple)):
        for i, value in enumerate(data):
            yield from _leaves_of(value, (*loc, i))
    else:
        yield loc, data


def _value_at(plan: Plan, loc: Loc) -> Any:
    value: Any = plan
    for part in loc:
        value = getattr(value, str(part)) if isinstance(value, BaseModel) else value[part]
    return value


def _plain(limit: float) -> str:
    """A whole number with all its digits."""
    return f"{int(limit):,}" if float(limit).is_integer() else f"{limit:g}"
