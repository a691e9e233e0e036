"""Do test rows repeat training rows?"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Data,
    Direction,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Modality,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

__all__ = ["Duplicates", "Twins", "twins"]

ID = "privacy.duplicates"
EXACT, NEAR, WITHIN = f"{ID}.exact", f"{ID}.near", f"{ID}.within-training"
SOURCE = "Lee et al. 2022, arXiv:2107.06499; Facco et al. 2017, DOI 10.1038/s41598-017-11873-y"
NOT_SHOWN = "whether two rows that agree are one person: in a table of few columns people agree by chance"


def _spec(metric: str, definition: str) -> MetricSpec:
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=1.0, source=SOURCE,
        not_shown=NOT_SHOWN,
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Twins:
    """`exact` and `near` (n test,): has a row an equal, or a nearly equal training row? `repeated` (n train,): does it
    repeat an earlier training row? `near` is None where it has no meaning, and `method` says how it was found, or why.
    """

    exact: NDArray[np.bool_]
    near: NDArray[np.bool_] | None
    repeated: NDArray[np.bool_]
    method: str


@dataclass(frozen=True, kw_only=True)
class Duplicates(Probe):
    """Do test rows repeat training rows?

    Share of test rows whose inputs equal those of a training row, share of those that nearly do, and share of training
    rows that repeat an earlier one; each in [0, 1], 0 is clean. A repeated test row flatters every figure of quality,
    and a repeated training row is the one that models memorise: Lee et al. 2022.

    Near: in tables, the same words and numbers within `tolerance` standard deviations; among images, thumbnails with
    brightness and contrast taken out that differ by at most `image_tolerance` (0 to 2); in both, nearer than the
    distances about the row make likely (one independent row in 10,000 at most, where points lie evenly). In texts, at
    least `overlap` of the runs of three words in common. A row is exact or near, never both. Labels play no part.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Data]] = frozenset({Data.TRAINING})
    about_data: ClassVar[bool] = True
    tasks: ClassVar[frozenset[Task]] = frozenset(Task)
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _spec(EXACT, "share of test rows whose inputs are those of a training row"),
        _spec(NEAR, "share of test rows whose inputs are nearly, and not exactly, those of a training row"),
        _spec(WITHIN, "share of training rows whose inputs are those of an earlier training row"),
    )

    tolerance: float = 0.01
    image_tolerance: float = 0.3
    overlap: float = 0.8
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the three shares."""
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import proportion

        train = sample.training
        if train is None:
            raise NotApplicable("there are no training rows to compare with")
        scribe = Scribe(probe=self, target=target.name)
        found = twins(train, sample, self)
        design = Design.of(sample)
        detail: dict[str, Scalar] = {"rows": int(found.exact.sum()), "training_rows": len(found.repeated)}
        yield scribe.finding(EXACT, proportion(found.exact, design, level=self.level), {}, detail=detail)
        if found.near is None:
            yield Inapplicable(probe=self.id, target=target.name, reason=found.method, metrics=(NEAR,))
        else:
            detail = {"rows": int(found.near.sum()), "training_rows": len(found.repeated), "how": found.method}
            yield scribe.finding(NEAR, proportion(found.near, design, level=self.level), {}, detail=detail)
        within = proportion(found.repeated, Design.of(train), level=self.level)
        yield scribe.finding(WITHIN, within, {}, detail={"rows": int(found.repeated.sum())})


def twins(train: Sample, test: Sample, settings: Duplicates) -> Twins:
    """What repeats what, by the kind of the inputs. Raises ProbeError where the two have no input in common."""
    if test.modality is Modality.IMAGE:
        return _image_twins(train, test, settings)
    first, second = _frame(train), _frame(test)
    common = [name for name in second.columns if name in set(first.columns)]
    if not common:
        raise ProbeError("the training rows and the test rows have no column in common")
    first, second = first[common], second[common]
    exact, repeated = _equal_rows(first, second)
    if test.modality is Modality.TEXT or len(common) == 1:
        column = _text_column(second, wanted=test.modality is Modality.TEXT)
        if column:
            return _text_twins(first[column], second[column], exact, repeated, settings)
    return _table_twins(first, second, exact, repeated, settings)


def _frame(sample: Sample) -> pd.DataFrame:
    import numpy as np
    import pandas as pd

    features = sample.features
    if not isinstance(features, pd.DataFrame):
        features = pd.DataFrame(np.asarray(features).reshape(len(features), -1))
    return features.set_axis([str(name) for name in features.columns], axis=1).reset_index(drop=True)


def _text_column(frame: pd.DataFrame, *, wanted: bool) -> str:
    from steelyard.probes.fairness.templates import text_column

    found = text_column(frame, "")
    return str(frame.columns[0]) if not found and wanted and len(frame.columns) == 1 else found


def _equal_rows(train: pd.DataFrame, test: pd.DataFrame) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    import numpy as np
    import pandas as pd

    from steelyard.probes.privacy.unique_rows import equivalence_classes

    code = equivalence_classes(pd.concat([train, test], ignore_index=True)).code
    return np.isin(code[len(train) :], code[: len(train)]), _later(code[: len(train)])


def _later(code: NDArray[Any]) -> NDArray[np.bool_]:
    """(n,) whether an equal one stands before."""
    import numpy as np

    later = np.ones(len(code), dtype=np.bool_)
    later[np.unique(code, return_index=True)[1]] = False
    return later


def _text_twins(
    train: pd.Series[Any],
    test: pd.Series[Any],
    exact: NDArray[np.bool_],
    repeated: NDArray[np.bool_],
    settings: Duplicates,
) -> Twins:
    from steelyard.probes.privacy.duplicates_texts import near_texts

    near = near_texts(train.fillna("").astype(str).tolist(), test.fillna("").astype(str).tolist(), settings.overlap)
    how = f"at least {settings.overlap:g} of the runs of three words in common"
    return Twins(exact=exact, near=near & ~exact, repeated=repeated, method=how)


def _table_twins(
    train: pd.DataFrame,
    test: pd.DataFrame,
    exact: NDArray[np.bool_],
    repeated: NDArray[np.bool_],
    settings: Duplicates,
) -> Twins:
    import numpy as np
    import pandas as pd

    from steelyard.probes.privacy.duplicates_near import near_table

    numbers = tuple(
        name
        for name in test.columns
        if pd.api.types.is_numeric_dtype(test[name].dtype)
        and pd.api.types.is_numeric_dtype(train[name].dtype)
        and not pd.api.types.is_bool_dtype(train[name].dtype)
    )
    if not numbers:
        return Twins(
            exact=exact, near=None, repeated=repeated, method="no column of numbers, in which rows could be near"
        )
    near = np.zeros(len(test), dtype=np.bool_)
    rest = np.flatnonzero(~exact)
    ratio = 0.0
    if len(rest):
        near[rest], ratio = near_table(train, test.iloc[rest], numbers, settings.tolerance)
    how = f"same words, numbers within {settings.tolerance:g} SD and {ratio:.2g} of the distance to the next row"
    return Twins(exact=exact, near=near, repeated=repeated, method=how)


def _image_twins(train: Sample, test: Sample, settings: Duplicates) -> Twins:
    import numpy as np

    from steelyard.probes.privacy.duplicates_near import near_images

    known, asked = _digests(train.inputs), _digests(test.inputs)
    exact = np.isin(asked, known)
    near, ratio = near_images(train.inputs, test.inputs, settings.image_tolerance)
    how = f"thumbnails within {settings.image_tolerance:g} and {ratio:.2g} of the distance to the next image"
    return Twins(exact=exact, near=near & ~exact, repeated=_later(known), method=how)


def _digests(images: Any) -> NDArray[Any]:
    """(n,) a digest of each image's values."""
    import numpy as np

    plain = np.ascontiguousarray(np.asarray(images, dtype=np.float64))
    return np.array([hashlib.sha256(image.tobytes()).hexdigest() for image in plain])
