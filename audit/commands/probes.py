"""`steelyard probes`: what can be asked, and what each metric means."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterator
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import to_plain
from steelyard.audit.commands.options import add_format
from steelyard.audit.console import Console
from steelyard.audit.errors import PlanError

if TYPE_CHECKING:
    from steelyard.audit.target import Probe

HELP = "list the probes with their settings, metrics and definitions"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `probes`."""
    parser.add_argument(
        "pattern", metavar="PATTERN", nargs="?", default="*", help="such as 'fairness.*' (default: all)"
    )
    add_format(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the probes whose id, or one of whose metrics, fits the pattern; with one, also their names elsewhere."""
    from steelyard.probes.registry import all_probes

    kinds = [kind for kind in all_probes() if _fits(kind, args.pattern)]
    if not kinds:
        from steelyard.audit.plan_source import did_you_mean

        names = [kind.id for kind in all_probes()]
        hint = did_you_mean(args.pattern, names, f"there are {', '.join(names)}")
        raise PlanError(f"no probe and no metric is called {args.pattern!r}", hint=hint)
    if args.format == "json":
        console.json([_plain(kind) for kind in kinds])
        return 0
    for kind in kinds:
        for line in _lines(kind, elsewhere=args.pattern != "*"):
            console.out(line)
    return 0


def _fits(kind: type[Probe], pattern: str) -> bool:
    names = [kind.id, *(name for spec in kind.metrics for name in (spec.id, *spec.aliases))]
    return any(fnmatchcase(name, pattern) for name in names)


def _settings(kind: type[Probe]) -> dict[str, Any]:
    return {
        field.name: None if field.default is dataclasses.MISSING else to_plain(field.default)
        for field in dataclasses.fields(kind)
    }


def _question(kind: type[Probe]) -> str:
    return (kind.__doc__ or "").strip().split("\n", 1)[0]


def _plain(kind: type[Probe]) -> dict[str, Any]:
    from steelyard.probes.dictionary import namesakes

    return {
        "id": kind.id,
        "version": kind.version,
        "question": _question(kind),
        "requires": sorted(str(item) for item in kind.requires),
        "tasks": sorted(str(task) for task in kind.tasks),
        "settings": _settings(kind),
        "metrics": [{**to_plain(spec), "elsewhere": to_plain(namesakes(spec.id))} for spec in kind.metrics],
    }


def _lines(kind: type[Probe], *, elsewhere: bool) -> Iterator[str]:
    """A probe with its metrics; `elsewhere` adds what other libraries call them."""
    from steelyard.probes.dictionary import namesakes

    yield f"{kind.id}  {_question(kind)}"
    needs = ", ".join(sorted(map(str, kind.requires))) or "nothing"
    yield f"  needs: {needs}; for {', '.join(sorted(kind.tasks))} tasks"
    settings = ", ".join(f"{name} = {value}" for name, value in _settings(kind).items())
    yield f"  settings: {settings or 'none'}"
    for spec in kind.metrics:
        names = spec.id + (f" (also {', '.join(spec.aliases)})" if spec.aliases else "")
        better = "" if spec.direction.value == "none" else f"; {spec.direction.value} is better"
        yield f"  {names}{better}"
        yield f"      {spec.definition}"
        for found in namesakes(spec.id) if elsewhere else ():
            how = f" ({found.differs})" if found.differs else ""
            yield f"      in {found.library}: {found.name}{how}"
    yield ""
