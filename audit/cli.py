"""The command `steelyard`: its arguments, its exit codes, and one line for every mistake.

Each command is a module of `audit/commands` with `HELP`, `configure(parser)` and `execute(args, console) -> int`; none
of them imports anything heavy before it is executed.

Exit codes: 0 to 5 are the audit's (see `audit/policy.py`). Above 5 are the command's own, and never mean a verdict:
70 Steelyard itself broke, 130 interrupted, 141 whoever read the output went away. A crash is never 0.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import importlib
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from steelyard.audit.console import Console
from steelyard.audit.errors import SteelyardError

__all__ = ["COMMANDS", "main"]

COMMANDS = ("init", "doctor", "plan", "train", "run", "gate", "report", "verify", "probes", "schema")

BROKE, INTERRUPTED, READER_GONE = 70, 130, 141

EPILOG = """\
exit codes:
  0  every gate passed, or its policy accepts its verdict
  1  a gate failed
  2  the plan or the call is wrong
  3  a gate needs review: inconclusive, or an attack that did not succeed
  4  incomplete: something required crashed or was not measured
  5  the record's integrity check failed

begin with:  steelyard init DATA.csv --model model.skops
             steelyard plan audit.yaml
             steelyard run audit.yaml
"""


class _Parser(argparse.ArgumentParser):
    """argparse with a nearest word for an unknown command."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message and "COMMAND" in message:
            import difflib

            near = difflib.get_close_matches(message.split("'")[1], COMMANDS, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"the commands are {', '.join(COMMANDS)}"
            message = f"unknown command '{message.split(chr(39))[1]}'; {hint}"
        Console().error(f"{message} (see '{self.prog} --help')")
        raise SystemExit(2)


class _Version(argparse.Action):
    """Reads the version only where it is asked for."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import version

        print(f"steelyard {version('steelyard')}")
        parser.exit()


def parser() -> argparse.ArgumentParser:
    """The whole command line. Global options are taken before the command and after it."""
    top = _Parser(
        prog="steelyard",
        description="Weigh a machine-learning model against references, with gates that know their own error.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        parents=[_global_options(False)],
        allow_abbrev=False,
    )
    top.add_argument("--version", action=_Version, nargs=0, help="print the version and leave")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in COMMANDS:
        module = importlib.import_module(f"steelyard.audit.commands.{name}")
        sub = commands.add_parser(
            name,
            help=module.HELP,
            description=module.HELP[:1].upper() + module.HELP[1:] + ".",
            parents=[_global_options(argparse.SUPPRESS)],
            allow_abbrev=False,
        )
        module.configure(sub)
        sub.set_defaults(execute=module.execute)
    return top


def _global_options(default: object) -> _Parser:
    options = _Parser(add_help=False)
    options.add_argument("--no-color", action="store_true", default=default, help="print without colours")
    options.add_argument("-q", "--quiet", action="store_true", default=default, help="print results and errors only")
    options.add_argument("-v", "--verbose", action="store_true", default=default, help="with tracebacks of defects")
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; no mistake of the user's ever shows a traceback."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a terminal that cannot show ≥ gets an escape, not a crash
            stream.reconfigure(errors="backslashreplace")
    console = Console()
    try:
        args = parser().parse_args(argv)
        if args.command is None:
            parser().print_help(sys.stderr)
            return 2
        color = not (args.no_color or os.environ.get("NO_COLOR"))
        console = Console(quiet=args.quiet, verbose=args.verbose, color=color)
        code: int = args.execute(args, console)
        sys.stdout.flush()
    except SystemExit as leaving:  # argparse: 0 after --help, 2 after a wrong call
        return leaving.code if isinstance(leaving.code, int) else 2
    except KeyboardInterrupt:
        console.error("interrupted")
        return INTERRUPTED
    except SteelyardError as error:
        for one in getattr(error, "errors", [error]):
            console.error(str(one))
        _show_traceback(console)
        return error.exit_code
    except BrokenPipeError:
        _silence_stdout()
        return READER_GONE
    except OSError as error:
        console.error(_os_error(error))
        _show_traceback(console)
        return 2
    except MemoryError:
        console.error("out of memory; try --jobs 1, or fewer probes and references in one run")
        return 4
    except Exception as error:  # noqa: BLE001 (the last line of defence: a defect of ours, said as such)
        kind = type(error).__name__
        console.error(f"this is a defect of Steelyard, not of your input: {kind}: {error}; -v shows the traceback")
        _show_traceback(console)
        return BROKE
    return code


def _os_error(error: OSError) -> str:
    where = f"{error.filename}: " if error.filename else ""
    hints = {
        errno.ENOSPC: "the disk is full; free some space, or choose another folder with --out",
        errno.EACCES: "no permission; choose another folder, or change its permissions",
        errno.EROFS: "the file system is read-only; choose another folder",
    }
    return where + hints.get(error.errno or 0, error.strerror or str(error))


def _show_traceback(console: Console) -> None:
    if console.verbose:
        import traceback

        traceback.print_exc()


def _silence_stdout() -> None:
    """Keep the interpreter from complaining at exit about output that nobody reads."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
