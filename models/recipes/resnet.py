"""A small residual network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

from steelyard.models.recipes.cnn import ImageRecipe

__all__ = ["ResNetRecipe"]


@dataclass(frozen=True, kw_only=True)
class ResNetRecipe(ImageRecipe):
    """Three stages of residual blocks (He et al. 2016, arXiv:1603.05027) with group normalisation."""

    name: ClassVar[str] = "resnet"
    architecture: ClassVar[str] = "resnet"
    summary: ClassVar[str] = "a small residual network"

    epochs: int = 12
    lr: float = 2e-3
    schedule: str = "cosine"
    filters: int = 16
    blocks: int = 1

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The shape of an image, the filters and the blocks."""
        return {**super().configuration(prepare, outputs), "filters": self.filters, "blocks": self.blocks}
