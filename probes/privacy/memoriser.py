"""A model that is known to leak: the positive control on which an attack must succeed before it is believed elsewhere.

It remembers the rows it was given, with labels drawn at random, and answers with the label of the nearest of them:
nearly certain on the row itself, less so the further away. What it says of a row it knows is memory, not knowledge of
the world. (Neural networks can fit random labels too: Zhang et al. 2017, arXiv:1611.03530.)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.privacy.rows import Encoder, take
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.roc import Told

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["Control", "Memoriser", "believed", "control"]

SURE = 0.98  # of the remembered label on the remembered row itself
MOST = 600  # rows of a control
LEAST = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Memoriser:
    """Soft nearest neighbour: with s = SURE · exp(-d / scale), d the distance to the nearest known row,
    p = (1 - s) / C + s · [its label]. `known` (m, d) and `labels` (m,)."""

    encoder: Encoder
    known: NDArray[np.float64]
    labels: NDArray[np.int64]
    classes: int
    scale: float

    @classmethod
    def of(cls, encoder: Encoder, sample: Sample, labels: NDArray[np.int64]) -> Memoriser:
        """It remembers the rows of `sample` with `labels` (n,)."""
        import numpy as np
        from sklearn.neighbors import NearestNeighbors

        known = encoder(sample.inputs)
        away = NearestNeighbors(n_neighbors=2).fit(known).kneighbors()[0][:, 1]
        return cls(
            encoder=encoder, known=known, labels=labels, classes=len(sample.classes),
            scale=max(float(np.median(away)), 1e-9),
        )  # fmt: skip

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, C) probabilities."""
        import numpy as np
        from sklearn.neighbors import NearestNeighbors

        away, nearest = NearestNeighbors(n_neighbors=1).fit(self.known).kneighbors(self.encoder(inputs))
        sure = SURE * np.exp(-away[:, 0] / self.scale)
        proba = np.repeat(((1 - sure) / self.classes)[:, None], self.classes, axis=1)
        proba[np.arange(len(sure)), self.labels[nearest[:, 0]]] += sure
        return proba

    def predict(self, inputs: Any) -> NDArray[np.int64]:
        """(n,) class codes."""
        codes: NDArray[np.int64] = self.predict_proba(inputs).argmax(axis=1)
        return codes


@dataclass(frozen=True, slots=True, kw_only=True)
class Control:
    """Rows with labels drawn at random (`sample`), of which the `model` remembers those where `member` (n,) is true."""

    sample: Sample
    labels: NDArray[np.int64]
    member: NDArray[np.bool_]
    model: Memoriser

    def remembering(self, members: NDArray[np.bool_]) -> Memoriser:
        """Another one that remembers other rows of the same pool."""
        import numpy as np

        rows = np.flatnonzero(members)
        return Memoriser.of(self.model.encoder, take(self.sample, rows), self.labels[rows])


def control(sample: Sample, rng: Generator) -> Control:
    """A control on the first rows of `sample` (drawn beforehand, in an order of content). ProbeError with under 60."""
    import numpy as np

    n = min(len(sample.inputs), MOST)
    if n < LEAST:
        raise ProbeError(f"{n} rows are too few for the control that an attack must first succeed on", hint="60 rows")
    pool = take(sample, np.arange(n))
    labels = rng.integers(0, len(sample.classes), n)
    member = np.zeros(n, dtype=bool)
    member[rng.permutation(n)[: n // 2]] = True
    rows = np.flatnonzero(member)
    encoder = Encoder.fit(pool)
    return Control(
        sample=pool, labels=labels, member=member, model=Memoriser.of(encoder, take(pool, rows), labels[rows])
    )


def believed(planted: Control, scores: NDArray[np.float64], name: str, *, level: float) -> float:
    """The AUC of an attack's `scores` (n,) on the control. ProbeError where its lower limit is not above 1/2."""
    told = Told(scores=scores, member=planted.member, design=Design(n=len(planted.member)))
    try:
        found = told.auc(level=level).estimate
    except ProbeError as error:
        raise ProbeError(f"{name} fails its positive control: {error.message}", hint=HINT) from error
    if found.low is None or found.low <= 0.5:
        raise ProbeError(
            f"{name} does not tell which rows a model that remembers them was given (AUC {found.value:.2f}), so that"
            " finding nothing elsewhere would mean nothing",
            hint=HINT,
        )
    return found.value


HINT = "rows that differ in nothing cannot be told apart; more rows or more features may help"
