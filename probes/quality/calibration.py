"""Does the model mean what it says: of the rows that it gives 70 %, do 70 % turn out so?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal, get_args

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import PlanError, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Direction,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe, ask_proba
from steelyard.probes.quality.slices import SHOWN, LeftOut, group_slices

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.bins import BinTable
    from steelyard.probes.stats.linearised import Design

__all__ = ["Calibration"]

Rows = Iterator[Finding | Failure | Inapplicable]
ECE, DEBIASED, MCE, LARGE = (
    f"quality.calibration.{name}" for name in ("ece", "ece-debiased", "mce", "in-the-large")
)  # fmt: skip
SCORE = (
    "score: P(positive), or with more than two classes the probability of the likeliest class, a hit being that it is "
    "right"
)
WITHIN = (
    "Errors that cancel within a bin; whether the model tells rows apart at all: the base rate for all is calibrated."
)

METRICS = (
    MetricSpec(
        id=ECE, direction=Direction.LOWER, ideal=0, lower=0, upper=1, aliases=("quality.ece",), not_shown=WITHIN,
        definition="binned expected calibration error: sum over bins of (share of rows) |hit rate - mean score|, in "
        f"the bins named in the detail; {SCORE}. Biased upwards, most in small groups: see ece-debiased",
        source="Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602; Guo et al. 2017, arXiv:1706.04599; equal mass: "
        "Roelofs et al. 2022, arXiv:2012.08668; interval: triangle inequality over resampled bin counts",
    ),
    MetricSpec(
        id=DEBIASED, direction=Direction.LOWER, ideal=0, lower=0, upper=1, aliases=("quality.ece-debiased",),
        definition="the binned expected calibration error less the bias it would have if it were the truth: sum "
        "over bins of share (2 |gap| - E|gap + se Z|), at least 0, Z standard normal; the interval is that of ece",
        source="Kumar, Liang and Ma 2019, arXiv:1909.10155", not_shown=WITHIN,
    ),
    MetricSpec(
        id=MCE, direction=Direction.LOWER, ideal=0, lower=0, upper=1, aliases=("quality.mce",),
        definition=f"maximum calibration error: the largest |hit rate - mean score| of any bin; {SCORE}",
        source="Naeini et al. 2015, doi:10.1609/aaai.v29i1.9602",
        not_shown="How many rows are in that bin; it grows with the number of bins.",
    ),
    MetricSpec(
        id=LARGE, direction=Direction.NONE, ideal=0, lower=-1, upper=1, aliases=("quality.calibration-in-the-large",),
        definition=f"mean score - hit rate; positive: the model promises too much; {SCORE}",
        source="Cox 1958, doi:10.1093/biomet/45.3-4.562", not_shown="Errors of opposite sign, which cancel: see ece.",
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Calibration(Probe):
    """Does the model mean what it says, overall and for each group?

    ECE = sum_b share_b |rate_b - score_b| over `bins` bins of the score with equal numbers of rows (`binning`; fewer
    bins where there would be under 20 rows in each, and the detail says how many), its debiased form, the largest gap
    of a bin, and the mean score less the hit rate. Range 0 to 1 (the last -1 to 1), 0 is calibrated. It is the *binned*
    error, of these bins: the error within bins is not in it. Its interval holds for calibrated models too, where
    bootstrap intervals of the ECE do not: see `probes/stats/bins.py`. Guo et al. 2017, arXiv:1706.04599.

    Per group and intersection: ECE, debiased ECE and the mean difference. Does not show whether the scores are sharp.
    """

    id: ClassVar[str] = "quality.calibration"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT_PROBA, Data.LABELS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    reads_counts: ClassVar[bool] = True
    bins: int = 15
    binning: Literal["equal-mass", "equal-width"] = "equal-mass"
    draws: int = 2000
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.bins < 1 or self.draws < 200:
            raise PlanError(
                f"quality.calibration has bins {self.bins} and draws {self.draws}", hint="bins >= 1 and draws >= 200"
            )
        if self.binning not in get_args(Literal["equal-mass", "equal-width"]):
            raise PlanError(
                f"quality.calibration has binning {self.binning!r}", hint="it may be equal-mass or equal-width"
            )

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: not with clusters or weights, which bins do not keep apart."""
        return sample.reduced.pairs is None and sample.reduced.weights is None

    def run(self, target: Target, sample: Sample, references: References, rng: Generator) -> Rows:
        """Overall readings, then those per group and intersection."""
        import numpy as np

        from steelyard.probes.stats.linearised import Design

        scribe = Scribe(probe=self, target=target.name)
        if sample.reduced is not None:
            from steelyard.probes.quality.reduced_calibration import calibrate_counts

            yield from calibrate_counts(self, scribe, sample, rng)
            return
        design = Design.of(sample)
        scores, hits = _scores(ask_proba(target, sample), sample)
        yield from self._read(scribe, {}, scores, hits, design, rng, whole=True)
        for part in group_slices(sample):
            if isinstance(part, LeftOut):
                yield scribe.failure((ECE, DEBIASED, LARGE), part.where, part.reason)
            else:
                rows = np.asarray(part.rows)
                yield from self._read(scribe, part.where, scores[rows], hits[rows], design.take(rows), rng)

    def _read(
        self, scribe: Scribe, where: Mapping[str, Scalar], scores: NDArray[np.float64], hits: NDArray[np.bool_],
        design: Design, rng: Generator, *, whole: bool = False,
    ) -> Rows:  # fmt: skip
        import numpy as np

        from steelyard.probes.stats import bins as b
        from steelyard.probes.stats.means import mean

        # In order of score, so that sums, and with them the digest, do not depend on the order of the rows.
        order = np.lexsort((hits, scores))
        scores, hits, design = scores[order], hits[order], design.take(order)
        number = max(1, min(self.bins, design.n // b.LEAST_IN_BIN))
        table = b.tabulate(scores, hits, b.assign(scores, number, self.binning), design)
        errors = b.deviations(table, scores, hits, design, draws=self.draws, rng=rng)
        detail = {"bins": len(table.rows), "binning": self.binning, "rows per bin": int(table.rows.min())}
        curve = _curve(table, hits, design, self.binning, self.level)

        method = f"resampled bound on the error of {len(table.rows)} bins, {self.draws} draws"
        ece = b.bounded(table.ece, errors.ece, design, level=self.level, method=method)
        yield scribe.finding(ECE, ece, where, detail=detail, evidence=(curve,))
        less = b.debiased_ece(table, errors.se)
        debiased = b.bounded(less, errors.ece, design, level=self.level, method=method, around=table.ece)
        yield scribe.finding(DEBIASED, debiased, where, detail=detail)
        if whole:
            mce = b.bounded(table.mce, errors.mce, design, level=self.level, method=method)
            yield scribe.finding(MCE, mce, where, detail=detail)
        large = mean(scores - hits, design, level=self.level, lower=-1.0, upper=1.0)
        yield scribe.finding(LARGE, large, where)


def _scores(proba: NDArray[np.float64], sample: Sample) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """(score, hit) of each row, (n,) each."""
    import numpy as np

    if sample.labels is None:  # `requires` names labels, so the runner never gets here
        raise ProbeError("calibration needs labels")
    if sample.task is Task.BINARY:
        return proba[:, 1], np.asarray(sample.labels == 1)
    return proba.max(axis=1), np.asarray(proba.argmax(axis=1) == sample.labels)


def _curve(table: BinTable, hits: NDArray[np.bool_], design: Design, binning: str, level: float) -> Evidence:
    """The reliability curve as JSON: per bin its scores, hit rate with interval, and n; no bin of under 10 rows."""
    from steelyard.probes.stats.means import proportion

    points = []
    for k in range(len(table.rows)):
        if table.rows[k] < SHOWN:
            continue
        rows = table.codes == k
        rate = proportion(hits[rows], design.take(rows), level=level).estimate
        points.append(
            {
                "low": table.low[k], "high": table.high[k], "score": table.score[k], "n": table.rows[k],
                "rate": rate.value, "rate_low": rate.low, "rate_high": rate.high,
            }
        )  # fmt: skip
    plain = {"binning": binning, "level": level, "bins": points, "left_out": len(table.rows) - len(points)}
    return Evidence(name="reliability-curve", kind="json", data=canonical_json(plain))
