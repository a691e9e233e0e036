"""A table of predictions of any size as counts: one entry for each combination of group values, label and decision.

DuckDB counts; the same code that reads rows then reads the combinations, so that a value means the same either way.
Sums of weights are taken of whole numbers (fixed point, 2^-60 of the largest weight), so that neither the order of the
rows nor the number of threads changes a bit of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from steelyard.audit.canonical import FrozenMap, digest
from steelyard.audit.errors import DataError, TargetError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality, Task
from steelyard.models.data.classes import infer_task
from steelyard.models.data.columns import label_missing
from steelyard.models.data.counting import Cells, Counting, Pairs
from steelyard.models.data.duck import open_duck
from steelyard.models.data.groups import code_groups
from steelyard.models.data.roles import Roles, find_roles
from steelyard.models.data.row_sample import ROWS, draw_rows
from steelyard.models.data.sample import find_outcome
from steelyard.models.data.table_size import column_names
from steelyard.models.data.tables import column_named
from steelyard.models.data.urls import Files

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

    from steelyard.models.data.score_bins import Histogram, Losses

__all__ = ["DEFAULT_THRESHOLD", "Reduced", "Spread", "reduce_table"]

DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """The scores: the least and the greatest, and how many are missing, NaN or infinite."""

    low: float
    high: float
    bad: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Reduced:
    """What a reduced sample knows of its rows, of which the files hold `total`. C entries, in the order of
    `Sample.inputs`.

    `rows` (C,) how many rows; `weights`, `squares` and `cubes` (C,) the sums of the weights, of their squares and of
    their cubes, None without weights; `pairs` is there with clusters. Sums over scores are asked of the files when a
    probe first wants them; pickled, it takes them along and leaves the files behind.
    """

    files: Files
    total: int
    counting: Counting
    cells: Cells = field(repr=False)
    rows: NDArray[np.int64] = field(repr=False)
    labels: NDArray[np.int64] | None = field(repr=False)
    weights: NDArray[np.float64] | None = field(repr=False)
    squares: NDArray[np.float64] | None = field(repr=False)
    cubes: NDArray[np.float64] | None = field(repr=False)
    pairs: Pairs | None = field(repr=False)
    spread: Spread | None
    plan: tuple[DataPart, TargetPart] = field(repr=False)
    classes: tuple[str, ...] = field(repr=False)
    seed: int
    _kept: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def has_scores(self) -> bool:
        """Whether a score is there for every row, and in [0, 1], and labels to hold it against."""
        spread = self.spread
        return (
            self.labels is not None and spread is not None and spread.bad == 0 and 0 <= spread.low <= spread.high <= 1
        )

    def losses(self) -> Losses:
        """Sums of the squared error and the log loss of each entry."""
        from steelyard.models.data.score_bins import ask_losses

        found: Losses = self._once("losses", ask_losses)
        return found

    def histogram(self, *, whole: bool) -> Histogram:
        """How many rows of each score bin: of each entry or, in finer bins, of all rows."""
        from steelyard.models.data.score_bins import ask_bins

        name = "whole" if whole else "bins"
        found: Histogram = self._once(name, lambda reduced: ask_bins(reduced, whole=whole))
        return found

    def sampled(self) -> Sample:
        """A simple random sample of the rows, drawn by the plan's `seed` when it is first wanted: as rows read whole.

        At most `row_sample.ROWS` of them. Its groups have the codes of its own values, and a group may be lacking; its
        last note says how many of how many rows it is. Answers for it are in the columns of its inputs. Raises
        DataError where the files have changed or what was drawn makes no sample.
        """
        data, target = self.plan
        found: Sample = self._once(
            "sampled",
            lambda reduced: draw_rows(
                reduced.files, reduced.total, data, target,
                classes=reduced.classes, seed=reduced.seed, source=reduced.counting.source,
            ),
        )  # fmt: skip
        return found

    def _once(self, name: str, make: Any) -> Any:
        if name not in self._kept:
            self._kept[name] = make(self)
        return self._kept[name]

    def __getstate__(self) -> dict[str, Any]:
        if self.has_scores:
            self.losses(), self.histogram(whole=True), self.histogram(whole=False)
        return {**self.__dict__, "_kept": {name: kept for name, kept in self._kept.items() if name != "sampled"}}


def reduce_table(
    files: Files, data: DataPart, target: TargetPart, *, classes: Sequence[str] | None, source: str, rows: int,
    seed: int = 0,
) -> Sample | None:  # fmt: skip
    """The sample of counts of `files`, or None where the task is not binary: such a table is read row by row.

    Raises DataError as `build_sample` does, and where the groups make more than `MOST_CELLS` combinations.
    """
    import pandas as pd

    notes: list[str] = []
    header = pd.DataFrame(columns=column_names(files))
    roles = find_roles(header, data, target, split="test", where=source, notes=notes)
    if data.task not in (None, "binary") or (classes is not None and len(classes) != 2):
        return None
    counting = _counting(header, roles, target, source)
    with open_duck(files) as duck:
        if data.task is None and not counting.glance(duck):
            return None
        cells = _with_labels(counting.count(duck), roles.label, source, notes)
        predicted = roles.label or counting.decision
        if predicted is not None and data.task is None and infer_task(cells.values[predicted]) is not Task.BINARY:
            return None
        counting.check(cells)
        counting.check_ids(duck)
        pairs = counting.pairs(duck, cells) if roles.cluster is not None else None
    return _sample(files, counting, cells, pairs, data, target, classes, notes, rows, seed)


def _counting(header: pd.DataFrame, roles: Roles, target: TargetPart, source: str) -> Counting:
    named = {
        key: column_named(header, name, key=f"target.{key}", where=source)
        for key, name in (("decision", target.decision), ("score", target.score))
        if name is not None
    }
    if not named:
        raise TargetError("names neither decision nor score", where="target", hint="name the column of decisions")
    threshold = DEFAULT_THRESHOLD if target.threshold is None else target.threshold
    return Counting(
        roles=roles, decision=named.get("decision"), score=named.get("score"), threshold=threshold, source=source
    )


def _with_labels(cells: Cells, label: str | None, source: str, notes: list[str]) -> Cells:
    if label is None:
        return cells
    missing = label_missing(cells.values[label]).to_numpy(dtype=bool)
    dropped = int(cells.rows[missing].sum())
    if missing.all():
        raise DataError(f"the label {label!r} is missing in every row", where=source)
    if dropped:
        notes.append(f"{dropped:,} rows of {source} have no {label!r} and are left out")
    return cells.take(~missing) if dropped else cells


def _sample(
    files: Files,
    counting: Counting,
    cells: Cells,
    pairs: Pairs | None,
    data: DataPart,
    target: TargetPart,
    classes: Sequence[str] | None,
    notes: list[str],
    total: int,
    seed: int,
) -> Sample:
    roles, source, rows = counting.roles, counting.source, cells.rows
    binary = data.model_copy(update={"task": "binary"})
    outcome = find_outcome(cells.values, roles.label, binary, target, classes=classes, where=source, notes=notes)
    compare = data.unknown == "compare"
    groups = {
        name: code_groups(cells.values[column], attribute=name, where=source, compare_unknown=compare)
        for name, column in roles.groups.items()
    }
    notes += [
        f"{int(rows[g.codes == g.unknown].sum()):,} rows have no {name!r} and are the group 'unknown'"
        for name, g in groups.items()
        if g.unknown >= 0
    ]
    put_to = f"a seeded sample of {ROWS:,} rows, and say so" if total > ROWS else "all rows"
    notes.append(
        f"{int(rows.sum()):,} rows were counted, not read one by one (data.reduce_above is {data.reduce_above:,}): "
        "counts and rates are exact; areas and bins of scores carry the error that is stated with them; questions "
        f"about single rows are put to {put_to}"
    )
    weighted = roles.weight is not None
    reduced = Reduced(
        files=files,
        total=total,
        counting=counting,
        cells=cells,
        rows=rows,
        labels=outcome.labels,
        weights=cells.sums["weight"].to_numpy(dtype=float) if weighted else None,
        squares=cells.sums["square"].to_numpy(dtype=float) if weighted else None,
        cubes=cells.sums["cube"].to_numpy(dtype=float) if weighted else None,
        pairs=pairs,
        spread=_spread(cells) if counting.score is not None else None,
        plan=(data, target),
        classes=outcome.classes,
        seed=seed,
    )
    content = {
        "reduced": files.digest(),
        "columns": [roles.label, list(roles.groups.items()), roles.weight, roles.cluster, counting.answer],
        "classes": outcome.classes,
    }
    return Sample(
        inputs=cells.values,
        labels=outcome.labels,
        task=outcome.task,
        modality=Modality.PREDICTIONS,
        fingerprint=digest(content),
        classes=outcome.classes,
        groups=FrozenMap(groups),
        weights=reduced.weights,
        min_n=data.min_n,
        notes=tuple(notes),
        answers=(counting.answer,),
        reduced=reduced,
    )


def _spread(cells: Cells) -> Spread:
    sums = cells.sums
    return Spread(low=float(sums["low"].min()), high=float(sums["high"].max()), bad=int(sums["bad_score"].sum()))
