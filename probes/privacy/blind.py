"""Can members be told from others without the model? If so, the two tables differ by themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    from numpy.random import Generator

    from steelyard.audit.target import Sample
    from steelyard.probes.stats.means import Measured

__all__ = ["blind_auc"]

MOST = 4000  # rows of each table that the classifier sees
TREES = 60


def blind_auc(inside: Sample, outside: Sample, rng: Generator, *, level: float) -> Measured:
    """AUC of a classifier of features and label, two-fold: each half is scored by what the other half taught.

    An AUC of pooled scores of two models that learnt nothing tends a little below 0.5; one above is not their doing.
    ProbeError with fewer than 40 rows of either, or where the classifier gives all rows the same score.
    """
    import numpy as np
    from sklearn.ensemble import HistGradientBoostingClassifier

    from steelyard.probes.privacy.rows import Encoder, known_labels, take
    from steelyard.probes.privacy.telling import tell

    a, b = (take(side, np.arange(min(len(side.inputs), MOST))) for side in (inside, outside))
    m, n = len(a.inputs), len(b.inputs)
    if min(m, n) < 40:
        raise ProbeError(f"{min(m, n)} rows are too few to compare the two tables", hint="40 of each at least")
    encoder = Encoder.fit(b)
    seen = np.column_stack(
        [np.concatenate([encoder(a.inputs), encoder(b.inputs)]), np.concatenate([known_labels(a), known_labels(b)])]
    )
    member = np.arange(m + n) < m
    scores = np.empty(m + n)
    halves = [np.array_split(rng.permutation(np.flatnonzero(side)), 2) for side in (member, ~member)]
    for fold in (0, 1):
        learnt, judged = (np.concatenate([half[side] for half in halves]) for side in (1 - fold, fold))
        model = HistGradientBoostingClassifier(max_iter=TREES, max_depth=4, early_stopping=False, random_state=0)
        scores[judged] = model.fit(seen[learnt], member[learnt]).predict_proba(seen[judged])[:, 1]
    return tell(a, b, scores).auc(level=level)
