"""Do people who are alike get the same decision?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Direction, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.quality.outputs import Scribe, ask

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["Individual", "consistency", "nearest"]

ID = "fairness.individual"
DECISIONS, SCORES = f"{ID}.consistency", f"{ID}.score-consistency"
ZEMEL = "Zemel et al. 2013, PMLR 28(3), 325-333"
NOT_SHOWN = "whether the distance is the right one: what makes two people alike is a judgement, not a measurement"
LARGEST_CLUSTER = 100


@dataclass(frozen=True, kw_only=True)
class Individual(Probe):
    """Do people who are alike get the same decision?

    Consistency 1 − (1/n) Σ_i (share of the k nearest neighbours of i that get another decision), which for two classes
    is Zemel's 1 − (1/n) Σ |ŷ_i − mean of the neighbours' ŷ|. In [0, 1]; 1: every row is decided as its neighbours.
    Zemel et al. 2013; the idea is Dwork et al. 2012, arXiv:1104.3913. Unlike AIF360's figure a row is not its own
    neighbour, which would raise it by up to 1 / k.

    Neighbours are the nearest in Euclidean distance over all features but the protected attributes and the columns in
    `ignore`, numbers standardised, words 0 or 1 each. With clusters, rows of the same person are no neighbours. More
    than `max_rows` rows are thinned to a seeded sample of that many, among which neighbours are sought; the detail says
    so, and since neighbours are then further apart the figure belongs to that many rows.

    A row's decision enters its neighbours' figures too, so the interval is the delete-one jackknife's with the
    (k + 1)th neighbour taking the place of a deleted one; deleted by cluster, weighted by weight. By Efron and Stein
    1981, DOI 10.1214/aos/1176345462, it is on average not too short. A model that gives nearly everybody one decision
    is consistent without merit; one that decides everybody alike gets no figure.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.PREDICT})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=DECISIONS,
            definition="1 − mean over rows of the share of the k nearest other rows that get another decision",
            direction=Direction.HIGHER,
            ideal=1.0,
            lower=0.0,
            upper=1.0,
            source=ZEMEL,
            not_shown=NOT_SHOWN,
        ),
        MetricSpec(
            id=SCORES,
            definition="1 − mean over rows of the mean |p_i − p_j| over the k nearest other rows j, p the probability"
            " of the positive class",
            direction=Direction.HIGHER,
            ideal=1.0,
            lower=0.0,
            upper=1.0,
            source=f"{ZEMEL}; Dwork et al. 2012, arXiv:1104.3913",
            not_shown=NOT_SHOWN,
        ),
    )

    k: int = 5
    max_rows: int = 5000
    ignore: tuple[str, ...] = ()
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the consistency of the decisions, and of the scores of a binary model that has them."""
        from steelyard.probes.fairness.drawn import canonical_rows
        from steelyard.probes.fairness.encoded import describing_columns, encode
        from steelyard.probes.stats.linearised import Design

        if self.k < 1:
            raise ProbeError(f"k is {self.k}; at least one neighbour is needed")
        scribe = Scribe(probe=self, target=target.name)
        outputs = ask(target, sample)
        rows = canonical_rows(sample, rng, self.max_rows)
        columns = describing_columns(sample.features, rows, {*sample.groups, *self.ignore})
        matrix, design = encode(columns), Design.of(sample).take(rows)
        try:
            neighbours = nearest(matrix, self.k, design)
        except ProbeError as error:
            yield scribe.failure((DECISIONS, SCORES) if sample.task is Task.BINARY else (DECISIONS,), {}, error)
            return
        detail: dict[str, Scalar] = {"k": self.k, "columns": len(columns.names)}
        if len(rows) < sample.n:
            detail |= {"rows_drawn": len(rows), "rows": sample.n}
        decisions = outputs.decisions[rows]
        if (decisions == decisions[0]).all():
            yield scribe.failure((DECISIONS,), {}, "every row gets the same decision: consistent without merit")
        else:
            apart = (decisions[neighbours] != decisions[:, None]).astype(float)
            yield scribe.finding(DECISIONS, consistency(apart, neighbours, design, level=self.level), {}, detail=detail)
        if sample.task is not Task.BINARY:
            return
        if outputs.proba is None:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the model gives decisions but no probabilities",
                missing=(Capability.PREDICT_PROBA.value,), metrics=(SCORES,),
            )  # fmt: skip
            return
        scores = outputs.proba[rows, 1]
        if (scores == scores[0]).all():
            yield scribe.failure((SCORES,), {}, "every row gets the same score: consistent without merit")
            return
        gaps = abs(scores[neighbours] - scores[:, None])
        yield scribe.finding(SCORES, consistency(gaps, neighbours, design, level=self.level), {}, detail=detail)


def nearest(matrix: NDArray[np.float64], k: int, design: Design) -> NDArray[np.int64]:
    """(n, k + 1) the nearest rows of each row, itself and its own cluster apart; equal distances in the rows' order.

    Raises ProbeError with too few rows, no feature, or clusters so large that the search would be for nearly all rows.
    """
    import numpy as np
    from sklearn.neighbors import NearestNeighbors

    if matrix.shape[1] == 0:
        raise ProbeError("no feature differs between rows, so none is nearer than another")
    own = 1 if design.clusters is None else int(np.unique(design.clusters, return_counts=True)[1].max())
    if own > LARGEST_CLUSTER:
        raise ProbeError(f"a cluster has {own:,} rows, too many to look past", hint=f"at most {LARGEST_CLUSTER}")
    wanted = k + own
    if design.n <= wanted:
        raise ProbeError(f"{design.n} rows are too few for {k} neighbours each", hint="a smaller k or more data")
    found = NearestNeighbors(n_neighbors=wanted).fit(matrix).kneighbors(return_distance=False)
    if design.clusters is None:
        return np.asarray(found, dtype=np.int64)
    same = design.clusters[found] == design.clusters[:, None]
    order = np.argsort(same, axis=1, kind="stable")[:, : k + 1]
    return np.asarray(np.take_along_axis(found, order, axis=1), dtype=np.int64)


def consistency(gaps: NDArray[np.float64], neighbours: NDArray[np.int64], design: Design, *, level: float) -> Measured:
    """1 − mean over rows of the mean `gaps` (n, k + 1) to the first k `neighbours` (n, k + 1); the last is the next.

    Deleting row j takes its own term away and puts, for each i that had j as a neighbour, the next one in j's place:
    ψ_j = h_j − T + Σ_i (w_i / w_j) (gap_ij − gap_i,k+1) / k, whose mean square is the jackknife's variance.
    """
    import numpy as np

    from steelyard.probes.stats.means import linear, unseen

    n, k = gaps.shape[0], gaps.shape[1] - 1
    own = gaps[:, :k].mean(axis=1)
    value = min(max(1.0 - design.average(own), 0.0), 1.0)
    if not gaps.any():  # rows share neighbours, so that at least n / (k + 1) of them are apart
        return unseen(1.0, 1.0, design.kish / (k + 1), design, level=level, lower=0.0, upper=1.0)
    weights = np.ones(n) if design.weights is None else design.weights
    moved = weights[:, None] * (gaps[:, :k] - gaps[:, k:]) / k
    received = np.bincount(neighbours[:, :k].reshape(-1), weights=moved.reshape(-1), minlength=n)
    influence = own - (1.0 - value) + received / weights
    influence = influence - design.average(influence)
    return linear(
        value, design.variance(influence), design.units - 1.0, design, level=level, lower=0.0, upper=1.0,
        scale="logit" if 0 < value < 1 else "identity", method="delete-one jackknife over rows and their neighbours",
    )  # fmt: skip
