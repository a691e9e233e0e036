"""At which confidences a `Deviation` basis knows its bound, and what draws can say of them.

201 evenly spaced ones say enough for one gate. Among many, Holm multiplies a p-value by their number, so that .005 is
no longer small; the tail goes on from there and halves the rest 12 times, down to p = 1.2e-6. Draws cannot go that far:
D of them prove nothing beyond 1 / (D + 1) (Phipson and Smyth 2010, doi:10.2202/1544-6115.1585).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.types import Deviation

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["GRID", "HALVINGS", "confidences", "drawn", "of_bounds", "of_errors", "probabilities", "tail"]

GRID = 201  # evenly spaced quantiles, from 0 to 1
HALVINGS = 12
_LAST = 1 - 0.25 / GRID  # stands for 1, where an unbounded distribution has no quantile


def probabilities() -> NDArray[np.float64]:
    """The (GRID,) evenly spaced p of a curve, from 0 to 1; the last is a little below 1."""
    import numpy as np

    p = np.linspace(0.0, 1.0, GRID)
    p[-1] = _LAST
    return p


def tail(size: int = GRID) -> NDArray[np.float64]:
    """(HALVINGS,) the confidences 1 − 2^−k / (size − 1), k = 1, 2, …, beyond `size` evenly spaced ones."""
    import numpy as np

    found: NDArray[np.float64] = 1 - 0.5 ** np.arange(1, HALVINGS + 1) / (size - 1)
    return found


def confidences(level: float) -> NDArray[np.float64]:
    """(GRID + HALVINGS + 1,): `probabilities()`, `tail()`, and the one `level` that is printed."""
    import numpy as np

    return np.concatenate([probabilities(), tail(), [level]])


def drawn(errors: NDArray[Any], level: float) -> NDArray[np.float64]:
    """(GRID + HALVINGS + 1, …) the bounds that `errors` (draws, …) give at `confidences(level)`.

    On the tail it is the draw that at most (1 − c)(draws + 1) − 1 others reach, so that what lies beyond it has the
    p-value 1 − c or less; infinite where there are too few draws for one.
    """
    import numpy as np

    ordered = np.sort(errors, axis=0)
    even = _upper(ordered, np.append(probabilities(), level))
    return np.concatenate([even[:-1], _beyond(ordered), even[-1:]])


def of_bounds(value: float, bounds: NDArray[np.float64], size: int = GRID) -> Deviation:
    """The basis of bounds on |error|, `size` even ones and the tail's after them; the tail ends at an infinite one."""
    import numpy as np

    even = np.maximum.accumulate(np.maximum(bounds[:size], 0.0))
    beyond = np.maximum.accumulate(np.maximum(bounds[size:], even[size - 2]))
    return Deviation(value=value, quantiles=tuple(even.tolist()), tail=tuple(beyond[np.isfinite(beyond)].tolist()))


def of_errors(value: float, errors: NDArray[Any], *, more: float = 0.0) -> Deviation:
    """The basis of drawn errors (draws,), each wider by `more`."""
    import numpy as np

    ordered = np.sort(errors)
    return of_bounds(value, np.concatenate([_upper(ordered, np.linspace(0, 1, GRID)), _beyond(ordered)]) + more)


def _upper(ordered: NDArray[Any], p: NDArray[np.float64]) -> NDArray[np.float64]:
    """numpy's quantiles of the method "higher", of draws in order."""
    import numpy as np

    found: NDArray[np.float64] = ordered[np.ceil(p * (len(ordered) - 1)).astype(np.int64)]
    return found


def _beyond(ordered: NDArray[Any]) -> NDArray[np.float64]:
    import numpy as np

    most = np.floor((1 - tail()) * (len(ordered) + 1) + 1e-9).astype(np.int64) - 1  # how many may reach it
    beyond = np.array(ordered[np.maximum(len(ordered) - 1 - np.maximum(most, 0), 0)], dtype=np.float64)
    beyond[most < 0] = np.inf
    return beyond
