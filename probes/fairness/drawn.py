"""Which rows are asked, when all of them would be too many? The same ones whatever order they come in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Groups, Sample

__all__ = ["Known", "canonical_rows", "known_groups"]


def canonical_rows(sample: Sample, rng: Generator, most: int) -> NDArray[np.int64]:
    """Indices of at most `most` rows, drawn by a seeded hash of what each row holds, in the order of that hash.

    Inputs, labels, groups and weights enter it. Rows that agree in all of them are alike, so that which of two
    comes first makes no difference; everything computed on rows in this order is the same to the last bit.
    """
    import numpy as np
    import pandas as pd

    frame = _as_frame(sample.inputs)
    state: NDArray[np.uint64] = np.full(sample.n, rng.integers(2**63), dtype=np.uint64)
    for place in range(frame.shape[1]):
        column = frame.iloc[:, place]
        try:
            hashed = _hashed(column)
        except TypeError:  # lists and other cells without a hash
            hashed = _hashed(column.map(repr))
        state = _mixed(state ^ hashed)
    beside = [sample.labels, sample.weights, *(group.codes for _, group in sorted(sample.groups.items()))]
    for values in beside:
        if values is not None:
            state = _mixed(state ^ pd.util.hash_array(np.asarray(values)))
    keys = [state] if sample.clusters is None else [sample.clusters, state]
    return np.asarray(np.lexsort(keys)[:most], dtype=np.int64)


def _as_frame(inputs: Any) -> Any:
    import numpy as np
    import pandas as pd

    return inputs if isinstance(inputs, pd.DataFrame) else pd.DataFrame(np.asarray(inputs).reshape(len(inputs), -1))


def _hashed(column: Any) -> NDArray[np.uint64]:
    import numpy as np
    import pandas as pd

    return np.asarray(pd.util.hash_pandas_object(column, index=False), dtype=np.uint64)


def _mixed(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of SplitMix64: every bit of the input reaches every bit of the output (Steele, Lea, Flood 2014)."""
    import numpy as np

    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """The groups of one attribute that are compared: `rows` (n,) whether a row is in one of them.

    `levels` are their codes, `small` the (name, n) of those with too few rows, `unknown` the rows without an answer
    that are left out.
    """

    rows: NDArray[np.bool_]
    levels: tuple[int, ...]
    small: tuple[tuple[str, int], ...]
    unknown: int


def known_groups(groups: Groups, min_n: int, *, times: NDArray[np.int64] | None = None) -> Known:
    """Which groups of an attribute have at least `min_n` rows and are groups of people.

    A code stands for as many rows as `times` (n,) says.
    """
    import numpy as np

    counts = np.bincount(groups.codes, weights=times, minlength=len(groups.levels))
    apart = groups.unknown if not groups.compare_unknown else -1
    levels = tuple(k for k in range(len(groups.levels)) if counts[k] >= min_n and k != apart)
    small = tuple(
        (groups.levels[k], int(counts[k])) for k in range(len(groups.levels)) if counts[k] < min_n and k != apart
    )
    unknown = int(counts[apart]) if apart >= 0 else 0
    return Known(rows=np.isin(groups.codes, levels), levels=levels, small=small, unknown=unknown)
