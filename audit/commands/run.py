"""`steelyard run`: measure, judge, record and report."""

from __future__ import annotations

import argparse
import json
import shlex
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.audit.commands.opening import open_plan
from steelyard.audit.commands.options import add_format, add_plan
from steelyard.audit.console import Console, apart
from steelyard.audit.errors import PlanError, StorageError

if TYPE_CHECKING:
    from steelyard.audit.plan_source import PlanSource

HELP = "carry out an audit: measure, judge, record, report"

RUNS = Path("runs")


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `run`."""
    add_plan(parser)
    add_format(parser)
    parser.add_argument("--out", type=Path, metavar="DIR", help="the run folder (default: runs/<time>-<plan digest>)")
    resume = "go on with a killed run: RUN, or the folder of --out, or the newest run of this plan"
    parser.add_argument("--resume", nargs="?", const="", metavar="RUN", help=resume)
    parser.add_argument("--jobs", type=_jobs, default=1, metavar="N", help="worker processes (default: 1)")
    trust = "open a .pkl or .joblib model after a scan; it can run code"
    parser.add_argument("--trust-pickle", action="store_true", help=trust)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Run the audit; the exit code is the record's."""
    from steelyard.audit.commands.outcome import print_outcome

    _plan_after_resume(args)
    source = open_plan(args.plan, console)
    folder = _folder(args, source)
    from steelyard.audit.run import run_audit

    progress = console.progress()
    try:
        with apart():
            result = run_audit(
                source,
                out=folder,
                jobs=args.jobs,
                resume=args.resume is not None,
                trust_pickle=args.trust_pickle,
                progress=progress,
            )
    except KeyboardInterrupt:
        progress.done()
        again = shlex.join(["steelyard", "run", str(args.plan), "--resume", str(folder)])
        console.note(f"what was measured is kept in {folder}; resume with: {again}")
        raise
    finally:
        progress.done()
    reports = dict(result.reports)
    print_outcome(result.record, console, folder=result.folder, reports=reports, as_json=args.format == "json")
    return result.record.exit_code


def _jobs(text: str) -> int:
    jobs = int(text) if text.isdecimal() else 0
    if jobs < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of processes; write 1, 2, …")
    return jobs


def _plan_after_resume(args: argparse.Namespace) -> None:
    """`run --resume audit.yaml` names a plan, and `run --resume RUN` a folder that knows its plan."""
    if not args.resume:
        return
    named = Path(args.resume)
    if named.is_file():
        args.plan, args.resume = args.resume, ""
    elif args.plan == "audit.yaml" and not Path(args.plan).exists():
        args.plan = _plan_of(named)


def _plan_of(folder: Path) -> str:
    try:
        return str(json.loads((folder / "origin.json").read_text(encoding="utf-8"))["plan"])
    except (OSError, ValueError, KeyError, TypeError):
        hint = "give both: steelyard run PLAN --resume RUN"
        raise PlanError(f"no plan is named, and {folder} does not say which it was", hint=hint) from None


def _folder(args: argparse.Namespace, source: PlanSource) -> Path:
    short = source.plan.digest[:8]
    if args.resume:
        if args.out is not None and args.out != Path(args.resume):
            raise PlanError("--resume RUN and --out name two folders", hint="keep one of them")
        return Path(args.resume)
    if args.out is not None:
        out: Path = args.out
        return out
    earlier = sorted(RUNS.glob(f"*-{short}")) if RUNS.is_dir() else []
    if args.resume is not None:
        if not earlier:
            raise StorageError(
                f"no run of this plan is in {RUNS}/", where=str(source.path), hint="run without --resume"
            )
        return earlier[-1]
    now = datetime.now().strftime("%Y%m%dT%H%M%S")
    return RUNS / f"{now}-{short}"
