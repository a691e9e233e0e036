"""The same rows as members of each group: what the model answers when the attribute, or more, is changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Sample, Target
from steelyard.audit.types import Capability, Task
from steelyard.probes.fairness.separation import Separation, separations, tidy_numbers, tidy_words
from steelyard.probes.fairness.transport import STAYS, donors_of_numbers, donors_of_words

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.fairness.encoded import Columns

__all__ = ["Answers", "Twins"]

LEAST_TO_LEARN = 10  # rows of a group without which no map to it is learnt


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """For `rows` (m,) of the sample as members of each group: `decisions` and `scores`, each (groups, m)."""

    rows: NDArray[np.int64]
    decisions: NDArray[Any]
    scores: NDArray[np.float64] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """`rows` (m,) of the sample in canonical order, their `codes` (m,) into `levels`, 0 … G − 1.

    `values` is the place in the sample of one row of each group, whose cell the attribute's column takes; None where
    the model does not see the attribute, and `unseen` says why.
    """

    target: Target
    sample: Sample
    attribute: str
    rows: NDArray[np.int64]
    codes: NDArray[np.int64]
    levels: tuple[int, ...]
    names: tuple[str, ...]
    reference: int
    values: tuple[int, ...] | None
    unseen: str
    teach: NDArray[np.bool_]
    ask: NDArray[np.bool_]

    @classmethod
    def of(
        cls,
        target: Target,
        sample: Sample,
        rows: NDArray[np.int64],
        attribute: str,
        groups: Groups,
        levels: tuple[int, ...],
    ) -> Twins:
        """The twins of `rows`, all of which are in one of the groups `levels`."""
        import numpy as np

        codes = np.searchsorted(np.array(levels), groups.codes[rows])
        counts = np.bincount(codes, minlength=len(levels))
        names = tuple(groups.levels[k] for k in levels)
        reference = names.index(groups.reference) if groups.reference in names else int(counts.argmax())
        values, unseen = _seen(sample.inputs, attribute, rows, codes, names)
        units = np.arange(len(rows)) if sample.clusters is None else sample.clusters[rows]
        first, unit = np.unique(units, return_index=True, return_inverse=True)[1:]
        turn = np.empty(len(first), dtype=np.int64)
        turn[np.argsort(first)] = np.arange(len(first))  # units by their first row, whatever their codes
        even = turn[unit] % 2 == 0
        one = np.zeros(len(rows), dtype=bool)
        one[first] = True
        return cls(
            target=target, sample=sample, attribute=attribute, rows=rows, codes=codes, levels=levels, names=names,
            reference=reference, values=values, unseen=unseen, teach=even & one, ask=~even,
        )  # fmt: skip

    @property
    def learnt(self) -> int:
        """How many rows teach the maps."""
        return int(self.teach.sum())

    def alone(self) -> Answers:
        """Every row as a member of each group, by the attribute's column alone."""
        frame = self.sample.inputs.iloc[self.rows].reset_index(drop=True)
        return self._answers(self.rows, [self._as_member(frame, j) for j in range(len(self.levels))])

    def proxies(self, most: int, screen: float) -> list[Separation]:
        """Up to `most` features whose distributions differ between the groups, furthest apart first.

        Raises ProbeError where there is none, or too few rows to tell.
        """
        import numpy as np

        if np.bincount(self.codes[self.teach], minlength=len(self.levels)).min() < LEAST_TO_LEARN:
            raise ProbeError(f"a group has fewer than {LEAST_TO_LEARN} rows in the half that teaches how it differs")
        if not self.ask.any():
            raise ProbeError("no row is left to ask about")
        columns = self._columns(self.teach)
        found = separations(columns, self.codes[self.teach])
        real = [s for s in found if s.p <= screen / max(len(columns.names), 1)][:most]
        if not real:
            raise ProbeError(
                f"no feature tells the groups of {self.attribute} apart among {self.learnt:,} rows, so none is known"
                " to move with it",
                hint="fairness.proxies asks what all features together tell",
            )
        return real

    def with_proxies(self, proxies: Sequence[Separation], rng: Generator) -> Answers:
        """The asked half as members of each group, their proxies moved; in their own group they stay as they are."""
        import numpy as np

        asked, taught = self._columns(self.ask), self._columns(self.teach)
        mine, others = self.codes[self.ask], self.codes[self.teach]
        origin, place = self.rows[self.teach], self.rows[self.ask]
        frame = self.sample.inputs.iloc[place].reset_index(drop=True)
        frames = []
        for to in range(len(self.levels)):
            changed = self._as_member(frame, to) if self.values is not None else frame.copy()
            for proxy in proxies:
                number = proxy.column in asked.numbers and proxy.column in taught.numbers
                read, donors = (tidy_numbers, donors_of_numbers) if number else (tidy_words, donors_of_words)
                here, there = read(asked, proxy.column), read(taught, proxy.column)
                found = np.full(len(place), STAYS)
                for a in range(len(self.levels)):
                    rows = mine == a
                    if a != to and rows.any():
                        there_b = np.flatnonzero(others == to)
                        drawn = donors(here[rows], there[others == a], there[there_b], rng)
                        found[rows] = np.where(drawn == STAYS, STAYS, origin[there_b[drawn]])
                changed = _with_cells(changed, self.sample.inputs, proxy.column, found)
            frames.append(changed)
        return self._answers(place, frames)

    def _columns(self, part: NDArray[np.bool_]) -> Columns:
        from steelyard.probes.fairness.encoded import describing_columns

        try:
            return describing_columns(self.sample.features, self.rows[part], set(self.sample.groups))
        except NotApplicable as error:
            raise ProbeError(error.message) from None

    def _as_member(self, frame: pd.DataFrame, to: int) -> pd.DataFrame:
        """The rows with the attribute's column set to group `to`."""
        import numpy as np

        assert self.values is not None  # noqa: S101 (the caller asked)
        return _with_cells(frame, self.sample.inputs, self.attribute, np.full(len(frame), self.values[to]))

    def _answers(self, rows: NDArray[np.int64], frames: Sequence[Any]) -> Answers:
        import numpy as np

        decisions = np.stack([self.target.predict(frame) for frame in frames])
        scores: Any = None
        if self.sample.task is Task.REGRESSION:
            scores = decisions.astype(np.float64)
        elif self.sample.task is Task.BINARY and Capability.PREDICT_PROBA in self.target.capabilities:
            scores = np.stack([self.target.predict_proba(frame)[:, 1] for frame in frames])
        return Answers(rows=rows, decisions=decisions, scores=scores)


def _with_cells(frame: pd.DataFrame, source: pd.DataFrame, column: str, donors: NDArray[np.int64]) -> pd.DataFrame:
    """A copy of `frame` whose `column` has the cell of row `donors` of `source`, its own where that is -1."""
    import numpy as np
    import pandas as pd

    at = [str(name) for name in frame.columns].index(column)
    own, given = frame.iloc[:, at], source.iloc[np.maximum(donors, 0), at]
    n = len(own)
    pool = pd.concat([own, given], ignore_index=True).astype(own.dtype)
    changed = frame.copy()
    changed.isetitem(at, pool.iloc[np.where(donors >= 0, n, 0) + np.arange(n)].array)
    return changed


def _seen(
    inputs: pd.DataFrame, attribute: str, rows: NDArray[np.int64], codes: NDArray[np.int64], names: tuple[str, ...]
) -> tuple[tuple[int, ...] | None, str]:
    """One row of each group whose cell stands for it, or None and why the column does not tell the groups."""
    import numpy as np

    if attribute not in [str(name) for name in inputs.columns]:
        return None, "it is not among the inputs"
    column = inputs.iloc[:, [str(name) for name in inputs.columns].index(attribute)]
    words = np.array([str(value).strip() for value in column.iloc[rows]], dtype=object)
    found = []
    for j in range(len(names)):
        if len(set(words[codes == j])) != 1:
            return None, "the input column of that name holds other values than the groups"
        found.append(int(rows[np.flatnonzero(codes == j)[0]]))
    if len({words[codes == j][0] for j in range(len(names))}) < len(names):
        return None, "the input column of that name does not tell its groups apart"
    return tuple(found), ""
