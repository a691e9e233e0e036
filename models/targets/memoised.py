"""Answers for one sample, computed once and kept, so that every probe and every worker process reads the same ones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import digest
from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.target import Sample, Target
from steelyard.audit.types import Capability, Task
from steelyard.models.data.fingerprint import fingerprint_array, fingerprint_inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Memoised", "freeze", "named_by_behaviour"]


@dataclass(frozen=True, kw_only=True)
class Memoised:
    """A target's answers for one sample, read-only.

    Asked about other inputs it asks the model behind it. Pickled, it leaves the model behind: then it knows the one
    sample only, recognised by its content, and raises NotApplicable for any other.
    """

    name: str
    kind: str
    task: Task
    capabilities: frozenset[Capability]
    fingerprint: str
    description: str
    sample_fingerprint: str
    inputs_digest: str
    decisions: NDArray[Any] = field(repr=False, compare=False)
    scores: NDArray[np.float64] | None = field(repr=False, compare=False)
    model: Target | None = field(default=None, repr=False, compare=False)
    _seen: list[Any] = field(
        default_factory=list, repr=False, compare=False
    )  # the inputs object known to be the sample's

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) the kept answers for the sample's inputs."""
        if self._is_sample(inputs):
            return self.decisions
        return self._behind("predict").predict(inputs)

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) the kept probabilities for the sample's inputs. Raises NotApplicable where there are none."""
        if self.scores is None:
            raise NotApplicable(f"{self.name} gives no probabilities")
        if self._is_sample(inputs):
            return self.scores
        return self._behind("predict_proba").predict_proba(inputs)

    def _is_sample(self, inputs: Any) -> bool:
        if any(inputs is known for known in self._seen):
            return True
        if len(inputs) != len(self.decisions) or fingerprint_inputs(inputs) != self.inputs_digest:
            return False
        self._seen[:] = [inputs]
        return True

    def _behind(self, method: str) -> Target:
        if self.model is None:
            raise NotApplicable(f"{self.name} can answer for the audited rows only; it has no model to {method} with")
        return self.model

    def __getstate__(self) -> dict[str, Any]:
        known = self.capabilities - {Capability.QUERY}
        return {**self.__dict__, "model": None, "_seen": [], "capabilities": known}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        for array in (self.decisions, self.scores):
            if array is not None:
                array.setflags(write=False)


def freeze(target: Target, sample: Sample) -> Memoised:
    """Ask `target` about the sample now and keep the answers; what is frozen for this sample stays as it is.

    Raises TargetError where an answer does not fit (NaN scores, a wrong length, an unknown class).
    """
    if isinstance(target, Memoised) and target.sample_fingerprint == sample.fingerprint:
        if not target._seen:
            target._seen[:] = [sample.inputs]
        return target
    if sample.reduced is not None:
        raise TargetError(
            "cannot be asked about rows that were counted, not read",
            where=target.name,
            hint=f"leave it out, or set data.reduce_above to {sample.n:,} or more",
        )
    scores = None
    if Capability.PREDICT_PROBA in target.capabilities:
        scores = target.predict_proba(sample.inputs)
        scores.setflags(write=False)
    decisions = target.predict(sample.inputs)
    decisions.setflags(write=False)
    return Memoised(
        name=target.name,
        kind=target.kind,
        task=target.task,
        capabilities=target.capabilities,
        fingerprint=target.fingerprint,
        description=str(getattr(target, "description", "")),
        sample_fingerprint=sample.fingerprint,
        inputs_digest=fingerprint_inputs(sample.inputs),
        decisions=decisions,
        scores=scores,
        model=target,
        _seen=[sample.inputs],
    )


def named_by_behaviour(frozen: Memoised, source: str) -> Memoised:
    """The same with a fingerprint of `source` and of what it answered.

    For models with no file of their own: the pickled bytes of one model differ from process to process, and the source
    of a factory says nothing about the weights it loads; what it decides about these rows does.
    """
    answers = [fingerprint_array(frozen.decisions), fingerprint_array(frozen.scores)]
    return replace(frozen, fingerprint=digest([source, *answers]))
