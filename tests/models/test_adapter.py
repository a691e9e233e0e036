"""The adapter reference is fine-tuning in one mode, under a family of its own."""

from __future__ import annotations

import pytest

from steelyard.audit.errors import PlanError
from steelyard.models.recipes.adapter import ADAPTER, Adapter


def test_it_has_one_mode() -> None:
    assert [recipe.id for recipe in ADAPTER] == ["adapter/fine-tune"]
    assert ADAPTER[0].settings["mode"] == "lora"
    assert "peft" in ADAPTER[0].libraries
    with pytest.raises(PlanError, match="an adapter's is lora"):
        Adapter(mode="full")
