"""How far apart are the groups in one feature? The same distance for numbers and for words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.probes.fairness.encoded import Columns

__all__ = ["Separation", "separations", "tidy_numbers", "tidy_words"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Separation:
    """`distance` in [0, 1]: the most that a rule on this column alone can gain, P(rule | group) − P(rule | others).

    `p` is the p-value of "the two are distributed alike".
    """

    column: str
    distance: float
    p: float


def separations(columns: Columns, codes: NDArray[np.int64]) -> list[Separation]:
    """Each column, by its largest distance between one group of `codes` (n,) and the rest, farthest first.

    Numbers: Kolmogorov and Smirnov's distance, asymptotic p. Words (a missing one is a word): total variation, the
    chi-squared test. p is Bonferroni's over the groups. A column with fewer than two values is left out.
    """
    import numpy as np

    groups = np.unique(codes)
    members = [codes == groups[0]] if len(groups) == 2 else [codes == g for g in groups]
    found = []
    for name in columns.names:
        measure, values = (
            (_numbers, tidy_numbers(columns, name)) if name in columns.numbers else (_words, tidy_words(columns, name))
        )
        pairs = [measure(values, member) for member in members]
        distance, p = max(d for d, _ in pairs), min(1.0, len(pairs) * min(p for _, p in pairs))
        if distance > 0:
            found.append(Separation(column=name, distance=distance, p=p))
    return sorted(found, key=lambda s: (-s.distance, s.column))


def tidy_numbers(columns: Columns, name: str) -> NDArray[np.float64]:
    """(n,) a column of numbers or dates as floats, missing ones NaN."""
    import numpy as np

    from steelyard.models.recipes.tidy import TidyColumns

    step = TidyColumns(numeric=[list(columns.frame.columns).index(name)])
    return np.asarray(step.fit(columns.frame).transform(columns.frame)["n0"], dtype=np.float64)


def tidy_words(columns: Columns, name: str) -> NDArray[Any]:
    """(n,) a column of words as text, missing ones ""."""
    import numpy as np

    from steelyard.models.recipes.tidy import TidyColumns

    step = TidyColumns(words=[list(columns.frame.columns).index(name)])
    words = step.fit(columns.frame).transform(columns.frame)["w0"]
    return np.asarray(words.where(words.notna(), ""), dtype=object)


def _numbers(values: NDArray[np.float64], member: NDArray[np.bool_]) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import ks_2samp

    known = ~np.isnan(values)
    a, b = values[known & member], values[known & ~member]
    if len(a) == 0 or len(b) == 0:
        return 0.0, 1.0
    test = ks_2samp(a, b, method="asymp")
    return float(test.statistic), float(test.pvalue)


def _words(values: NDArray[Any], member: NDArray[np.bool_]) -> tuple[float, float]:
    import numpy as np
    from scipy.stats import chi2_contingency

    found, codes = np.unique(values, return_inverse=True)
    if len(found) < 2 or member.all() or not member.any():
        return 0.0, 1.0
    table = np.stack([np.bincount(codes[side], minlength=len(found)) for side in (member, ~member)])
    shares = table / table.sum(axis=1, keepdims=True)
    return float(abs(shares[0] - shares[1]).sum() / 2), float(chi2_contingency(table, correction=False).pvalue)
