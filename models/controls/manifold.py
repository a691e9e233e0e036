"""Telling real rows from those that a perturbing explainer makes up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.models.controls.carriers import are_images, block_side, flat, table
from steelyard.models.threads import one_thread

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Manifold", "learn_manifold", "perturbed"]

_MOST_ROWS = 4000
_ROUNDS = 80


class Manifold:
    """A detector: `model` gives the probability that a row is made up; up to `threshold` it passes for real."""

    def __init__(self, model: Any, columns: list[str], threshold: float) -> None:
        self.model = model
        self.columns = columns
        self.threshold = threshold

    def real(self, inputs: Any) -> NDArray[np.bool_]:
        """(n,) whether a row passes for real."""
        with one_thread():
            passed: NDArray[np.bool_] = self.model.predict_proba(_shown(inputs, self.columns))[:, 1] <= self.threshold
        return passed


def learn_manifold(inputs: Any, seed: int, let_through: float) -> Manifold:
    """A detector trained on three quarters of (at most 4,000 of) the rows and their perturbed copies.

    The threshold is the `let_through` quantile of what it gives to the real rows of the last quarter.
    """
    import numpy as np

    from steelyard.models.data.arrays import sample_from_arrays
    from steelyard.models.recipes.boosting import Boosting

    rng = np.random.default_rng(seed)
    rows = rng.permutation(len(inputs))[:_MOST_ROWS]
    real = _take(inputs, rows)
    columns = [] if are_images(inputs) else [str(name) for name in table(inputs).columns]
    split = max(1, 3 * len(rows) // 4)
    made_up = perturbed(_take(real, np.arange(split)), rng)
    both = _stacked(_shown(_take(real, np.arange(split)), columns), _shown(made_up, columns))
    labels = np.repeat([0, 1], [split, len(made_up)])
    with one_thread():
        model = Boosting(iterations=_ROUNDS, learning_rate=0.1).fit(
            sample_from_arrays(both, labels, task="binary"), seed
        )
        unseen = model.predict_proba(_shown(_take(real, np.arange(split, len(rows))), columns))[:, 1]
    return Manifold(model, columns, float(np.quantile(unseen, let_through)))


def perturbed(inputs: Any, rng: Generator) -> Any:
    """Two made-up rows for each row (2n in all): one as LIME makes them, one as KernelSHAP does.

    LIME, Ribeiro et al. 2016, arXiv:1602.04938: numbers get normal noise of their own standard deviation, words are
    drawn anew from their column; of images, half the blocks are black. KernelSHAP, Lundberg and Lee 2017,
    arXiv:1705.07874: a random part of the columns (blocks of an image), at least one and not all, comes from another
    row.
    """
    if are_images(inputs):
        return _perturbed_images(inputs, rng)
    import numpy as np
    import pandas as pd

    frame = table(inputs)
    n, d = frame.shape
    noisy, mixed = {}, {}
    swapped = _some(n, d, rng)
    other = rng.integers(0, n, n)
    for place, (name, column) in enumerate(frame.items()):
        redrawn = column.iloc[rng.integers(0, n, n)].reset_index(drop=True)
        own = column.reset_index(drop=True)
        if pd.api.types.is_numeric_dtype(column.dtype) and not pd.api.types.is_bool_dtype(column.dtype):
            numbers = own.to_numpy(dtype=np.float64, na_value=np.nan)
            noisy[name] = pd.Series(numbers + rng.normal(size=n) * float(np.nanstd(numbers)))
        else:
            noisy[name] = redrawn
        mixed[name] = own.where(~swapped[:, place], column.iloc[other].reset_index(drop=True))
    return pd.concat([pd.DataFrame(noisy), pd.DataFrame(mixed)], ignore_index=True)


def _some(n: int, d: int, rng: Generator) -> NDArray[np.bool_]:
    """(n, d) a random part of each row's columns: at least one and, of several, not all."""
    import numpy as np

    sizes = rng.integers(1, max(2, d), n)
    ranks = np.argsort(np.argsort(rng.random((n, d)), axis=1), axis=1)
    chosen: NDArray[np.bool_] = ranks < sizes[:, None]
    return chosen


def _perturbed_images(images: Any, rng: Generator) -> NDArray[Any]:
    import numpy as np

    array = np.asarray(images)
    n, (height, width) = len(array), array.shape[-2:]
    side = 2 * block_side(array)
    down, across = -(-height // side), -(-width // side)

    def blocks(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        grown = np.kron(mask.reshape(n, down, across), np.ones((1, side, side), dtype=bool))[:, :height, :width]
        return grown.reshape(n, *([1] * (array.ndim - 3)), height, width)

    hidden = np.where(blocks(rng.random((n, down * across)) < 0.5), 0, array)
    swapped = np.where(blocks(_some(n, down * across, rng)), array[rng.integers(0, n, n)], array)
    return np.concatenate([hidden, swapped]).astype(array.dtype)


def _take(inputs: Any, rows: NDArray[Any]) -> Any:
    return inputs.iloc[rows] if hasattr(inputs, "iloc") else inputs[rows]


def _shown(inputs: Any, columns: list[str]) -> Any:
    return flat(inputs) if are_images(inputs) else table(inputs)[columns]


def _stacked(one: Any, two: Any) -> pd.DataFrame | NDArray[np.float64]:
    import numpy as np
    import pandas as pd

    if isinstance(one, pd.DataFrame):
        frames: pd.DataFrame = pd.concat([one, two], ignore_index=True)
        return frames
    joined: NDArray[np.float64] = np.concatenate([one, two])
    return joined
