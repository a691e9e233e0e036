"""A `Sample` from what a notebook holds: X, y and groups as pandas or NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.audit.target import Sample
from steelyard.audit.types import Modality
from steelyard.models.data.columns import row_clusters, row_weights, without_missing_labels
from steelyard.models.data.groups import code_groups
from steelyard.models.data.outcome import read_outcome
from steelyard.models.data.sample import seal_sample

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["sample_from_arrays"]


def sample_from_arrays(
    X: Any,
    y: Any,
    groups: Any = None,
    *,
    positive: Any = None,
    task: str | None = None,
    weights: Any = None,
    clusters: Any = None,
    min_n: int = 30,
    split: str = "test",
) -> Sample:
    """The sample of `audit(model, X, y, groups=…)`.

    `X` is a data frame or an array of n rows (2-D is tabular, 3-D and 4-D are images); `y`, `weights` and `clusters`
    are n long; `groups` is a data frame, a Series, a mapping of names to columns, or an array (called "group", or
    "group_0", "group_1" …). Raises DataError where lengths differ, or as `build_sample` does.
    """
    import numpy as np
    import pandas as pd

    where = "the call"
    inputs = X if isinstance(X, pd.DataFrame) else np.asarray(X)
    if getattr(inputs, "ndim", 0) < 2:
        raise DataError(f"X has {getattr(inputs, 'ndim', 0)} dimensions", where=where, hint="give it rows and columns")
    n = len(inputs)
    if n == 0:
        raise DataError("X has no rows", where=where)
    named = _named_groups(groups)
    given = {f"groups[{name!r}]": value for name, value in named.items()}
    for name, value in {"y": y, "weights": weights, "clusters": clusters, **given}.items():
        _refuse_another_order(X, value, name)
    columns = {name: _column(value, n, f"groups[{name!r}]") for name, value in named.items()}
    for name in columns:
        if "*" in name:
            raise DataError(
                f"groups[{name!r}] holds '*', which joins the attributes of an intersection",
                where=where,
                hint="rename the column",
            )
    work = pd.DataFrame({"y": _column(y, n, "y").to_numpy()})
    kept_rows, dropped = without_missing_labels(work.reset_index(), "y", where=where)
    kept = kept_rows["index"].to_numpy()
    notes = [f"{dropped:,} rows have no label and are left out"] if dropped else []
    if dropped:
        inputs = inputs.iloc[kept] if isinstance(inputs, pd.DataFrame) else inputs[kept]
    outcome = read_outcome(
        kept_rows["y"], task=task, positive=positive, classes=None, label="y", where=where, notes=notes
    )
    return seal_sample(
        inputs,
        outcome=outcome,
        groups={str(k): code_groups(c.iloc[kept], attribute=str(k), where=where) for k, c in columns.items()},
        weights=None if weights is None else row_weights(_column(weights, n, "weights").iloc[kept], where=where),
        clusters=None if clusters is None else row_clusters(_column(clusters, n, "clusters").iloc[kept], where=where),
        ids=None,
        modality=Modality.TABULAR if inputs.ndim == 2 else Modality.IMAGE,
        split=split,
        min_n=min_n,
        notes=notes,
    )


def _named_groups(groups: Any) -> dict[str, Any]:
    import numpy as np
    import pandas as pd

    if groups is None:
        return {}
    if isinstance(groups, pd.DataFrame):
        if not groups.columns.is_unique:
            raise DataError("two columns of groups have one name", where="the call", hint="column names must differ")
        return {str(name): groups[name] for name in groups.columns}
    if isinstance(groups, Mapping):
        return {str(name): value for name, value in groups.items()}
    if isinstance(groups, pd.Series):
        return {"group" if groups.name is None else str(groups.name): groups}
    array = np.asarray(groups)
    if array.ndim == 2:
        return {f"group_{place}": array[:, place] for place in range(array.shape[1])}
    return {"group": array}


def _refuse_another_order(X: Any, values: Any, name: str) -> None:
    """Raise DataError where `values` has the index of `X` in another order: by place they would go to other rows."""
    import pandas as pd

    pandas = (pd.DataFrame, pd.Series)
    if not isinstance(X, pandas) or not isinstance(values, pandas) or len(X) != len(values):
        return
    mine, theirs = X.index, values.index
    if not mine.equals(theirs) and mine.is_unique and theirs.is_unique and theirs.isin(mine).all():
        hint = f"bring {name} into the order of X with .loc[X.index], or drop both indices with .reset_index(drop=True)"
        raise DataError(f"{name} has the index of X in another order", where="the call", hint=hint)


def _column(values: Any, n: int, name: str) -> pd.Series[Any]:
    """One column by position: an index of the caller's plays no part."""
    import numpy as np
    import pandas as pd

    if isinstance(values, pd.DataFrame) and values.shape[1] == 1:
        values = values.iloc[:, 0]
    if isinstance(values, pd.Series):
        column = values.reset_index(drop=True)
    else:
        array = np.asarray(values)
        array = array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
        if array.ndim != 1:
            raise DataError(f"{name} has {array.ndim} dimensions", where="the call", hint="one value for each row")
        column = pd.Series(array, name=name)
    if len(column) != n:
        raise DataError(f"{name} has {len(column):,} values, X has {n:,} rows", where="the call")
    return column
