"""The few settings of a network's target: `target.settings` in the plan."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from steelyard.audit.errors import PlanError

__all__ = ["Meaning", "NetworkOptions", "read_options"]

# What the numbers of the last layer are: one for each class, or one for the positive class, or a prediction.
Meaning = Literal["logits", "logit", "probabilities", "probability", "numbers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkOptions:
    """How a network is asked. Nothing here changes an answer but `outputs`, `classes`, `window` and `stride`.

    `outputs`: "logits" or "probabilities", where it is not to be told from the answers. `classes`: the names of the
    outputs in their order. `batch`: rows at a time. `device`: "cpu", "cuda", or "auto". `window` and `stride`, in
    tokens: how a text that is longer than the model's context is read.
    """

    outputs: str | None = None
    classes: tuple[str, ...] | None = None
    batch: int = 256
    device: str = "cpu"
    window: int | None = None
    stride: int | None = None

    def __post_init__(self) -> None:
        if self.outputs not in (None, "logits", "probabilities"):
            raise ValueError(f"outputs is {self.outputs!r}; it is logits or probabilities")
        for name in ("batch", "window", "stride"):
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < 1):
                raise ValueError(f"{name} is {value!r}; it is a whole number from 1 on")
        if self.device not in ("cpu", "cuda", "auto"):
            raise ValueError(f"device is {self.device!r}; it is cpu, cuda or auto")
        if self.window is not None and self.stride is not None and self.stride > self.window:
            raise ValueError(f"stride {self.stride} is more than window {self.window}: tokens would be left out")


def read_options(settings: Mapping[str, Any]) -> NetworkOptions:
    """The settings of the plan. Raises PlanError for an unknown key or a value that does not fit."""
    known = [field.name for field in fields(NetworkOptions)]
    for key in settings:
        if key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
            raise PlanError(f"has no setting {key!r}", where="target.settings", hint=hint)
    given = dict(settings)
    if "classes" in given:
        if not isinstance(given["classes"], (list, tuple)):
            raise PlanError("classes is no list", where="target.settings", hint="write classes: [no, yes]")
        given["classes"] = tuple(str(name) for name in given["classes"])
    try:
        return NetworkOptions(**given)
    except (TypeError, ValueError) as error:
        raise PlanError(str(error), where="target.settings") from None
