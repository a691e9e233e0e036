"""A Transformer encoder for texts, from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.models.recipes.networks import refuse_modality
from steelyard.models.recipes.texts import TextRecipe

if TYPE_CHECKING:
    from steelyard.models.networks.vocabulary import TextPrepare

__all__ = ["EncoderRecipe"]


@dataclass(frozen=True, kw_only=True)
class EncoderRecipe(TextRecipe):
    """Words of the training rows, embeddings, `layers` of attention, the mean over the words, a linear head."""

    name: ClassVar[str] = "encoder"
    architecture: ClassVar[str] = "encoder"
    summary: ClassVar[str] = "a Transformer encoder from scratch"

    epochs: int = 5
    lr: float = 5e-4
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    dropout: float = 0.3
    warmup: float = 0.1
    schedule: str = "linear"
    length: int = 64
    width: int = 128
    layers: int = 2
    heads: int = 4
    words: int = 20_000
    least: int = 2

    def prepared(self, train: Sample) -> TextPrepare:
        """The vocabulary: the most frequent `words`, seen at least `least` times."""
        from steelyard.models.networks.vocabulary import TextPrepare

        refuse_modality(self, train)
        return TextPrepare.fit(train.inputs, length=self.length, most=self.words, least=self.least)

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The vocabulary and the layers."""
        return {
            "vocabulary": prepare.vocabulary,
            "classes": outputs,
            "length": self.length,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "dropout": self.dropout,
            "pad": prepare.pad,
        }
