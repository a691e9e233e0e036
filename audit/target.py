"""What goes into a probe: the model under audit, the rows it is asked about, and the references beside it.

Class codes. A classifier's answers are codes into `Sample.classes`, whatever the model calls its classes: the adapter
that loads a model maps them once. For a binary task `Sample.classes` is (negative, positive), so code 1 is the
favourable decision. A regressor answers with numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, runtime_checkable

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.types import (
    DECIDING,
    Capability,
    Data,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Modality,
    Task,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = [
    "Groups",
    "LanguageTarget",
    "NetworkTarget",
    "Probe",
    "References",
    "Sample",
    "Target",
    "TrainableTarget",
]

UNKNOWN = "unknown"


@runtime_checkable
class Target(Protocol):
    """A model, seen through what it can do.

    `name` is how findings call it ("candidate", "baseline/logistic"); `fingerprint` changes when the model does.
    A method whose capability is not listed raises `NotApplicable`.
    """

    @property
    def name(self) -> str:
        """How findings call it."""
        ...

    @property
    def kind(self) -> str:
        """The kind of adapter: sklearn, predictions, python, recipe …"""
        ...

    @property
    def task(self) -> Task:
        """What kind of answer it gives."""
        ...

    @property
    def capabilities(self) -> frozenset[Capability]:
        """What it can truly do."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the model does."""
        ...

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class codes, int64; (n,) float64 for a regressor."""
        ...

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities in the order of `Sample.classes`; rows sum to 1."""
        ...


@runtime_checkable
class NetworkTarget(Target, Protocol):
    """A classifier that can be looked into. Each method is there for the capability of its name.

    Inputs are what `Sample.inputs` holds; images are (n, height, width) or (n, channels, height, width) in [0, 1].
    """

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """`Capability.LOGITS`: (n, classes) scores before the softmax."""
        ...

    def gradients(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """`Capability.GRADIENTS`: of each row's cross-entropy at `labels` (n,), in the shape of the numeric inputs."""
        ...

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """`Capability.EMBED`: (n, d) what the last layer before the classes sees."""
        ...


@runtime_checkable
class LanguageTarget(Target, Protocol):
    """A language model: `scoring` says whether it predicts a token from those before it or from those around it."""

    @property
    def scoring(self) -> Literal["causal", "masked"]:
        """Causal: log p(token | those before). Masked: log p(token | all others), one masked at a time."""
        ...

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each text, without special tokens."""
        ...

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """`Capability.LOGLIKELIHOOD`: for each text the natural log-probability of each of its tokens (tokens,).

        A prefix is given to the model and not scored. A causal model without a prefix begins at its own start token;
        where it has none, the first token of a text is NaN, since nothing comes before it.
        """
        ...

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """`Capability.GENERATE`: what follows each prompt, without it. Temperature 0 takes the likeliest token."""
        ...


@runtime_checkable
class TrainableTarget(Target, Protocol):
    """A model that can be trained again in the same way on other rows (`Capability.FIT_AGAIN`)."""

    def fit_again(self, train: Sample, seed: int) -> Target:
        """A model trained as this one was, on `train`. The same sample and seed give the same one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Groups:
    """One protected attribute: `codes` (n,) into `levels`. Missing values are the level "unknown", never dropped.

    `unknown` is its code, or -1 where nothing is missing. It is counted and shown; it takes part in contrasts only
    when the plan says so (`data.unknown: compare`), since it is not a group of people but the lack of an answer.
    """

    codes: NDArray[np.int64]
    levels: tuple[str, ...]
    unknown: int = -1
    compare_unknown: bool = False
    reference: str = ""  # the level the plan compares the others with; empty: the largest


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """The rows a target is asked about.

    `labels` (n,) are codes into `classes`, or floats for regression, or None where the data has none. `weights` (n,)
    are positive survey weights; `clusters` (n,) are codes of the person (or other unit) a row belongs to. `inputs` is
    what the target takes (a data frame or an array of n rows). `fingerprint` is a digest of all of it.

    Where `reduced` is there, a table too large for memory was counted: each entry of `inputs`, `labels`, of the groups'
    codes and of the target's answers is then a cell, a combination of values that `reduced.rows` many rows share.
    Probes that cannot read that (`Probe.reads_counts`) are not run.
    """

    inputs: Any
    labels: NDArray[Any] | None
    task: Task
    modality: Modality
    fingerprint: str
    classes: tuple[str, ...] = ()
    groups: Mapping[str, Groups] = field(default_factory=FrozenMap)
    weights: NDArray[np.float64] | None = None
    clusters: NDArray[np.int64] | None = None
    ids: NDArray[Any] | None = None
    split: str = "test"
    min_n: int = 30
    notes: tuple[str, ...] = ()  # what a reader must know of how the rows came to be: rows dropped, values missing
    answers: tuple[str, ...] = ()  # columns of `inputs` that are not features but predictions, in a table of decisions
    reduced: Any = None  # `models.data.reduced.Reduced`: how many rows each entry stands for, and their sums
    training: Sample | None = field(default=None, repr=False)  # the rows of data.train; not in the fingerprint

    @property
    def n(self) -> int:
        """How many rows."""
        return len(self.inputs) if self.reduced is None else int(self.reduced.rows.sum())

    def count(self, codes: NDArray[Any], size: int) -> NDArray[np.int64]:
        """(size,) how many rows have each of the codes 0 … size - 1; `codes` has one for each entry."""
        import numpy as np

        times = None if self.reduced is None else self.reduced.rows
        return np.asarray(np.bincount(codes, weights=times, minlength=size), dtype=np.int64)

    @property
    def features(self) -> Any:
        """The inputs without the columns that are predictions: what describes a row."""
        return self.inputs.drop(columns=list(self.answers)) if self.answers else self.inputs

    @property
    def provides(self) -> frozenset[Data]:
        """What of `Data` is here."""
        found = set()
        if self.labels is not None:
            found.add(Data.LABELS)
        if self.groups:
            found.add(Data.GROUPS)
        if self.training is not None:
            found.add(Data.TRAINING)
        return frozenset(found)


class References(Mapping[str, Target]):
    """The reference models beside the candidate, by name. `family("baseline")` gives every "baseline/…"."""

    def __init__(self, targets: Mapping[str, Target] | None = None) -> None:
        self._targets = dict(targets or {})

    def __getitem__(self, name: str) -> Target:
        return self._targets[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._targets)

    def __len__(self) -> int:
        return len(self._targets)

    def family(self, name: str) -> References:
        """The references called `name` or `name/…`."""
        return References({key: t for key, t in self._targets.items() if key == name or key.startswith(f"{name}/")})


@dataclass(frozen=True, kw_only=True)
class Probe:
    """A question put to a target. Its fields are its settings and its serialised form.

    A subclass is a frozen dataclass that sets the class variables and writes `run`, which yields findings as they
    are ready, and `Failure` rows for the parts that cannot be measured. Raise `NotApplicable` where the probe does not
    fit and `ProbeError` where it fits but no honest number comes out; any other exception is a crash, and also a
    `Failure`.
    """

    id: ClassVar[str]
    version: ClassVar[int] = 1
    requires: ClassVar[frozenset[Capability | Data]] = frozenset()
    tasks: ClassVar[frozenset[Task]] = DECIDING
    metrics: ClassVar[tuple[MetricSpec, ...]] = ()
    files: ClassVar[tuple[str, ...]] = ()  # settings that name a file: relative to the plan, known by its content
    reads_counts: ClassVar[bool] = False  # whether it can read a sample that was reduced to counts (`Sample.reduced`)
    needs_every_row: ClassVar[bool] = False  # its question is of all rows at once: a sample of them is no answer
    about_data: ClassVar[bool] = False  # whatever the model, the answer is the same: the candidate's rows carry it

    @property
    def family(self) -> str:
        """The part of the id before the first dot."""
        return self.id.split(".", 1)[0]

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a probe that reads counts can answer from those of this sample; if not, it is put to drawn rows."""
        return self.reads_counts

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield what was measured."""
        raise NotImplementedError

    def spec(self, metric: str) -> MetricSpec:
        """The definition of one of this probe's metric ids."""
        return next(spec for spec in self.metrics if spec.id == metric)
