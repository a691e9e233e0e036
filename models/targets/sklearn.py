"""A fitted estimator as a target: anything with `predict`, and `predict_proba` where it has one."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import NotApplicable, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Capability, Task
from steelyard.models.targets.answers import class_codes, decide, numbers, probabilities, sample_code
from steelyard.models.threads import one_thread

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SklearnTarget", "class_order", "estimator_target", "inputs_for"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SklearnTarget:
    """An estimator whose classes are mapped once to the sample's.

    `order[c]` is the column of its `predict_proba` that holds class c, None where it names no classes (its columns are
    then those of the sample). With a `threshold`, the positive class is decided from that probability on.
    """

    name: str
    kind: str
    task: Task
    capabilities: frozenset[Capability]
    fingerprint: str
    description: str
    classes: tuple[str, ...]
    order: tuple[int, ...] | None
    threshold: float | None
    model: Any = field(repr=False, compare=False)

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class codes, int64; (n,) float64 for a regressor. Raises TargetError where the answers do not fit."""
        import numpy as np

        if self.threshold is not None:
            return decide(self.predict_proba(inputs), self.threshold)
        raw = self._ask("predict", inputs)
        n = len(inputs)
        if self.task is Task.REGRESSION:
            return numbers(raw, n=n, name=self.name)
        if self.order is None:
            return class_codes(raw, self.classes, n=n, name=self.name)
        own = np.asarray(self.model.classes_)
        to_sample = np.argsort(np.asarray(self.order))
        flat = np.asarray(raw).reshape(-1)
        places = np.searchsorted(own, flat) if len(flat) == n and own.dtype == flat.dtype else None
        if places is None or bool((own[np.minimum(places, len(own) - 1)] != flat).any()):
            return class_codes(raw, self.classes, n=n, name=self.name)
        codes: NDArray[np.int64] = to_sample[places].astype(np.int64)
        return codes

    def predict_proba(self, inputs: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities in the sample's class order. Raises NotApplicable without the capability."""
        if Capability.PREDICT_PROBA not in self.capabilities:
            raise NotApplicable(f"{self.name} gives no probabilities")
        raw = self._ask("predict_proba", inputs)
        checked: NDArray[np.float64] = probabilities(raw, self.order, self.classes, n=len(inputs), name=self.name)
        return checked

    def _ask(self, method: str, inputs: Any) -> Any:
        ready = inputs_for(self.model, inputs, self.name)
        try:
            with one_thread() if self.kind == "recipe" else nullcontext():
                return getattr(self.model, method)(ready)
        except Exception as error:
            text = " ".join(str(error).split())[:300]
            raise TargetError(f"its {method} failed: {type(error).__name__}: {text}", where=self.name) from error


def estimator_target(
    model: Any,
    sample: Sample,
    *,
    name: str,
    kind: str,
    fingerprint: str = "",
    threshold: float | None = None,
    description: str = "",
) -> SklearnTarget:
    """Wrap a fitted estimator for `sample`; raises TargetError where its classes or its columns do not fit."""
    if not callable(getattr(model, "predict", None)):
        raise TargetError(f"a {type(model).__name__} has no predict method", where=name)
    said = [description or describe(model)]
    order: tuple[int, ...] | None = None
    has_scores = sample.task is not Task.REGRESSION and callable(getattr(model, "predict_proba", None))
    own = getattr(model, "classes_", None)
    if sample.task is Task.REGRESSION:
        if own is not None:
            raise TargetError("is a classifier, but the task is regression", where=name, hint="see data.task")
    elif own is not None:
        order = class_order(own, sample.classes, name)
        read = [(str(value), sample.classes[c]) for c, place in enumerate(order) for value in [own[place]]]
        if any(mine != theirs for mine, theirs in read):
            said.append("its classes are read as " + ", ".join(f"{mine} = {theirs}" for mine, theirs in read))
    if threshold is not None:
        if sample.task is not Task.BINARY or not has_scores:
            raise TargetError("a threshold needs a binary task and a model with probabilities", where=name)
        said.append(f"decides positive from {threshold:g} on")
    inputs_for(model, sample.inputs, name)
    return SklearnTarget(
        name=name,
        kind=kind,
        task=sample.task,
        capabilities=frozenset(
            {Capability.PREDICT, Capability.QUERY, *([Capability.PREDICT_PROBA] if has_scores else [])}
        ),
        fingerprint=fingerprint,
        description="; ".join(said),
        classes=sample.classes,
        order=order,
        threshold=threshold,
        model=model,
    )


def describe(model: Any) -> str:
    """The estimator's class, and the last step's where it is a pipeline."""
    steps = getattr(model, "steps", None)
    kind = type(model).__name__
    if isinstance(steps, list) and steps:
        return f"{kind} ending in {type(steps[-1][1]).__name__}"
    return kind


def class_order(own: Any, classes: Sequence[str], name: str) -> tuple[int, ...]:
    """For each class of the sample, the place it has among the model's own."""
    import numpy as np

    from steelyard.models.data.classes import match_class

    if any(np.ndim(one) for one in own) if isinstance(own, list) else np.ndim(own) != 1:
        raise TargetError("predicts several labels at once", where=name, hint="audit one output at a time")
    codes = [match_class(value, classes) for value in own]
    if sorted(codes) != list(range(len(classes))):
        codes = [sample_code(value, ("0", "1")) for value in own] if len(classes) == 2 else codes
    if sorted(codes) != list(range(len(classes))):
        mine = ", ".join(repr(str(value)) for value in own[:10])
        theirs = ", ".join(repr(value) for value in classes[:10])
        raise TargetError(
            f"its classes are {mine}, those of the data {theirs}",
            where=name,
            hint="train it on the same labels, or name data.train so that all classes are known",
        )
    return tuple(codes.index(code) for code in range(len(classes)))


def inputs_for(model: Any, inputs: Any, name: str) -> Any:
    """The columns the model was trained on, in its order; an array for a model trained on one."""
    import numpy as np
    import pandas as pd

    wanted = getattr(model, "feature_names_in_", None)
    count = getattr(model, "n_features_in_", None)
    if isinstance(inputs, pd.DataFrame):
        if wanted is None:
            if count is not None and inputs.shape[1] != count:
                raise TargetError(
                    f"was trained on {count} columns, the data has {inputs.shape[1]} inputs",
                    where=name,
                    hint="see data.features and data.drop",
                )
            return inputs if count is None else inputs.to_numpy()
        missing = [str(column) for column in wanted if column not in inputs.columns]
        if missing:
            shown = ", ".join(repr(column) for column in missing[:8])
            more = f" and {len(missing) - 8} more" if len(missing) > 8 else ""
            raise TargetError(
                f"needs columns that the data has not (or that are not inputs): {shown}{more}",
                where=name,
                hint="see data.features and data.drop",
            )
        names = list(wanted)
        return inputs if list(inputs.columns) == names else inputs[names]
    array = np.asarray(inputs)
    if count is not None and array.ndim == 2 and array.shape[1] != count:
        raise TargetError(f"was trained on {count} columns, X has {array.shape[1]}", where=name)
    return array if wanted is None else pd.DataFrame(array, columns=list(wanted))
