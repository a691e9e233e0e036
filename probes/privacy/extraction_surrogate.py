"""The learners of attacks: what somebody without the model can train on rows and answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LEARNERS", "Learnt", "learn"]

LEARNERS = ("boosting", "logistic")


class Learnt:
    """A fitted learner of class codes 0 … size - 1, or the one class that it saw."""

    def __init__(self, model: Any, seen: NDArray[np.int64], size: int) -> None:
        self.model, self.seen, self.size = model, seen, size

    def proba(self, matrix: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, size) probabilities; a class that was not seen gets 0."""
        import numpy as np

        out = np.zeros((len(matrix), self.size))
        out[:, self.seen] = 1.0 if self.model is None else self.model.predict_proba(matrix)
        return out

    def predict(self, matrix: NDArray[np.float64]) -> NDArray[np.int64]:
        """(n,) the likeliest class; of equal ones the first."""
        import numpy as np

        return np.asarray(self.proba(matrix).argmax(axis=1), dtype=np.int64)


def learn(name: str, matrix: NDArray[np.float64], codes: NDArray[np.int64], size: int, seed: int) -> Learnt:
    """Train the learner called `name` on `matrix` (n, d) and `codes` (n,). ProbeError for a name that is not known."""
    import numpy as np

    if name not in LEARNERS:
        raise ProbeError(f"learner is {name!r}", hint=f"one of {', '.join(LEARNERS)}")
    seen = np.unique(codes)
    if len(seen) == 1 or matrix.shape[1] == 0:
        most = np.array([np.bincount(codes, minlength=size).argmax()])
        return Learnt(None, most, size)
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        return Learnt(LogisticRegression(max_iter=2000).fit(matrix, codes), seen, size)
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=15, min_samples_leaf=max(2, min(20, len(codes) // 20)),
        early_stopping=False, random_state=seed,
    )  # fmt: skip
    return Learnt(model.fit(matrix, codes), seen, size)
