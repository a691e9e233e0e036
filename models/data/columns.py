"""The columns that are not inputs, each checked for its role: label, weight, cluster, id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["label_missing", "numeric_label", "row_clusters", "row_ids", "row_weights", "without_missing_labels"]


def without_missing_labels(frame: pd.DataFrame, label: str, *, where: str) -> tuple[pd.DataFrame, int]:
    """The rows that have a label, and how many have not (missing or blank). Raises DataError where none has."""
    missing = label_missing(frame[label])
    count = int(missing.sum())
    if count == len(frame):
        raise DataError(f"the label {label!r} is missing in every row", where=where)
    return (frame[~missing].reset_index(drop=True), count) if count else (frame, 0)


def label_missing(labels: pd.Series[Any]) -> pd.Series[bool]:
    """(n,) where a label is missing, or is nothing but blanks."""
    missing = labels.isna()
    if labels.dtype == object or str(labels.dtype) in {"str", "string", "category"}:
        missing |= labels.astype(str).str.strip() == ""
    return missing


def numeric_label(labels: pd.Series[Any], *, label: str, where: str) -> NDArray[np.float64]:
    """(n,) finite float64. Raises DataError with the number of rows that are none."""
    values = _numbers(labels, label, where=where, meaning="a regression label")
    if values.min() == values.max():
        raise DataError(f"{label} is the same in every row", where=where, hint="there is nothing to predict")
    return values


def row_weights(column: pd.Series[Any], *, where: str) -> NDArray[np.float64]:
    """(n,) weights, finite and above 0. Raises DataError with the number of rows that are not."""
    values = _numbers(column, f"the weight {column.name!r}", where=where, meaning="a weight")
    bad = int((values <= 0).sum())
    if bad:
        raise DataError(
            f"the weight {column.name!r} is zero or negative in {bad:,} of {len(values):,} rows",
            where=where,
            hint="leave out rows that do not count",
        )
    return values


def row_clusters(column: pd.Series[Any], *, where: str) -> NDArray[np.int64]:
    """(n,) codes of the clusters, by first appearance. Raises DataError where one is missing."""
    import numpy as np
    import pandas as pd

    codes, _ = pd.factorize(column, use_na_sentinel=True)
    _refuse_missing(codes < 0, f"the cluster {column.name!r}", where)
    return np.asarray(codes, dtype=np.int64)


def row_ids(column: pd.Series[Any], *, where: str) -> NDArray[Any]:
    """(n,) row ids as text. Raises DataError where one is missing or there twice (naming ids, never other values)."""
    import numpy as np

    name = f"the id {column.name!r}"
    _refuse_missing(column.isna().to_numpy(), name, where)
    repeated = column[column.duplicated()].unique()
    if len(repeated):
        first = ", ".join(str(value) for value in repeated[:3])
        more = f" and {len(repeated) - 3:,} more" if len(repeated) > 3 else ""
        raise DataError(
            f"{name} is not unique: {len(repeated):,} ids stand in more than one row ({first}{more})",
            where=where,
            hint="remove the copies, or name the person with data.cluster",
        )
    return np.asarray(column.astype(str).to_numpy(dtype=object))


def _numbers(column: pd.Series[Any], name: str, *, where: str, meaning: str) -> NDArray[np.float64]:
    import numpy as np
    import pandas as pd

    values = pd.to_numeric(column.astype(object), errors="coerce").to_numpy(dtype=np.float64)
    bad = int((~np.isfinite(values)).sum())
    if bad:
        raise DataError(
            f"{name} is not a finite number in {bad:,} of {len(values):,} rows",
            where=where,
            hint=f"{meaning} must be one",
        )
    return values


def _refuse_missing(missing: NDArray[np.bool_], name: str, where: str) -> None:
    count = int(missing.sum())
    if count:
        raise DataError(
            f"{name} is missing in {count:,} of {len(missing):,} rows", where=where, hint="every row needs one"
        )
