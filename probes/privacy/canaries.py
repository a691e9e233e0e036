"""Rows planted among the training rows to be looked for: held-out rows with a wrong label, each included by a coin."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest, sha256
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Sample, Target
from steelyard.probes.privacy.rows import known_labels, pooled, take

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Planted", "canary_scores", "control_scores", "plant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Planted:
    """`canaries`, m rows with wrong labels; `included` (m,) bool; `train`, the training rows with the included ones."""

    canaries: Sample
    included: NDArray[np.bool_]
    train: Sample


def plant(sample: Sample, canaries: int, rng: Generator) -> Planted:
    """At most `canaries` of the held-out rows, and no more than there are training rows, in an order of content.

    Each gets one of the other classes at random. A training row that equals a canary is one more row without its label.
    """
    import numpy as np

    from steelyard.probes.fairness.drawn import canonical_rows

    if sample.training is None:
        raise ProbeError("an audit of ε needs the training rows", hint="name data.train")
    m = min(canaries, sample.n, sample.training.n)
    drawn = take(sample, canonical_rows(sample, rng, m))
    true, classes = known_labels(drawn), len(drawn.classes)
    wrong = (true + rng.integers(1, classes, m)) % classes
    mark = digest([drawn.fingerprint, sha256(np.ascontiguousarray(wrong).tobytes())])
    marked = replace(drawn, labels=wrong, fingerprint=mark)
    included = rng.random(m) < 0.5
    if m < 20 or not 0 < included.sum() < m:
        raise ProbeError(f"{m} canaries can prove nothing about ε", hint="at least 20 held-out and training rows")
    return Planted(
        canaries=marked, included=included, train=pooled(sample.training, take(marked, np.flatnonzero(included)))
    )


def canary_scores(target: Target, planted: Planted, rng: Generator) -> NDArray[np.float64]:
    """(2, m) how sure of the canaries' wrong labels the target is when trained with them: less what it is now, and as
    it stands. The first takes off what a row is like by itself, the second is better where answers are all or nothing.
    """
    import numpy as np

    from steelyard.probes.privacy.scores import logit_confidence

    again: Any = getattr(target, "fit_again", None)
    if again is None:
        raise ProbeError(f"{target.name} says that it can be trained again, and has no fit_again")
    labels = known_labels(planted.canaries)
    trained: Target = again(planted.train, int(rng.integers(2**31)))
    after = np.asarray(trained.predict_proba(planted.canaries.inputs), dtype=np.float64)
    before = np.asarray(target.predict_proba(planted.canaries.inputs), dtype=np.float64)
    sure = logit_confidence(after, labels)
    return np.stack([sure - logit_confidence(before, labels), sure])


def control_scores(planted: Planted) -> NDArray[np.float64]:
    """(m,) the scores of a model that remembers the included canaries and nothing else."""
    import numpy as np

    from steelyard.probes.privacy.memoriser import Memoriser
    from steelyard.probes.privacy.rows import Encoder
    from steelyard.probes.privacy.scores import logit_confidence

    labels, rows = known_labels(planted.canaries), np.flatnonzero(planted.included)
    model = Memoriser.of(Encoder.fit(planted.canaries), take(planted.canaries, rows), labels[rows])
    return logit_confidence(model.predict_proba(planted.canaries.inputs), labels)
