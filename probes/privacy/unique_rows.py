"""Can a row be told apart from all others by what an outsider may know of a person?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Direction,
    Estimate,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Modality,
    Normal,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe
from steelyard.probes.stats.means import Measured

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Classes", "UniqueRows", "equivalence_classes", "label_diversity"]

ID = "privacy.unique-rows"
K, UNIQUE, SMALL, RISK = f"{ID}.k", f"{ID}.unique", f"{ID}.small-classes", f"{ID}.mean-risk"
DISTINCT, ENTROPY, HOMOGENEOUS = f"{ID}.l-distinct", f"{ID}.l-entropy", f"{ID}.homogeneous"
SWEENEY = "Sweeney 2002, DOI 10.1142/S0218488502001648"
MACHANAVAJJHALA = "Machanavajjhala et al. 2007, DOI 10.1145/1217299.1217302"
NOT_SHOWN = (
    "whether an outsider knows these columns of anybody, or others; nor whether a row that is alone in this table is"
    " alone in the population"
)
COUNTED = "counted over the rows of this table: exact, no sampling error"


def _share(metric: str, definition: str, source: str) -> MetricSpec:
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=1.0, source=source,
        not_shown=NOT_SHOWN,
    )  # fmt: skip


def _size(metric: str, definition: str, source: str) -> MetricSpec:
    """There is no ideal: the larger the better, without end."""
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.NONE, lower=1.0, source=source, not_shown=NOT_SHOWN
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Classes:
    """Rows that agree in every quasi-identifier: `code` (n,) the class of a row, `size` (classes,) its rows."""

    code: NDArray[np.int64]
    size: NDArray[np.int64]

    @property
    def of_row(self) -> NDArray[np.int64]:
        """(n,) how many rows share a row's values, itself among them."""
        return self.size[self.code]


@dataclass(frozen=True, kw_only=True)
class UniqueRows(Probe):
    """Can a row be told apart from all others by what an outsider may know of a person?

    Rows that agree in every quasi-identifier form a class. k is the size of the smallest (k-anonymity, Sweeney 2002);
    a row alone in its class is unique, one in a class smaller than the setting `k` is unique or nearly so; 1 / (class
    size) is the chance of a right guess by someone who knows the values, and its mean over rows is classes / n.
    Diversity of the label within classes (Machanavajjhala et al. 2007): l-distinct is the fewest labels in a class,
    l-entropy the least exp(H(label | class)), homogeneous the share of rows in classes whose rows all have one label,
    so that knowing the class tells the label.

    `columns` names the quasi-identifiers. Left out, they are all groups of the plan and every input of at most
    `max_levels` values, as if the outsider knew a lot; the detail names them. A missing value is a value.
    Read over the training rows where there are any, and over the audited rows. Numbers are exact for the table in hand,
    so that a gate's tolerance must lie off the value (min: 4.5 asks for k of 5 or more). No content is shown: findings
    and evidence hold counts.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability]] = frozenset({Capability.PREDICT})
    about_data: ClassVar[bool] = True
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _size(K, "fewest rows that agree with one another in all quasi-identifiers; larger is safer", SWEENEY),
        _share(UNIQUE, "share of rows that no other row agrees with in all quasi-identifiers", SWEENEY),
        _share(SMALL, "share of rows in classes of fewer than k rows, k the setting", SWEENEY),
        _share(RISK, "mean over rows of 1 / (rows that agree with it) = classes / n", SWEENEY),
        _size(DISTINCT, "min over classes of the number of different labels in it; larger is safer", MACHANAVAJJHALA),
        _size(ENTROPY, "min over classes of exp(entropy of the label in it); larger is safer", MACHANAVAJJHALA),
        _share(HOMOGENEOUS, "share of rows in classes of at least 2 rows that all have one label", MACHANAVAJJHALA),
    )  # fmt: skip

    columns: tuple[str, ...] = ()
    k: int = 5
    max_levels: int = 100
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the sizes of the classes and the diversity of the label in them, for each table."""
        if self.k < 2:
            raise ProbeError(f"k is {self.k}", hint="a class of one is unique: k is 2 or more")
        if sample.modality not in (Modality.TABULAR, Modality.PREDICTIONS):
            raise NotApplicable(f"{sample.modality.value} inputs have no columns that an outsider could know")
        tables = {"test": sample} if sample.training is None else {"train": sample.training, "test": sample}
        for split, table in tables.items():
            yield from self._table(Scribe(probe=self, target=target.name), split, table)

    def _table(self, scribe: Scribe, split: str, table: Sample) -> Iterator[Finding | Failure | Inapplicable]:
        import numpy as np

        where: dict[str, Scalar] = {"split": split}
        try:
            frame = quasi_identifiers(table, self.columns, self.max_levels)
        except ProbeError as error:
            yield scribe.failure(tuple(spec.id for spec in self.metrics), where, error)
            return
        classes = equivalence_classes(frame)
        of_row, n = classes.of_row, len(classes.code)
        detail: dict[str, Scalar] = {
            "columns": ", ".join(map(str, frame.columns)),
            "chosen_by": "the plan" if self.columns else f"groups and inputs of at most {self.max_levels} values",
            "classes": len(classes.size),
            "unique_rows": int((of_row == 1).sum()),
        }
        sizes, counts = np.unique(classes.size, return_counts=True)
        table_of_sizes = {"class_size": sizes.tolist(), "classes": counts.tolist(), "rows": n}
        evidence = Evidence(name=f"class-sizes-{split}", kind="json", data=canonical_json(table_of_sizes))
        yield scribe.finding(K, self._exact(int(of_row.min()), n), where, detail=detail, evidence=(evidence,))
        yield scribe.finding(UNIQUE, self._exact(float((of_row == 1).mean()), n), where, detail=detail)
        small: dict[str, Scalar] = {"k": self.k, **detail}
        yield scribe.finding(SMALL, self._exact(float((of_row < self.k).mean()), n), where, detail=small)
        yield scribe.finding(RISK, self._exact(len(classes.size) / n, n), where, detail=detail)
        if table.labels is None or table.task is Task.REGRESSION:
            why = "the rows have no label" if table.labels is None else "the label is a number, which has no classes"
            yield Inapplicable(
                probe=self.id, target=scribe.target, reason=why, metrics=(DISTINCT, ENTROPY, HOMOGENEOUS)
            )
            return
        distinct, entropy = label_diversity(classes, np.asarray(table.labels), len(table.classes))
        yield scribe.finding(DISTINCT, self._exact(int(distinct.min()), n), where, detail=detail)
        yield scribe.finding(ENTROPY, self._exact(max(float(np.exp(entropy.min())), 1.0), n), where, detail=detail)
        told = (distinct[classes.code] == 1) & (of_row > 1)
        yield scribe.finding(HOMOGENEOUS, self._exact(float(told.mean()), n), where, detail=detail)

    def _exact(self, value: float, n: int) -> Measured:
        estimate = Estimate(value=value, low=value, high=value, level=self.level, n=n, method=COUNTED)
        return Measured(estimate=estimate, basis=Normal(value=value, se=0.0, df=math.inf))


def quasi_identifiers(table: Sample, columns: Sequence[str], max_levels: int) -> pd.DataFrame:
    """The columns that an outsider may know: those named, else groups and inputs of at most `max_levels` values.

    A group of the plan goes under its attribute's name. Raises ProbeError for a name that is not there, or with none.
    """
    import numpy as np
    import pandas as pd

    features = table.features
    inputs = features if isinstance(features, pd.DataFrame) else pd.DataFrame(np.asarray(features))
    known: dict[str, Any] = {str(name): inputs.iloc[:, place].array for place, name in enumerate(inputs.columns)}
    groups = {name: group.codes for name, group in table.groups.items()}
    for name in columns:
        if name not in known and name not in groups:
            hint = f"there are {', '.join([*groups, *known][:12])}"
            raise ProbeError(f"no column is called {name!r}", hint=hint)
    if columns:
        return pd.DataFrame({name: known.get(name, groups.get(name)) for name in columns})
    few = {name: values for name, values in known.items() if name not in groups and _few(values, max_levels)}
    chosen = {**groups, **few}
    if not chosen:
        raise ProbeError(f"no input has at most {max_levels} values, and there are no groups", hint="name the columns")
    return pd.DataFrame(chosen)


def _few(values: Any, most: int) -> bool:
    import pandas as pd

    return pd.Series(values).nunique(dropna=False) <= most


def equivalence_classes(frame: pd.DataFrame) -> Classes:
    """Classes of rows (n, columns) that agree in every column; missing values agree with each other.

    Column by column the classes so far are split by the next one's codes, and renumbered before they can overflow:
    O(n log n) a column, whatever the number of combinations.
    """
    import numpy as np
    import pandas as pd

    code: NDArray[np.int64] = np.zeros(len(frame), dtype=np.int64)
    count = 1
    for place in range(frame.shape[1]):
        own, levels = pd.factorize(frame.iloc[:, place], use_na_sentinel=True)
        own = np.where(own < 0, len(levels), own).astype(np.int64)
        code = code * (len(levels) + 1) + own
        found, code = np.unique(code, return_inverse=True)
        count = len(found)
    return Classes(code=code.astype(np.int64), size=np.bincount(code, minlength=count).astype(np.int64))


def label_diversity(
    classes: Classes, labels: NDArray[np.int64], size: int
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """For each class the number of different labels and their entropy in nats, (classes,) each; `size` labels exist."""
    import numpy as np

    cells, counts = np.unique(classes.code * size + labels, return_counts=True)
    owner = cells // size
    share = counts / classes.size[owner]
    distinct = np.bincount(owner, minlength=len(classes.size)).astype(np.int64)
    entropy = np.bincount(owner, weights=-share * np.log(share), minlength=len(classes.size))
    return distinct, np.maximum(entropy, 0.0)
