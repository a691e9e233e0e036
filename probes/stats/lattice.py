"""How many rows, and how much of something, lie in each conjunction of conditions such as `age = young & sex = f`?

An axis is a partition of the rows into levels. A conjunction takes one level of each of some axes, at most `depth` of
them, and all conjunctions together are a lattice. All those over the same axes are one table, filled by one
`np.bincount` of mixed-radix codes: the loop runs over sets of axes (469 for 14 axes to depth 3), never over
conjunctions (about 195,000 of them).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

__all__ = ["Axis", "Block", "Conjunction", "conjunctions", "distinct", "lattice_size", "strongest"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One partition of n rows: `codes` (n,) into `levels`; a code of -1 is a row of which nothing here is known.

    Such a row is in no conjunction that has a condition on this axis.
    """

    name: str
    levels: tuple[str, ...]
    codes: NDArray[np.int64]

    def take(self, rows: NDArray[np.int64]) -> Axis:
        """The same partition of some rows, given as indices."""
        return Axis(name=self.name, levels=self.levels, codes=self.codes[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """All conjunctions over `axes` (places in the list of axes), l_1 × … × l_k of them.

    `rows` (l_1, …, l_k) says how many rows are in each, `totals` (m, l_1, …, l_k) the sums of m quantities over them.
    """

    axes: tuple[int, ...]
    rows: NDArray[np.int64]
    totals: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Conjunction:
    """One conjunction: `terms` are (axis, level) places. `score` is what it was ranked by, `ranking` by which score."""

    terms: tuple[tuple[int, int], ...]
    rows: int
    totals: tuple[float, ...]
    score: float
    ranking: int

    def members(self, axes: Sequence[Axis]) -> NDArray[np.bool_]:
        """(n,) which rows are in it."""
        inside = np.ones(len(axes[0].codes), dtype=np.bool_)
        for axis, level in self.terms:
            inside &= axes[axis].codes == level
        return inside

    def name(self, axes: Sequence[Axis]) -> str:
        """`age=(20, 30] & sex=f`."""
        return " & ".join(f"{axes[axis].name}={axes[axis].levels[level]}" for axis, level in self.terms)


def lattice_size(axes: Sequence[Axis], depth: int, required: int = 0) -> int:
    """How many conjunctions there are; the first `required` axes are in each of them and do not count for `depth`.

    sum_k e_k(l_1, l_2, …): elementary symmetric polynomials of the numbers of levels.
    """
    ways = [1] + [0] * depth  # ways[k]: conjunctions of k of the optional axes seen so far
    for axis in axes[required:]:
        for k in range(depth, 0, -1):
            ways[k] += ways[k - 1] * len(axis.levels)
    least = 1 if required == 0 else 0
    fixed = 1
    for axis in axes[:required]:
        fixed *= len(axis.levels)
    return fixed * sum(ways[least:])


def conjunctions(
    axes: Sequence[Axis],
    depth: int,
    *,
    hits: NDArray[np.bool_] | None = None,
    values: Sequence[Array] = (),
    required: int = 0,
) -> Iterator[Block]:
    """Count every conjunction of at most `depth` axes, shallow ones first.

    `hits` (n,) is the first total where given, folded into the codes so that one pass counts rows and hits; each of
    `values` (n,) is a total of its own. The first `required` axes are in every conjunction, beside `depth` others.
    """
    n = len(axes[0].codes) if axes else 0
    codes = [_whole(axis) for axis in axes]
    widths = [len(axis.levels) + bool((axis.codes < 0).any()) for axis in axes]
    fold = 1 if hits is None else 2
    folded = codes if hits is None else [2 * c + hits for c in codes]
    fixed = tuple(range(required))
    for k in range(0 if required else 1, depth + 1):
        last: tuple[int, ...] = ()
        prefix = np.zeros(n, dtype=np.int64)
        for chosen in combinations(range(required, len(axes)), k):
            places = fixed + chosen
            if places[:-1] != last:  # combinations come sorted: a prefix is shared by a run of them
                last = places[:-1]
                prefix = _join(codes, widths, last, n)
            end = places[-1]
            cells = prefix * (fold * widths[end]) + folded[end]
            yield _block(axes, places, [widths[i] for i in places], cells, fold, values)


def _whole(axis: Axis) -> NDArray[np.int64]:
    """Codes with -1 as one more level at the end, which `_block` cuts off."""
    return np.where(axis.codes < 0, len(axis.levels), axis.codes).astype(np.int64)


def _join(
    codes: Sequence[NDArray[np.int64]], widths: Sequence[int], places: tuple[int, ...], n: int
) -> NDArray[np.int64]:
    joined = np.zeros(n, dtype=np.int64)
    for place in places:
        joined = joined * widths[place] + codes[place]
    return joined


def _block(
    axes: Sequence[Axis], places: tuple[int, ...], widths: list[int], cells: NDArray[np.int64], fold: int,
    values: Sequence[Array],
) -> Block:  # fmt: skip
    size = fold * int(np.prod(widths))
    known = tuple(slice(0, len(axes[i].levels)) for i in places)
    counts = np.bincount(cells, minlength=size).reshape(*widths, fold)
    totals = [counts[..., 1].astype(np.float64)] if fold == 2 else []
    cut = cells // fold if fold > 1 and values else cells
    totals += [np.bincount(cut, weights=v, minlength=size // fold).reshape(widths).astype(np.float64) for v in values]
    shape = tuple(len(axes[i].levels) for i in places)
    stacked = np.stack([t[known] for t in totals]) if totals else np.zeros((0, *shape))
    return Block(axes=places, rows=counts.sum(axis=-1)[known], totals=stacked)


def strongest(
    blocks: Iterator[Block], scores: Callable[[NDArray[np.int64], Array], Array], *, keep: int
) -> list[list[Conjunction]]:
    """The `keep` conjunctions with the highest score, in falling order, for each of several scores.

    `scores(rows, totals)` gives (r, …) numbers for the conjunctions of a block, -inf for what is not to be taken. Of
    equals the shallower one comes first, and the one over earlier axes: a rule that does not depend on the rows' order.
    """
    pools: list[list[Conjunction]] = []
    floors: list[float] = []
    for block in blocks:
        scored = scores(block.rows, block.totals)
        flat = scored.reshape(len(scored), -1)
        if not pools:
            pools, floors = [[] for _ in flat], [-np.inf] * len(flat)
        for ranking, row in enumerate(flat):
            better = np.flatnonzero(row > floors[ranking])
            if better.size > keep:
                better = better[np.argsort(-row[better], kind="stable")[:keep]]
            pools[ranking] += [_read(block, int(cell), float(row[cell]), ranking) for cell in better]
            if len(pools[ranking]) >= 4 * keep:
                pools[ranking] = _best(pools[ranking], keep)
                floors[ranking] = pools[ranking][-1].score
    return [_best(pool, keep) for pool in pools]


def _read(block: Block, cell: int, score: float, ranking: int) -> Conjunction:
    place = np.unravel_index(cell, block.rows.shape)
    totals = [float(total.flat[cell]) for total in block.totals]
    return Conjunction(
        terms=tuple(zip(block.axes, map(int, place), strict=True)),
        rows=int(block.rows[place]),
        totals=tuple(totals),
        score=score,
        ranking=ranking,
    )


def _best(pool: list[Conjunction], keep: int) -> list[Conjunction]:
    return sorted(pool, key=lambda c: (-c.score, len(c.terms), c.terms))[:keep]


def distinct(
    axes: Sequence[Axis], ranked: Sequence[Sequence[Conjunction]], *, top: int, overlap: float
) -> list[Conjunction]:
    """At most `top` conjunctions, taken from the rankings in turn, no two of which are nearly the same group.

    Two are the same where the correlation of their memberships over the rows of `axes` is above `overlap` in absolute
    value: `sex = f` and `sex = m` are one contrast, and so are `age = young` and `age = young & country = here` where
    nearly everyone is from here.
    """
    chosen: list[Conjunction] = []
    kept: list[Array] = []  # memberships, centred and of length 1
    queues = [iter(ranking) for ranking in ranked]
    while queues and len(chosen) < top:
        for queue in list(queues):
            for conjunction in queue:
                inside = conjunction.members(axes).astype(np.float64)
                inside -= inside.mean()
                length = float(np.sqrt(inside @ inside))
                unit = inside / length if length > 0 else inside
                if all(abs(float(unit @ other)) <= overlap for other in kept):
                    chosen.append(conjunction)
                    kept.append(unit)
                    break
            else:
                queues.remove(queue)
            if len(chosen) == top:
                break
    return chosen
