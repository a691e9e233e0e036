"""Models trained as the target was, on halves of a pool of which the target saw a known part.

They come from the target's own recipe where it can be trained again, else from the nearest recipe there is for such
data; the report says which. Attacks with the wrong recipe are weaker, so that finding nothing then says even less.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import PlanError, ProbeError
from steelyard.audit.types import Capability, Modality
from steelyard.probes.privacy.rows import take

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample, Target

__all__ = ["ShadowAnswers", "shadow_answers"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowAnswers:
    """`proba` (K, n, C) of the K shadows about the n rows of the pool; `source` says how they were trained."""

    proba: NDArray[np.float64]
    source: str


def shadow_answers(target: Target, pool: Sample, members: NDArray[np.bool_], seed: int) -> ShadowAnswers:
    """Train shadow k on the pool's rows where `members[k]` (K, n) is true, and ask each about the whole pool.

    In this order: the target's recipe, K models as one program where it is a network; the target trained again K times
    (`Capability.FIT_AGAIN`); the nearest recipe. ProbeError where a shadow saw fewer than two classes.
    """
    labels = pool.labels
    if labels is None or any(len(set(labels[own].tolist())) < 2 for own in members):
        raise ProbeError("a shadow model's rows are of one class only", hint="more rows, or more of the rare class")
    recipe = getattr(target, "recipe", None)
    if recipe is not None:
        return _of_recipe(recipe, pool, members, seed, f"the target's own recipe {recipe.id}")
    again: Any = getattr(target, "fit_again", None)
    if Capability.FIT_AGAIN in target.capabilities and again is not None:
        return _trained_again(again, pool, members, seed)
    nearest = _nearest(pool)
    return _of_recipe(nearest, pool, members, seed, f"the nearest recipe {nearest.id}: the target's own is not known")


def _nearest(pool: Sample) -> Any:
    """The nearest recipe; trees in the place of a network where its libraries are not installed."""
    from steelyard.models.recipes.boosting import Boosting
    from steelyard.models.training.shadows import nearest_recipe

    nearest = nearest_recipe(pool)
    try:
        nearest.check_installed()
    except PlanError:
        if pool.modality is not Modality.TABULAR:
            raise
        return Boosting()
    return nearest


def _of_recipe(recipe: Any, pool: Sample, members: NDArray[np.bool_], seed: int, source: str) -> ShadowAnswers:
    import numpy as np

    from steelyard.models.training.shadows import train_shadows

    proba = np.asarray(train_shadows(recipe, pool, members, seed).probabilities(pool.inputs), dtype=np.float64)
    return ShadowAnswers(proba=proba, source=source)


def _trained_again(again: Any, pool: Sample, members: NDArray[np.bool_], seed: int) -> ShadowAnswers:
    import numpy as np

    found = []
    for k, own in enumerate(members):
        model = again(take(pool, np.flatnonzero(own)), seed + k)
        found.append(np.asarray(model.predict_proba(pool.inputs), dtype=np.float64))
    return ShadowAnswers(proba=np.stack(found), source="the target trained again in its own way")
