"""Who is told how far a training has come, and where it is kept: context variables, for recipes need no more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Advance", "Watch", "current_folder", "current_journal", "current_watch", "keeping", "watching"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """One optimizer step is done: the `step`-th (from 1) of `steps` in the `epoch`-th of `epochs`.

    `loss` is the mean over the epoch so far.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float

    @property
    def share(self) -> float:
        """How much of the whole training is done, 0 to 1."""
        return (self.epoch - 1 + self.step / self.steps) / self.epochs

    def __str__(self) -> str:
        return f"epoch {self.epoch}/{self.epochs}, loss {self.loss:.3f}"


Watch = Callable[[Advance], None]
_WATCH: ContextVar[Watch | None] = ContextVar("steelyard_watch", default=None)
_FOLDER: ContextVar[Path | None] = ContextVar("steelyard_checkpoints", default=None)
_JOURNAL: ContextVar[Path | None] = ContextVar("steelyard_journal", default=None)


@contextmanager
def watching(watch: Watch) -> Iterator[None]:
    """Every training in here tells `watch` of each of its steps. A KeyboardInterrupt raised in it ends the training."""
    token = _WATCH.set(watch)
    try:
        yield
    finally:
        _WATCH.reset(token)


def current_watch() -> Watch | None:
    """Who watches, if anyone."""
    return _WATCH.get()


@contextmanager
def keeping(folder: Path | None, journal: Path | None = None) -> Iterator[None]:
    """Every training in here keeps checkpoints in `folder` and writes its numbers in `journal`, unless told others."""
    tokens = _FOLDER.set(folder), _JOURNAL.set(journal)
    try:
        yield
    finally:
        _FOLDER.reset(tokens[0])
        _JOURNAL.reset(tokens[1])


def current_folder() -> Path | None:
    """Where checkpoints are kept, if anywhere."""
    return _FOLDER.get()


def current_journal() -> Path | None:
    """Where the numbers of each epoch are written, if anywhere."""
    return _JOURNAL.get()
