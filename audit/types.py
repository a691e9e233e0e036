"""The nouns of an audit's outcome, all immutable: estimates, findings, failures, verdicts.

`Target` and `Sample`, the nouns that go in, are in `audit/target.py`; the plan is in `audit/plan.py`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal

from steelyard.audit.canonical import FrozenMap, sha256

__all__ = [
    "DECIDING",
    "Basis",
    "Binomial",
    "Capability",
    "Contrasts",
    "Data",
    "Deviation",
    "Direction",
    "Estimate",
    "Evidence",
    "Failure",
    "Finding",
    "Inapplicable",
    "MetricSpec",
    "Modality",
    "Normal",
    "Reading",
    "Scalar",
    "Status",
    "Task",
    "Verdict",
]

Scalar = str | int | float | bool

# What a number can support. An attack can refute a claim of safety but not prove it: its gates read fail or
# not_refuted. A disclosure has no pass mark: its gates read reported.
Reading = Literal["measurement", "attack", "disclosure"]


class Capability(StrEnum):
    """What a target can do. A probe asks for these, never for a framework."""

    PREDICT = "predict"
    PREDICT_PROBA = "predict_proba"
    QUERY = "query"  # answers for inputs other than the sample's: a model, not a table of its decisions
    LOGITS = "logits"
    GRADIENTS = "gradients"
    EMBED = "embed"
    LOGLIKELIHOOD = "loglikelihood"
    GENERATE = "generate"
    FIT_AGAIN = "fit_again"


class Data(StrEnum):
    """What a probe needs of the sample."""

    LABELS = "labels"
    GROUPS = "groups"
    TRAINING = "training"  # the rows that the candidate was trained on: `Sample.training`


class Task(StrEnum):
    """What kind of answer the model gives. `language`: it scores or writes text, and decides nothing."""

    BINARY = "binary"
    MULTICLASS = "multiclass"
    REGRESSION = "regression"
    LANGUAGE = "language"


# The tasks with a decision about each row: what a probe or a recipe is for, where it does not say.
DECIDING = frozenset({Task.BINARY, Task.MULTICLASS, Task.REGRESSION})


class Modality(StrEnum):
    """What the inputs are. `predictions`: no model, only a table of what it decided."""

    TABULAR = "tabular"
    IMAGE = "image"
    TEXT = "text"
    PREDICTIONS = "predictions"


class Direction(StrEnum):
    """Which way is better: `lower`, `higher`, or `none` where the number alone says neither."""

    LOWER = "lower"
    HIGHER = "higher"
    NONE = "none"


class Status(StrEnum):
    """The seven verdicts."""

    PASS = "pass"  # noqa: S105 (a verdict, not a password)
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not_measured"
    NOT_REFUTED = "not_refuted"
    REPORTED = "reported"
    WAIVED = "waived"


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A number with its interval: `value` in [`low`, `high`] at confidence `level`, from `n` observations.

    A limit may be infinite (a ratio with nothing below the line), never NaN. Where no honest interval exists, `low`
    and `high` are None and `no_interval` says why. `n_effective` is Kish's n under weights or clusters.
    """

    value: float
    low: float | None
    high: float | None
    level: float
    n: int
    method: str
    n_effective: float | None = None
    no_interval: str = ""

    def __post_init__(self) -> None:
        if not math.isfinite(self.value):
            raise ValueError(f"an Estimate needs a finite value, got {self.value} from {self.method!r}")
        if not 0.0 < self.level < 1.0:
            raise ValueError(f"level is {self.level}; it must lie between 0 and 1")
        if self.n < 1:
            raise ValueError(f"n is {self.n}: an Estimate from nothing is a Failure, not a number")
        if (self.low is None) != (self.high is None):
            raise ValueError("an interval has both limits or neither")
        if self.low is None or self.high is None:
            if not self.no_interval:
                raise ValueError("an Estimate without an interval says why in no_interval")
            return
        if math.isnan(self.low) or math.isnan(self.high):
            raise ValueError(f"a limit is NaN: [{self.low}, {self.high}] from {self.method!r}")
        slack = 1e-9 * max(1.0, abs(self.value))
        if not self.low - slack <= self.value <= self.high + slack:
            raise ValueError(f"{self.value} lies outside its interval [{self.low}, {self.high}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What a metric id means. `definition` is printed beside every number that carries the id."""

    id: str
    definition: str
    direction: Direction
    ideal: float | None = None
    lower: float = -math.inf
    upper: float = math.inf
    source: str = ""
    not_shown: str = ""
    aliases: tuple[str, ...] = ()
    reading: Reading = "measurement"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Bytes behind a finding, addressed by their SHA-256. In the record only name, kind and digest appear."""

    name: str
    kind: Literal["npz", "json", "parquet"]
    data: bytes = field(repr=False, metadata={"plain": False}, default=b"")
    digest: str = ""

    def __post_init__(self) -> None:
        if not self.digest:
            object.__setattr__(self, "digest", sha256(self.data))


# A basis is what a gate needs to weigh a finding against a tolerance that was not known when it was measured.


@dataclass(frozen=True, slots=True, kw_only=True)
class Binomial:
    """`successes` of `trials`; effective (not whole) numbers under weights or clusters."""

    successes: float
    trials: float
    kind: Literal["binomial"] = "binomial"


@dataclass(frozen=True, slots=True, kw_only=True)
class Normal:
    """An estimate that is normal (Student's t with `df`) on `scale`; `se` is its standard error on that scale.

    On the scale `square` its square is the normal number: it is a root mean square. `skew` is the skewness of the error
    there, for which the t is corrected (`probes/stats/skew.py`); 0 is no correction.
    """

    value: float
    se: float
    df: float
    scale: Literal["identity", "logit", "log", "square"] = "identity"
    skew: float = field(default=0.0, metadata={"plain": "unless default"})
    kind: Literal["normal"] = "normal"


@dataclass(frozen=True, slots=True, kw_only=True)
class Deviation:
    """An estimate whose error is bounded by resampled deviations: P(|value - truth| <= `quantiles`[i]) ~ i / (m - 1).

    `quantiles` are m evenly spaced quantiles, from 0 to 1, of the resampled bound on the absolute error. `tail`[k - 1]
    goes on where many gates ask for small p-values: P(|value - truth| > it) <= 2^-k / (m - 1).
    """

    value: float
    quantiles: tuple[float, ...]
    tail: tuple[float, ...] = field(default=(), metadata={"plain": "unless default"})
    kind: Literal["deviation"] = "deviation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrasts:
    """All contrasts of some rates between groups, recomputable from the count table `table` (an evidence digest).

    `rates` names rates of `probes/stats/rates.py`; `scope` lists what is compared jointly: ("sex",) the groups of one
    attribute, ("sex", "race") the groups of an intersection. `settings` are the probe's (min_n, reference groups).
    """

    table: str
    rates: tuple[str, ...]
    scope: tuple[tuple[str, ...], ...]
    form: Literal["difference", "ratio"]
    contrast: Literal["pairwise", "rest", "reference"] = "pairwise"
    reference: tuple[tuple[str, str], ...] = ()  # (attribute, reference group)
    min_n: int = 30
    draws: int = 2000
    seed: int = 0  # of the resamples; drawn by the probe from its own generator
    kind: Literal["contrasts"] = "contrasts"


Basis = Binomial | Normal | Deviation | Contrasts


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One measured number: which metric, of which target, where, with its interval and what a gate needs of it.

    `where` narrows the metric: {attribute, group}, {intersection, group}, {class}, {versus} and so on; empty means
    overall or, for a contrast, every named attribute jointly. `detail` holds what a reader wants beside the number
    (the two groups of the widest gap, groups left out for their size); it never decides a verdict.
    """

    metric: str
    target: str
    estimate: Estimate
    definition: str
    direction: Direction
    ideal: float | None
    probe: str
    probe_version: int
    where: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    basis: Basis | None = None
    detail: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    evidence: tuple[Evidence, ...] = ()
    not_shown: str = ""
    exploratory: bool = False
    reading: Reading = "measurement"

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", FrozenMap(self.where))
        object.__setattr__(self, "detail", FrozenMap(self.detail))


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A probe, or a part of one, that could not finish. It is a row, never a hole, and never reads as a pass.

    `metrics` are the ids left unmeasured, `where` the part of them (empty: everywhere).
    """

    probe: str
    target: str
    reason: str
    hint: str = ""
    metrics: tuple[str, ...] = ()
    where: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    traceback: str = field(default="", metadata={"plain": False})

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", FrozenMap(self.where))


@dataclass(frozen=True, slots=True, kw_only=True)
class Inapplicable:
    """A probe that does not fit this target or this data, with what is missing named."""

    probe: str
    target: str
    reason: str
    missing: tuple[str, ...] = ()
    metrics: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What one gate says. `gate` counts from 1 in the plan's order; `threshold` is the gate in words.

    `estimate` is the deciding one. `p_fail` is the p-value of "the tolerance is broken somewhere", `p_fail_adjusted`
    the same after Holm over the gates of the family, `p_pass` that of "the tolerance holds everywhere". `n_needed` is
    the n per group that would decide at 80 % power if the estimate were the truth, `n_needed_at_parity` if there were
    no gap. `explanation` says why, where the verdict and the printed interval seem to disagree or something is left
    out.
    """

    gate: int
    metric: str
    status: Status
    threshold: str
    reason: str
    where: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    versus: str = ""
    estimate: Estimate | None = None
    p_fail: float | None = None
    p_fail_adjusted: float | None = None
    p_pass: float | None = None
    n_needed: int | None = None
    n_needed_at_parity: int | None = None
    explanation: str = ""
    exploratory: bool = False
    on_inconclusive: Literal["review", "fail", "accept"] = "review"
    on_not_refuted: Literal["review", "accept"] = "review"
    detail: Mapping[str, Scalar] = field(default_factory=FrozenMap)
    waived_from: Status | None = None
    waiver: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "where", FrozenMap(self.where))
        object.__setattr__(self, "detail", FrozenMap(self.detail))
