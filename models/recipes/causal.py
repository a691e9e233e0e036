"""A small causal language model, from scratch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.recipes.networks import NetworkRecipe, refuse_modality

if TYPE_CHECKING:
    from torch import Tensor

    from steelyard.models.networks.network import Network
    from steelyard.models.networks.vocabulary import TextPrepare
    from steelyard.models.training.loop import Objective, Rows

__all__ = ["CausalRecipe"]


@dataclass(frozen=True, kw_only=True)
class CausalRecipe(NetworkRecipe):
    """Pieces of the training texts, spelt where unknown; the cross-entropy of the next one, whose exp is perplexity.

    A text longer than `length` pieces is cut into rows of that length.
    """

    name: ClassVar[str] = "causal"
    architecture: ClassVar[str] = "causal"
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.LANGUAGE})
    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT})
    summary: ClassVar[str] = "a small causal language model from scratch"

    epochs: int = 5
    batch: int = 32
    optimizer: str = "adamw"
    weight_decay: float = 0.01
    dropout: float = 0.1
    warmup: float = 0.05
    schedule: str = "cosine"
    clip: float = 1.0
    length: int = 64
    width: int = 128
    layers: int = 2
    heads: int = 4
    words: int = 4_000
    least: int = 3

    def prepared(self, train: Sample) -> TextPrepare:
        """The vocabulary: the most frequent pieces, and bytes for the rest."""
        from steelyard.models.networks.vocabulary import TextPrepare

        refuse_modality(self, train)
        return TextPrepare.fit(train.inputs, length=self.length, most=self.words, least=self.least, spelt=True)

    def configuration(self, prepare: Any, outputs: int) -> dict[str, Any]:
        """The vocabulary and the layers."""
        return {
            "vocabulary": prepare.vocabulary,
            "length": self.length,
            "width": self.width,
            "layers": self.layers,
            "heads": self.heads,
            "dropout": self.dropout,
            "pad": prepare.pad,
        }

    def rows(self, prepare: Any, train: Sample) -> Rows:
        """Rows of at most `length` pieces, each begun by the start sign; what is to be said is the row itself."""
        from steelyard.models.networks.vocabulary import START, padded
        from steelyard.models.training.loop import Rows

        step = self.length - 1
        texts = [prepare.encode(text) for text in train.inputs]
        cut = [(START, *ids[at : at + step]) for ids in texts for at in range(0, len(ids), step)]
        if not cut:
            raise TargetError("the training texts are empty", where=self.id)
        inputs = padded(cut, pad=prepare.pad)
        return Rows(inputs=inputs, labels=unscored(inputs, prepare.pad), pad=prepare.pad)

    def objective(self, network: Network) -> Objective:
        """The next piece."""
        from steelyard.models.training.objective import next_token

        return next_token


def unscored(ids: Tensor, pad: int) -> Tensor:
    """The ids with padding marked as not counted."""
    from steelyard.models.training.objective import IGNORED

    return ids.masked_fill(ids == pad, IGNORED)
