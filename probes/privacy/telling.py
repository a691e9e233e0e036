"""Members and others side by side: one score a row, and how these rows were drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.roc import Told

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["member_design", "tell"]


def member_design(inside: Sample) -> Design:
    """The design of the members. Clusters count; survey weights do not, since an attack meets rows and not people."""
    return Design(n=len(inside.inputs), clusters=inside.clusters)


def tell(inside: Sample, outside: Sample, scores: NDArray[np.float64]) -> Told:
    """The scores (members first, then the others) with who is who. The clusters of the two tables are kept apart."""
    import numpy as np

    m, n = len(inside.inputs), len(outside.inputs)
    clusters = None
    if inside.clusters is not None or outside.clusters is not None:
        sides = [
            np.arange(size) if side.clusters is None else np.unique(side.clusters, return_inverse=True)[1]
            for side, size in ((inside, m), (outside, n))
        ]
        clusters = np.concatenate([sides[0], sides[1] + sides[0].max() + 1])
    return Told(scores=scores, member=np.arange(m + n) < m, design=Design(n=m + n, clusters=clusters))
