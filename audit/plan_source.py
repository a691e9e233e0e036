"""A validated plan and where it came from, and how a mistake in it is put into words.

One mistake is one line: the file, the line, the key as people write it, the value, and the way out.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import Plan
from steelyard.audit.plan_lines import Loc

__all__ = ["PlanErrors", "PlanSource", "did_you_mean", "nearest", "raise_all", "show_loc", "show_value", "where_is"]


class PlanErrors(PlanError):
    """Everything that is wrong with one plan, the first line first, in `errors`."""

    def __init__(self, errors: Sequence[PlanError]) -> None:
        self.errors = list(errors)
        first, more = self.errors[0], len(self.errors) - 1
        hint = first.hint
        if more:
            hint = f"{hint} (and {more} more)" if hint else f"and {more} more"
        super().__init__(first.message, where=first.where, hint=hint)

    def __reduce__(self) -> tuple[object, ...]:
        return PlanErrors, (self.errors,)


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanSource:
    """A validated plan and where it came from. Paths in the plan are relative to `base`."""

    plan: Plan
    text: str
    path: Path
    base: Path
    lines: Mapping[Loc, int] = field(default_factory=dict)

    def line(self, loc: Loc) -> int | None:
        """The line (from 1) of a value, or of the nearest thing around it that is written down."""
        return _line(self.lines, loc)

    def where(self, loc: Loc) -> str:
        """`audit.yaml:14`, or the file's name alone where no line is known."""
        return where_is(str(self.path), self.lines, loc)

    def error(self, loc: Loc, message: str, hint: str = "") -> PlanError:
        """A PlanError that points at `loc`."""
        return PlanError(message, where=self.where(loc), hint=hint)


def raise_all(errors: Iterable[PlanError]) -> None:
    """Raise PlanErrors, in the order of the lines, if there are any errors."""
    found = {str(error): error for error in errors}.values()
    if found:
        raise PlanErrors(sorted(found, key=_line_of))


def _line_of(error: PlanError) -> int:
    number = error.where.rpartition(":")[2]
    return int(number) if number.isdigit() else 0


def _line(lines: Mapping[Loc, int], loc: Loc) -> int | None:
    return next((lines[loc[:n]] for n in range(len(loc), -1, -1) if loc[:n] in lines), None)


def where_is(name: str, lines: Mapping[Loc, int], loc: Loc) -> str:
    """`name:line` of a value, or the name alone where no line is known."""
    line = _line(lines, loc)
    return name if line is None else f"{name}:{line}"


def show_loc(loc: Loc) -> str:
    """A path in the plan as people write it: `gates[1].metric`, counted from 0."""
    text = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in loc)
    return text.removeprefix(".")


def show_value(value: Any) -> str:
    """A value as a message quotes it, cut at 60 characters."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = repr(value) if isinstance(value, str) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}…"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word nearest to `word`, or None where none is near."""
    return next(iter(difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)), None)


def did_you_mean(word: str, known: Sequence[str], otherwise: str) -> str:
    """A hint: the nearest known word, or else what is allowed."""
    near = nearest(word, known)
    return f"did you mean '{near}'?" if near else otherwise
