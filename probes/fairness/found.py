"""What a search for groups shares: the conditions, the halves, how deep the lattice goes, and what is said of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.target import Probe, Sample, Target
from steelyard.audit.types import Failure, Finding, Scalar
from steelyard.probes.quality.slices import SHOWN

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.fairness.halves import Halves
    from steelyard.probes.stats.lattice import Axis
    from steelyard.probes.stats.means import Measured

__all__ = ["Search", "ample", "holm_detail", "left_out", "prepare", "report", "too_deep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """The `axes` over all rows, the two halves of them, and the depth to which the lattice is searched.

    `size` conjunctions are in it; `wanted` would be at the depth asked for. `unusable` columns give no condition.
    """

    axes: tuple[Axis, ...]
    halves: Halves
    depth: int
    size: int
    wanted: int
    unusable: tuple[str, ...]

    def within(self, rows: NDArray[Any]) -> list[Axis]:
        """The axes over some rows (indices)."""
        return [axis.take(rows) for axis in self.axes]

    def detail(self) -> dict[str, Scalar]:
        """How the search was done, for the reader of an overall number."""
        found: dict[str, Scalar] = {
            "conjunctions": self.size,
            "depth": self.depth,
            "rows_searched": len(self.halves.search),
            "rows_held_out": len(self.halves.held_out),
        }
        if self.halves.sampled:
            found["sampled"] = self.halves.sampled
        if self.unusable:
            found["columns_not_used"] = ", ".join(self.unusable)
        return found


def prepare(
    sample: Sample,
    answers: Mapping[str, NDArray[Any]],
    rng: Generator,
    *,
    bins: int,
    max_levels: int,
    depth: int,
    max_rows: int,
    max_conjunctions: int,
    first: Callable[[NDArray[Any]], Axis] | None = None,
) -> Search:
    """Halve the rows, make the axes of the searched half, and cut the depth to what `max_conjunctions` allows.

    `first(rows)` is an axis that every conjunction has, made from the searched rows.
    """
    from steelyard.probes.fairness.conditions import axes_of
    from steelyard.probes.fairness.halves import halve
    from steelyard.probes.stats.lattice import lattice_size

    halves = halve(sample, answers, rng, max_rows=max_rows)
    axes, unusable = axes_of(sample, halves.search, bins=bins, max_levels=max_levels)
    required = 0 if first is None else 1
    if first is not None:
        axes.insert(0, first(halves.search))
    sizes = [lattice_size(axes, k, required) for k in range(depth + 1)]
    reached = max((k for k in range(1, depth + 1) if sizes[k] <= max_conjunctions), default=1)
    return Search(
        axes=tuple(axes), halves=halves, depth=reached, size=sizes[reached], wanted=sizes[depth], unusable=unusable
    )


def ample(min_n: int) -> int:
    """How many searched rows a group needs, so that the other half rarely has fewer than `min_n` of it.

    Halves differ by chance by about sqrt(n) rows; three times that lets one group in a thousand through.
    """
    return min_n + math.ceil(3 * math.sqrt(min_n))


def too_deep(probe: Probe, target: Target, search: Search, depth: int, metrics: tuple[str, ...]) -> Failure:
    """The row that says which part of the lattice was not searched."""
    return Failure(
        probe=probe.id,
        target=target.name,
        reason=f"the search ends at depth {search.depth}: to depth {depth} there are {search.wanted:,} conjunctions",
        hint="raise max_conjunctions, or lower bins or max_levels",
        metrics=metrics,
        where={"depth": depth},
    )


def left_out(
    probe: Probe, target: Target, metrics: tuple[str, ...], where: Mapping[str, Scalar], n: int, min_n: int
) -> Failure:
    """A group that was found on the searched half and has too few rows in the other."""
    count = f"n = {n}" if n >= SHOWN else f"n < {SHOWN}"
    named = ", ".join(f"{key} {value}" for key, value in where.items())
    return Failure(
        probe=probe.id,
        target=target.name,
        reason=f"{named}: found, but too few held-out rows to test it ({count}; {min_n} are needed)",
        hint="more data, or a higher min_support",
        metrics=metrics,
        where=where,
    )


def report(
    probe: Probe, target: Target, metric: str, measured: Measured, where: Mapping[str, Scalar],
    detail: Mapping[str, Scalar], said: Sequence[str] = (),
) -> Finding:  # fmt: skip
    """A finding of `metric`; `said` is added to the definition that is printed beside it."""
    spec = probe.spec(metric)
    return Finding(
        metric=metric, target=target.name, estimate=measured.estimate,
        definition="; ".join([spec.definition, *(text for text in said if text)]), direction=spec.direction,
        ideal=spec.ideal, probe=probe.id, probe_version=probe.version, where=where, basis=measured.basis,
        detail=detail, not_shown=spec.not_shown, reading=spec.reading,
    )  # fmt: skip


def holm_detail(p: float, adjusted: float, tested: int) -> dict[str, Scalar]:
    """What a candidate's test says."""
    return {"p": p, "holm_p": adjusted, "tested": tested}
