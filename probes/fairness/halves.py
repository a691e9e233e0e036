"""Which rows are searched, and which are kept for testing what was found?

The split must not depend on the order of the rows, and must be a chance split of independent units. So rows are put in
the order of a hash of all that is known of them (features, groups, label, answer, weight), and a seeded permutation of
that order is cut in two. Rows that agree in everything are interchangeable: which of them goes where changes no count.
They are *not* kept together, since a table of few columns consists of such rows, and each is a person; where they are
one person, `data.cluster` says so, and then the halves part persons and not rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["Halves", "feature_frame", "halve"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Halves:
    """`search` and `held_out` are row indices in an order of their own, `total` how many rows there were."""

    search: NDArray[np.int64]
    held_out: NDArray[np.int64]
    total: int

    @property
    def sampled(self) -> str:
        """A sentence where not all rows were used, else empty."""
        used = len(self.search) + len(self.held_out)
        return "" if used == self.total else f"a seeded sample of {used:,} of {self.total:,} rows"


def feature_frame(sample: Sample) -> pd.DataFrame:
    """The features as a data frame; one without columns where the inputs are no table."""
    import numpy as np
    import pandas as pd

    features = sample.features
    if isinstance(features, pd.DataFrame):
        return features
    array = np.asarray(features)
    if array.ndim != 2:
        return pd.DataFrame(index=pd.RangeIndex(sample.n))
    return pd.DataFrame(array, columns=[f"x{i}" for i in range(array.shape[1])])


def halve(sample: Sample, answers: Mapping[str, NDArray[Any]], rng: Generator, *, max_rows: int) -> Halves:
    """Part the rows (or clusters) at random into two halves of at most `max_rows` in all.

    `answers` are the model's answers, (n,) each. Depends on the content of the rows and on `rng`, not on their order.
    """
    import numpy as np

    keys = _row_keys(sample, answers)
    if sample.clusters is None:
        unit = np.arange(sample.n)
        unit_keys = keys
    else:
        unit = np.unique(sample.clusters, return_inverse=True)[1]
        unit_keys = np.zeros(int(unit.max()) + 1, dtype=np.uint64)
        np.add.at(unit_keys, unit, keys)  # modulo 2^64; the sum does not know the order
    sizes = np.bincount(unit)
    shuffled = np.argsort(unit_keys, kind="stable")[rng.permutation(len(unit_keys))]
    reached = np.cumsum(sizes[shuffled])
    used = int(np.searchsorted(reached, max_rows, side="right"))
    half = int(np.searchsorted(reached, reached[used - 1] // 2, side="right")) if used else 0
    place = np.empty(len(sizes), dtype=np.int64)
    place[shuffled] = np.arange(len(sizes))
    rank = place[unit]
    order = np.lexsort((keys, rank))
    ends = rank[order]
    return Halves(
        search=order[: int(np.searchsorted(ends, half))],
        held_out=order[int(np.searchsorted(ends, half)) : int(np.searchsorted(ends, used))],
        total=sample.n,
    )


def _row_keys(sample: Sample, answers: Mapping[str, NDArray[Any]]) -> NDArray[np.uint64]:
    """(n,) a 64-bit hash of each row's content."""
    import numpy as np
    import pandas as pd

    keys = np.zeros(sample.n, dtype=np.uint64)
    columns = [_column_keys(feature) for _, feature in feature_frame(sample).items()]
    given = [sample.labels, sample.weights, *answers.values(), *(g.codes for g in sample.groups.values())]
    columns += [pd.util.hash_array(np.ascontiguousarray(c)) for c in given if c is not None]
    for column in columns:
        keys = (keys ^ column) * np.uint64(0x9E3779B97F4A7C15)
        keys ^= keys >> np.uint64(32)
    return keys


def _column_keys(column: pd.Series[Any]) -> NDArray[np.uint64]:
    import numpy as np
    import pandas as pd

    try:
        return np.asarray(pd.util.hash_pandas_object(column, index=False), dtype=np.uint64)
    except TypeError:  # lists or records
        return np.asarray(pd.util.hash_pandas_object(column.map(repr), index=False), dtype=np.uint64)
