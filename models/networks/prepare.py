"""From what a sample holds to what a network takes; the state is plain values, kept beside the weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from steelyard.audit.errors import TargetError

__all__ = ["ImagePrepare", "Prepare", "TablePrepare", "prepare_from"]

_MOST_CATEGORIES = 100  # the most frequent words of a column have their own input; the others share one


class Prepare(Protocol):
    """Inputs to a tensor."""

    def __call__(self, inputs: Any) -> Tensor:
        """(n, …) of the inputs."""
        ...

    def state(self) -> dict[str, Any]:
        """Plain values that `prepare_from` reads."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class TablePrepare:
    """Columns to (n, size) float32: numbers standardised, words one-hot.

    A missing number is 0, the mean, and where the training rows had missing ones a column says so; a word that was not
    seen, or is missing, is all zeros where the training rows had none.
    """

    columns: tuple[str, ...]  # names; empty for an array
    count: int
    numeric: tuple[int, ...]
    words: tuple[int, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    gaps: tuple[int, ...]  # which of `numeric` had missing values
    levels: tuple[tuple[str | None, ...], ...]  # None: missing; the empty string: the rare ones together

    @classmethod
    def fit(cls, inputs: Any) -> TablePrepare:
        """Learn means, spreads and words of the training rows. Raises ValueError where no column holds a value."""
        from steelyard.models.recipes.tidy import column_kinds

        numeric, words = column_kinds(inputs)
        frame = _tidy(inputs, numeric, words)
        numbers = frame[[f"n{i}" for i in range(len(numeric))]].to_numpy(dtype=np.float64)
        missing = np.isnan(numbers)
        filled = np.where(missing, 0.0, numbers)
        n = np.maximum((~missing).sum(axis=0), 1)
        mean = filled.sum(axis=0) / n
        std = np.sqrt((np.where(missing, 0.0, numbers - mean) ** 2).sum(axis=0) / n)
        return cls(
            columns=tuple(str(name) for name in getattr(inputs, "columns", ())),
            count=inputs.shape[1],
            numeric=tuple(numeric),
            words=tuple(words),
            mean=tuple(mean.tolist()),
            std=tuple(np.where(std > 1e-12, std, 1.0).tolist()),
            gaps=tuple(np.flatnonzero(missing.any(axis=0)).tolist()),
            levels=tuple(_levels(frame[f"w{i}"]) for i in range(len(words))),
        )

    @property
    def size(self) -> int:
        """How many numbers a row becomes."""
        return len(self.numeric) + len(self.gaps) + sum(len(levels) for levels in self.levels)

    def __call__(self, inputs: Any) -> Tensor:
        """(n, size) float32."""
        frame = _tidy(inputs, self.numeric, self.words)
        numbers = frame[[f"n{i}" for i in range(len(self.numeric))]].to_numpy(dtype=np.float64)
        missing = np.isnan(numbers)
        parts = [np.where(missing, 0.0, (numbers - np.array(self.mean)) / np.array(self.std))]
        parts.append(missing[:, list(self.gaps)].astype(np.float64))
        for place, levels in enumerate(self.levels):
            parts.append(_one_hot(frame[f"w{place}"], levels))
        return torch.from_numpy(np.concatenate(parts, axis=1).astype(np.float32))

    @property
    def differentiable(self) -> bool:
        """Whether every input is a number, so that gradients have the inputs' own shape."""
        return not self.words and len(self.numeric) == self.count

    def pull(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, size) a gradient by the prepared numbers → (n, columns) by the raw ones."""
        raw = np.zeros((len(gradient), self.count))
        raw[:, list(self.numeric)] = gradient[:, : len(self.numeric)] / np.array(self.std)
        return raw

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "table", **{name: getattr(self, name) for name in self.__dataclass_fields__}}


def _tidy(inputs: Any, numeric: Any, words: Any) -> Any:
    from steelyard.models.recipes.tidy import TidyColumns

    return TidyColumns(list(numeric), list(words)).fit(inputs).transform(inputs)


def _levels(column: Any) -> tuple[str | None, ...]:
    counts = column.value_counts()
    named: list[str | None] = [str(value) for value in counts.index[:_MOST_CATEGORIES]]
    named.sort()
    if len(counts) > _MOST_CATEGORIES:
        named.append("")
    return (*named, None) if column.isna().any() else tuple(named)


def _one_hot(column: Any, levels: tuple[str | None, ...]) -> NDArray[np.float64]:
    place = {level: code for code, level in enumerate(levels)}
    rest = place.get("", -1)
    gap = place.get(None, -1)
    codes = np.array([gap if value != value else place.get(value, rest) for value in column.to_numpy(dtype=object)])
    hot = np.zeros((len(column), len(levels)))
    seen = np.flatnonzero(codes >= 0)
    hot[seen, codes[seen]] = 1.0
    return hot


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePrepare:
    """Images (n, height, width) or (n, channels, height, width) to (n, channels, height, width) float32.

    Bytes become numbers in [0, 1]; other numbers are taken as they are.
    """

    channels: int
    height: int
    width: int
    flat: bool = False  # the raw ones have no axis for channels

    @classmethod
    def fit(cls, inputs: Any) -> ImagePrepare:
        """Learn the shape."""
        shape = np.shape(inputs)
        if len(shape) == 3:
            return cls(channels=1, height=shape[1], width=shape[2], flat=True)
        if len(shape) == 4:
            return cls(channels=shape[1], height=shape[2], width=shape[3])
        raise TargetError(
            f"images have the shape {shape}", hint="give (n, height, width) or (n, channels, height, width)"
        )

    def __call__(self, inputs: Any) -> Tensor:
        """(n, channels, height, width). Raises TargetError for another shape than that of training."""
        array = np.asarray(inputs)
        wanted = (self.height, self.width) if self.flat else (self.channels, self.height, self.width)
        if array.shape[1:] != wanted:
            raise TargetError(f"was trained on images of {wanted}, and was given {array.shape[1:]}")
        if array.dtype == np.uint8:
            array = array.astype(np.float32) / np.float32(255)
        ready = np.ascontiguousarray(array, dtype=np.float32)
        return torch.from_numpy(ready).reshape(-1, self.channels, self.height, self.width).clone()

    @property
    def size(self) -> int:
        """How many numbers an image is."""
        return self.channels * self.height * self.width

    @property
    def differentiable(self) -> bool:
        """Always."""
        return True

    def pull(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        """A gradient in the shape of the raw images."""
        return gradient.reshape(-1, self.height, self.width) if self.flat else gradient

    def state(self) -> dict[str, Any]:
        """Plain values."""
        return {"kind": "image", **{name: getattr(self, name) for name in self.__dataclass_fields__}}


def prepare_from(state: Mapping[str, Any]) -> Prepare:
    """The preparation that `state` came from. Raises TargetError where it is none."""
    plain = dict(state)
    kind = plain.pop("kind", None)
    try:
        if kind == "table":
            plain["levels"] = tuple(tuple(levels) for levels in plain["levels"])
            frozen: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in plain.items()}
            return TablePrepare(**frozen)
        if kind == "image":
            return ImagePrepare(**plain)
        if kind == "text":
            from steelyard.models.networks.vocabulary import TextPrepare

            return TextPrepare.from_state(plain)
        if kind == "tokenizer":
            from steelyard.models.networks.pretrained import TokenizerPrepare

            return TokenizerPrepare(**plain)
    except (TypeError, KeyError, ValueError) as error:
        raise TargetError(f"the preparation of the inputs is damaged: {error}") from error
    raise TargetError(f"inputs are prepared in a way that is not known: {kind!r}")
