"""Fair networks: what a network reaches that was trained to treat groups alike; see `fair.py` for other learners."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import PlanError, TargetError
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.recipes.mlp import MlpRecipe
from steelyard.models.recipes.recipe import Recipe

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.models.networks.network import Network
    from steelyard.models.training.loop import Objective, Rows

__all__ = ["FAIR_NETWORKS", "FairMlp", "pooled_groups"]

METHODS = ("reweighing", "regularised")
CONSTRAINTS = ("demographic-parity", "equalized-odds")


@dataclass(frozen=True, kw_only=True)
class FairMlp(MlpRecipe):
    """A multilayer perceptron that minds groups; at prediction it reads them only where they are among the inputs.

    reweighing: each row weighs P(g) P(y) / P(g, y), which makes group and label independent (Kamiran and Calders 2012,
    DOI 10.1007/s10115-011-0463-8); it aims at equal selection rates, and cannot promise them. regularised: a penalty of
    `strength` on the variance of the groups' mean probabilities, under `constraint`; decisions follow as far as the
    inputs let them. The groups are those of `attribute`, or of all of data.groups crossed where it is empty; those of
    fewer than `least_rows` training rows are one group, or join the largest.
    """

    family: ClassVar[str] = "fair"
    variant: ClassVar[str] = "fair"
    alias: ClassVar[bool] = True  # `fair` alone asks for no torch
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    summary: ClassVar[str] = "a multilayer perceptron trained to treat all of data.groups crossed alike"

    method: str = "regularised"
    constraint: str = "demographic-parity"
    strength: float = 20.0
    attribute: str = ""
    least_rows: int = 200
    batch: int = 256

    def __post_init__(self) -> None:
        """Check the method and the constraint as well."""
        super().__post_init__()
        for name, known in (("method", METHODS), ("constraint", CONSTRAINTS)):
            if getattr(self, name) not in known:
                raise PlanError(
                    f"{name} is {getattr(self, name)!r}", where=self.id, hint=f"it is one of {', '.join(known)}"
                )
        if self.method == "reweighing" and self.constraint != "demographic-parity":
            hint = "take method: regularised"
            raise PlanError("reweighing is for demographic-parity alone", where=self.id, hint=hint)
        if not self.strength >= 0:
            raise PlanError(f"strength is {self.strength!r}", where=self.id, hint="it is at least 0")

    def rows(self, prepare: Any, train: Sample) -> Rows:
        """The prepared rows with pooled groups, and for reweighing with its weights."""
        import torch

        from steelyard.models.training.group_loss import reweighing

        groups = pooled_groups(train, attribute=self.attribute, least=self.least_rows, where=self.id)
        rows = replace(super().rows(prepare, train), groups=torch.from_numpy(groups))
        if self.method != "reweighing" or train.labels is None:
            return rows
        weights = reweighing(train.labels, groups, train.weights)
        return replace(rows, weights=torch.from_numpy((weights / weights.mean()).astype("float32")))

    def objective(self, network: Network) -> Objective:
        """Cross-entropy, with the penalty where that is the method."""
        from steelyard.models.training.group_loss import GroupPenalty

        if self.method == "reweighing":
            return super().objective(network)
        parity = self.constraint == "demographic-parity"
        return GroupPenalty(strength=self.strength, constraint="demographic-parity" if parity else "equalized-odds")


def pooled_groups(train: Sample, *, attribute: str, least: int, where: str) -> NDArray[np.int64]:
    """(n,) the crossed groups' codes, 0 … k − 1. Raises TargetError where fewer than two groups are left."""
    import numpy as np

    if not train.groups:
        raise TargetError("learns from groups, and the training data has none", where=where, hint="data.groups")
    if attribute and attribute not in train.groups:
        known = ", ".join(train.groups)
        raise TargetError(f"has no group column {attribute!r}", where=where, hint=f"there are {known}")
    taken = [train.groups[attribute]] if attribute else list(train.groups.values())
    _, codes = np.unique(np.stack([g.codes for g in taken], axis=1), axis=0, return_inverse=True)
    codes = codes.reshape(-1)
    counts = np.bincount(codes)
    small = counts < least
    if (~small).sum() + (counts[small].sum() >= least) < 2:
        hint = "it needs more data, other data.groups, or a smaller least_rows"
        raise TargetError(f"finds fewer than two groups with at least {least} training rows", where=where, hint=hint)
    pooled = len(counts) if counts[small].sum() >= least else int(counts.argmax())
    _, again = np.unique(np.where(small[codes], pooled, codes), return_inverse=True)
    found: NDArray[np.int64] = again.reshape(-1).astype(np.int64)
    return found


FAIR_NETWORKS: tuple[Recipe, ...] = (FairMlp(),)
