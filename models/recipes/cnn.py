"""The two-block convolutional network of the tutorials."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.recipes.networks import NetworkRecipe, refuse_modality
from steelyard.models.training.augment import IMAGE_WAYS

if TYPE_CHECKING:
    from steelyard.models.networks.prepare import ImagePrepare

__all__ = ["CnnRecipe", "ImageRecipe"]


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(NetworkRecipe):
    """What the recipes for images share."""

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.IMAGE})
    ways: ClassVar[Mapping[str, float]] = IMAGE_WAYS

    def prepared(self, train: Sample) -> ImagePrepare:
        """Images of one shape."""
        from steelyard.models.networks.prepare import ImagePrepare

        refuse_modality(self, train)
        return ImagePrepare.fit(train.inputs)

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The shape of an image."""
        return {
            "channels": prepare.channels,
            "height": prepare.height,
            "width": prepare.width,
            "classes": outputs,
            "dropout": self.dropout,
        }


@dataclass(frozen=True, kw_only=True)
class CnnRecipe(ImageRecipe):
    """Two blocks of a 3×3 convolution, ReLU and 2×2 max pooling, then a hidden layer with dropout."""

    name: ClassVar[str] = "cnn"
    architecture: ClassVar[str] = "cnn"
    summary: ClassVar[str] = "a convolutional network of two blocks"

    epochs: int = 12
    dropout: float = 0.25
    filters: int = 32
    hidden: int = 128

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The shape of an image, the filters and the hidden layer."""
        return {**super().configuration(prepare, outputs), "filters": self.filters, "hidden": self.hidden}
