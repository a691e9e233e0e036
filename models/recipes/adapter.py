"""Adapter references: a pre-trained encoder of which a few low-rank additions are trained, and merged in the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from steelyard.audit.errors import PlanError
from steelyard.models.recipes.fine_tune import FineTune
from steelyard.models.recipes.recipe import Recipe

__all__ = ["ADAPTER", "Adapter"]


@dataclass(frozen=True, kw_only=True)
class Adapter(FineTune):
    """`network/fine-tune` in the mode lora (Hu et al. 2021, arXiv:2106.09685)."""

    family: ClassVar[str] = "adapter"
    variant: ClassVar[str] = "adapter"
    libraries: ClassVar[tuple[str, ...]] = (*FineTune.libraries, "peft")
    summary: ClassVar[str] = "a pre-trained encoder with low-rank additions (LoRA)"

    mode: str = "lora"

    def __post_init__(self) -> None:
        """An adapter has one mode."""
        super().__post_init__()
        if self.mode != "lora":
            raise PlanError(f"mode is {self.mode!r}", where=self.id, hint="an adapter's is lora; see network/fine-tune")


ADAPTER: tuple[Recipe, ...] = (Adapter(),)
