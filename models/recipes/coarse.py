"""Answers that say less: a model behind rounded probabilities, or behind its k likeliest classes alone.

What is left out is what attacks by query would read. Whoever holds the file holds the model inside it, so that these
defend an address that is asked, not a model that is given away.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin

__all__ = ["RoundedScores", "TopScores"]

_STORED = "model_as_bytes"


class _Coarse(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier that decides as `model` does and gives its probabilities made `coarser`.

    Logits, gradients and embeddings of a network inside are not passed on: they would undo the defence.
    """

    model: Any

    def coarser(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, classes) what is left of the probabilities, not negative and not yet of sum 1."""
        raise NotImplementedError

    @property
    def classes_(self) -> NDArray[Any]:
        """(classes,) names."""
        return np.asarray(self.model.classes_)

    @property
    def n_features_in_(self) -> int:
        """How many columns it takes."""
        return int(self.model.n_features_in_)

    @property
    def feature_names_in_(self) -> Any:
        """Their names; AttributeError where it was trained on an array."""
        return self.model.feature_names_in_

    @property
    def curves(self) -> Any:
        """How the model inside was trained, where it is a network that was trained just now."""
        return getattr(self.model, "curves", None)

    def predict(self, X: Any) -> NDArray[Any]:
        """(n,) class names, those of the model inside: where coarse probabilities tie, its decision stands."""
        decided: NDArray[Any] = np.asarray(self.model.predict(X))
        return decided

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        """(n, classes) coarse and of sum 1; 1 / classes each where nothing is left."""
        left = self.coarser(np.asarray(self.model.predict_proba(X), dtype=np.float64))
        total = left.sum(axis=1, keepdims=True)
        shares: NDArray[np.float64] = np.where(total > 0, left, 1.0) / np.where(total > 0, total, left.shape[1])
        return shares

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __getstate__(self) -> dict[str, Any]:
        """A network as its own bytes: skops opens those without trusting any of torch's types."""
        state: dict[str, Any] = dict(super().__getstate__())
        if callable(getattr(self.model, "to_bytes", None)):
            state[_STORED] = state.pop("model").to_bytes()
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        given = dict(state)
        stored = given.pop(_STORED, None)
        if stored is not None:
            from steelyard.models.networks.network import Network

            given["model"] = Network.from_bytes(stored)
        super().__setstate__(given)


class RoundedScores(_Coarse):
    """Probabilities rounded to `digits` decimals, then divided by their sum, which tells nothing more."""

    def __init__(self, model: Any, digits: int) -> None:
        self.model = model
        self.digits = digits

    def coarser(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, classes) rounded; all 0 where no class reaches half of the last decimal."""
        rounded: NDArray[np.float64] = np.round(chances, self.digits)
        return rounded


class TopScores(_Coarse):
    """The `k` largest probabilities, divided by their sum; the others are 0. With k = 1 only the decision is left.

    Of equal ones the earlier class is kept.
    """

    def __init__(self, model: Any, k: int) -> None:
        self.model = model
        self.k = k

    def coarser(self, chances: NDArray[np.float64]) -> NDArray[np.float64]:
        """(n, classes) the largest k, the rest 0."""
        order = np.argsort(-chances, axis=1, kind="stable")[:, : self.k]
        kept = np.zeros_like(chances)
        np.put_along_axis(kept, order, np.take_along_axis(chances, order, axis=1), axis=1)
        return kept
