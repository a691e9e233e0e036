"""More training texts out of those there are: typing errors, a user's synonyms, a user's back-translation."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.audit.errors import DataError, PlanError

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["TextAugment", "read_synonyms", "read_translator"]

Translate = Callable[[list[str]], list[str]]
_WORD = re.compile(r"\w+")
_ROWS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")  # of a keyboard: a wrong key is one beside the right one
_BESIDE = {a: "".join(row[max(0, i - 1) : i] + row[i + 1 : i + 2]) for row in _ROWS for i, a in enumerate(row)}
_LEAST_LETTERS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class TextAugment:
    """Changed copies of texts.

    `typos`: each word of four letters or more gets, with this probability, one typing error: two letters swapped, one
    left out, one doubled, or the key beside it. `synonyms`: each word in `table` is replaced with this probability by
    one of its alternatives. `translate`, where it is given, is called on all texts before that.
    """

    typos: float = 0.0
    synonyms: float = 0.0
    table: Mapping[str, Sequence[str]] = field(default_factory=dict)
    translate: Translate | None = None

    def __call__(self, texts: Sequence[str], rng: Generator) -> list[str]:
        """A changed copy of each text. Raises DataError where the translation gives back something else than texts."""
        ready = list(texts)
        if self.translate is not None:
            ready = self.translate(list(texts))
            if not isinstance(ready, list) or len(ready) != len(texts) or any(not isinstance(t, str) for t in ready):
                message = f"the back-translation of {len(texts):,} texts gave no list of {len(texts):,} texts"
                raise DataError(message, where="translate", hint="it takes a list of texts and returns one like it")
        return [_WORD.sub(lambda found: self._word(found[0], rng), text) for text in ready]

    def _word(self, word: str, rng: Generator) -> str:
        others = self.table.get(word.lower(), ())
        if others and rng.random() < self.synonyms:
            other = others[int(rng.integers(len(others)))]
            word = other.capitalize() if word[:1].isupper() else other
        if len(word) >= _LEAST_LETTERS and rng.random() < self.typos:
            return _mistyped(word, rng)
        return word


def _mistyped(word: str, rng: Generator) -> str:
    at = int(rng.integers(len(word) - 1))
    match int(rng.integers(4)):
        case 0:
            return word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        case 1:
            return word[:at] + word[at + 1 :]
        case 2:
            return word[: at + 1] + word[at:]
    keys = _BESIDE.get(word[at].lower(), word[at])
    key = keys[int(rng.integers(len(keys)))]
    return word[:at] + (key.upper() if word[at].isupper() else key) + word[at + 1 :]


def read_synonyms(path: str) -> dict[str, list[str]]:
    """A table of synonyms: JSON {"word": ["other", …]}, or CSV without a header, a word and its others in each line.

    Words are matched in lower case. Raises DataError where the file is no such table.
    """
    full = Path(path).expanduser()
    try:
        text = full.read_text(encoding="utf-8")
        if full.suffix.lower() == ".csv":
            table = {row[0]: row[1:] for row in csv.reader(text.splitlines()) if row}
        else:
            table = json.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {' '.join(str(error).split())[:200]}", where=path) from error
    if not isinstance(table, dict) or not all(
        isinstance(others, list) and others and all(isinstance(o, str) and o for o in others)
        for others in table.values()
    ):
        raise DataError("is no table of synonyms", where=path, hint='it is {"word": ["other", …], …}')
    return {str(word).lower(): list(others) for word, others in table.items()}


def read_translator(spec: str) -> Translate:
    """The function that "file.py:function" names: it takes a list of texts and returns as many.

    The file is the user's own code, as a Python target's is. Raises PlanError where it cannot be had.
    """
    import importlib.util

    path, _, name = spec.rpartition(":")
    full = Path(path).expanduser()
    if not path or not full.is_file():
        raise PlanError(f"translate is {spec!r}", hint="it is file.py:function, and the file must be there")
    found = importlib.util.spec_from_file_location(full.stem, full)
    if found is None or found.loader is None:
        raise PlanError(f"{path} is no Python file", where="translate", hint="it is file.py:function")
    module = importlib.util.module_from_spec(found)
    try:
        found.loader.exec_module(module)
        function = getattr(module, name)
    except Exception as error:
        text = " ".join(str(error).split())[:200]
        raise PlanError(f"{spec} does not load: {type(error).__name__}: {text}", where="translate") from error
    if not callable(function):
        raise PlanError(f"{spec} is no function", where="translate")
    translate: Translate = function
    return translate
