"""The rows of an attribute inference: members and others, what is known of them, and the guesses made of the rest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.privacy.extraction_surrogate import Learnt, learn

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Sample
    from steelyard.probes.stats.linearised import Design

__all__ = ["Answer", "Arm", "Known", "arrange", "gains", "memoriser"]

Answer = Callable[[Any], "NDArray[np.float64]"]  # inputs → (n, classes) probabilities


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """Rows that are guessed about: inputs, label codes (n,), the attribute's true codes (n,), features (n, d)."""

    inputs: pd.DataFrame
    labels: NDArray[np.int64]
    truth: NDArray[np.int64]
    matrix: NDArray[np.float64]
    design: Design


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What an attacker has: `levels` the attribute can take, two imputers learnt on rows of other people.

    `prior` guesses it from the other features, `imputer` from these and the label. `members` and `others` are the rows
    to guess, `classes` the number of the model's classes.
    """

    attribute: str
    levels: tuple[Any, ...]
    prior: Learnt
    imputer: Learnt
    members: Arm
    others: Arm
    classes: int


def arrange(sample: Sample, attribute: str, rng: Generator, *, learner: str, max_rows: int, max_levels: int) -> Known:
    """Half of the audited rows teach the imputers; the other half and as many training rows are guessed about.

    Rows in which the attribute is missing are left out. Raises ProbeError where it has fewer than two values, or more
    than `max_levels`, or where too few rows are left.
    """
    import numpy as np
    import pandas as pd

    from steelyard.probes.fairness.drawn import canonical_rows
    from steelyard.probes.fairness.encoded import describing_columns, encode
    from steelyard.probes.stats.linearised import Design

    train = sample.training
    assert train is not None  # noqa: S101 (required by the probe)
    seed = int(rng.integers(2**31))
    picked = [_with_value(part, attribute, canonical_rows(part, rng, part.n))[:max_rows] for part in (train, sample)]
    levels = _levels(train.inputs.iloc[picked[0]][attribute], sample.inputs.iloc[picked[1]][attribute], max_levels)
    least = min(len(rows) for rows in picked)
    if least < 4 * max(sample.min_n // 2, 10):
        raise ProbeError(f"{least} rows with a value of {attribute} are too few", hint="more rows")
    frames = [part.inputs.iloc[rows] for part, rows in zip((train, sample), picked, strict=True)]
    common = [name for name in frames[1].columns if name in frames[0].columns]
    both = pd.concat([frame[common] for frame in frames], ignore_index=True)
    matrix = encode(describing_columns(both, np.arange(len(both)), {attribute}))
    codes = pd.Categorical(both[attribute], categories=list(levels)).codes.astype(np.int64)
    labels = np.concatenate([_labels(part)[rows] for part, rows in zip((train, sample), picked, strict=True)])
    label_columns = np.eye(len(sample.classes))[labels]

    m, n = len(picked[0]), len(picked[1])
    aux, rest = np.arange(m, m + n // 2), np.arange(m + n // 2, m + n)
    size = len(levels)
    known = codes[aux]
    with_label = np.column_stack([matrix, label_columns])
    arms = [
        Arm(
            inputs=frame,
            labels=labels[rows],
            truth=codes[rows],
            matrix=with_label[rows],
            design=Design.of(part).take(own),
        )
        for rows, part, own, frame in (
            (np.arange(m), train, picked[0], frames[0]),
            (rest, sample, picked[1][n // 2 :], frames[1].iloc[n // 2 :]),
        )
    ]
    return Known(
        attribute=attribute,
        levels=levels,
        prior=learn(learner, matrix[aux], known, size, seed),
        imputer=learn(learner, with_label[aux], known, size, seed),
        members=arms[0],
        others=arms[1],
        classes=len(sample.classes),
    )


def _labels(sample: Sample) -> NDArray[np.int64]:
    import numpy as np

    return np.asarray(sample.labels, dtype=np.int64)


def _with_value(sample: Sample, attribute: str, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    import numpy as np

    there = np.asarray(sample.inputs[attribute].notna(), dtype=np.bool_)
    return np.asarray(rows[there[rows]])


def _levels(first: pd.Series[Any], second: pd.Series[Any], most: int) -> tuple[Any, ...]:
    import pandas as pd

    found = pd.concat([first, second]).unique().tolist()
    if not 2 <= len(found) <= most:
        raise ProbeError(f"it has {len(found)} values; 2 to {most} can be guessed", hint="raise max_levels")
    return tuple(sorted(found, key=lambda value: (str(type(value)), value)))


def gains(known: Known, arm: Arm, answer: Answer, floor: float) -> NDArray[np.float64]:
    """(n,) +1 where the model's answers make a wrong imputation right, −1 where they make a right one wrong, else 0.

    The attack takes the a that maximises prior(a | x) · max(p(y | x, a), floor): Bayes' rule with the model as the
    likelihood of the label. An honest model adds what the imputer with the label knows already; one that has the row by
    heart is surer of y at the true a.
    """
    import numpy as np

    width = arm.matrix.shape[1] - known.classes
    prior = known.prior.proba(arm.matrix[:, :width])
    likelihood = np.empty_like(prior)
    for code, level in enumerate(known.levels):
        asked = arm.inputs.copy()
        asked[known.attribute] = _filled(asked[known.attribute], level)
        likelihood[:, code] = answer(asked)[np.arange(len(asked)), arm.labels]
    attack = (np.log(np.maximum(prior, 1e-6)) + np.log(np.maximum(likelihood, floor))).argmax(axis=1)
    imputed = known.imputer.predict(arm.matrix)
    return np.asarray((attack == arm.truth) * 1.0 - (imputed == arm.truth))


def _filled(column: pd.Series[Any], level: Any) -> pd.Series[Any]:
    import pandas as pd

    return pd.Series([level] * len(column), index=column.index, dtype=column.dtype)


def memoriser(known: Known) -> Answer:
    """The positive control: a model that is sure of every training row's label, and knows only shares otherwise."""
    import numpy as np
    import pandas as pd

    arm = known.members
    keys = pd.util.hash_pandas_object(arm.inputs, index=False).to_numpy()
    order = np.argsort(keys, kind="stable")
    sorted_keys, sorted_labels = keys[order], arm.labels[order]
    shares = np.bincount(arm.labels, minlength=known.classes) / len(arm.labels)

    def answer(inputs: Any) -> NDArray[np.float64]:
        asked = pd.util.hash_pandas_object(inputs[list(arm.inputs.columns)].astype(arm.inputs.dtypes), index=False)
        place = np.minimum(np.searchsorted(sorted_keys, asked.to_numpy()), len(keys) - 1)
        hit = sorted_keys[place] == asked.to_numpy()
        sure = np.full((len(asked), known.classes), 0.01 / max(known.classes - 1, 1))
        sure[np.arange(len(asked)), sorted_labels[place]] = 0.99
        return np.where(hit[:, None], sure, shares)

    return answer
