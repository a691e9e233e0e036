"""Which rows does a reading speak of: all, one group of an attribute, or one group of an intersection?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.types import Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["LeftOut", "Slice", "group_slices"]

SHOWN = 10  # a count below this is not written out: the reports suppress such cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """Some rows of the sample (`rows`: their indices, ascending) and the `where` that names them."""

    where: Mapping[str, Scalar]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """The groups of one attribute or intersection with fewer than `min_n` rows."""

    where: Mapping[str, Scalar]
    groups: tuple[tuple[str, int], ...]
    min_n: int

    @property
    def reason(self) -> str:
        """One line that names them."""
        named = ", ".join(f"{name} (n = {n})" if n >= SHOWN else f"{name} (n < {SHOWN})" for name, n in self.groups)
        number = "1 group has" if len(self.groups) == 1 else f"{len(self.groups)} groups have"
        return f"{number} fewer than {self.min_n} rows (data.min_n) and so no reading: {named}"


def group_slices(sample: Sample) -> Iterator[Slice | LeftOut]:
    """Every group of every attribute, then of every pair of attributes, as in `where: {attribute, group}` and
    `where: {intersection: "sex*race", group: "Female*Black"}`. A combination that no row has is no group.
    """
    import numpy as np

    for attribute, groups in sample.groups.items():
        where = {"attribute": attribute}
        yield from _split(where, groups.codes, groups.levels, sample.min_n, empty=True)
    for (left, a), (right, b) in combinations(sample.groups.items(), 2):
        joint = np.asarray(a.codes) * len(b.levels) + np.asarray(b.codes)
        names = tuple(f"{x}*{y}" for x in a.levels for y in b.levels)
        yield from _split({"intersection": f"{left}*{right}"}, joint, names, sample.min_n, empty=False)


def _split(
    where: Mapping[str, Scalar], codes: NDArray[np.int64], names: tuple[str, ...], min_n: int, *, empty: bool
) -> Iterator[Slice | LeftOut]:
    import numpy as np

    order = np.argsort(codes, kind="stable")
    counts = np.bincount(codes, minlength=len(names))
    stops = np.cumsum(counts)
    small = []
    for code, name in enumerate(names):
        n = int(counts[code])
        if n >= min_n:
            yield Slice(where=FrozenMap({**where, "group": name}), rows=order[stops[code] - n : stops[code]])
        elif n or empty:
            small.append((name, n))
    if small:
        yield LeftOut(where=FrozenMap(where), groups=tuple(small), min_n=min_n)
