"""Fair references: what a learner reaches that was told to treat groups alike, on the same training rows.

They answer the question that a disparity alone leaves open: could it have been smaller, and at what cost in accuracy?
Both are Fairlearn's (MIT licence); the trained rule is kept in classes of our own (see `randomised.py`), which skops
can save and which decide just as Fairlearn's would.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.recipes.boosting import Boosting
from steelyard.models.recipes.logistic import Logistic
from steelyard.models.recipes.recipe import Recipe, answers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from steelyard.models.recipes.randomised import GroupThresholds, ModelMixture

__all__ = ["FAIR", "ExponentiatedGradient", "ThresholdOptimizer"]

PARITY, ODDS = "demographic-parity", "equalized-odds"
BASES = {"logistic": Logistic(), "boosting": Boosting()}
_OTHER = "other"
_LEAST_OF_A_CLASS = 10  # an error rate over fewer rows of a class is noise that a constraint would chase


@dataclass(frozen=True, kw_only=True)
class _Fair(Recipe):
    """What the fair recipes share: which groups are treated alike, in which sense, and the learner below.

    `constraint` is demographic-parity (equal selection rates) or equalized-odds (equal TPR and FPR). The groups are
    those of `attribute`, or of all of data.groups crossed where it is empty. Crossed groups of fewer than `least_rows`
    training rows, or fewer than 10 of a class, are one group "other"; where that is too small as well, its rows go with
    the largest group. Survey weights are refused: Fairlearn's constraints do not count them.
    """

    family: ClassVar[str] = "fair"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    libraries: ClassVar[tuple[str, ...]] = ("fairlearn",)
    extra: ClassVar[str] = "fair"
    told: ClassVar[str]  # the summary, to be filled in

    constraint: str = PARITY
    base: str = "logistic"
    attribute: str = ""
    least_rows: int = 200

    @property
    def summary(self) -> str:  # type: ignore[override]  # what it is depends on its settings
        """What it is, under which constraint and between whom."""
        models = "logistic regressions" if self.base == "logistic" else "boosted trees"
        constraint = "equalized odds" if self.constraint == ODDS else "equal selection rates"
        groups = f"the groups of {self.attribute}" if self.attribute else "all of data.groups crossed"
        return self.told.format(models=models, constraint=constraint, groups=groups)

    def __post_init__(self) -> None:
        for name, known in (("constraint", (PARITY, ODDS)), ("base", tuple(BASES))):
            if getattr(self, name) not in known:
                raise PlanError(
                    f"{name} is {getattr(self, name)!r}", where=self.id, hint=f"it is one of {', '.join(known)}"
                )

    def attributes(self, train: Sample) -> tuple[str, ...]:
        """The attributes whose crossed levels are the groups. Raises TargetError where the sample has none."""
        if train.weights is not None:
            raise TargetError(
                "does not count survey weights, and data.weight names some",
                where=self.id,
                hint="leave it out of references",
            )
        if not train.groups:
            raise TargetError("learns from groups, and the training data has none", where=self.id, hint="data.groups")
        if self.attribute and self.attribute not in train.groups:
            known = ", ".join(train.groups)
            raise TargetError(f"has no group column {self.attribute!r}", where=self.id, hint=f"there are {known}")
        return (self.attribute,) if self.attribute else tuple(train.groups)

    def cells(self, levels: NDArray[Any], labels: NDArray[Any]) -> tuple[dict[str, int], int]:
        """The group of each crossed level, and the group of any level that is not named.

        Raises TargetError where fewer than two groups are left.
        """
        import numpy as np

        names, codes = np.unique(levels.astype(str), return_inverse=True)
        of_class = np.stack([np.bincount(codes[labels == y], minlength=len(names)) for y in (0, 1)])
        large = (of_class.sum(axis=0) >= self.least_rows) & (of_class.min(axis=0) >= _LEAST_OF_A_CLASS)
        kept = {str(name): place for place, name in enumerate(names[large])}
        pooled = of_class[:, ~large].sum(axis=1)
        whole = pooled.sum() >= self.least_rows and pooled.min() >= _LEAST_OF_A_CLASS
        if len(kept) + whole < 2:
            raise TargetError(
                f"finds fewer than two groups with at least {self.least_rows} training rows and"
                f" {_LEAST_OF_A_CLASS} of each class",
                where=self.id,
                hint="it needs more data, or other data.groups",
            )
        rest = len(kept) if whole else kept[str(names[large][of_class.sum(axis=0)[large].argmax()])]
        return kept, rest

    def prepared(self, train: Sample, seed: int) -> tuple[Any, Any, NDArray[Any], NDArray[Any]]:
        """The base's columns and an unfitted last step, the columns of the training rows, and their labels (n,)."""
        from sklearn.base import clone

        from steelyard.models.recipes.randomised import dense

        answers(train)  # says what is missing where there are no labels
        fitted = BASES[self.base].fit(train, seed)
        prepare = fitted[:-1]
        return prepare, clone(fitted[-1]), dense(prepare.transform(train.inputs)), train.labels  # type: ignore[return-value]


@dataclass(frozen=True, kw_only=True)
class ExponentiatedGradient(_Fair):
    """A mixture of models, reweighted until the constraint holds on the training rows.

    Agarwal et al. 2018, A Reductions Approach to Fair Classification, arXiv:1803.02453. `slack` is the largest
    difference of a group's rate to the overall one that the constraint allows. It does not need the groups at
    prediction (they are among its inputs where data.features leaves them there).
    """

    name: ClassVar[str] = "exponentiated-gradient"
    told: ClassVar[str] = (
        "Fairlearn's exponentiated gradient: a mixture of {models} under {constraint} between {groups}; which of them"
        " decides is a hash of the row and the seed"
    )

    slack: float = 0.01
    max_iter: int = 50

    def fit(self, train: Sample, seed: int) -> ModelMixture:
        """The mixture; a UserWarning says so where the constraint was not reached within `max_iter` rounds."""
        import numpy as np
        from fairlearn.reductions import DemographicParity, EqualizedOdds
        from fairlearn.reductions import ExponentiatedGradient as Reduction

        from steelyard.models.recipes.randomised import CROSS, ModelMixture

        attributes = self.attributes(train)
        parts = [np.asarray(train.groups[a].levels, dtype=object)[train.groups[a].codes] for a in attributes]
        levels = np.array([CROSS.join(row) for row in zip(*parts, strict=True)], dtype=object)
        prepare, model, columns, labels = self.prepared(train, seed)
        cells, rest = self.cells(levels, labels)
        kind = EqualizedOdds if self.constraint == ODDS else DemographicParity
        reduction = Reduction(model, kind(difference_bound=self.slack), max_iter=self.max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own use of pandas
            reduction.fit(columns, labels, sensitive_features=np.array([cells.get(v, rest) for v in levels]))
        if reduction.best_gap_ > max(reduction.nu, 1e-9):
            warnings.warn(f"the constraint was not settled within {self.max_iter} rounds", UserWarning, stacklevel=2)
        weights = reduction.weights_[reduction.weights_ > 0]
        models = [reduction.predictors_[place] for place in weights.index]
        return ModelMixture(prepare, models, weights.to_numpy(), train.classes, seed)


@dataclass(frozen=True, kw_only=True)
class ThresholdOptimizer(_Fair):
    """A plain model whose scores meet thresholds of the row's own group: the most accurate that the constraint allows.

    Hardt, Price, Srebro 2016, arXiv:1610.02413. It must be told the group of each person it decides about, which may
    itself be unlawful; as a reference it shows what is attainable by thresholds alone. The thresholds are found on
    scores of training rows that the model has not seen (`folds` parts): on those it has learnt by heart, boosted trees
    are so sure that thresholds found there miss their constraint on fresh rows.
    """

    name: ClassVar[str] = "threshold-optimizer"
    told: ClassVar[str] = (
        "Fairlearn's threshold optimizer: {models} with thresholds for {groups}, under {constraint}; it needs the"
        " groups of those it decides about; where two thresholds mix, a hash of the row and the seed decides"
    )

    base: str = "boosting"
    folds: int = 5

    def fit(self, train: Sample, seed: int) -> GroupThresholds:
        """The model and its thresholds. Raises TargetError where a group column is not among the inputs."""
        import numpy as np
        from fairlearn.postprocessing import ThresholdOptimizer as Optimizer
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        from steelyard.models.recipes.randomised import GivenScores, GroupThresholds, crossed_levels

        attributes = self.attributes(train)
        levels = crossed_levels(train.inputs, attributes)
        prepare, model, columns, labels = self.prepared(train, seed)
        cells, rest = self.cells(levels, labels)
        parts = StratifiedKFold(self.folds, shuffle=True, random_state=seed)
        scores = cross_val_predict(model, columns, labels, cv=parts, method="predict_proba")[:, 1:]  # (n, 1)
        model.fit(columns, labels)
        optimizer = Optimizer(
            estimator=GivenScores(),
            constraints="equalized_odds" if self.constraint == ODDS else "demographic_parity",
            objective="accuracy_score",
            prefit=True,
            predict_method="predict",
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about its own use of pandas
            optimizer.fit(scores, labels, sensitive_features=np.array([cells.get(v, rest) for v in levels]))
        found = optimizer.interpolated_thresholder_.interpolation_dict
        rules = [_rules(found[group]) for group in sorted(found)]
        return GroupThresholds(prepare, model, attributes, cells, rest, rules, train.classes, seed)


def _rules(found: Any) -> list[float]:
    """One group's rule as a row of `GroupThresholds.rules`."""
    parts = [float(found.get("p_ignore", 0.0)), float(found.get("prediction_constant", 0.0))]
    for p, operation in ((found["p0"], found["operation0"]), (found["p1"], found["operation1"])):
        parts += [float(p), float(operation.threshold), 1.0 if operation.operator == ">" else -1.0]
    return parts


@dataclass(frozen=True, kw_only=True)
class ExponentiatedGradientOdds(ExponentiatedGradient):
    """The same under equalized odds."""

    name: ClassVar[str] = "exponentiated-gradient-odds"
    constraint: str = ODDS


@dataclass(frozen=True, kw_only=True)
class ThresholdOptimizerOdds(ThresholdOptimizer):
    """The same under equalized odds."""

    name: ClassVar[str] = "threshold-optimizer-odds"
    constraint: str = ODDS


@dataclass(frozen=True, kw_only=True)
class FairLogistic(ExponentiatedGradient):
    """`{kind: recipe, name: logistic, variant: fair}`: a mixture of logistic regressions under demographic parity."""

    name: ClassVar[str] = "logistic"
    variant: ClassVar[str] = "fair"
    alias: ClassVar[bool] = True


@dataclass(frozen=True, kw_only=True)
class FairBoosting(ThresholdOptimizer):
    """`{kind: recipe, name: boosting, variant: fair}`: boosted trees with group thresholds, demographic parity."""

    name: ClassVar[str] = "boosting"
    variant: ClassVar[str] = "fair"
    alias: ClassVar[bool] = True


FAIR: tuple[Recipe, ...] = (
    ExponentiatedGradient(),
    ThresholdOptimizer(),
    ExponentiatedGradientOdds(),
    ThresholdOptimizerOdds(),
    FairLogistic(),
    FairBoosting(),
)
