"""Defended references: models kept from telling what they learnt from, by training less or by answering less.

They show what the cheap defences against membership inference buy, and at what price; differential privacy, the one
with a proof, is in the family private. Each is put around a plain `base`, beside which its figures are to be read.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.recipe import Recipe, answers

if TYPE_CHECKING:
    from steelyard.models.recipes.coarse import RoundedScores, TopScores

__all__ = ["DEFENDED", "EarlyStopping", "Rounding", "StrongL2", "TopK"]

BASES: dict[str, Recipe] = {"boosting": Boosting(), "logistic": Logistic(), "mlp": MlpRecipe()}


@dataclass(frozen=True, kw_only=True)
class _Defended(Recipe):
    """What the defended recipes share: the plain recipe that they are put around, with its usual settings."""

    family: ClassVar[str] = "defended"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR, Modality.IMAGE})
    bases: ClassVar[tuple[str, ...]] = tuple(BASES)

    base: str = "boosting"

    def __post_init__(self) -> None:
        """Check the base, and need what it needs."""
        if self.base not in self.bases:
            raise PlanError(f"base is {self.base!r}", where=self.id, hint=f"it is one of {', '.join(self.bases)}")
        plain = BASES[self.base]
        # Which libraries are needed hangs on a setting, so this instance has its own: the key of the cache, the card
        # and the message about an extra that is not installed then all name them.
        object.__setattr__(self, "libraries", plain.libraries)
        object.__setattr__(self, "extra", plain.extra)

    def at_least(self, name: str, least: float, *, below: float | None = None) -> None:
        """Raise PlanError where the setting is under `least`, or not under `below`."""
        value = getattr(self, name)
        if not value >= least or (below is not None and not value < below):
            allowed = f"at least {least:g}" if below is None else f"from {least:g} to below {below:g}"
            raise PlanError(f"{name} is {value!r}", where=self.id, hint=f"it is {allowed}")


@dataclass(frozen=True, kw_only=True)
class EarlyStopping(_Defended):
    """Training stops after `patience` rounds without a better loss on the `validation` share that is held back.

    At most `rounds` epochs (mlp) or iterations (boosting); with patience 0 all of them on all rows, so that a small
    number of rounds is the defence. A network keeps the weights of its best epoch, trees all that were grown. What is
    not fitted longer than it helps is remembered less: Yeom et al. 2018, arXiv:1709.01604. No bound follows from it.
    """

    name: ClassVar[str] = "early-stopping"
    bases: ClassVar[tuple[str, ...]] = ("boosting", "mlp")
    summary: ClassVar[str] = "training stopped when rows held back gain no more, against membership inference"

    patience: int = 2
    validation: float = 0.1
    rounds: int = 100

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self.at_least("patience", 0)
        self.at_least("rounds", 1)
        self.at_least("validation", 0.01, below=1.0)

    def fit(self, train: Sample, seed: int) -> Any:
        """The network, or the fitted pipeline."""
        if self.base == "mlp":
            stopped = replace(MlpRecipe(), epochs=self.rounds, patience=self.patience, validation=self.validation)
            return stopped.fit(train, seed)
        pipeline = Boosting(iterations=1).fit(train, seed)  # its columns; the trees are grown anew
        step, _ = pipeline.steps[-1]
        stopping = {"early_stopping": True, "n_iter_no_change": self.patience, "validation_fraction": self.validation}
        pipeline[-1].set_params(max_iter=self.rounds, **(stopping if self.patience else {}))
        return pipeline.fit(train.inputs, answers(train), **{f"{step}__sample_weight": train.weights})


@dataclass(frozen=True, kw_only=True)
class StrongL2(_Defended):
    """Weights held small: the mean loss plus `penalty` · ‖w‖² / 2, intercepts and biases aside.

    `epochs` are those of a network; logistic regression is solved to the end.
    Shokri et al. 2017, arXiv:1610.05820, found it to blunt membership inference; no bound follows from it.
    """

    name: ClassVar[str] = "l2"
    bases: ClassVar[tuple[str, ...]] = ("logistic", "mlp")
    summary: ClassVar[str] = "weights held small by a strong L2 penalty, against membership inference"

    base: str = "logistic"
    penalty: float = 0.01
    epochs: int = 10

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        self.at_least("epochs", 1)
        self.at_least("penalty", 0)

    def fit(self, train: Sample, seed: int) -> Any:
        """The network, or the fitted pipeline."""
        if self.base == "mlp":
            return replace(MlpRecipe(), weight_decay=self.penalty, epochs=self.epochs).fit(train, seed)
        # scikit-learn's C weighs the sum of the losses; 1e-9 stands for no penalty at all
        total = float(train.n if train.weights is None else train.weights.sum())
        return Logistic(penalty=max(self.penalty, 1e-9) * total).fit(train, seed)


@dataclass(frozen=True, kw_only=True)
class Rounding(_Defended):
    """Probabilities rounded to `digits` decimals; decisions are those of the base.

    Shokri et al. 2017, arXiv:1610.05820, section VIII. It hides small differences between what was and was not learnt,
    and not that training rows are answered rightly more often.
    """

    name: ClassVar[str] = "rounding"
    summary: ClassVar[str] = "probabilities rounded to a few digits, against membership inference"

    digits: int = 1

    def __post_init__(self) -> None:
        """Check the digits."""
        super().__post_init__()
        self.at_least("digits", 0)

    def fit(self, train: Sample, seed: int) -> RoundedScores:
        """The base behind rounded probabilities."""
        from steelyard.models.recipes.coarse import RoundedScores

        return RoundedScores(BASES[self.base].fit(train, seed), self.digits)


@dataclass(frozen=True, kw_only=True)
class TopK(_Defended):
    """All but the `k` largest probabilities are set to 0 and the rest divided by their sum; with k = 1 labels only.

    Shokri et al. 2017, arXiv:1610.05820, section VIII. Attacks that need only labels are as strong as before
    (Choquette-Choo et al. 2021, arXiv:2007.14321).
    """

    name: ClassVar[str] = "top-k"
    summary: ClassVar[str] = "only the likeliest classes are answered, against membership inference"

    k: int = 1

    def __post_init__(self) -> None:
        """Check k."""
        super().__post_init__()
        self.at_least("k", 1)

    def fit(self, train: Sample, seed: int) -> TopScores:
        """The base behind its k likeliest classes. Raises TargetError where k leaves no class out."""
        from steelyard.models.recipes.coarse import TopScores

        if self.k >= max(2, len(train.classes)):
            few = f"k is {self.k} and there are {len(train.classes)} classes: nothing is left out"
            raise TargetError(few, where=self.id, hint="a smaller k")
        return TopScores(BASES[self.base].fit(train, seed), self.k)


DEFENDED: tuple[Recipe, ...] = (EarlyStopping(), StrongL2(), Rounding(), TopK())
