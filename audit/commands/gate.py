"""`steelyard gate`: judge a finished run again, without measuring anything."""

from __future__ import annotations

import argparse
from pathlib import Path

from steelyard.audit.commands.opening import open_plan
from steelyard.audit.commands.options import add_format
from steelyard.audit.console import Console
from steelyard.audit.errors import StorageError

HELP = "judge a finished run again, by its own gates as of today or by another plan's"

MEASURED = ("target", "data", "references", "probes")  # parts of a plan that a finished run has behind it


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `gate`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    other = "judge by this plan's gates; changed tolerances make the result exploratory"
    parser.add_argument("--plan", type=Path, metavar="PLAN", help=other)
    add_format(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Print the verdicts; nothing in the run folder changes. Waivers count as of today."""
    from steelyard.audit.commands.outcome import print_outcome
    from steelyard.audit.run import regate

    if not (args.run / "record.json").is_file():
        hint = "name the folder of a finished run, or finish it with 'steelyard run --resume'"
        raise StorageError("there is no record.json here", where=str(args.run), hint=hint)
    source = open_plan(args.plan or args.run / "plan.yaml", console)
    record = regate(args.run, source)
    asked = source.plan.model_dump(mode="json")
    other = [part for part in MEASURED if record.plan.get(part) != asked[part]]
    if other:
        said = "judged is what this run measured; only gates, required and waivers are taken from this plan"
        console.note(f"steelyard: note: {source.path}: {' and '.join(other)} differ from those of the run; {said}")
    print_outcome(record, console, folder=args.run, reports={}, as_json=args.format == "json")
    return record.exit_code
