"""`steelyard init`: write a plan for a data file."""

from __future__ import annotations

import argparse
from pathlib import Path

from steelyard.audit.console import Console

HELP = "write a commented plan for your data file, inferring what its columns mean"


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `init`."""
    parser.add_argument("data", metavar="DATA", type=Path, help="a CSV or parquet file: rows to audit, or decisions")
    parser.add_argument("--model", type=Path, help="a .skops, .joblib or .pkl model, or file.py:function")
    parser.add_argument("--label", metavar="COLUMN", help="the column with the true outcome")
    parser.add_argument("--groups", metavar="LIST", help="protected attributes, separated by commas")
    parser.add_argument("--out", type=Path, default=Path("audit.yaml"), metavar="FILE", help="default: audit.yaml")
    parser.add_argument("--force", action="store_true", help="replace the file if it exists")


def execute(args: argparse.Namespace, console: Console) -> int:
    """Write the plan and say what is left to do in it."""
    from steelyard.audit.init_plan import write_plan

    groups = [part.strip() for part in args.groups.split(",") if part.strip()] if args.groups else None
    written = write_plan(args.data, model=args.model, out=args.out, label=args.label, groups=groups, force=args.force)
    console.out(f"wrote {written.path}")
    for line in written.open_questions:
        console.out(f"to do: {line}")
    for line in written.assumed:
        console.note(f"assumed: {line}")
    console.out(f"next: steelyard plan {written.path}")
    return 0
