"""What probabilities alone say of membership: one score a row, higher where the row seems to have been trained on.

For a row with probabilities p (C,) and label y:

    loss              log p_y                                     Yeom et al. 2018, arXiv:1709.01604
    gap               1 where argmax p = y, else 0                Yeom et al. 2018
    confidence        max_k p_k                                   Salem et al. 2019, arXiv:1806.01246
    entropy           sum_k p_k log p_k                           Salem et al. 2019
    modified-entropy  (1 - p_y) log p_y + sum_{k != y} p_k log(1 - p_k)      Song and Mittal 2021, arXiv:2003.10595

The last two are negative entropies, so that sure answers score high. Confidence and entropy do not look at the label.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["THRESHOLD_ATTACKS", "logit_confidence", "true_probability"]

LEAST = 1e-12  # a probability below is taken for it, so that a sure answer has a finite score


def true_probability(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(…, n) the probability of each row's own label, from (…, n, C) probabilities and (n,) labels."""
    import numpy as np

    spread = np.broadcast_to(labels[..., None], (*proba.shape[:-1], 1))
    return np.asarray(np.take_along_axis(proba, spread, axis=-1)[..., 0], dtype=np.float64)


def logit_confidence(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """(…, n) log p_y - log sum_{k != y} p_k, cut at ± log(1e12): nearly normal over models trained on other rows.

    Carlini et al. 2022, arXiv:2112.03570, section VI-A. The others' probabilities are added up, not taken from 1 - p_y.
    """
    import numpy as np

    own = true_probability(proba, labels)
    others = np.array(proba, dtype=np.float64)
    np.put_along_axis(others, np.broadcast_to(labels[..., None], (*proba.shape[:-1], 1)), 0.0, axis=-1)
    return np.asarray(np.log(np.maximum(own, LEAST)) - np.log(np.maximum(others.sum(axis=-1), LEAST)))


def _loss(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    # the order of log p_y is that of p_y, but a float tells 1 - 1e-17 from 1 only by what is left for the others
    return logit_confidence(proba, labels)


def _gap(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray(proba.argmax(axis=1) == labels, dtype=np.float64)


def _confidence(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    return logit_confidence(proba, proba.argmax(axis=1))


def _entropy(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    return np.asarray((proba * np.log(np.maximum(proba, LEAST))).sum(axis=1))


def _modified_entropy(proba: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    import numpy as np

    own = true_probability(proba, labels)
    others = proba * np.log(np.maximum(1 - proba, LEAST))
    others[np.arange(len(labels)), labels] = 0.0
    return np.asarray((1 - own) * np.log(np.maximum(own, LEAST)) + others.sum(axis=1))


Attack = Callable[["NDArray[np.float64]", "NDArray[np.int64]"], "NDArray[np.float64]"]

# From probabilities (n, C) and labels (n,) to scores (n,).
THRESHOLD_ATTACKS: Mapping[str, Attack] = MappingProxyType(
    {
        "loss": _loss,
        "gap": _gap,
        "confidence": _confidence,
        "entropy": _entropy,
        "modified-entropy": _modified_entropy,
    }
)
