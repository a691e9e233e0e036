"""What the command says: results on standard output, progress and remarks on standard error.

Text that comes from data or from a plan is shown with its control signs written out, so that no column name can move
the cursor, change colours or hide a line. Nothing here interprets markup.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

if TYPE_CHECKING:
    from rich.console import Console as Screen
    from rich.progress import Progress as Bars
    from rich.progress import TaskID

__all__ = ["BarProgress", "Console", "LineProgress", "NoProgress", "Progress", "apart", "clean"]

EVERY = 10.0  # seconds between two lines about one long step
LEAST_WIDTH = 50  # a last column narrower than this breaks its sentences into words


def clean(text: str) -> str:
    """`text` on one line with every sign that cannot be seen written out: an escape becomes `\\u001b`."""
    line = text.replace("\n", " ")
    return line if line.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in line)


@contextlib.contextmanager
def apart() -> Iterator[None]:
    """Whatever a model, a plugin or a worker process prints in here goes to standard error: the result stands alone.

    The file descriptor is moved as well, which a library below Python writes to and a worker process inherits.
    """
    sys.stdout.flush()
    try:
        kept = os.dup(1)
        os.dup2(2, 1)
    except OSError:  # one of the two is closed
        kept = -1
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        if kept >= 0:
            os.dup2(kept, 1)
            os.close(kept)


class Progress(Protocol):
    """How far long work has come. A new `start` ends what was started before."""

    def start(self, name: str, total: int | None) -> None:
        """Begin a piece of work of `total` steps, or of unknown length."""

    def advance(self, note: str = "") -> None:
        """One step is done; `note` says which."""

    def within(self, share: float, note: str) -> None:
        """A long step is done by `share`, 0 to 1."""

    def done(self) -> None:
        """All work is done."""


class NoProgress:
    """Says nothing."""

    def start(self, name: str, total: int | None) -> None:
        """Say nothing."""

    def advance(self, note: str = "") -> None:
        """Say nothing."""

    def within(self, share: float, note: str) -> None:
        """Say nothing."""

    def done(self) -> None:
        """Say nothing."""


class LineProgress:
    """One plain line for each step, for logs and pipes."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._name = ""
        self._total: int | None = None
        self._count = 0
        self._said = 0.0

    def start(self, name: str, total: int | None) -> None:
        """Print the work's name; where it has steps, each of them prints its own line."""
        self._name, self._total, self._count = clean(name), total, 0
        self._said = time.monotonic()
        if total is None:
            print(f"{self._name} …", file=self._stream, flush=True)

    def advance(self, note: str = "") -> None:
        """Print which step of how many is done."""
        self._count += 1
        of = f"{self._count}/{self._total}" if self._total else str(self._count)
        print(f"{self._name} {of}: {clean(note)}".removesuffix(": "), file=self._stream, flush=True)
        self._said = time.monotonic()

    def within(self, share: float, note: str) -> None:
        """Print how far a step is, every `EVERY` seconds."""
        if time.monotonic() - self._said >= EVERY:
            print(f"{self._name}: {100 * share:.0f} % ({clean(note)})", file=self._stream, flush=True)
            self._said = time.monotonic()

    def done(self) -> None:
        """Nothing is left open."""


class BarProgress:
    """A bar on a terminal, gone when the work is done."""

    def __init__(self, *, color: bool) -> None:
        self._color = color
        self._bars: Bars | None = None
        self._task: TaskID | None = None
        self._count = 0

    def start(self, name: str, total: int | None) -> None:
        """Show a new bar in the place of the last one."""
        from rich.console import Console as Screen
        from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as Bars

        self.done()
        columns = [SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn(bar_width=24)]
        counted = [MofNCompleteColumn()] if total else []
        note = TextColumn("{task.fields[note]}", markup=False)
        screen = Screen(stderr=True, no_color=not self._color)
        self._bars = Bars(*columns, *counted, TimeElapsedColumn(), note, console=screen, transient=True)
        self._bars.start()
        self._count = 0
        self._task = self._bars.add_task(clean(name), total=total, note="")

    def advance(self, note: str = "") -> None:
        """Move the bar by one step."""
        if self._bars is not None and self._task is not None:
            self._count += 1
            self._bars.update(self._task, completed=self._count, note=clean(note))

    def within(self, share: float, note: str) -> None:
        """Move the bar by a part of the step that was named last."""
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=self._count - 1 + share, note=clean(note))

    def done(self) -> None:
        """Take the bar away and leave the cursor as it was."""
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """The two streams and how much is said on them."""

    quiet: bool = False
    verbose: bool = False
    color: bool = True

    def out(self, text: str = "") -> None:
        """A line of the result."""
        print("\n".join(clean(line) for line in text.split("\n")))

    def json(self, value: Any) -> None:
        """The result as JSON, for a program; ASCII only, so that no terminal can misread it."""
        print(json.dumps(value, indent=2, ensure_ascii=True, allow_nan=False))

    def note(self, text: str) -> None:
        """A remark beside the result; nothing with --quiet."""
        if not self.quiet:
            print(clean(text), file=sys.stderr, flush=True)

    def error(self, text: str) -> None:
        """What went wrong, on one line; with --quiet as well."""
        print(f"steelyard: error: {clean(text)}", file=sys.stderr, flush=True)

    def progress(self) -> Progress:
        """A bar on a terminal, plain lines elsewhere, nothing with --quiet."""
        if self.quiet:
            return NoProgress()
        plain = not sys.stderr.isatty() or os.environ.get("TERM") == "dumb" or bool(os.environ.get("CI"))
        return LineProgress(sys.stderr) if plain else BarProgress(color=self.color)

    def table(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        """A table on standard output: fitted to a terminal, else aligned plain text.

        A cell of the last column may hold several lines; a caller that joins text from data with line breaks cleans
        each part first.
        """
        cells = [[*(clean(cell) for cell in row[:-1]), "\n".join(map(clean, row[-1].split("\n")))] for row in rows]
        if sys.stdout.isatty():
            self._drawn(headings, cells)
            return
        widths = [max(len(row[i]) for row in [list(headings), *cells]) for i in range(len(headings) - 1)]
        indent = " " * sum(width + 2 for width in widths)
        for row in [list(headings), *cells]:
            start = "".join(f"{cell:<{width}}  " for cell, width in zip(row, widths, strict=False))
            first, *more = row[-1].split("\n")
            print("\n".join(line.rstrip() for line in [start + first, *(indent + line for line in more)]))

    def _drawn(self, headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        from rich import box
        from rich.console import Console as Screen
        from rich.table import Table
        from rich.text import Text

        screen = Screen(no_color=not self.color, highlight=False)
        columns = [*zip(headings, *rows, strict=True)]
        widest = [max(len(line) for cell in column for line in cell.split("\n")) for column in columns]
        if sum(widest[:-1]) + 3 * len(widest) + min(widest[-1], LEAST_WIDTH) > screen.width:
            self._stacked(headings, rows, screen)
            return
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for heading in headings:
            table.add_column(Text(heading), overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
        screen.print(table)

    def _stacked(self, headings: Sequence[str], rows: Sequence[Sequence[str]], screen: Screen) -> None:
        """The last column below the others, where it would be squeezed beside them."""
        from rich.padding import Padding
        from rich.text import Text

        lines = [headings, *rows]
        widths = [max(map(len, column)) for column in zip(*(line[:-1] for line in lines), strict=True)]
        for row in lines:
            padded = zip(row[:-1], widths, strict=True)
            cells = [Text(f"{cell:<{width}}  ", style=_STYLES.get(cell, "")) for cell, width in padded]
            screen.print(Text.assemble(*cells), overflow="fold")
            screen.print(Padding(Text(row[-1], overflow="fold"), (0, 0, 0, widths[0] + 2)))


# Colour repeats what the word says, it never says it alone.
_STYLES = {
    "PASS": "green",
    "FAIL": "bold red",
    "INCONCLUSIVE": "yellow",
    "NOT MEASURED": "bold magenta",
    "NOT REFUTED": "yellow",
    "missing": "bold red",
}
