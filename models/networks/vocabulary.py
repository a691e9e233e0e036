"""Texts to token ids, with a vocabulary of the training rows' own words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from steelyard.audit.errors import TargetError

__all__ = ["PAD", "START", "TextPrepare", "as_texts", "padded"]

PAD, START = 0, 1  # START stands for an unknown word, too, where words are not spelt
_WORDS = re.compile(r"\w+|[^\w\s]")
_PIECES = re.compile(r" ?\w+| ?[^\w\s]+|\s+")  # every sign of a text is in exactly one piece
_BYTES = 256


def as_texts(inputs: Any) -> list[str]:
    """The texts of a list, an array or a Series. Raises TargetError naming the first thing that is no text."""
    texts = list(inputs)
    for place, text in enumerate(texts):
        if not isinstance(text, str):
            kind = type(text).__name__
            raise TargetError(f"takes texts, and row {place} holds a {kind}", hint="see data.text")
    return texts


@dataclass(frozen=True, kw_only=True)
class TextPrepare:
    """Texts to (n, longest) ids, at most `length` of them, filled with `PAD`.

    Without `spelt`: lower-cased words and signs, and one id for all unknown ones; for classifying. With it: pieces that
    keep their case and the space before them, unknown ones spelt byte by byte (UTF-8), so that every text can be
    written and read back; each row begins with `START`; for language models.
    """

    pieces: tuple[str, ...]
    length: int
    spelt: bool = False
    _codes: dict[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        first = 2 + (_BYTES if self.spelt else 0)
        object.__setattr__(self, "_codes", {piece: first + i for i, piece in enumerate(self.pieces)})

    @classmethod
    def fit(cls, texts: Any, *, length: int, most: int = 20_000, least: int = 2, spelt: bool = False) -> TextPrepare:
        """The `most` frequent pieces of `texts` that occur at least `least` times, the more frequent first."""
        counts = Counter(piece for text in as_texts(texts) for piece in _cut(text, spelt))
        ranked = sorted(counts, key=lambda piece: (-counts[piece], piece))
        return cls(pieces=tuple(p for p in ranked[:most] if counts[p] >= least), length=length, spelt=spelt)

    @property
    def pad(self) -> int:
        """The id that fills short rows."""
        return PAD

    @property
    def unknown(self) -> int:
        """The id of a word that is not known."""
        return START

    @property
    def vocabulary(self) -> int:
        """How many ids there are."""
        return 2 + (_BYTES if self.spelt else 0) + len(self.pieces)

    def encode(self, text: str) -> tuple[int, ...]:
        """The ids of one text, however many, without `START`."""
        ids: list[int] = []
        for piece in _cut(text, self.spelt):
            code = self._codes.get(piece)
            if code is not None:
                ids.append(code)
            elif self.spelt:
                ids.extend(2 + byte for byte in piece.encode("utf-8", "surrogatepass"))
            else:
                ids.append(START)
        return tuple(ids)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of spelt ids; `PAD` and `START` are nothing, and bytes that are no UTF-8 become �."""
        found = b"".join(self._written[i] for i in ids)
        return found.decode("utf-8", "replace")

    @cached_property
    def _written(self) -> list[bytes]:
        each = [bytes([value]) for value in range(_BYTES)] if self.spelt else []
        return [b"", b"", *each, *(piece.encode("utf-8", "surrogatepass") for piece in self.pieces)]

    def __call__(self, inputs: Any) -> Tensor:
        """(n, longest) int64."""
        begin = (START,) if self.spelt else ()
        return padded([(*begin, *self.encode(text))[: self.length] for text in as_texts(inputs)], pad=PAD)

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "text", "pieces": list(self.pieces), "length": self.length, "spelt": self.spelt}

    @classmethod
    def from_state(cls, plain: dict[str, Any]) -> TextPrepare:
        """The preparation that `state` came from."""
        return cls(pieces=tuple(plain["pieces"]), length=int(plain["length"]), spelt=bool(plain["spelt"]))


def _cut(text: str, spelt: bool) -> list[str]:
    return _PIECES.findall(text) if spelt else _WORDS.findall(text.lower())


def padded(rows: Sequence[Sequence[int]], *, pad: int) -> Tensor:
    """Rows of ids of different lengths as (n, longest), at least one wide."""
    longest = max((len(row) for row in rows), default=0) or 1
    ids = torch.full((len(rows), longest), pad, dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return ids
