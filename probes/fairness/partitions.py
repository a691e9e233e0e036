"""Into which groups do the rows fall: each attribute by itself, and each pair of attributes crossed?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.types import Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample

__all__ = ["SHOWN", "Member", "Partition", "partitions"]

SHOWN = 10  # a count below this is not written out: the reports suppress such cells


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One group: `rows` are its indices, ascending; `unknown` where a value is missing and the plan compares none.

    Where rows were counted, the indices are of entries.
    """

    name: str
    rows: NDArray[np.int64]
    unknown: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Partition:
    """The groups of one attribute or intersection; `where` names it. Groups below `min_n` rows are in `small`.

    `reference` is the group that the plan compares the others with; empty: the largest.
    """

    where: Mapping[str, Scalar]
    members: tuple[Member, ...]
    small: tuple[tuple[str, int], ...]
    min_n: int
    reference: str = ""

    @property
    def compared(self) -> tuple[Member, ...]:
        """The groups that contrasts are between."""
        return tuple(member for member in self.members if not member.unknown)

    @property
    def name(self) -> str:
        """The attribute, or the attributes joined by an asterisk."""
        return str(next(iter(self.where.values())))

    @property
    def left_out(self) -> str:
        """One line that names the small groups; empty where there are none."""
        if not self.small:
            return ""
        named = ", ".join(f"{g} (n = {n})" if n >= SHOWN else f"{g} (n < {SHOWN})" for g, n in self.small)
        number = "1 group has" if len(self.small) == 1 else f"{len(self.small)} groups have"
        return f"{number} fewer than {self.min_n} rows (data.min_n) and so no reading: {named}"

    @property
    def too_few(self) -> str:
        """Why there is nothing to compare; empty where there are two groups."""
        if len(self.compared) > 1:
            return ""
        named = ", ".join(member.name for member in self.compared) or "none"
        return f"{self.name} has fewer than two groups with at least {self.min_n} rows (data.min_n): {named}"

    def at(self, member: Member) -> dict[str, Scalar]:
        """The `where` of one group."""
        return {**self.where, "group": member.name}


def partitions(sample: Sample, depth: int) -> Iterator[Partition]:
    """Every attribute, and with `depth` 2 every pair of attributes. A combination that no row has is no group."""
    for attribute, g in sample.groups.items():
        unknown = -1 if g.compare_unknown else g.unknown
        flags = tuple(code == unknown for code in range(len(g.levels)))
        part = _split(sample, {"attribute": attribute}, g.codes, g.levels, flags, empty=True)
        yield replace(part, reference=g.reference)
    if depth < 2:
        return
    for (left, a), (right, b) in combinations(sample.groups.items(), 2):
        codes = a.codes * len(b.levels) + b.codes
        names = tuple(f"{x}*{y}" for x in a.levels for y in b.levels)
        missing = -1 if a.compare_unknown else a.unknown, -1 if b.compare_unknown else b.unknown
        flags = tuple(i == missing[0] or j == missing[1] for i in range(len(a.levels)) for j in range(len(b.levels)))
        part = _split(sample, {"intersection": f"{left}*{right}"}, codes, names, flags, empty=False)
        yield replace(part, reference=f"{a.reference}*{b.reference}" if a.reference and b.reference else "")


def _split(
    sample: Sample, where: Mapping[str, Scalar], codes: NDArray[Any], names: tuple[str, ...], unknown: tuple[bool, ...],
    *, empty: bool,
) -> Partition:  # fmt: skip
    import numpy as np

    order = np.argsort(codes, kind="stable")
    entries = np.bincount(codes, minlength=len(names))  # one for each row, or for many that were counted
    stops, counts = np.cumsum(entries), sample.count(codes, len(names))
    members, small = [], []
    for code, name in enumerate(names):
        n = int(counts[code])
        if n >= max(sample.min_n, 1):
            rows = order[stops[code] - entries[code] : stops[code]]
            members.append(Member(name=name, rows=rows, unknown=unknown[code]))
        elif n or (empty and not unknown[code]):
            small.append((name, n))
    return Partition(where=FrozenMap(where), members=tuple(members), small=tuple(small), min_n=sample.min_n)
