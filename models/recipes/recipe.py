"""What a reference model is: a name, fixed settings, and one way to train it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, ClassVar, cast

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import DECIDING, Modality, Scalar, Task

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Recipe", "answers"]


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """A way to train a reference. Its fields are its settings; `version` grows when the same data gives another one.

    A subclass is a frozen dataclass that sets the class variables and writes `fit`. What `fit` returns is a
    scikit-learn estimator that takes `Sample.inputs` as they are, answers with class names, and can be saved by skops;
    or a network (`models.networks.network.Network`), which is saved as safetensors.
    """

    family: ClassVar[str]
    name: ClassVar[str]
    variant: ClassVar[str] = "standard"  # another one is found by its family, its id, or the plain name with `variant:`
    alias: ClassVar[bool] = False  # the family's name does not bring it, its id does: another name, or a heavier member
    version: ClassVar[int] = 1
    tasks: ClassVar[frozenset[Task]] = DECIDING
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR})
    summary: ClassVar[str] = ""
    libraries: ClassVar[tuple[str, ...]] = ()  # what it needs beyond the core, by import name
    extra: ClassVar[str] = ""  # the extra of Steelyard that brings them

    @property
    def id(self) -> str:
        """How plans and findings call it: "baseline/logistic"."""
        return f"{self.family}/{self.name}"

    @property
    def settings(self) -> Mapping[str, Scalar]:
        """The settings by name, as they are recorded and hashed."""
        return {f.name: cast("Scalar", getattr(self, f.name)) for f in fields(self)}

    def check_installed(self, where: str = "references") -> None:
        """Raise PlanError naming the extra where a library that it needs is not installed."""
        for library in self.libraries:
            if find_spec(library) is None:
                hint = f"pip install 'steelyard[{self.extra}]'"
                raise PlanError(f"{self.id} needs {library}, which is not installed", where=where, hint=hint)

    def fit(self, train: Sample, seed: int) -> Any:
        """A fitted estimator; the same sample and seed give the same one."""
        raise NotImplementedError


def answers(train: Sample) -> NDArray[Any]:
    """(n,) what a recipe learns: class names (so that a saved model says what it means), or numbers.

    Raises TargetError for a sample without labels.
    """
    import numpy as np

    if train.labels is None:
        raise TargetError("a recipe learns from labels, and the training data has none", hint="name data.label")
    return train.labels if train.task is Task.REGRESSION else np.asarray(train.classes)[train.labels]
