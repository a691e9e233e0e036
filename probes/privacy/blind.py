"""Can members be told from others without the model? If so, the two tables differ by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample
    from steelyard.probes.stats.means import Measured

__all__ = ["blind_auc"]

MOST = 4000  # rows of each table that the classifier sees
TREES = 60


def blind_auc(inside: Sample, outside: Sample, rng: Generator, *, level: float) -> Measured:
    """AUC of a classifier of features and label, taught by one half of the rows and judged on the other.

    One half, and not both in turn: areas of scores that were cross-fitted have intervals that are too short.
    ProbeError with fewer than 80 rows of either, or where the classifier gives all rows the same score.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    from steelyard.probes.privacy.rows import Encoder, known_labels, take
    from steelyard.probes.privacy.telling import tell

    m, n = (min(len(side.inputs), MOST) for side in (inside, outside))
    if min(m, n) < 80:
        raise ProbeError(f"{min(m, n)} rows are too few to compare the two tables", hint="80 of each at least")
    orders = [rng.permutation(size) for size in (m, n)]
    taught, judged = (
        [take(side, order[half]) for side, order in zip((inside, outside), orders, strict=True)]
        for half in (slice(None, None, 2), slice(1, None, 2))
    )
    encoder = Encoder.fit(taught[1])

    def seen(sides: list[Sample]) -> NDArray[np.float64]:
        return np.concatenate([np.column_stack([encoder(s.inputs), known_labels(s)]) for s in sides])

    model = HistGradientBoostingClassifier(max_iter=TREES, max_depth=4, early_stopping=False, random_state=0)
    member = np.repeat([True, False], [len(side.inputs) for side in taught])
    scores = model.fit(seen(taught), member).predict_proba(seen(judged))[:, 1]
    return tell(judged[0], judged[1], scores).auc(level=level)
