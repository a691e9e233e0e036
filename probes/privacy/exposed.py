"""Which members is an attack surest of, and how many of them stand out from what chance allows?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from steelyard.audit.types import Evidence

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.probes.stats.roc import Told

__all__ = ["MOST", "NAME", "most_exposed"]

NAME, MOST = "membership-exposed", 20


def most_exposed(
    attack: str,
    told: Told,
    ids: NDArray[Any] | None,
    *,
    by: str,
    level: float,
    p: NDArray[np.float64] | None = None,
) -> Evidence:
    """The members that the attack is surest of, by their `ids` (members,) alone: nothing of what their rows hold.

    `told` has the members first. Each record has the share of held-out rows that score as high, and the p-value
    (1 + their number) / (1 + all held-out rows) adjusted over all members (Benjamini-Hochberg; with one set of held-out
    rows for all it keeps its rate: Bates et al. 2023, arXiv:2104.08279). `standing_out` counts the members whose
    adjusted p-value is at most 1 - `level`. Rows of one cluster are not exchangeable one by one: there both are null.
    `p` (members,) are false-positive rates of each record by itself, where the attack has them.
    """
    import numpy as np

    from steelyard.probes.stats.multiplicity import benjamini_hochberg

    m = int(told.member.sum())
    own, outside = told.scores[:m], np.sort(told.scores[m:])
    above = outside.size - np.searchsorted(outside, own, side="left")
    adjusted = None
    if told.design.clusters is None:
        adjusted = benjamini_hochberg((1 + above) / (1 + outside.size))
    records = [
        {
            "id": "" if ids is None else str(ids[row]),
            "held_out_rows_at_or_above": round(float(above[row] / outside.size), 6),
            "adjusted": None if adjusted is None else round(float(adjusted[row]), 8),
            **({} if p is None else {"p": round(float(p[row]), 8)}),
        }
        for row in np.argsort(-own, kind="stable")[:MOST].tolist()
    ]
    plain = {
        "attack": attack,
        "by": by,
        "members": m,
        "held_out": int(outside.size),
        "false_discovery_rate": round(1 - level, 10),
        "standing_out": None if adjusted is None else int((adjusted <= 1 - level).sum()),
        "records": records,
    }
    return Evidence(name=NAME, kind="json", data=json.dumps(plain, sort_keys=True).encode())
