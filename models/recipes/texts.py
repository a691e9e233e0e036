"""What the recipes for classifying texts share: changed copies of the training texts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.canonical import generator
from steelyard.audit.errors import PlanError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.recipes.networks import NetworkRecipe
from steelyard.models.training.augment import TEXT_WAYS, read_ways

if TYPE_CHECKING:
    from steelyard.models.training.loop import Rows

__all__ = ["TextRecipe"]


@dataclass(frozen=True, kw_only=True)
class TextRecipe(NetworkRecipe):
    """Texts, and beside them, where `augment` says so, `copies` changed copies of each.

    `augment` takes tokens (dropped anew at each step), typos, synonyms (of the table `synonyms`) and translate (by the
    function `translate`, file.py:function).
    """

    modalities: ClassVar[frozenset[Modality]] = frozenset({Modality.TEXT})
    ways: ClassVar[Mapping[str, float]] = TEXT_WAYS
    files: ClassVar[tuple[str, ...]] = ("synonyms", "translate")

    synonyms: str = ""
    translate: str = ""
    copies: int = 1

    def __post_init__(self) -> None:
        """Check that what the augmentation needs is named."""
        super().__post_init__()
        for name in ("synonyms", "translate"):
            asked = name in read_ways(self.augment, self.ways, where=self.id)
            if asked != bool(getattr(self, name)):
                hint = f"it needs both: augment: {name}, and {name}: a file"
                raise PlanError(f"the augmentation {name} is half there", where=self.id, hint=hint)

    def rows(self, prepare: Any, train: Sample) -> Rows:
        """The prepared training rows, with the changed copies after them."""
        import torch

        plain = super().rows(prepare, train)
        changed = self.changed(train)
        if not changed:
            return plain
        inputs = prepare([*train.inputs, *changed])
        every = torch.arange(len(train.inputs)).repeat(1 + len(changed) // len(train.inputs))
        return replace(plain.take(every), inputs=inputs)

    def changed(self, train: Sample) -> list[str]:
        """`copies` times the training texts, changed; nothing where `augment` changes no text."""
        from steelyard.models.training.text_augment import TextAugment, read_synonyms, read_translator

        ways = read_ways(self.augment, self.ways, where=self.id)
        if not ways.keys() & {"typos", "synonyms", "translate"}:
            return []
        change = TextAugment(
            typos=ways.get("typos", 0.0),
            synonyms=ways.get("synonyms", 0.0),
            table=read_synonyms(self.synonyms) if self.synonyms else {},
            translate=read_translator(self.translate) if self.translate else None,
        )
        rng = generator(0, f"augment:{train.fingerprint}")
        return [text for _ in range(self.copies) for text in change(list(train.inputs), rng)]
