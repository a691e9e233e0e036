"""Which groups are too small to show, so that no small count can be worked out from what is shown?

A group with fewer than `minimum` rows is *small*. Hiding it alone is not enough: the total less the other groups
gives it away. So more groups are hidden (complementary suppression), by these steps:

1. One attribute. If any group is small, the next smallest are hidden with it until at least two are hidden and
   together they have `minimum` rows or more. The reader then knows only their sum, and cannot even tell that one
   of them is small.
2. Two attributes. Rows and columns are the groups of the two attributes, whose counts are known where step 1 did
   not hide them. A cell of a hidden row or column is hidden. Every other small cell (i, j) needs a partner cell
   (i', j') such that all four corners (i, j), (i, j'), (i', j), (i', j') are hidden: adding t to the first and last
   and taking t from the other two leaves every row, every column and the whole as they are, so that the
   counts the reader sees fit both. The partner chosen is the one that hides the fewest further rows while
   t can lift (i, j) to `minimum`; where none can, one with t ≥ 1; where none exists the whole table is hidden.
   This is the hypercube method of statistical offices (Hundepool et al. 2012, Statistical Disclosure Control,
   doi:10.1002/9781118348239, section 4.4).
3. Three attributes and more: a table with any small cell is hidden whole.

Assumed of the reader: all shown counts, all totals, that counts are whole and not negative, and this text. Not
covered: someone who knows rows of the data already, the counts of labels or decisions inside a shown group, and an
audit whose whole sample is smaller than `minimum` (its total is shown, no group is).
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import product

__all__ = ["hidden_in_one_way", "hidden_in_two_way"]

Cell = tuple[str, str]


def hidden_in_one_way(counts: Mapping[str, int], minimum: int) -> frozenset[str]:
    """The groups of one attribute to hide. `counts`: rows of each group (0 is no group and needs no hiding)."""
    present = sorted((n, group) for group, n in counts.items() if n > 0)
    hidden = [(n, group) for n, group in present if n < minimum]
    if not hidden:
        return frozenset()
    for n, group in present[len(hidden) :]:
        if len(hidden) >= 2 and sum(n for n, _ in hidden) >= minimum:
            break
        hidden.append((n, group))
    return frozenset(group for _, group in hidden)


def hidden_in_two_way(
    counts: Mapping[Cell, int], hidden_rows: frozenset[str], hidden_columns: frozenset[str], minimum: int
) -> frozenset[Cell]:
    """The cells of a two-way table to hide. `counts`: rows of each (row group, column group), all cells with n > 0."""
    cells = {cell: n for cell, n in counts.items() if n > 0}
    hidden = {cell for cell in cells if cell[0] in hidden_rows or cell[1] in hidden_columns}
    small = sorted((n, cell) for cell, n in cells.items() if n < minimum)
    hidden |= {cell for _, cell in small}
    for _, cell in small:
        if _in_movable_line(cell, cells, hidden_rows, hidden_columns):
            continue
        corners = _partner(cell, cells, hidden, minimum)
        if corners is None:
            return frozenset(cells)
        hidden |= corners
    return frozenset(hidden)


def _in_movable_line(
    cell: Cell, cells: Mapping[Cell, int], hidden_rows: frozenset[str], hidden_columns: frozenset[str]
) -> bool:
    """Can a row of the data move from `cell` to another hidden line with no shown count or total changing?

    In a hidden row it can move to the same column of another hidden row: neither row's count is known, their sum is.
    """
    row, column = cell
    others_in_column = any(r != row and (r, column) in cells for r in hidden_rows)
    others_in_row = any(c != column and (row, c) in cells for c in hidden_columns)
    return (row in hidden_rows and others_in_column) or (column in hidden_columns and others_in_row)


def _partner(cell: Cell, cells: Mapping[Cell, int], hidden: set[Cell], minimum: int) -> set[Cell] | None:
    """The three other corners that protect `cell` at the least cost; None where there is no such rectangle."""
    row, column = cell
    best: tuple[tuple[bool, int, str, str], set[Cell]] | None = None
    rows = {r for r, _ in cells} - {row}
    columns = {c for _, c in cells} - {column}
    for other_row, other_column in product(sorted(rows), sorted(columns)):
        corners = {(row, other_column), (other_row, column), (other_row, other_column)}
        if not corners <= cells.keys():  # an empty cell is known to be empty: nothing can move into it
            continue
        lift = min(cells[row, other_column], cells[other_row, column])
        cost = sum(cells[corner] for corner in corners - hidden)
        key = (cells[cell] + lift < minimum, cost, other_row, other_column)
        if best is None or key < best[0]:
            best = (key, corners)
    return None if best is None else best[1]
