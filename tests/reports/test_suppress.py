"""No small count can be worked out from what is shown: checked by an attacker who solves for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from steelyard.reports.suppress import hidden_in_one_way, hidden_in_two_way

MINIMUM = 10
COUNTS = st.lists(st.one_of(st.integers(0, 14), st.integers(0, 400)), min_size=2, max_size=8)


def reach(cells, hidden, hidden_rows, hidden_columns, target, *, zeros_known):
    """The least and the greatest count of `target` that fit all that is shown (the polytope has whole corners)."""
    unknown = sorted(cell for cell in cells if cell in hidden and (cells[cell] > 0 or not zeros_known))
    rows, totals = [], []

    def add(members, total):
        rows.append([1.0 if cell in members else 0.0 for cell in unknown])
        totals.append(total - sum(n for cell, n in cells.items() if cell in members and cell not in unknown))

    for axis, secret in ((0, hidden_rows), (1, hidden_columns)):
        for line in {cell[axis] for cell in cells} - secret:
            members = {cell for cell in cells if cell[axis] == line}
            add(members, sum(cells[cell] for cell in members))
    add(set(cells), sum(cells.values()))
    goal = np.array([1.0 if cell == target else 0.0 for cell in unknown])
    ends = [linprog(s * goal, A_eq=np.array(rows), b_eq=np.array(totals), bounds=(0, None)) for s in (1, -1)]
    assert all(end.status == 0 for end in ends)
    return ends[0].fun, -ends[1].fun


@given(COUNTS)
def test_one_attribute_hides_enough_that_no_small_count_follows_from_the_total(counts):
    table = {f"g{i}": n for i, n in enumerate(counts)}
    hidden = hidden_in_one_way(table, MINIMUM)
    small = {g for g, n in table.items() if 0 < n < MINIMUM}
    assert small <= hidden
    if not small:
        assert not hidden
        return
    present = {g for g, n in table.items() if n > 0}
    together = sum(table[g] for g in hidden)
    if hidden != present:  # a sample that is small as a whole cannot be helped
        assert len(hidden) >= 2
        assert together >= MINIMUM  # the reader cannot even tell that one of them is small


def test_one_attribute_hides_no_more_than_it_must():
    assert hidden_in_one_way({"a": 7, "b": 103, "c": 149, "d": 1411}, MINIMUM) == {"a", "b"}
    assert hidden_in_one_way({"a": 6, "b": 7, "c": 149}, MINIMUM) == {"a", "b"}
    assert hidden_in_one_way({"a": 10, "b": 11}, MINIMUM) == frozenset()


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_small_cell_of_two_attributes_follows_from_the_table_and_its_totals(data):
    height, width = data.draw(st.integers(2, 4)), data.draw(st.integers(2, 4))
    counts = st.one_of(st.just(0), st.integers(1, 12), st.integers(13, 300))
    cells = {(f"r{i}", f"c{j}"): data.draw(counts) for i in range(height) for j in range(width)}
    rows = {r: sum(n for cell, n in cells.items() if cell[0] == r) for r in {cell[0] for cell in cells}}
    columns = {c: sum(n for cell, n in cells.items() if cell[1] == c) for c in {cell[1] for cell in cells}}
    secret_rows, secret_columns = hidden_in_one_way(rows, MINIMUM), hidden_in_one_way(columns, MINIMUM)
    if len(secret_rows) == 1 or len(secret_columns) == 1:
        return  # one group alone in its attribute: the sample is small as a whole
    hidden = hidden_in_two_way(cells, secret_rows, secret_columns, MINIMUM)
    present = {cell for cell, n in cells.items() if n > 0}
    whole = hidden == present
    small = {cell for cell in present if cells[cell] < MINIMUM}
    assert small <= hidden
    if len({r for r, n in rows.items() if n}) < 2 or len({c for c, n in columns.items() if n}) < 2:
        return  # no second line to move a row to: the table repeats one attribute's counts
    secret = set(cells) if whole else hidden  # of a table hidden whole not even the empty cells are known
    for cell in small:
        low, high = reach(cells, secret, secret_rows, secret_columns, cell, zeros_known=not whole)
        assert high - low >= 1 - 1e-6, (cell, cells, hidden)


def test_hiding_only_the_small_cells_would_not_pass_this_check():
    cells = {("r0", "c0"): 5, ("r0", "c1"): 90, ("r1", "c0"): 80, ("r1", "c1"): 70}
    low, high = reach(cells, {("r0", "c0")}, set(), set(), ("r0", "c0"), zeros_known=True)
    assert low == pytest.approx(high) == pytest.approx(5)
    assert hidden_in_two_way(cells, frozenset(), frozenset(), MINIMUM) == set(cells)
