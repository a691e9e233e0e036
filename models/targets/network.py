"""A network as a target: raw outputs read as classes, probabilities, logits or numbers, whatever runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Task
from steelyard.models.targets.answers import decide, numbers, probabilities
from steelyard.models.targets.options import Meaning, NetworkOptions
from steelyard.models.targets.sklearn import class_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Engine", "NetworkAdapter", "network_target"]

_ROWS_TO_ASK = 256
_SUM_TOLERANCE = 1e-3


class Engine(Protocol):
    """What runs a network. Outputs are (n,), (n, 1) or (n, classes); `what` says which of the two others it can do."""

    @property
    def what(self) -> frozenset[Capability]:
        """GRADIENTS and EMBED, where they were tried and worked."""
        ...

    def outputs(self, inputs: Any) -> NDArray[np.float64]:
        """(n, k) the numbers of the last layer."""
        ...

    def gradients(self, inputs: Any, columns: NDArray[np.int64], meaning: Meaning) -> NDArray[np.float64]:
        """Of -log p(column) of each row, in the shape of the inputs."""
        ...

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) the input of the last linear layer."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkAdapter:
    """A network whose outputs are mapped once to the sample's classes.

    `meaning` says what its outputs are; `order[c]` is the output that stands for class c (of two, where there is a
    single output: it is that of the second). The softmax of `logits` is `predict_proba`; a single logit z counts as (0,
    z).
    """

    name: str
    kind: str
    task: Task
    capabilities: frozenset[Capability]
    fingerprint: str
    description: str
    classes: tuple[str, ...]
    order: tuple[int, ...]
    meaning: Meaning
    threshold: float | None
    engine: Engine = field(repr=False, compare=False)

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class codes, int64; (n,) float64 for regression. Raises TargetError where the answers do not fit."""
        return self.answers(inputs)[0]

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities in the sample's class order. Raises NotApplicable for regression."""
        self._need(Capability.PREDICT_PROBA)
        scores = self.answers(inputs)[1]
        assert scores is not None  # noqa: S101 (regression has not the capability)
        return scores

    def answers(self, inputs: Any) -> tuple[NDArray[Any], NDArray[np.float64] | None]:
        """Decisions and probabilities (None for regression) from one pass."""
        raw = self._outputs(inputs)
        if self.task is Task.REGRESSION:
            return numbers(raw, n=len(inputs), name=self.name), None
        scores = probabilities(_probable(raw, self.meaning), self.order, self.classes, n=len(raw), name=self.name)
        return decide(scores, self.threshold), scores

    def logits(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) scores before the softmax. Raises NotApplicable where the network gives probabilities."""
        self._need(Capability.LOGITS)
        scores: NDArray[np.float64] = _two_columns(self._outputs(inputs))[:, list(self.order)]
        return scores

    def gradients(self, inputs: Any, labels: NDArray[np.int64]) -> NDArray[np.float64]:
        """In the shape of the inputs: of each row's cross-entropy at its label (a code into the sample's classes)."""
        import numpy as np

        self._need(Capability.GRADIENTS)
        codes = np.asarray(labels, dtype=np.int64)
        if codes.shape != (len(inputs),):
            raise TargetError(f"gradients at labels of the shape {codes.shape}, not ({len(inputs)},)", where=self.name)
        if len(codes) and not 0 <= codes.min() <= codes.max() < len(self.classes):
            raise TargetError(f"gradients at labels outside 0 to {len(self.classes) - 1}", where=self.name)
        return self.engine.gradients(inputs, np.asarray(self.order, dtype=np.int64)[codes], self.meaning)

    def embed(self, inputs: Any) -> NDArray[np.float64]:
        """(n, d) what the last linear layer sees."""
        self._need(Capability.EMBED)
        return self.engine.embed(inputs)

    def _outputs(self, inputs: Any) -> NDArray[np.float64]:
        return _checked(self.engine.outputs(inputs), n=len(inputs), name=self.name)

    def _need(self, capability: Capability) -> None:
        if capability not in self.capabilities:
            raise NotApplicable(f"{self.name} has not the capability {capability.value}")


def network_target(
    engine: Engine,
    sample: Sample,
    *,
    name: str,
    kind: str,
    fingerprint: str,
    options: NetworkOptions,
    said: Sequence[str],
    own_classes: Sequence[str] | None = None,
    threshold: float | None = None,
) -> NetworkAdapter:
    """The engine as a target for `sample`, whose first rows it is asked about.

    `own_classes` are the names of the outputs in their order; without them they are read in the sample's. Outputs that
    lie in [0, 1] and, of several, sum to 1 in every one of these rows are probabilities; others are logits. Raises
    TargetError where the number of outputs is not that of the classes, and for outputs that are NaN.
    """
    if sample.task is Task.LANGUAGE:
        raise TargetError("decides, and the task is language", where=name, hint="leave data.task out")
    asked = sample.inputs[: min(_ROWS_TO_ASK, sample.n)]
    raw = _checked(engine.outputs(asked), n=len(asked), name=name)
    told = [*said]
    own = options.classes if options.classes is not None else own_classes
    order: tuple[int, ...] = ()
    meaning: Meaning = "numbers"
    if sample.task is Task.REGRESSION:
        if raw.shape[1] != 1:
            raise TargetError(f"gives {raw.shape[1]} outputs, and a regressor gives one", where=name)
    else:
        _check_width(raw.shape[1], sample.classes, name)
        meaning = _meaning(raw, options.outputs)
        how = "as settings.outputs says" if options.outputs else "as they look"
        told.append(f"its outputs are read as {meaning}, {how}")
        order = _order(own, options, sample, name)
        if own is None:
            told.append(f"in the order {', '.join(sample.classes)}")
    if threshold is not None:
        if sample.task is not Task.BINARY:
            raise TargetError("a threshold needs a binary task", where=name)
        told.append(f"decides positive from {threshold:g} on")
    return NetworkAdapter(
        name=name,
        kind=kind,
        task=sample.task,
        capabilities=_capabilities(engine, sample.task, meaning),
        fingerprint=fingerprint,
        description="; ".join(told),
        classes=sample.classes,
        order=order,
        meaning=meaning,
        threshold=threshold,
        engine=engine,
    )


def _order(own: Sequence[str] | None, options: NetworkOptions, sample: Sample, name: str) -> tuple[int, ...]:
    """For each class of the sample, the output that stands for it."""
    if own is None:
        return tuple(range(len(sample.classes)))
    if options.classes is not None:
        return class_order(list(own), sample.classes, "target.settings.classes")
    try:
        return class_order(list(own), sample.classes, name)
    except TargetError as error:
        hint = "say in target.settings.classes, in the order of its outputs, which of the data's classes each one is"
        raise TargetError(error.message, where=name, hint=hint) from None


def _capabilities(engine: Engine, task: Task, meaning: Meaning) -> frozenset[Capability]:
    found = {Capability.PREDICT, Capability.QUERY} | (engine.what & {Capability.EMBED})
    if task is not Task.REGRESSION:
        found |= {Capability.PREDICT_PROBA} | (engine.what & {Capability.GRADIENTS})
        if meaning in ("logits", "logit"):
            found.add(Capability.LOGITS)
    return frozenset(found)


def _check_width(width: int, classes: Sequence[str], name: str) -> None:
    if width != len(classes) and not (width == 1 and len(classes) == 2):
        message = f"gives {width} output{'s' * (width != 1)}, and the data has {len(classes)} classes"
        raise TargetError(message, where=name, hint="one output for each class, or one for a binary task")


def _meaning(raw: NDArray[np.float64], said: str | None) -> Meaning:
    single = raw.shape[1] == 1
    inside = bool(((raw >= -1e-6) & (raw <= 1 + 1e-6)).all())
    probable = inside and (single or bool((abs(raw.sum(axis=1) - 1.0) <= _SUM_TOLERANCE).all()))
    if said is not None:
        probable = said == "probabilities"
    if single:
        return "probability" if probable else "logit"
    return "probabilities" if probable else "logits"


def _two_columns(raw: NDArray[np.float64]) -> NDArray[np.float64]:
    import numpy as np

    return np.column_stack([np.zeros(len(raw)), raw[:, 0]]) if raw.shape[1] == 1 else raw


def _probable(raw: NDArray[np.float64], meaning: Meaning) -> NDArray[np.float64]:
    """(n, classes) probabilities in the order of the outputs."""
    import numpy as np

    if meaning == "probability":
        return np.column_stack([1.0 - raw[:, 0], raw[:, 0]])
    if meaning == "probabilities":
        return raw
    z = _two_columns(raw)
    powers = np.exp(z - z.max(axis=1, keepdims=True))
    scores: NDArray[np.float64] = powers / powers.sum(axis=1, keepdims=True)
    return scores


def _checked(raw: NDArray[np.float64], *, n: int, name: str) -> NDArray[np.float64]:
    import numpy as np

    array = np.asarray(raw, dtype=np.float64)
    array = array.reshape(-1, 1) if array.ndim == 1 else array
    if array.ndim != 2 or len(array) != n:
        raise TargetError(f"its outputs have the shape {array.shape}, not ({n}, outputs)", where=name)
    bad = int((~np.isfinite(array)).any(axis=1).sum())
    if bad:
        raise TargetError(f"its outputs are NaN or infinite in {bad:,} of {n:,} rows", where=name)
    return array
