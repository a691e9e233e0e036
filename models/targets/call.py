"""A plain function as a model: what it returns says whether it decides or gives probabilities."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.targets.answers import decide, probabilities

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["called_model"]

_ROWS_TO_ASK = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class _Decider:
    """A function that returns decisions or numbers."""

    function: Callable[[Any], Any]

    def predict(self, inputs: Any) -> Any:
        return self.function(inputs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Grader:
    """A function that returns probabilities: (n, classes) in the sample's class order, or (n,) P(positive)."""

    function: Callable[[Any], Any]
    classes: tuple[str, ...]

    def predict(self, inputs: Any) -> NDArray[Any]:
        import numpy as np

        scores = probabilities(self.function(inputs), None, self.classes, n=len(inputs), name="the model")
        return np.asarray(self.classes, dtype=object)[decide(scores, None)]

    def predict_proba(self, inputs: Any) -> Any:
        return self.function(inputs)


def called_model(function: Callable[[Any], Any], sample: Sample, *, name: str) -> _Decider | _Grader:
    """`function` as a model with `predict` and, where it returns floating-point numbers, `predict_proba`.

    It is asked about the first rows: a two-dimensional answer, or one of floats for a binary task, is probabilities;
    anything else is decisions (numbers, for regression). Raises TargetError where it fails.
    """
    import numpy as np

    try:
        answer = np.asarray(function(sample.inputs[:_ROWS_TO_ASK]))
    except Exception as error:
        text = " ".join(str(error).split())[:300]
        raise TargetError(f"the function failed: {type(error).__name__}: {text}", where=name) from error
    wide = answer.ndim == 2 and answer.shape[1] > 1
    if sample.task is not Task.REGRESSION and (wide or (answer.dtype.kind == "f" and sample.task is Task.BINARY)):
        return _Grader(function=function, classes=sample.classes)
    return _Decider(function=function)
