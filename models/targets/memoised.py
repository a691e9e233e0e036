"""Answers for one sample, computed once and kept, so that every probe and every worker process reads the same ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

from steelyard.audit.canonical import digest
from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.target import LanguageTarget, NetworkTarget, Sample, Target, TrainableTarget
from steelyard.audit.types import Capability, Task
from steelyard.models.data.fingerprint import fingerprint_array, fingerprint_inputs

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Memoised", "freeze", "named_by_behaviour"]

_KEPT = frozenset({Capability.PREDICT, Capability.PREDICT_PROBA})


@dataclass(frozen=True, kw_only=True)
class Memoised:
    """A target's answers for one sample, read-only.

    Asked about other inputs, or for anything but decisions and probabilities, it asks the model behind it. Pickled, it
    leaves the model behind: then it knows the one sample only, recognised by its content, has no other capabilities,
    and raises NotApplicable for what it can no longer do. Of a language model nothing is kept: it decides nothing.
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
        self._need(Capability.PREDICT)
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

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) scores before the softmax, from the model. Raises NotApplicable without `LOGITS`."""
        return cast("NetworkTarget", self._for(Capability.LOGITS)).logits(inputs)

    def gradients(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """Of each row's cross-entropy at `labels`, from the model. Raises NotApplicable without `GRADIENTS`."""
        return cast("NetworkTarget", self._for(Capability.GRADIENTS)).gradients(inputs, labels)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the model's own representation. Raises NotApplicable without `EMBED`."""
        return cast("NetworkTarget", self._for(Capability.EMBED)).embed(inputs)

    @property
    def scoring(self) -> Literal["causal", "masked"]:
        """How the language model scores a token. Raises NotApplicable without `LOGLIKELIHOOD`."""
        return cast("LanguageTarget", self._for(Capability.LOGLIKELIHOOD)).scoring

    def tokenize(self, texts: Sequence[str]) -> list[tuple[int, ...]]:
        """The token ids of each text. Raises NotApplicable without `LOGLIKELIHOOD`."""
        return cast("LanguageTarget", self._for(Capability.LOGLIKELIHOOD)).tokenize(texts)

    def loglikelihood(self, texts: Sequence[str], prefixes: Sequence[str] | None = None) -> list[NDArray[np.float64]]:
        """The log-probability of each token of each text. Raises NotApplicable without `LOGLIKELIHOOD`."""
        return cast("LanguageTarget", self._for(Capability.LOGLIKELIHOOD)).loglikelihood(texts, prefixes)

    def generate(
        self, prompts: Sequence[str], *, max_tokens: int = 32, temperature: float = 0.0, seed: int = 0
    ) -> list[str]:
        """What follows each prompt. Raises NotApplicable without `GENERATE`."""
        model = cast("LanguageTarget", self._for(Capability.GENERATE))
        return model.generate(prompts, max_tokens=max_tokens, temperature=temperature, seed=seed)

    def fit_again(self, train: Sample, seed: int) -> Target:
        """A model trained as this one was, on `train`. Raises NotApplicable without `FIT_AGAIN`."""
        return cast("TrainableTarget", self._for(Capability.FIT_AGAIN)).fit_again(train, seed)

    @property
    def recipe(self) -> Any:
        """The recipe that the model was trained by; None where it is none of ours, or was left behind."""
        return getattr(self.model, "recipe", None)

    def _need(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise NotApplicable(f"{self.name} has not the capability {capability.value}")

    def _for(self, capability: Capability) -> Target:
        self._need(capability)
        return self._behind(capability.value)

    def _is_sample(self, inputs: Any) -> bool:
        if any(inputs is known for known in self._seen):
            return True
        if any(_begin_apart(inputs, known) for known in self._seen):
            return False
        if len(inputs) != len(self.decisions) or fingerprint_inputs(inputs) != self.inputs_digest:
            return False
        self._seen[:] = [inputs]
        return True

    def _behind(self, method: str) -> Target:
        if self.model is None:
            raise NotApplicable(f"{self.name} can answer for the audited rows only; it has no model to {method} with")
        return self.model

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "model": None, "_seen": [], "capabilities": self.capabilities & _KEPT}

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
    decisions, scores = _answers(target, sample)
    for array in (decisions, scores):
        if array is not None:
            array.setflags(write=False)
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


def _answers(target: Target, sample: Sample) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
    """Decisions and probabilities; in one pass where the target can (`answers`). None of a language model's.

    Raises TargetError where the one decides and the other's task is language.
    """
    import numpy as np

    decides = Capability.PREDICT in target.capabilities
    if decides == (sample.task is Task.LANGUAGE):
        said = (
            "decides, and the task is language" if decides else f"decides nothing, and the task is {sample.task.value}"
        )
        raise TargetError(said, where=target.name, hint="see data.task and target.head")
    if not decides:
        return np.empty(0), None
    both = getattr(target, "answers", None)
    if callable(both):
        answered: tuple[NDArray[Any], NDArray[np.float64] | None] = both(sample.inputs)
        return answered
    scores = target.predict_proba(sample.inputs) if Capability.PREDICT_PROBA in target.capabilities else None
    return target.predict(sample.inputs), scores


def _begin_apart(inputs: Any, known: Any) -> bool:
    """Whether two arrays differ in their first row: a cheap no, before everything is read for a digest."""
    import numpy as np

    if not isinstance(inputs, np.ndarray) or not isinstance(known, np.ndarray):
        return False
    if inputs.shape != known.shape or inputs.dtype != known.dtype or inputs.dtype.kind == "O":
        return False
    return not np.array_equal(inputs[:1], known[:1], equal_nan=inputs.dtype.kind == "f")


def named_by_behaviour(frozen: Memoised, source: str) -> Memoised:
    """The same with a fingerprint of `source` and of what it answered.

    For models with no file of their own: the pickled bytes of one model differ from process to process, and the source
    of a factory says nothing about the weights it loads; what it decides about these rows does.
    """
    answers = [fingerprint_array(frozen.decisions), fingerprint_array(frozen.scores)]
    if Capability.PREDICT not in frozen.capabilities:  # a language model's own name for itself is all there is
        answers.append(frozen.fingerprint)
    return replace(frozen, fingerprint=digest([source, *answers]))
