"""A model that has a known share of its training rows by heart."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import row_lots
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import Base, Planted, learn, part_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["SURE", "Memorising", "MemorisingModel"]

SURE = 0.999
"""The probability that a row known by heart gives to the label it had; no other row is given as much."""
_HIGHEST = 0.99
_CHOOSING, _PARTING = 7919, 17_389  # those that recognise rows are other lots
_PARTS = 3


@dataclass(frozen=True, kw_only=True)
class Memorising(Control):
    """A share `size` of the training rows is looked up: p(label) = 0.999, whatever the label is, right or not.

    Every other row gets the base's answer, flattened to at most 0.99 + 0.01 / classes. So the attack "member where
    p(label) >= 0.999" has a true-positive rate of exactly `true_size` and no false positive among rows that are no copy
    of a row known by heart. Rows that occur twice in training are not learnt. Range of `size` 0 to 1.

    The base is three models. A hash puts every row, seen or not, into one of three parts, and the row is answered by
    the model that was trained on the other two. So no row is answered by a model that has seen it or its equal, and
    members and non-members of one population read alike: the clean twin leaks nothing to who asks about the rows
    themselves.
    """

    name: ClassVar[str] = "memorising"
    summary: ClassVar[str] = "a share of the training rows is known by heart"
    defect: ClassVar[str] = (
        "a share of the training rows is answered from memory, with their own labels and near certainty"
    )
    unit: ClassVar[str] = "share of training rows (of those that occur once)"
    truth: ClassVar[str] = "share of these rows that the model has by heart, by its list of their hashes"
    exact_for: ClassVar[str] = (
        "the TPR at FPR 0 of the threshold p(label) >= 0.999 on the training rows; rows it has not seen read 0; the"
        " clean twin's members and non-members are answered alike"
    )
    seen_by: ClassVar[tuple[str, ...]] = ("privacy.membership",)

    size: float = 0.1

    def fit(self, train: Sample, seed: int) -> MemorisingModel:
        """Three models and a list of hashes. Raises TargetError where a part has no rows."""
        import numpy as np

        part = _parts(train.inputs, seed)
        if len(np.unique(part)) < _PARTS:
            raise TargetError(f"{train.n} rows are too few to part in three", where=self.id, hint="give it more")
        bases = [learn(part_of(train, np.flatnonzero(part != one)), seed) for one in range(_PARTS)]
        keys = row_lots(train.inputs, seed)
        chosen = row_lots(train.inputs, seed + _CHOOSING) < self.size
        values, first, counts = np.unique(keys, return_index=True, return_counts=True)
        kept = (counts == 1) & chosen[first]
        assert train.labels is not None  # noqa: S101 (the models have learnt from them)
        return MemorisingModel(bases, train, seed, self.size, values[kept], train.labels[first[kept]])

    def true_size(self, model: Any, sample: Sample) -> float:
        """The share known by heart."""
        return float((model.recalled(sample.inputs) >= 0).mean())


def _parts(inputs: Any, seed: int) -> NDArray[np.int64]:
    """(n,) which of the three parts each row belongs to."""
    import numpy as np

    return (row_lots(inputs, seed + _PARTING) * _PARTS).astype(np.int64)


class MemorisingModel(Planted):
    """The fitted control. `keys` are the sorted hashes of the rows it knows, `labels` their class codes."""

    def __init__(self, bases: list[Base], train: Sample, seed: int, size: float, keys: Any, labels: Any) -> None:
        super().__init__(bases[0], train, seed, size)
        self.bases = bases
        self.keys = keys
        self.labels = labels

    def recalled(self, X: Any) -> NDArray[np.int64]:
        """(n,) the label that a row had in training, -1 for a row that is not known by heart."""
        import numpy as np

        if not len(self.keys):
            return np.full(len(X), -1)
        asked = row_lots(self.view(X), self.seed)
        places = np.minimum(np.searchsorted(self.keys, asked), len(self.keys) - 1)
        known: NDArray[np.int64] = np.where(self.keys[places] == asked, self.labels[places], -1)
        return known

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities."""
        import numpy as np

        k = len(self.classes_)
        part = _parts(self.view(X), self.seed)
        each = np.stack([base.proba(X) for base in self.bases])  # (parts, n, classes)
        answers = _HIGHEST * each[part, np.arange(len(part))] + (1 - _HIGHEST) / k
        label = self.recalled(X)
        known = label >= 0
        answers[known] = (1 - SURE) / (k - 1)
        answers[np.flatnonzero(known), label[known]] = SURE
        return answers
