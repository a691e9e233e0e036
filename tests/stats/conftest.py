"""Count tables made to order for the tests of the statistics."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

from steelyard.probes.stats.table import CountTable


def _plain(k: Sequence[float], n: Sequence[float] | int) -> CountTable:
    """One attribute "g" with groups "0", "1", …: k favourable decisions of n."""
    k = np.asarray(k)
    counts = np.zeros((k.size, 2, 2))
    counts[:, 0, 1] = k
    counts[:, 0, 0] = np.asarray(n) - k
    return CountTable(
        attributes=("g",),
        levels=(tuple(str(i) for i in range(k.size)),),
        unknown=(-1,),
        compare_unknown=(False,),
        cells=np.arange(k.size)[:, None],
        counts=counts,
        rows=counts.astype(np.int64),
        labelled=False,
        weighted=False,
    )


@pytest.fixture(scope="session")
def plain_table() -> Callable[[Sequence[float], Sequence[float] | int], CountTable]:
    return _plain
