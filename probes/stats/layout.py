"""Which groups are compared with which: the arms and the contrasts of a joint comparison, before any inference."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from steelyard.audit.errors import ProbeError
from steelyard.probes.stats.arms import Arms, look_up_rates, measure
from steelyard.probes.stats.table import CountTable, MarginalGroups

__all__ = ["Contrast", "Layout", "Skipped", "Untested", "lay_out"]

Contrast = Literal["pairwise", "rest", "reference"]
REST = "rest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Untested:
    """A group left out for its size: `n` is its least (effective) denominator among the rates."""

    attributes: tuple[str, ...]
    group: str
    n: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """An attribute or intersection without two groups large enough to compare."""

    attributes: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layout:
    """J arms and M contrasts `first` - `second` (indices of arms), rate by rate within each attribute of the scope.

    `scope_of` and `rate_of` (J,) index `scope` and `rates`; `group_rows` (J,) are all rows of an arm's group.
    """

    scope: tuple[tuple[str, ...], ...]
    rates: tuple[str, ...]
    arms: Arms
    names: tuple[str, ...]
    scope_of: NDArray[np.int64]
    rate_of: NDArray[np.int64]
    group_rows: NDArray[np.int64]
    first: NDArray[np.int64]
    second: NDArray[np.int64]
    untested: tuple[Untested, ...]
    skipped: tuple[Skipped, ...]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Part:
    """One attribute tuple: its groups, then their complements; which of the groups may be compared."""

    groups: MarginalGroups
    members: NDArray[np.float64]  # (2G or G, C)
    compared: NDArray[np.bool_]  # (G,)


def lay_out(
    table: CountTable,
    *,
    rates: tuple[str, ...],
    scope: tuple[tuple[str, ...], ...],
    contrast: Contrast,
    reference: Mapping[str, str],
    min_n: int,
) -> Layout:
    """Choose arms and contrasts. Raises ProbeError where no attribute of the scope has two usable groups."""
    if not rates or not scope:
        raise ProbeError("a comparison needs at least one rate and one attribute")
    parts, members, family, everything = _measured(table, rates, scope, contrast == "rest")
    n = everything.n.reshape(len(rates), -1)  # (R, groups of every part)
    rows = members @ table.rows.sum(axis=(1, 2))
    first, second, untested, skipped, start = [], [], [], [], 0
    for part in parts:
        stop = start + len(part.members)
        size = n[:, start : start + len(part.compared)]
        usable = part.compared & (size >= min_n).all(axis=0)
        untested += _untested(part, size, usable)
        if usable.sum() < 2:
            skipped.append(Skipped(attributes=part.groups.attributes, reason=_too_few(part, size, min_n)))
        else:
            own = np.flatnonzero(usable)
            a, b = _pairs(part, own, contrast, reference, n[0, start:stop])
            if contrast == "rest":
                enough = (n[:, start + b] >= min_n).all(axis=0)
                a, b = a[enough], b[enough]
            for r in range(len(rates)):
                first.append(a + start + r * len(members))
                second.append(b + start + r * len(members))
        start = stop
    if not first:
        raise ProbeError("; ".join(s.reason for s in skipped), hint="lower data.min_n or gather more rows")
    used, index = np.unique(np.concatenate([np.concatenate(first), np.concatenate(second)]), return_inverse=True)
    of_group = used % len(members)
    names = [name for part in parts for name in _names(part)]
    half = index.size // 2
    return Layout(
        scope=scope,
        rates=rates,
        arms=everything.take(used),
        names=tuple(names[g] for g in of_group),
        scope_of=family[of_group],
        rate_of=used // len(members),
        group_rows=np.rint(rows[of_group]).astype(np.int64),
        first=index[:half],
        second=index[half:],
        untested=tuple(untested),
        skipped=tuple(skipped),
    )


@lru_cache(maxsize=2)  # the statistics of one rate ask for the same arms one after another
def _measured(
    table: CountTable, rates: tuple[str, ...], scope: tuple[tuple[str, ...], ...], with_rest: bool
) -> tuple[list[_Part], NDArray[np.float64], NDArray[np.int64], Arms]:
    """The groups of every attribute of the scope, their masks (G, C), which attribute each is of, and their arms."""
    specs = look_up_rates(rates, table)
    parts = [_part(table, attributes, "rest" if with_rest else "pairwise") for attributes in scope]
    members = np.concatenate([part.members for part in parts])
    family = np.repeat(np.arange(len(parts)), [len(part.members) for part in parts])
    return parts, members, family, measure(table, members, specs, family)


def _part(table: CountTable, attributes: tuple[str, ...], contrast: Contrast) -> _Part:
    groups = table.groups(attributes)
    members = (groups.of_cell == np.arange(len(groups.names))[:, None]).astype(np.float64)
    if contrast == "rest":
        known = members[~groups.unknown].sum(axis=0)
        members = np.concatenate([members, np.maximum(known - members, 0.0)])
    return _Part(groups=groups, members=members, compared=~groups.unknown)


def _names(part: _Part) -> list[str]:
    return [*part.groups.names, *[REST] * (len(part.members) - len(part.groups.names))]


def _untested(part: _Part, size: NDArray[np.float64], usable: NDArray[np.bool_]) -> list[Untested]:
    return [
        Untested(attributes=part.groups.attributes, group=part.groups.names[g], n=float(size[:, g].min()))
        for g in np.flatnonzero(part.compared & ~usable)
    ]


def _too_few(part: _Part, size: NDArray[np.float64], min_n: int) -> str:
    least = size.min(axis=0)
    shown = np.flatnonzero(part.compared)[:8]
    listed = ", ".join(f"{part.groups.names[g]} {least[g]:.4g}" for g in shown) or "no group at all"
    more = f" and {part.compared.sum() - shown.size} more" if part.compared.sum() > shown.size else ""
    name = "*".join(part.groups.attributes)
    return f"{name} has fewer than two groups with at least {min_n} in the denominator of each rate (n: {listed}{more})"


def _pairs(
    part: _Part, own: NDArray[np.int64], contrast: Contrast, reference: Mapping[str, str], n: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    if contrast == "rest":
        return own, own + len(part.compared)
    if contrast == "pairwise":
        i, j = np.triu_indices(own.size, 1)
        return own[i], own[j]
    against = _reference(part, own, reference, n)
    others = own[own != against]
    return others, np.full_like(others, against)


def _reference(part: _Part, own: NDArray[np.int64], reference: Mapping[str, str], n: NDArray[np.float64]) -> np.int64:
    attributes, name = part.groups.attributes, "*".join(part.groups.attributes)
    chosen = reference.get(name)
    if chosen is None and all(a in reference for a in attributes):
        chosen = "*".join(reference[a] for a in attributes)
    if chosen is None:
        return np.int64(own[np.argmax(n[own])])  # the largest
    if chosen not in part.groups.names:
        known = ", ".join(part.groups.names[g] for g in own[:12])
        raise ProbeError(f"the reference group {chosen!r} of {name} is not in the data", hint=f"groups: {known}")
    index = np.int64(part.groups.names.index(chosen))
    if index not in own:
        raise ProbeError(
            f"the reference group {chosen!r} of {name} is too small or unknown to compare with",
            hint="choose a larger one in data.reference_groups",
        )
    return index
