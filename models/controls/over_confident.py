"""A model that is surer than it has reason to be, by a known temperature."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.target import Sample
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import Base, Planted, learn, unseen_scores

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["OverConfident", "OverConfidentModel", "best_temperature"]

_LEAST = 1e-12


@dataclass(frozen=True, kw_only=True)
class OverConfident(Control):
    """All log-odds are 1 + `size` times those of the clean twin: p_k ∝ q_k^(1 + size), a temperature of 1/(1 + size).

    The likeliest class, and with it every decision and the accuracy, stays. The clean twin is calibrated by the
    temperature that fits best on rows it was not trained on (three folds; Guo et al. 2017, arXiv:1706.04599), so it is
    as calibrated as one temperature can make it. `size` counts from 0 to 100.
    """

    name: ClassVar[str] = "over-confident"
    summary: ClassVar[str] = "scores sharpened by a known temperature"
    defect: ClassVar[str] = "probabilities are sharpened, decisions stay"
    unit: ClassVar[str] = "factor on the log-odds, less one"
    truth: ClassVar[str] = "size: log-odds are (1 + size) times the clean twin's, the temperature is 1 / (1 + size)"
    exact_for: ClassVar[str] = "the log-odds of every row relative to the clean twin's; the accuracy, which stays"
    seen_by: ClassVar[tuple[str, ...]] = ("quality.calibration",)
    most: ClassVar[float] = 100.0

    size: float = 1.0

    def fit(self, train: Sample, seed: int) -> OverConfidentModel:
        """The base is trained on all rows; its temperature comes from models of two thirds each."""
        base = learn(train, seed)
        assert train.labels is not None  # noqa: S101 (the base has learnt from them)
        temperature = best_temperature(unseen_scores(train, seed), train.labels)
        return OverConfidentModel(base, train, seed, self.size, temperature)

    def true_size(self, model: Any, sample: Sample) -> float:
        """The factor on the log-odds, less one."""
        return float(self.size)


def best_temperature(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """The T in [0.05, 20] with the least log loss of p_k ∝ scores_k^(1/T); `scores` (n, classes), `labels` (n,)."""
    import numpy as np
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    logs = np.log(np.maximum(scores, _LEAST))
    rows = np.arange(len(labels))

    def loss(log_t: float) -> float:
        return float(-log_softmax(logs / np.exp(log_t), axis=1)[rows, labels].mean())

    return float(np.exp(minimize_scalar(loss, bounds=np.log((0.05, 20.0)), method="bounded").x))


class OverConfidentModel(Planted):
    """The fitted control. `temperature` is the clean twin's."""

    def __init__(self, base: Base, train: Sample, seed: int, size: float, temperature: float) -> None:
        super().__init__(base, train, seed, size)
        self.temperature = temperature

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) probabilities."""
        import numpy as np
        from scipy.special import softmax

        logs = np.log(np.maximum(self.base.proba(X), _LEAST))
        sharpened: NDArray[np.float64] = softmax(logs * (1 + self.size) / self.temperature, axis=1)
        return sharpened
