"""Several parts of one question at one joint level: each part's interval, and the part that is furthest off.

The parts are the categories of a benchmark. Bonferroni holds whatever the dependence between them, and needs no more
than each part's own basis, exact or not. Dunn 1961, doi:10.1080/01621459.1961.10482090.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Binomial, Contrasts, Deviation, Estimate
from steelyard.probes.stats.means import Measured

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["furthest", "jointly", "limits_at", "with_limits"]


def limits_at(
    part: Measured, confidences: Sequence[float] | NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The two-sided limits of a part at each of the `confidences` (k,): (k,) and (k,). ProbeError where it has none."""
    import numpy as np

    from steelyard.probes.stats.claims import interval
    from steelyard.probes.stats.intervals import clopper_pearson_lower, clopper_pearson_upper

    basis = part.basis
    if basis is None or isinstance(basis, Contrasts):
        raise ProbeError(part.estimate.no_interval or "one of the parts has no interval")
    if isinstance(basis, Binomial):  # at once: the same numbers as from `interval`, a hundred times sooner
        alpha = (1 - np.asarray(confidences, dtype=np.float64)) / 2
        k, n = basis.successes, basis.trials
        return np.atleast_1d(clopper_pearson_lower(k, n, alpha)), np.atleast_1d(clopper_pearson_upper(k, n, alpha))
    both = np.array([interval(basis, confidence) for confidence in confidences])
    return both[:, 0], both[:, 1]


def jointly(parts: Sequence[Measured], *, level: float, lower: float, upper: float) -> list[Measured]:
    """The parts with intervals that hold together at `level`: each at 1 − (1 − level) / m. Bases stay as they are."""
    m = len(parts)
    found = []
    for part in parts:
        if part.basis is None:
            found.append(part)
            continue
        (low,), (high,) = limits_at(part, [1 - (1 - level) / m])
        value = part.estimate.value
        estimate = replace(
            part.estimate,
            low=min(max(float(low), lower), value),
            high=max(min(float(high), upper), value),
            level=level,
            method=f"{part.estimate.method}; joint over {m} (Bonferroni)" if m > 1 else part.estimate.method,
        )
        found.append(replace(part, estimate=estimate))
    return found


def furthest(parts: Sequence[Measured], *, ideal: float, level: float, upper: float, method: str) -> Measured:
    """max_j |v_j − `ideal`| over the parts, in [0, `upper`].

    Lower limits and the printed upper one are joint over the parts. On the basis a claim that all are within a distance
    takes each part's own one-sided limits, since passing is what every part has to earn by itself (Berger 1982,
    doi:10.1080/00401706.1982.10487790). Raises ProbeError where a part has no interval.
    """
    import numpy as np

    from steelyard.probes.stats.grid import GRID, probabilities, tail
    from steelyard.probes.stats.pvalue_curve import from_limits

    p, m = np.append(probabilities(), tail()).tolist(), len(parts)
    value = max(abs(part.estimate.value - ideal) for part in parts)
    near, far = _envelope(parts, [1 - (1 - c) / m for c in (*p, level)], ideal)
    _, alone = _envelope(parts, [max(2 * c - 1, 0.0) for c in p], ideal)  # one-sided at c
    known = np.array([all(_knows(part, 1 - (1 - c) / m) for part in parts) for c in p[GRID:]])
    near[GRID:-1][~known], alone[GRID:][~known] = -np.inf, np.inf
    estimate = Estimate(
        value=value,
        low=min(float(near[-1]), value),
        high=max(min(float(far[-1]), upper), value),
        level=level,
        n=sum(part.estimate.n for part in parts),
        method=f"{method}; joint over {m} (Bonferroni)" if m > 1 else method,
    )
    return Measured(
        estimate=estimate,
        basis=from_limits(value, np.minimum(near[:-1], value), np.minimum(np.maximum(alone, value), upper)),
    )


def _knows(part: Measured, confidence: float) -> bool:
    """Whether the part's limits hold at so high a confidence: those from draws end somewhere."""
    basis = part.basis
    return not isinstance(basis, Deviation) or confidence <= 1 - 0.5 ** len(basis.tail) / (len(basis.quantiles) - 1)


def _envelope(
    parts: Sequence[Measured], confidences: Sequence[float], ideal: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """At each confidence (k,) over the parts the largest least and the largest greatest |v − ideal| in its limits."""
    import numpy as np

    near, far = [], []
    for part in parts:
        low, high = limits_at(part, confidences)
        near.append(np.maximum(np.maximum(low - ideal, ideal - high), 0.0))
        far.append(np.maximum(abs(low - ideal), abs(high - ideal)))
    return np.max(near, axis=0), np.max(far, axis=0)


def with_limits(
    value: float,
    limits: Callable[[NDArray[np.float64]], tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    level: float,
    n: int,
    method: str,
    lower: float,
    upper: float,
) -> Measured:
    """A number whose two-sided limits at each confidence (k,) are known, cut to its range [`lower`, `upper`]."""
    import numpy as np

    from steelyard.probes.stats.grid import confidences
    from steelyard.probes.stats.pvalue_curve import from_limits

    low, high = limits(confidences(level))
    low, high = np.minimum(np.maximum(low, lower), value), np.maximum(np.minimum(high, upper), value)
    estimate = Estimate(value=value, low=float(low[-1]), high=float(high[-1]), level=level, n=n, method=method)
    return Measured(estimate=estimate, basis=from_limits(value, low[:-1], high[:-1]))
