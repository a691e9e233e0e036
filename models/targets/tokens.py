"""Texts as token ids, padded into batches of like lengths."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Around", "around", "batches_by_length", "padded", "texts_of", "token_ids"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Around:
    """The special tokens that a tokenizer puts before and behind a text, and its start token where it has one."""

    left: tuple[int, ...]
    right: tuple[int, ...]
    start: int | None


def texts_of(inputs: Any, name: str) -> list[str]:
    """The texts in an array, a list, a Series or the one text column of a data frame. Raises TargetError for others."""
    import numpy as np
    import pandas as pd

    if isinstance(inputs, pd.DataFrame):
        columns = [column for column, kind in inputs.dtypes.items() if not pd.api.types.is_numeric_dtype(kind)]
        if len(columns) != 1:
            message = f"takes texts, and {len(columns)} of the {inputs.shape[1]} columns hold texts"
            raise TargetError(message, where=name, hint="name the column in data.text")
        inputs = inputs[columns[0]]
    texts = list(np.asarray(inputs, dtype=object).ravel()) if not isinstance(inputs, list) else inputs
    odd = sum(not isinstance(text, str) for text in texts)
    if odd:
        raise TargetError(
            f"takes texts, and {odd:,} of {len(texts):,} inputs are none", where=name, hint="see data.text"
        )
    return texts


def token_ids(
    tokenizer: Any, texts: Sequence[str], *, special: bool = False, most: int | None = None
) -> list[list[int]]:
    """The ids of each text; with the special tokens around it, and cut to `most` tokens, where these are asked for."""
    if not texts:
        return []
    cut = {"truncation": True, "max_length": most} if most is not None else {}
    found = tokenizer(list(texts), add_special_tokens=special, verbose=False, **cut)["input_ids"]
    return [list(ids) for ids in found]


def around(tokenizer: Any, name: str) -> Around:
    """What the tokenizer puts around a text, found by asking it."""
    (inner,), (whole,) = (token_ids(tokenizer, ["a"], special=special) for special in (False, True))
    for start in range(len(whole) - len(inner) + 1):
        if inner and whole[start : start + len(inner)] == inner:
            left, right = tuple(whole[:start]), tuple(whole[start + len(inner) :])
            return Around(left=left, right=right, start=tokenizer.bos_token_id)
    raise TargetError("its tokenizer gives no token for 'a'", where=name, hint="is it the tokenizer of this model?")


def batches_by_length(lengths: Sequence[int], *, rows: int, cells: int) -> Iterator[list[int]]:
    """Places of texts in batches of like length, the longest first: at most `rows`, and rows times length below
    `cells`.

    The longest first, so that what does not fit into memory fails at once.
    """
    order = sorted(range(len(lengths)), key=lambda place: (-lengths[place], place))
    start = 0
    while start < len(order):
        longest = max(1, lengths[order[start]])
        size = max(1, min(rows, cells // longest))
        yield order[start : start + size]
        start += size


def padded(ids: Sequence[Sequence[int]], pad: int, device: Any) -> tuple[Tensor, Tensor]:
    """(b, longest) ids with `pad` behind each shorter one, and the mask that is 1 where there is a token."""
    import torch

    longest = max(1, *(len(one) for one in ids)) if len(ids) > 1 else max(1, len(ids[0]))
    table = torch.full((len(ids), longest), pad, dtype=torch.int64)
    mask = torch.zeros((len(ids), longest), dtype=torch.int64)
    for row, one in enumerate(ids):
        table[row, : len(one)] = torch.tensor(one, dtype=torch.int64)
        mask[row, : len(one)] = 1
    return table.to(device), mask.to(device)
