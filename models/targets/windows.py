"""Which stretch of a long text a model reads to score which of its tokens."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from steelyard.models.targets.tokens import Around

__all__ = ["Window", "causal_windows", "masked_windows"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """Ids `begin` to `end` of `whole`, with `left` and `right` around them, read to score `wanted`.

    The scores come out at the places `at`, `at` + 1 … and belong to the tokens `first`, `first` + 1 … of text number
    `text`. At the place `hidden`, where there is one, stands `mask`.
    """

    text: int
    whole: tuple[int, ...]
    begin: int
    end: int
    at: int
    first: int
    wanted: tuple[int, ...]
    left: tuple[int, ...] = ()
    right: tuple[int, ...] = ()
    hidden: int = -1
    mask: int = 0

    def __len__(self) -> int:
        return len(self.left) + self.end - self.begin + len(self.right)

    def ids(self) -> list[int]:
        """The ids that the model reads."""
        found = [*self.left, *self.whole[self.begin : self.end], *self.right]
        if self.hidden >= 0:
            found[self.hidden] = self.mask
        return found


def causal_windows(
    text: int, prefix: Sequence[int], body: Sequence[int], *, frame: Around, window: int, stride: int
) -> Iterator[Window]:
    """Each token of `body` once: in the first window, or in a later one with at least window - stride tokens before it.

    Without a prefix and without special tokens before a text, the start token comes first; where the tokenizer
    has none, the first token of the text is in no window.
    """
    ahead = [*frame.left, *prefix]
    if not ahead and frame.start is not None:
        ahead = [frame.start]
    whole = (*ahead, *body)
    scored = max(len(ahead), 1)
    while scored < len(whole):
        end = min(len(whole), max(window, scored + stride))
        begin = max(0, end - window)
        yield Window(
            text=text,
            whole=whole,
            begin=begin,
            end=end,
            at=scored - 1 - begin,  # a token is read off where the one before it stands
            first=scored - len(ahead),
            wanted=whole[scored:end],
        )
        scored = end


def masked_windows(
    text: int, prefix: Sequence[int], body: Sequence[int], *, frame: Around, mask: int, window: int
) -> Iterator[Window]:
    """One window for each token of `body`, which is masked in it and stands as near its middle as the text allows."""
    whole = (*prefix, *body)
    room = window - len(frame.left) - len(frame.right)
    for place in range(len(prefix), len(whole)):
        begin = min(max(0, place - room // 2), max(0, len(whole) - room))
        at = len(frame.left) + place - begin
        yield Window(
            text=text,
            whole=whole,
            begin=begin,
            end=min(len(whole), begin + room),
            at=at,
            first=place - len(prefix),
            wanted=(whole[place],),
            left=frame.left,
            right=frame.right,
            hidden=at,
            mask=mask,
        )
