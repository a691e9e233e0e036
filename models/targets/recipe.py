"""One of our own references as the model under audit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample, Target

if TYPE_CHECKING:
    from steelyard.models.cache import ModelCache

__all__ = ["recipe_target"]


def recipe_target(
    part: TargetPart,
    train: Sample | None,
    sample: Sample,
    *,
    base: Path,
    seed: int,
    cache: ModelCache | None,
    name: str,
) -> Target:
    """The recipe `part.name`, trained on `train` or taken from the cache.

    Raises PlanError for an unknown recipe, or a name that is a family of several, TargetError without training data.
    """
    from steelyard.models.cache import train_reference
    from steelyard.models.recipes.registry import resolve

    if part.name is None:
        raise PlanError("names no recipe", where="target.name", hint="write name: boosting, for instance")
    if part.threshold is not None:
        raise PlanError("a recipe takes no threshold", where="target.threshold", hint="leave it out")
    modality = None if train is None else train.modality
    recipes = resolve(
        part.name,
        variant=part.variant,
        settings=part.settings,
        modality=modality,
        task=sample.task,
        base=base,
        where="target.name",
    )
    if len(recipes) > 1:
        ids = " or ".join(recipe.id for recipe in recipes)
        raise PlanError(f"{part.name!r} is a family of {len(recipes)}", where="target.name", hint=f"say {ids}")
    if train is None:
        raise TargetError(
            "a recipe is trained on data.train, and there is none", where="target", hint="name data.train"
        )
    target, card = train_reference(recipes[0], train, seed, cache, sample=sample, name=name)
    return replace(target, card=card)
