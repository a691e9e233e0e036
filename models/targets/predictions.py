"""A table of decisions as a target: what was decided is read from columns, and there is no model to ask."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Task
from steelyard.models.data.fingerprint import fingerprint_inputs
from steelyard.models.data.tables import column_named
from steelyard.models.targets.answers import class_codes, numbers, probabilities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["TWO_RULES", "DecisionRule", "PredictionsTarget", "decision_rule", "predictions_target"]

DEFAULT_THRESHOLD = 0.5
TWO_RULES = "has a decision column and a threshold"


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsTarget:
    """Decisions and scores by column. Without a decision column, the score decides from `threshold` on."""

    name: str
    task: Task
    capabilities: frozenset[Capability]
    fingerprint: str
    description: str
    classes: tuple[str, ...]
    decision: str | None
    score: str | None
    threshold: float | None
    kind: str = "predictions"

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class codes, or numbers for regression. Raises TargetError for missing or unknown decisions."""
        import numpy as np

        n, where = len(inputs), self.name
        if self.task is Task.REGRESSION:
            return numbers(_values(inputs, self.score or self.decision, where), n=n, name=where)
        if self.decision is not None:
            return class_codes(_values(inputs, self.decision, where), self.classes, n=n, name=where)
        scores = numbers(_values(inputs, self.score, where), n=n, name=where)
        least = DEFAULT_THRESHOLD if self.threshold is None else self.threshold
        return np.asarray(scores >= least, dtype=np.int64)

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, 2) with the score as P(positive). Raises NotApplicable where there is no such score."""
        if Capability.PREDICT_PROBA not in self.capabilities:
            raise NotApplicable(f"{self.name} has no column with probabilities")
        scores: NDArray[np.float64] = probabilities(
            _values(inputs, self.score, self.name), None, self.classes, n=len(inputs), name=self.name
        )
        return scores


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionRule:
    """What the columns of a table of predictions give: from which score on it is positive, and in words."""

    threshold: float | None
    capabilities: frozenset[Capability]
    description: str


def decision_rule(
    part: TargetPart, task: Task, *, decision: str | None, score: str | None, span: tuple[float, float] | None
) -> DecisionRule:
    """How the columns decide. `span` is the least and the greatest score of a binary task.

    Raises TargetError where the score does not fit the task, or is no probability and nothing else decides.
    """
    if task is Task.MULTICLASS and score is not None:
        raise TargetError(
            "target.score goes with a binary task or regression", where="target", hint="name target.decision"
        )
    said, threshold, graded = [], part.threshold, False
    if span is not None:
        graded = bool(span[0] >= 0.0 and span[1] <= 1.0)
        if not graded and decision is None and threshold is None:
            raise TargetError(
                f"the score {score!r} runs from {span[0]:g} to {span[1]:g}, so it is no probability",
                where="target",
                hint="set target.threshold to decide by it, or name target.decision",
            )
        if decision is None:
            threshold = DEFAULT_THRESHOLD if threshold is None else threshold
            said.append(f"positive from {score} ≥ {threshold:g} on{' (the default)' if part.threshold is None else ''}")
        if not graded:
            said.append(f"{score} is not in [0, 1], so it is not read as a probability")
    columns = ", ".join(column for column in (decision, score) if column is not None)
    return DecisionRule(
        threshold=threshold,
        capabilities=frozenset({Capability.PREDICT} | ({Capability.PREDICT_PROBA} if graded else set())),
        description="; ".join([f"a table of predictions: {columns}", *said]),
    )


def predictions_target(part: TargetPart, sample: Sample, *, name: str) -> PredictionsTarget:
    """The target that `part` describes in the columns of `sample.inputs`.

    A score in [0, 1] of a binary task is P(positive); other scores (a decile) decide by `threshold` only. Raises
    TargetError where neither column is named, or the score does not fit the task.
    """
    if part.decision is None and part.score is None:
        raise TargetError(
            "names neither decision nor score", where="target", hint="name the column with what was decided"
        )
    frame = sample.inputs
    decision = part.decision and column_named(frame, part.decision, key="target.decision", where="target")
    score = part.score and column_named(frame, part.score, key="target.score", where="target")
    if decision is not None and part.threshold is not None:
        raise TargetError(TWO_RULES, where="target", hint="one of the two decides: take one out")
    span = None
    if sample.task is Task.BINARY and score is not None:
        values = numbers(_values(frame, score, "target"), n=sample.n, name=f"target.score {score!r}")
        span = float(values.min()), float(values.max())
    rule = decision_rule(part, sample.task, decision=decision, score=score, span=span)
    columns = [column for column in (decision, score) if column is not None]
    return PredictionsTarget(
        name=name,
        task=sample.task,
        capabilities=rule.capabilities,
        fingerprint=digest([fingerprint_inputs(frame[columns]), decision, score, rule.threshold]),
        description=rule.description,
        classes=sample.classes,
        decision=decision,
        score=score,
        threshold=rule.threshold,
    )


def _values(inputs: Any, column: str | None, where: str) -> Any:
    import pandas as pd

    if not isinstance(inputs, pd.DataFrame) or column not in inputs.columns:
        raise NotApplicable(f"{where} can answer for rows of its own table only")
    values = inputs[column]
    if pd.api.types.is_numeric_dtype(values.dtype) and not isinstance(values.dtype, pd.CategoricalDtype):
        return values.to_numpy(dtype=float, na_value=float("nan")) if values.isna().any() else values.to_numpy()
    return values.astype(object).to_numpy()
