"""Every control there is. Each is a recipe of the family "control"; docs/controls.md says what each is exact for."""

from __future__ import annotations

from steelyard.models.controls.backdoored import Backdoored
from steelyard.models.controls.brittle import Brittle
from steelyard.models.controls.control import Control
from steelyard.models.controls.explanation_hiding import ExplanationHiding
from steelyard.models.controls.group_biased import GroupBiased
from steelyard.models.controls.memorising import Memorising
from steelyard.models.controls.over_confident import OverConfident
from steelyard.models.controls.shortcut import Shortcut
from steelyard.models.controls.subgroup_biased import SubgroupBiased

__all__ = ["CONTROLS", "TRUSTED_TYPES"]

CONTROLS: tuple[Control, ...] = (
    GroupBiased(),
    SubgroupBiased(),
    Memorising(),
    Brittle(),
    Shortcut(),
    Backdoored(),
    ExplanationHiding(),
    OverConfident(),
)

_HERE = "steelyard.models.controls"
TRUSTED_TYPES: tuple[str, ...] = (
    f"{_HERE}.backdoored.BackdooredModel",
    f"{_HERE}.backdoored.Trigger",
    f"{_HERE}.brittle.BrittleModel",
    f"{_HERE}.explanation_hiding.ExplanationHidingModel",
    f"{_HERE}.group_biased.GroupBiasedModel",
    f"{_HERE}.learner.Base",
    f"{_HERE}.manifold.Manifold",
    f"{_HERE}.memorising.MemorisingModel",
    f"{_HERE}.over_confident.OverConfidentModel",
    f"{_HERE}.shortcut.ShortcutModel",
    f"{_HERE}.subgroup_biased.SubgroupBiasedModel",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
)
"""What a fitted control holds beyond the types that every recipe may hold, for the cache of trained models."""
