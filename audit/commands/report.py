"""`steelyard report`: write the reports of a finished run again."""

from __future__ import annotations

import argparse
from pathlib import Path

from steelyard.audit.console import Console

HELP = "write the reports of a finished run: html, json, junit, markdown"

FORMATS = ("html", "json", "junit", "markdown")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `report`."""
    parser.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    formats = f"which, separated by commas (default: {','.join(FORMATS)})"
    parser.add_argument("--format", type=_formats, default=FORMATS, metavar="LIST", help=formats)
    parser.add_argument("--out", type=Path, metavar="DIR", help="where to (default: the run folder)")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Render from record.json alone, and print where each report is."""
    from steelyard.audit.run import render

    for name, path in render(args.run, args.format, args.out).items():
        console.out(f"{name}: {path}")
    return 0


def _formats(text: str) -> tuple[str, ...]:
    wanted = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    unknown = [part for part in wanted if part not in FORMATS]
    if unknown or not wanted:
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of formats; they are {', '.join(FORMATS)}")
    return wanted
