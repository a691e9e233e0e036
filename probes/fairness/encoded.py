"""Features as one matrix of numbers, in which a step of one standard deviation and another word weigh alike."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import NotApplicable

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["Columns", "describing_columns", "encode"]

MOST_WORDS = 50  # levels of a column of words that have a place of their own; the rarer ones share one


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The rows' features as a frame, with the names of its columns of numbers (and dates) and of words."""

    frame: pd.DataFrame
    numbers: tuple[str, ...]
    words: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Numbers first, then words."""
        return self.numbers + self.words


def describing_columns(features: Any, rows: NDArray[np.int64], leave: Collection[str]) -> Columns:
    """The columns of `features` on `rows` that hold a value, but those in `leave`. Raises NotApplicable with none.

    Bare texts have none: as levels of one column every text would be a word of its own, and tell nothing.
    """
    import numpy as np
    import pandas as pd

    from steelyard.models.recipes.tidy import column_kinds

    if isinstance(features, pd.DataFrame):
        frame = features.iloc[rows].reset_index(drop=True)
    else:
        array = np.asarray(features)[rows]
        if array.ndim == 1 and array.dtype.kind in "OUST":
            raise NotApplicable("the inputs are texts, and no two texts are alike in a column")
        frame = pd.DataFrame(array.reshape(len(array), -1))
    frame.columns = pd.Index([str(name) for name in frame.columns])
    frame = frame[[name for name in frame.columns if name not in leave]]
    try:
        numbers, words = column_kinds(frame)
    except ValueError:
        raise NotApplicable("no feature describes a row: the inputs are predictions or the attributes alone") from None
    names = list(frame.columns)
    return Columns(
        frame=frame, numbers=tuple(names[place] for place in numbers), words=tuple(names[place] for place in words)
    )


def encode(columns: Columns) -> NDArray[np.float64]:
    """(n, d): numbers standardised (a missing one is 0, the mean), words as 0 and 1 each, a missing word all 0.

    So two rows drawn at random are 2 apart in squared distance in a number, on average, and 2 where their words differ.
    A column without spread is left out; d can be 0.
    """
    import numpy as np
    import pandas as pd

    from steelyard.models.recipes.tidy import TidyColumns

    places = {name: place for place, name in enumerate(columns.frame.columns)}
    step = TidyColumns([places[n] for n in columns.numbers], [places[w] for w in columns.words])
    tidy = step.fit(columns.frame).transform(columns.frame)
    parts: list[NDArray[np.float64]] = []
    for j in range(len(columns.numbers)):
        values = tidy[f"n{j}"].to_numpy(dtype=np.float64)
        known = ~np.isnan(values)
        spread = float(values[known].std()) if known.any() else 0.0
        if spread > 0:
            parts.append(np.where(known, (values - values[known].mean()) / spread, 0.0)[:, None])
    for j in range(len(columns.words)):
        codes, found = pd.factorize(tidy[f"w{j}"], use_na_sentinel=True)
        counts = np.bincount(codes[codes >= 0], minlength=len(found))
        order = sorted(range(len(found)), key=lambda i: (-counts[i], str(found[i])))
        place = np.full(len(found) + 1, -1)  # the last one: code -1, a missing word
        for rank, code in enumerate(order):
            place[code] = min(rank, MOST_WORDS)
        parts.append((place[codes][:, None] == np.arange(min(len(found), MOST_WORDS + 1))).astype(np.float64))
    if not parts:
        return np.zeros((len(columns.frame), 0))
    return np.concatenate(parts, axis=1)
