"""Rows that were counted: what `Design` tells of n rows, told of m entries that stand for them.

An entry has r rows that agree in all that was counted, and so in every number computed from it: sums over rows are sums
over entries times r, or times the sums of the rows' weights, of their squares and of their cubes. So an estimate of
counted rows, its variance and its skewness are those of the rows themselves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.linearised import Design

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["CountedDesign"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CountedDesign(Design):
    """The design of `n` rows in m entries: `rows` (m,) how many, `mass`, `square` and `cube` (m,) sums of weights.

    Without weights these are `rows`. Clusters are not known: what needs them needs rows.
    """

    rows: NDArray[np.int64]
    mass: NDArray[np.float64]
    square: NDArray[np.float64]
    cube: NDArray[np.float64]
    weighted: bool

    @classmethod
    def of(cls, sample: Sample) -> CountedDesign:
        """The design of a reduced sample. Raises ProbeError where its rows belong to clusters."""
        import numpy as np

        reduced = sample.reduced
        if reduced.pairs is not None:
            raise ProbeError("clusters are not kept in counts of rows", hint="a larger data.reduce_above reads rows")
        plain = reduced.rows.astype(np.float64)
        weighted = reduced.weights is not None
        return cls(
            n=int(reduced.rows.sum()),
            rows=reduced.rows,
            mass=reduced.weights if weighted else plain,
            square=reduced.squares if weighted else plain,
            cube=reduced.cubes if weighted else plain,
            weighted=weighted,
        )

    def take(self, rows: NDArray[Any]) -> CountedDesign:
        """The design of some entries, given as indices or as a mask."""
        mine = self.rows[rows]
        return CountedDesign(
            n=int(mine.sum()), rows=mine, mass=self.mass[rows], square=self.square[rows], cube=self.cube[rows],
            weighted=self.weighted,
        )  # fmt: skip

    @property
    def entries(self) -> int:
        """How many entries: the length of what is measured."""
        return len(self.rows)

    @property
    def root(self) -> NDArray[np.float64]:
        """(m,) what one unit of error in an entry adds to the error of a sum: the root of its sum of squares."""
        import numpy as np

        found: NDArray[np.float64] = np.sqrt(self.square)
        return found

    @property
    def plain(self) -> bool:
        """Whether every row counts once."""
        return not self.weighted

    @property
    def units(self) -> int:
        """Every row is a unit of its own."""
        return self.n

    @property
    def kish(self) -> float:
        """Kish's effective n."""
        return float(self.mass.sum() ** 2 / self.square.sum()) if self.weighted else float(self.n)

    def total(self, values: NDArray[Any]) -> float:
        """The sum of `values` (m,) over the rows, without their weights."""
        return float(self.rows @ values)

    def average(self, values: NDArray[Any]) -> float:
        """The (weighted) mean of `values` (m,) over the rows."""
        return float(self.mass @ values / self.mass.sum())

    def variance(self, influence: NDArray[np.float64]) -> float:
        """Variance of the weighted mean of `influence` (m,), which is centred at 0; infinite with one row."""
        if self.n < 2:
            return math.inf
        return float(self.n / (self.n - 1) * (self.square @ influence**2) / self.mass.sum() ** 2)

    def skewness(self, influence: NDArray[np.float64]) -> float:
        """Skewness of the error of the weighted mean of `influence` (m,), centred at 0."""
        spread = float(self.square @ influence**2)
        return float(self.cube @ influence**3) / spread**1.5 if spread > 0 else 0.0
