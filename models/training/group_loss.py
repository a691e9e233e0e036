"""Training that minds groups: weights that make group and label independent, and a penalty on gaps between groups."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from steelyard.audit.errors import TargetError
from steelyard.models.training.batches import Batch
from steelyard.models.training.objective import row_losses, weighted_mean

__all__ = ["GroupPenalty", "reweighing"]


def reweighing(
    labels: NDArray[np.int64], groups: NDArray[np.int64], weights: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """(n,) w = P(g) P(y) / P(g, y) of each row's group and label, times `weights` where there are some.

    Under these weights group and label are independent: every group has the same weighted rate of each label, that of
    all rows, and the same weighted share as before. Kamiran and Calders 2012, DOI 10.1007/s10115-011-0463-8.
    Raises TargetError where a group has no row of a label: no weight can make up for that.
    """
    each = np.ones(len(labels)) if weights is None else np.asarray(weights, dtype=np.float64)
    counts = np.zeros((int(groups.max()) + 1, int(labels.max()) + 1))
    np.add.at(counts, (groups, labels), each)  # (groups, labels)
    counts = counts[counts.sum(axis=1) > 0][:, counts.sum(axis=0) > 0]
    _, g = np.unique(groups, return_inverse=True)
    _, y = np.unique(labels, return_inverse=True)
    if not counts.all():
        raise TargetError("a group has no training row of one of the classes", where="reweighing", hint="merge groups")
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / counts.sum()
    found: NDArray[np.float64] = each * (expected / counts)[g, y]
    return found


@dataclass(frozen=True, kw_only=True)
class GroupPenalty:
    """Cross-entropy + strength · Σ_g share_g (m_g − m)², m_g the mean probability of the favourable class in group g.

    m is the mean over all groups; with "equalized-odds" the sum is taken among the rows of each label, and averaged.
    A batch holds enough of each group for its means (a few dozen rows), or the penalty chases noise. The groups are
    read in training only. Of the kind of Kamishima et al. 2012, DOI 10.1007/978-3-642-33486-3_3, with the variance of
    the group means in the place of mutual information.
    """

    strength: float = 5.0
    constraint: Literal["demographic-parity", "equalized-odds"] = "demographic-parity"

    def __call__(self, module: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of the batch with the penalty on it."""
        if batch.groups is None:
            raise TargetError("the training rows have no groups", where="group penalty")
        logits = module(batch.inputs)
        loss = weighted_mean(row_losses(logits, batch), batch)
        favour = logits.float().softmax(dim=1)[:, 1]  # (b,)
        if self.constraint == "demographic-parity":
            return loss + self.strength * _spread(favour, batch.groups, batch.weights)
        of_label = [(batch.labels == label) for label in (0, 1)]
        spreads = [_spread(favour[r], batch.groups[r], batch.weights[r]) for r in of_label if bool(r.any())]
        return loss + self.strength * sum(spreads, start=loss.new_zeros(())) / len(spreads)


def _spread(values: Tensor, groups: Tensor, weights: Tensor) -> Tensor:
    """Σ_g share_g (mean of group g − mean)², under the weights; between 0 and 1/4 for values in [0, 1]."""
    weights = weights.to(values.dtype)
    size = int(groups.max()) + 1
    mass = values.new_zeros(size).index_add(0, groups, weights)
    sums = values.new_zeros(size).index_add(0, groups, weights * values)
    means = sums / mass.clamp(min=1e-12)
    share = mass / mass.sum()
    return (share * (means - (share * means).sum()) ** 2).sum()
