"""A table of decisions that was reduced to counts, as a target: one answer for each combination that was counted."""

from __future__ import annotations

from typing import Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability
from steelyard.models.data.fingerprint import fingerprint_inputs
from steelyard.models.data.reduced import Reduced
from steelyard.models.targets.answers import class_codes
from steelyard.models.targets.memoised import Memoised
from steelyard.models.targets.predictions import TWO_RULES, PredictionsTarget, decision_rule

__all__ = ["reduced_target"]


def reduced_target(part: TargetPart, sample: Sample, *, name: str) -> Memoised:
    """The decisions of `sample`, reduced. It has no probabilities to hand out: probes read their sums from the sample.

    Behind it is the table's own target, which answers for rows of the table: those of `sample.reduced.sampled()`.

    Raises TargetError as `predictions_target` does: a decision or a score that is missing, an unknown decision.
    """
    import numpy as np

    reduced: Reduced = sample.reduced
    counting, spread = reduced.counting, reduced.spread
    if counting.decision is not None and part.threshold is not None:
        raise TargetError(TWO_RULES, where="target", hint="one of the two decides: take one out")
    if spread is not None and spread.bad:
        message = f"its prediction is NaN or infinite in {spread.bad:,} of {sample.n:,} rows"
        raise TargetError(message, where=f"target.score {counting.score!r}")
    span = None if spread is None else (spread.low, spread.high)
    rule = decision_rule(part, sample.task, decision=counting.decision, score=counting.score, span=span)
    answers = sample.inputs[counting.answer]
    missing = int(reduced.rows[answers.isna().to_numpy()].sum())
    if missing:
        raise TargetError(f"its decision is missing in {missing:,} of {sample.n:,} rows", where=name)
    decisions: Any = np.asarray(answers, dtype=object)
    if counting.decision is None:
        decisions = decisions.astype(np.int64)
    else:
        decisions = class_codes(decisions, sample.classes, n=len(decisions), name=name)
    decisions.setflags(write=False)
    return Memoised(
        name=name,
        kind="predictions",
        task=sample.task,
        capabilities=rule.capabilities - ({Capability.PREDICT_PROBA} if sample.labels is None else set()),
        fingerprint=digest([sample.fingerprint, counting.decision, counting.score, rule.threshold]),
        description=f"{rule.description}; {sample.n:,} rows, counted",
        sample_fingerprint=sample.fingerprint,
        inputs_digest=fingerprint_inputs(sample.inputs),
        decisions=decisions,
        scores=None,
        model=PredictionsTarget(
            name=name,
            task=sample.task,
            capabilities=rule.capabilities,
            fingerprint=sample.fingerprint,
            description=rule.description,
            classes=sample.classes,
            decision=counting.decision,
            score=counting.score,
            threshold=rule.threshold,
        ),
        _seen=[sample.inputs],
    )
