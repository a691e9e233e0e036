"""The multilayer perceptron, for tables and images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.recipes.networks import NetworkRecipe, refuse_modality
from steelyard.models.training.augment import IMAGE_WAYS

if TYPE_CHECKING:
    from steelyard.models.networks.prepare import Prepare

__all__ = ["MlpRecipe"]


@dataclass(frozen=True, kw_only=True)
class MlpRecipe(NetworkRecipe):
    """One hidden layer of 128: on images of 28 × 28 the 784-128-10 network of the tutorials.

    A table's numbers are standardised and its words one-hot; an image's pixels are taken as they are.
    """

    name: ClassVar[str] = "mlp"
    architecture: ClassVar[str] = "mlp"
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TABULAR, Modality.IMAGE})
    ways: ClassVar[Mapping[str, float]] = IMAGE_WAYS
    summary: ClassVar[str] = "a multilayer perceptron"

    hidden: int = 128
    layers: int = 1

    def prepared(self, train: Sample) -> Prepare:
        """Numbers of a table or an image."""
        from steelyard.models.networks.prepare import ImagePrepare, TablePrepare

        refuse_modality(self, train)
        if self.augment and train.modality is not Modality.IMAGE:
            raise PlanError("augment is for images", where=self.id, hint="leave it out")
        kind = ImagePrepare if train.modality is Modality.IMAGE else TablePrepare
        return kind.fit(train.inputs)

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The width of the inputs and the layers."""
        return {
            "inputs": prepare.size,
            "classes": outputs,
            "hidden": self.hidden,
            "layers": self.layers,
            "dropout": self.dropout,
        }
