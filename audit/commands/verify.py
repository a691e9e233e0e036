"""`steelyard verify`: is every byte of a run what it was?"""

from __future__ import annotations

import argparse
from pathlib import Path

from steelyard.audit.commands.options import add_format
from steelyard.audit.console import Console
from steelyard.audit.errors import IntegrityError

HELP = "check every byte of a run folder against its manifest; exit 5 where one was changed"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `verify`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    parser.add_argument("--digest", metavar="HEX", help="the record digest that 'steelyard run' printed")
    add_format(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Name every problem, one line each."""
    from steelyard.audit.verify import verify

    problems = verify(args.run, args.digest)
    if args.format == "json":
        console.json({"intact": not problems, "problems": problems, "folder": str(args.run)})
    else:
        for problem in problems:
            console.out(problem)
        if not problems:
            beyond = "" if args.digest else " (against its own manifest; --digest checks it against a digest you kept)"
            console.out(f"{args.run}: intact{beyond}")
    return IntegrityError.exit_code if problems else 0
