"""How many rows of a table have each combination of values? The questions put to DuckDB, and their answers checked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.models.data.duck import Duck, quoted
from steelyard.models.data.roles import Roles

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["MOST_CELLS", "Cells", "Counting", "Pairs", "all_rows", "joined", "numbered", "whole_sum"]

MOST_CELLS = 1_000_000
"""More combinations of groups, label and decision than this are no table of counts."""
_GLANCE = 100_000  # rows looked at to tell a yes/no label from a quantity
_BITS = 60  # sums of weights are sums of whole numbers: 2^-60 of the largest weight is 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Second moment over clusters: `value`[e] = sum over clusters of x_i x_j, i = `first`[e] <= j = `second`[e], where
    x_i is the (weighted) number of a cluster's rows in entry i. `units` is the number of clusters."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    value: NDArray[np.float64]
    units: int


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """C combinations: `keys` their values as DuckDB knows them, `values` the same by column name; `sums` by name."""

    keys: pa.Table
    values: pd.DataFrame
    sums: pd.DataFrame

    def take(self, rows: NDArray[np.bool_]) -> Cells:
        """Some of them, by mask."""
        import pyarrow as pa

        return Cells(
            keys=self.keys.filter(pa.array(rows)),
            values=self.values[rows].reset_index(drop=True),
            sums=self.sums[rows].reset_index(drop=True),
        )

    @property
    def rows(self) -> NDArray[np.int64]:
        """(C,) how many rows have the combination."""
        return self.sums["rows"].to_numpy(dtype="int64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Counting:
    """What is counted: the columns by their parts, and how a score decides where no column does."""

    roles: Roles
    decision: str | None
    score: str | None
    threshold: float
    source: str

    @property
    def answer(self) -> str:
        """The name of the column of decisions in the table of combinations."""
        return self.decision if self.decision is not None else f"{self.score} ≥ {self.threshold:g}"

    @property
    def columns(self) -> dict[str, str]:
        """SQL of each key by the name of its column: the groups, the label, the decision."""
        named = [*self.roles.groups.values(), self.roles.label, self.decision]
        found = {name: quoted(name) for name in named if name is not None}
        return found if self.decision is not None else {**found, self.answer: f"({self.number} >= $threshold)"}

    @property
    def number(self) -> str:
        """SQL of the score as a number; NULL where it is none."""
        return f"TRY_CAST({quoted(self.score or '')} AS DOUBLE)"

    @property
    def values(self) -> dict[str, Any]:
        """The parameters that the keys need."""
        return {} if self.decision is not None else {"threshold": self.threshold}

    def glance(self, duck: Duck, *, least: int = 3) -> bool:
        """Whether the first rows have no more than two values of what is predicted."""
        column = self.roles.label or self.decision
        if column is None:
            return True
        name = quoted(column)
        few = duck.ask(
            f"SELECT DISTINCT v FROM (SELECT {name} AS v FROM {duck.scan} LIMIT {_GLANCE}) "
            f"WHERE v IS NOT NULL AND trim(CAST(v AS VARCHAR)) NOT IN ('', 'nan') LIMIT {least}"
        )
        return bool(few.num_rows < least)

    def count(self, duck: Duck) -> Cells:
        """The combinations in ascending order. Raises DataError where there are none, or too many."""
        keys = {f"k{i}": sql for i, sql in enumerate(self.columns.values())}
        wanted = [f"{sql} AS {key}" for key, sql in keys.items()]
        places = ", ".join(str(i + 1) for i in range(len(keys)))
        answer = duck.ask(
            f"SELECT {', '.join([*wanted, *self._sums(duck)])} FROM {duck.scan} "
            f"GROUP BY {places} ORDER BY {places} LIMIT {MOST_CELLS + 1}",
            self.values,
        )
        if answer.num_rows == 0:
            raise DataError("has no rows", where=self.source)
        if answer.num_rows > MOST_CELLS:
            raise DataError(
                f"its groups make more than {MOST_CELLS:,} combinations with the label and the decision",
                where=self.source,
                hint="name columns with fewer groups, or cut numbers into bins first",
            )
        held = answer.select(list(keys))
        values = held.rename_columns(list(self.columns)).to_pandas()
        if duck.files.csv:
            texts = [name for name in values.columns if name != self.answer or self.decision is not None]
            values = values.assign(**{name: _read_as_csv(values[name]) for name in texts})
        return Cells(keys=held, values=values, sums=answer.drop_columns(list(keys)).to_pandas())

    def _sums(self, duck: Duck) -> list[str]:
        found = ["count(*) AS rows"]
        if self.score is not None:
            s = self.number
            found += [f"count(*) FILTER ({s} IS NULL OR NOT isfinite({s})) AS bad_score"]
            found += [f"min({s}) AS low", f"max({s}) AS high"]
        if self.roles.weight is not None:
            w, one = self.weight, self.unit(duck)
            usable = f"FILTER (isfinite({w}) AND {w} > 0)"
            found += [f"count(*) FILTER ({w} IS NULL OR NOT isfinite({w})) AS bad_weight"]
            found += [f"count(*) FILTER ({w} <= 0) AS idle_weight"]
            found += [
                f"{whole_sum(w, one, usable)} AS weight",
                f"{whole_sum(f'{w} * {w}', one * one, usable)} AS square",
                f"{whole_sum(f'{w} * {w} * {w}', one**3, usable)} AS cube",
            ]
        if self.roles.cluster is not None:
            found.append(f"count(*) FILTER ({self._no_cluster}) AS bad_cluster")
        return found

    @property
    def weight(self) -> str:
        """SQL of the weight as a number; NULL where it is none."""
        return f"TRY_CAST({quoted(self.roles.weight or '')} AS DOUBLE)"

    @property
    def _no_cluster(self) -> str:
        name = quoted(self.roles.cluster or "")
        return f"{name} IS NULL OR isnan(TRY_CAST({name} AS DOUBLE))"

    def unit(self, duck: Duck) -> float:
        """The power of two at or above the largest weight."""
        w = self.weight
        (most,) = duck.ask(f"SELECT max({w}) FILTER (isfinite({w}) AND {w} > 0) AS most FROM {duck.scan}")[
            "most"
        ].to_pylist()
        return 2.0 ** math.ceil(math.log2(most)) if most else 1.0

    def check(self, cells: Cells) -> None:
        """Raise DataError where a weight, a cluster or an id is missing or unfit, in the words of the row reader."""
        n, sums = int(cells.rows.sum()), cells.sums
        if self.roles.weight is not None:
            name = f"the weight {self.roles.weight!r}"
            bad, idle = int(sums["bad_weight"].sum()), int(sums["idle_weight"].sum())
            if bad:
                message = f"{name} is not a finite number in {bad:,} of {n:,} rows"
                raise DataError(message, where=self.source, hint="a weight must be one")
            if idle:
                message = f"{name} is zero or negative in {idle:,} of {n:,} rows"
                raise DataError(message, where=self.source, hint="leave out rows that do not count")
        if self.roles.cluster is not None and (bad := int(sums["bad_cluster"].sum())):
            message = f"the cluster {self.roles.cluster!r} is missing in {bad:,} of {n:,} rows"
            raise DataError(message, where=self.source, hint="every row needs one")

    def check_ids(self, duck: Duck) -> None:
        """Raise DataError where a row id is missing or there twice."""
        if self.roles.id is None:
            return
        name = quoted(self.roles.id)
        twice = duck.ask(
            f"SELECT count(*) AS ids, coalesce(sum(CAST(rows AS BIGINT)) FILTER (id IS NULL), 0) AS missing, "
            f"min(CAST(id AS VARCHAR)) AS least FROM "
            f"(SELECT {name} AS id, count(*) AS rows FROM {duck.scan} GROUP BY 1 "
            f"HAVING count(*) > 1 OR {name} IS NULL)"
        ).to_pylist()[0]
        if twice["missing"]:
            message = f"the id {self.roles.id!r} is missing in {int(twice['missing']):,} rows"
            raise DataError(message, where=self.source, hint="every row needs one")
        if twice["ids"]:
            raise DataError(
                f"the id {self.roles.id!r} is not unique: {twice['ids']:,} ids stand in more than one row "
                f"({twice['least']} …)",
                where=self.source,
                hint="remove the copies, or name the person with data.cluster",
            )

    def pairs(self, duck: Duck, cells: Cells) -> Pairs:
        """The second moment over clusters of the combinations `cells`."""
        duck.know("cells", numbered(cells.keys))
        size = "count(*)"
        if self.roles.weight is not None:
            size = whole_sum(self.weight, self.unit(duck))
        own = (
            f"WITH own AS MATERIALIZED (SELECT c.id, {quoted(self.roles.cluster or '')} AS cluster, {size} AS x "
            f"FROM {duck.scan} JOIN cells AS c ON {joined(list(self.columns.values()))} GROUP BY 1, 2) "
        )
        product = "sum(CAST(a.x AS HUGEINT) * b.x)"
        if self.roles.weight is not None:  # in order of size, or the last bits would depend on the threads
            product = "sum(a.x * b.x ORDER BY a.x * b.x)"
        found = duck.ask(
            f"{own} SELECT a.id AS i, b.id AS j, CAST({product} AS DOUBLE) AS v "
            "FROM own AS a JOIN own AS b ON a.cluster = b.cluster AND a.id <= b.id GROUP BY i, j ORDER BY i, j",
            self.values,
        )
        units = duck.ask(f"{own} SELECT count(DISTINCT cluster) AS units FROM own", self.values)
        return Pairs(
            first=found["i"].to_numpy(), second=found["j"].to_numpy(), value=found["v"].to_numpy(),
            units=int(units["units"][0].as_py()),
        )  # fmt: skip


def all_rows(duck: Duck) -> int:
    """How many rows the table has."""
    return int(duck.ask(f"SELECT count(*) AS n FROM {duck.scan}")["n"][0].as_py())


def _read_as_csv(texts: pd.Series[Any]) -> pd.Series[Any]:
    """What pandas makes of a column with these cells: every value there is stands in them, so it infers the same."""
    import io

    import pandas as pd

    held = io.StringIO(texts.to_frame("x").to_csv(index=False))
    return pd.read_csv(held, low_memory=False, index_col=False, skip_blank_lines=False)["x"]


def numbered(keys: pa.Table) -> pa.Table:
    """The combinations with their place as the column `id`."""
    import numpy as np
    import pyarrow as pa

    return keys.append_column("id", pa.array(np.arange(keys.num_rows, dtype=np.int64)))


def joined(columns: list[str]) -> str:
    """SQL that a row has the combination `c`; two missing values are the same."""
    return " AND ".join(f"{sql} IS NOT DISTINCT FROM c.k{i}" for i, sql in enumerate(columns))


def whole_sum(sql: str, unit: float, keep: str = "") -> str:
    """SQL of the sum of `sql`, each at most `unit`, in whole numbers of 2^-60 `unit`: the same in any order."""
    one = f"{2.0**_BITS / unit!r}::DOUBLE"
    return f"CAST(sum(CAST({sql} * {one} AS HUGEINT)) {keep} AS DOUBLE) / {one}"
