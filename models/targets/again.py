"""Models that can be trained again: estimators that scikit-learn can clone, factories that take the training rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Capability, Task
from steelyard.models.targets.sklearn import SklearnTarget, estimator_target, inputs_for
from steelyard.models.threads import one_thread

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Again", "AgainTarget", "clone_again", "fitted_again"]

Again = Callable[[Sample, int], Target]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgainTarget(SklearnTarget):
    """An estimator with a way to train another one like it."""

    again: Again = field(repr=False, compare=False)

    def fit_again(self, train: Sample, seed: int) -> Target:
        """A model trained as this one was, on `train`. Raises TargetError where it cannot be trained on these rows."""
        return self.again(train, seed)


def fitted_again(target: Target, again: Again | None) -> Target:
    """`target` with the capability FIT_AGAIN, by `again`; as it is, where it is no estimator or nothing is given."""
    if again is None or not isinstance(target, SklearnTarget) or Capability.FIT_AGAIN in target.capabilities:
        return target
    kept = {item.name: getattr(target, item.name) for item in fields(SklearnTarget)}
    return AgainTarget(**{**kept, "capabilities": target.capabilities | {Capability.FIT_AGAIN}}, again=again)


def clone_again(target: Target) -> Again | None:
    """Train a clone of the estimator behind `target`; None where scikit-learn cannot clone it.

    A clone has the estimator's parameters and none of what it learnt; every parameter called random_state is set to the
    seed. Labels are given in the words that the estimator knows.
    """
    from sklearn.base import clone

    if not isinstance(target, SklearnTarget):
        return None
    model, name, kind = target.model, target.name, target.kind
    if not callable(getattr(model, "fit", None)) or not callable(getattr(model, "get_params", None)):
        return None
    try:
        clone(model)
    except (TypeError, RuntimeError, ValueError, AttributeError):
        return None

    def again(train: Sample, seed: int) -> Target:
        fresh = clone(model)
        seeds = {key: seed % 2**32 for key in fresh.get_params(deep=True) if key.split("__")[-1] == "random_state"}
        fresh.set_params(**seeds)
        labels = _own_labels(target, train)
        try:
            with one_thread():
                fresh.fit(inputs_for(model, train.inputs, name), labels)
        except (ValueError, TypeError) as error:
            text = " ".join(str(error).split())[:300]
            raise TargetError(f"cannot be trained on these rows: {text}", where=name) from error
        fitted = estimator_target(fresh, train, name=name, kind=kind, threshold=target.threshold)
        return fitted_again(fitted, again)

    return again


def _own_labels(target: SklearnTarget, train: Sample) -> NDArray[Any]:
    """(n,) the labels of `train` as the estimator calls them: its own class values, or numbers of a regression."""
    import numpy as np

    if train.labels is None:
        raise TargetError("cannot be trained again without labels", where=target.name, hint="name data.label")
    own = getattr(target.model, "classes_", None)
    if train.task is Task.REGRESSION:
        return np.asarray(train.labels)
    if own is None or target.order is None or train.classes != target.classes:
        labels: NDArray[Any] = np.asarray(train.classes)[train.labels]
    else:
        labels = np.asarray(own)[np.asarray(target.order)[train.labels]]
    return labels
