"""What would a row's feature be, had the row been drawn from another group? The least that makes the shares agree.

A map from group a to group b is learnt from some rows and applied to others. Numbers: the quantile map F_b⁻¹(F_a(x)),
the optimal transport on a line; ties are spread over their own range of ranks. Words: each stays with probability
min(1, p_b / p_a) and otherwise becomes one that b has more of, in proportion: the fewest rows that change (the maximal
coupling). Every new cell is the cell of a *donor* row of group b, so that types and values are ones that occur.
Villani 2009, DOI 10.1007/978-3-540-71050-9. Missing numbers stay missing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["donors_of_numbers", "donors_of_words"]

STAYS = -1


def donors_of_numbers(
    asked: NDArray[np.float64], here: NDArray[np.float64], there: NDArray[np.float64], rng: Generator
) -> NDArray[np.int64]:
    """(m,) for each of the values `asked` the index into `there` of its donor, -1 where it stays.

    `here` and `there` are the values of groups a and b among the rows that teach the map; NaN is missing.
    """
    import numpy as np

    known = np.sort(here[~np.isnan(here)])
    order = np.argsort(there, kind="stable")  # NaN last
    order = order[: int(np.count_nonzero(~np.isnan(there)))]
    spread = rng.random(len(asked))
    if len(known) == 0 or len(order) == 0:
        return np.full(len(asked), STAYS, dtype=np.int64)
    first = np.searchsorted(known, asked, side="left")
    after = np.searchsorted(known, asked, side="right")
    rank = (first + spread * (after - first + 1)) / (len(known) + 1)  # uniform if the value came from group a
    donor = order[np.minimum((rank * len(order)).astype(np.int64), len(order) - 1)]
    stays = np.isnan(asked) | (there[donor] == asked)
    return np.where(stays, STAYS, donor)


def donors_of_words(asked: NDArray[Any], here: NDArray[Any], there: NDArray[Any], rng: Generator) -> NDArray[np.int64]:
    """(m,) as `donors_of_numbers`, for words. A word that group a was not seen to have stays."""
    import numpy as np

    found = np.unique(np.concatenate([here, there]).astype(str))
    a, b = (np.searchsorted(found, side.astype(str)) for side in (here, there))
    p = np.bincount(a, minlength=len(found)) / max(len(a), 1)
    q = np.bincount(b, minlength=len(found)) / max(len(b), 1)
    leave, choose = rng.random(len(asked)), rng.random(len(asked))
    more = np.maximum(q - p, 0.0)
    if more.sum() <= 0:
        return np.full(len(asked), STAYS, dtype=np.int64)
    donor_of = np.zeros(len(found), dtype=np.int64)
    donor_of[b[::-1]] = np.arange(len(b))[::-1]  # the first row that has the word
    place = np.minimum(np.searchsorted(found, asked.astype(str)), len(found) - 1)
    seen = (found[place] == asked.astype(str)) & (p[place] > 0)
    stay = np.divide(q[place], p[place], out=np.ones(len(asked)), where=p[place] > 0)
    to = np.minimum(np.searchsorted(np.cumsum(more) / more.sum(), choose, side="right"), len(found) - 1)
    return np.where(seen & (leave >= stay), donor_of[to], STAYS)
