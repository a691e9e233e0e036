"""Write a commented plan for a data file: what can be guessed is guessed, what cannot is asked for in the plan.

Names and values come from the user's file, so each is quoted: a column called `x, kind: python` stays a column.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import PlanError

if TYPE_CHECKING:
    from steelyard.audit.commands.infer import Meaning

__all__ = ["Written", "scalar", "write_plan"]

MODEL_SUFFIXES = {".skops", ".joblib", ".pkl", ".pickle"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """Where the plan is, what is left to do in it, and what was assumed."""

    path: Path
    open_questions: tuple[str, ...]
    assumed: tuple[str, ...]


def write_plan(
    data_file: str | Path,
    model: str | Path | None = None,
    out: str | Path = "audit.yaml",
    label: str | None = None,
    groups: Sequence[str] | None = None,
    *,
    force: bool = False,
) -> Written:
    """Write the plan `out` for the rows in `data_file`, to be measured on `model` or on decisions among the columns.

    Raises DataError where the data cannot be read, PlanError where a named column or a kind of model is unknown or
    `out` exists and `force` is not given, StorageError where it cannot be written.
    """
    from steelyard.audit.commands.infer import infer
    from steelyard.audit.plan_file import load_plan
    from steelyard.audit.store import write_atomic
    from steelyard.models.data.tables import read_table

    out, data_file = Path(out), Path(data_file)
    if out.exists() and not force:
        raise PlanError("exists already", where=str(out), hint="choose another --out, or replace it with --force")
    target = _model_target(model, out) if model is not None else None
    frame = read_table(data_file, base=Path())
    meaning = infer(frame, label=label, groups=groups, has_model=model is not None, where=str(data_file))
    open_questions = list(meaning.missing)
    if target is None and meaning.decision is None and meaning.score is None:
        open_questions.insert(0, "there is no model and no column of decisions; name one in target")
    train = _train_beside(data_file)
    lines = _plan_lines(meaning, target=target, data=_relative(data_file, out), out=out, train=train)
    write_atomic(out, ("\n".join(lines) + "\n").encode())
    load_plan(out)  # what is written is a plan, whatever the names in it
    return Written(path=out, open_questions=tuple(open_questions), assumed=meaning.assumed)


def scalar(value: Any) -> str:
    """A YAML scalar that reads back as `value`: text is always quoted, and holds no sign that cannot be seen."""
    if isinstance(value, str):
        escaped = {'"': '\\"', "\\": "\\\\"}
        signs = (escaped.get(c, c if c == " " or c.isprintable() else f"\\U{ord(c):08x}") for c in value)
        return f'"{"".join(signs)}"'
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)) and float(value).is_integer():
        return str(int(value))
    return repr(value) if isinstance(value, float) else scalar(str(value))


def _list(values: Sequence[str]) -> str:
    return f"[{', '.join(scalar(value) for value in values)}]"


def _relative(path: Path, out: Path) -> str:
    try:
        return Path(os.path.relpath(path, out.parent)).as_posix()
    except ValueError:  # another drive
        return path.absolute().as_posix()


def _train_beside(data_file: Path) -> Path | None:
    """`train.csv` beside `test.csv`, where there is one."""
    beside = data_file.with_name(data_file.name.replace("test", "train"))
    return beside if beside != data_file and beside.is_file() else None


def _model_target(model: str | Path, out: Path) -> list[str]:
    text = str(model)
    file, colon, factory = text.rpartition(":")
    if colon and file.endswith(".py"):
        return ["  kind: python", f"  path: {scalar(_relative(Path(file), out))}", f"  factory: {scalar(factory)}"]
    suffix = Path(text).suffix.lower()
    if suffix == ".py":
        raise PlanError(f"{text!r} does not say which function returns the model", hint=f"write {text}:function")
    if suffix not in MODEL_SUFFIXES:
        known = ", ".join(sorted(MODEL_SUFFIXES))
        raise PlanError(
            f"{text!r} is no model file that is known here", hint=f"it is one of {known}, or file.py:function"
        )
    lines = ["  kind: sklearn", f"  path: {scalar(_relative(Path(text), out))}"]
    if suffix != ".skops":
        lines.append("  # trust_pickle: true  # this kind of file can run code; remove the # only if you trust it")
    return lines


def _plan_lines(
    meaning: Meaning, *, target: list[str] | None, data: str, out: Path, train: Path | None
) -> Iterator[str]:
    yield "# An audit plan. Everything in it is fixed and hashed before anything is measured."
    yield "# Lines marked 'check' hold a guess; 'steelyard schema' lists every key there is."
    yield "audit:"
    yield f"  name: {scalar(out.resolve().parent.name.strip() or 'audit')}"
    yield "  seed: 0  # every generator is derived from it"
    yield "  # owner: who answers for this audit"
    yield ""
    predictions = target is None and (meaning.decision is not None or meaning.score is not None)
    yield "target:"
    yield from target or _own_target(meaning, data, predictions)
    yield ""
    yield "data:"
    if not predictions:
        yield f"  test: {scalar(data)}  # rows that the model has not seen"
        if train is not None:
            yield f"  train: {scalar(_relative(train, out))}  # check: what references are trained on"
        else:
            yield "  # train: train.csv  # rows to train references on"
    yield from _column_lines(meaning)
    yield ""
    if train is not None and not predictions:
        yield "references: [baseline]  # a logistic regression and a gradient boosting, trained on data.train"
    else:
        yield "# references: [baseline]  # a logistic regression and a gradient boosting; they need data.train"
    yield ""
    yield from _probe_lines(meaning)
    yield ""
    yield from _gate_lines(meaning)


def _own_target(meaning: Meaning, data: str, predictions: bool) -> Iterator[str]:
    if not predictions:
        yield "  kind: sklearn"
        yield '  path: "model.skops"  # write the path of your model here; the plan does not run without one'
        return
    yield "  kind: predictions"
    yield f"  path: {scalar(data)}"
    if meaning.decision is not None:
        yield f"  decision: {scalar(meaning.decision)}  # check"
    if meaning.score is not None and meaning.task == "regression":
        yield f"  score: {scalar(meaning.score)}  # check: the number that the model said"
    elif meaning.score is not None:
        yield f"  score: {scalar(meaning.score)}  # check: the probability of the favourable decision"
        if meaning.decision is None:
            yield "  threshold: 0.5  # check: favourable where the score is at least this"


def _column_lines(meaning: Meaning) -> Iterator[str]:
    if meaning.label is None:
        yield "  # label: write the column with the true outcome here, and remove the #"
    else:
        yield f"  label: {scalar(meaning.label)}  # check: the true outcome"
    if meaning.favourable is not None:
        yield f"  positive: {scalar(meaning.favourable)}  # check: its favourable value"
    elif meaning.task == "binary":
        either = " or ".join(scalar(value) for value in meaning.values)
        yield f"  # positive: write its favourable value here, {either}, and remove the #"
    if meaning.groups:
        yield f"  groups: {_list(meaning.groups)}  # check: the protected attributes"
    else:
        yield "  # groups: write the protected attributes here, as [column, column], and remove the #"
    if meaning.id is not None:
        yield f"  id: {scalar(meaning.id)}"
    if meaning.cluster is not None:
        yield f"  cluster: {scalar(meaning.cluster)}  # check: rows of one person are not independent"
    if meaning.weight is not None:
        yield f"  # weight: {scalar(meaning.weight)}  # remove the # if these are survey weights"


def _compares_groups(meaning: Meaning) -> bool:
    """Whether decisions can be compared between groups: they are yes or no, and there are groups."""
    return bool(meaning.groups) and meaning.task in {"binary", None}


def _probe_lines(meaning: Meaning) -> Iterator[str]:
    asked = [*(["quality.*"] if meaning.label else []), *(["fairness.*"] if meaning.groups else [])]
    yield f"probes: {_list(asked or ['quality.*', 'fairness.*'])}"


def _gate_lines(meaning: Meaning) -> Iterator[str]:
    """At least one gate that can be judged, and that a bad model fails."""
    yield "gates:  # the tolerances; choose them before you see a result"
    if _compares_groups(meaning):
        yield "  - metric: fairness.selection-rate.ratio"
        yield "    min: 0.8  # check: the four-fifths rule"
        yield "    # intersections: 2  # remove the # and the gate covers pairs of attributes as well"
    if meaning.task == "regression":
        yield "  - metric: quality.r2"
        yield "    min: 0  # check: better than always answering the mean"
    elif meaning.share is not None:
        least = min(int(meaning.share * 1000) / 1000, 0.999)
        yield "  - metric: quality.accuracy"
        yield f"    min: {least:g}  # check: better than always answering the most frequent outcome"
    elif not _compares_groups(meaning):
        yield "  - metric: quality.accuracy"
        yield "    min: 0.5  # check"
