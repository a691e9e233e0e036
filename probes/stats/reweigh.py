"""Redrawn masses of the cells of a table: a bootstrap of rows for the price of the cells.

The Bayesian bootstrap (Rubin 1981, doi:10.1214/aos/1176345338) gives every independent unit a weight from the standard
exponential. A cell's mass is then the sum of w_i xi_u(i) over its rows: a gamma variable with as many units of shape as
the cell has rows, so that independent rows need one draw per cell and not one per row. No cell becomes empty, as cells
do when rows are drawn with replacement. Clusters draw one weight for all their rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design

__all__ = ["cell_masses", "redrawn_masses"]

_BLOCK = 2_000_000  # weights drawn at a time


def cell_masses(cell: NDArray[np.int64], cells: int, design: Design) -> NDArray[np.float64]:
    """(cells,) the weight in each cell; `cell` (n,) is each row's."""
    import numpy as np

    if design.weights is None:
        return np.bincount(cell, minlength=cells).astype(np.float64)
    order = np.lexsort((design.weights, cell))  # sums must not depend on the order of the rows
    return np.bincount(cell[order], design.weights[order], minlength=cells).astype(np.float64)


def redrawn_masses(
    cell: NDArray[np.int64], cells: int, design: Design, draws: int, rng: Generator
) -> NDArray[np.float64]:
    """(draws, cells) masses. Under weights a cell's gamma has the mean and the variance of the weighted sum."""
    import numpy as np

    mass = cell_masses(cell, cells, design)
    if design.clusters is not None:
        return _by_cluster(cell, cells, design, draws, rng)
    squares: NDArray[np.float64] = mass
    if design.weights is not None:
        order = np.lexsort((design.weights, cell))
        squares = np.bincount(cell[order], np.square(design.weights[order]), minlength=cells).astype(np.float64)
    shape = mass**2 / np.where(squares > 0, squares, 1.0)
    drawn = np.zeros((draws, cells))
    full = np.flatnonzero(mass > 0)
    drawn[:, full] = rng.standard_gamma(shape[full], size=(draws, full.size)) * (mass[full] / shape[full])
    return drawn


def _by_cluster(cell: NDArray[np.int64], cells: int, design: Design, draws: int, rng: Generator) -> NDArray[np.float64]:
    import numpy as np
    from scipy.sparse import csr_array

    units, unit = np.unique(np.asarray(design.clusters), return_inverse=True)
    weights = np.ones(design.n) if design.weights is None else design.weights
    order = np.lexsort((weights, cell, unit))
    matrix = csr_array((weights[order], (unit[order], cell[order])), shape=(units.size, cells))
    drawn = np.zeros((draws, cells))
    step = max(1, _BLOCK // draws)
    for start in range(0, units.size, step):
        stop = min(start + step, units.size)
        drawn += np.asarray(rng.standard_exponential((draws, stop - start)) @ matrix[start:stop])
    return drawn
