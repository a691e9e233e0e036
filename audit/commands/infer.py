"""What do the columns of a table mean? Guesses from names and values, each of them told to the person who asked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import PlanError
from steelyard.audit.plan_source import did_you_mean

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Meaning", "infer"]

LABELS = (
    "label", "target", "y", "y_true", "true_label", "outcome", "income", "class", "two_year_recid", "is_recid", "recid",
    "repaid", "default", "churn", "survived", "readmitted",
)  # fmt: skip
GROUPS = frozenset({
    "sex", "gender", "race", "rac1p", "ethnicity", "ethnic_group", "age_group", "age_cat", "age_band", "age_range",
    "nationality", "national_origin", "religion", "disability", "sexual_orientation", "veteran_status", "caste",
})  # fmt: skip
DECISIONS = (
    "decision", "prediction", "predicted", "predicted_label", "pred", "y_pred", "yhat", "y_hat", "approved", "accepted",
    "hired", "selected", "shortlisted", "admitted", "granted",
)  # fmt: skip
SCORES = (
    "score", "y_score", "probability", "prob", "proba", "y_prob", "y_proba", "pred_proba", "predicted_probability", "p",
    "p_positive", "risk_score",
)  # fmt: skip
IDS = ("id", "row_id", "uid", "uuid")
PEOPLE = ("person_id", "person", "patient_id", "customer_id", "client_id", "user_id", "applicant_id", "subject_id")
WEIGHTS = ("sample_weight", "survey_weight", "weight", "pwgtp")
FAVOURABLE = (
    ">50k",
    "yes",
    "true",
    "approved",
    "accepted",
    "granted",
    "good",
    "positive",
    "pos",
    "hired",
    "repaid",
    "1",
)
ADVERSE = re.compile(r"recid|default|fraud|churn|denied|reject|bad|risk|readmit|attrition")
MOST_GROUPS = 50
MOST_CLASSES = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Meaning:
    """What the columns were taken for. `favourable` is None where nothing says which of the two `values` it is.

    `assumed` are guesses to look over, `missing` what could not be guessed.
    """

    label: str | None
    values: tuple[Any, ...]
    favourable: Any
    share: float | None
    groups: tuple[str, ...]
    decision: str | None
    score: str | None
    id: str | None
    cluster: str | None
    weight: str | None
    task: str | None
    assumed: tuple[str, ...]
    missing: tuple[str, ...]


def infer(
    frame: pd.DataFrame, *, label: str | None, groups: Sequence[str] | None, has_model: bool, where: str
) -> Meaning:
    """Guess the roles of the columns. Raises PlanError where a column that is named is not there."""
    names = [str(column).strip() for column in frame.columns]
    if len(set(names)) < len(names):  # two columns that differ in blanks alone
        names = [str(column) for column in frame.columns]
    label = label.strip() if label else None
    groups = [name.strip() for name in groups] if groups is not None else None
    table = frame.set_axis(names, axis=1)
    for name in [*([label] if label else []), *(groups or [])]:
        if name not in names:
            raise PlanError(
                f"has no column {name!r}", where=where, hint=did_you_mean(name, names, f"it has {names[:8]}")
            )
    guess = _Guess(table)
    found_groups = tuple(groups) if groups is not None else guess.groups()
    decision = score = None
    if not has_model:
        decision, score = guess.decision(label), guess.score()
    found_label = label or guess.label({*found_groups, decision, score}, decision, score)
    if found_label is not None and not table[found_label].notna().any():
        raise PlanError(f"the column {found_label!r} has no value in any row", where=where, hint="name another --label")
    task, values = _task(table[found_label]) if found_label else (None, ())
    if task == "regression" and not has_model:  # what a model says of a number is a number
        decision, score = None, guess.number(found_label)
    id_, cluster = guess.identity({*found_groups, decision, score, found_label})
    favourable = _favourable(values) if task == "binary" else None
    meaning = Meaning(
        label=found_label,
        values=values,
        favourable=favourable,
        share=_largest_share(table[found_label]) if found_label and task in {"binary", "multiclass"} else None,
        groups=found_groups,
        decision=decision,
        score=score,
        id=id_,
        cluster=cluster,
        weight=guess.first(WEIGHTS),
        task=task,
        assumed=(),
        missing=(),
    )
    return _with_remarks(meaning, given_label=label, given_groups=groups)


class _Guess:
    """The columns of one table by their plain names."""

    def __init__(self, table: pd.DataFrame) -> None:
        self._table = table
        self._plain = {re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_"): name for name in reversed(table.columns)}

    def first(self, wanted: Sequence[str]) -> str | None:
        return next((self._plain[name] for name in wanted if name in self._plain), None)

    def groups(self) -> tuple[str, ...]:
        named = {self._plain[name] for name in self._plain if name in GROUPS}
        return tuple(c for c in self._table.columns if c in named and 2 <= self._table[c].nunique() <= MOST_GROUPS)

    def label(self, taken: set[str | None], decision: str | None, score: str | None) -> str | None:
        """The true outcome. Where the table holds decisions it has their values; beside a probability it has two."""
        free = {c: self._table[c].nunique() for c in self._table.columns if c not in taken}
        named = [c for c in (self._plain.get(plain) for plain in LABELS) if c is not None and free.get(c, 0) >= 2]
        binary = [c for c, values in free.items() if values == 2]
        fitting = binary
        if decision is not None:
            values = self._values(decision)
            fitting = [c for c, n in free.items() if n == len(values) and self._values(c) == values]
        if decision is not None or score is not None:
            named = [c for c in named if c in fitting] or [*reversed(fitting)] or named
        return next(iter([*named, *reversed(binary)]), None)

    def _values(self, column: str) -> set[str]:
        return {str(value).strip() for value in self._table[column].dropna().unique()}

    def number(self, label: str | None) -> str | None:
        """The column with what a model said of a label that is a number."""
        for plain in (*DECISIONS, *SCORES):
            name = self._plain.get(plain)
            if name is None or name == label or self._table[name].dtype.kind not in "fiu":
                continue
            if self._table[name].nunique() > MOST_CLASSES:
                return name
        return None

    def decision(self, label: str | None) -> str | None:
        for plain in DECISIONS:
            name = self._plain.get(plain)
            if name is not None and name != label and 2 <= self._table[name].nunique() <= MOST_CLASSES:
                return name
        return None

    def score(self) -> str | None:
        for plain in SCORES:
            name = self._plain.get(plain)
            if name is None or self._table[name].dtype.kind not in "fiu":
                continue
            values = self._table[name].dropna()
            if len(values) and values.min() >= 0 and values.max() <= 1 and values.nunique() > 2:
                return name
        return None

    def identity(self, taken: set[str | None]) -> tuple[str | None, str | None]:
        """A column that tells rows apart, and one that says which rows are of one person."""
        own = self.first(IDS)
        person = self.first(PEOPLE)
        if person is not None and self._table[person].is_unique:
            own, person = own or person, None
        if own is not None and (own in taken or not self._table[own].is_unique or self._table[own].hasnans):
            own = None
        return own, person if person not in taken else None


def _task(column: pd.Series[Any]) -> tuple[str, tuple[Any, ...]]:
    present = column.dropna()
    values = tuple(present.drop_duplicates().tolist()[: MOST_CLASSES + 1])
    if len(values) == 2:
        return "binary", tuple(sorted(values, key=str))
    if present.dtype.kind in "fiu" and (len(values) > MOST_CLASSES or any(v % 1 for v in values)):
        return "regression", ()
    return "multiclass", ()


def _favourable(values: tuple[Any, ...]) -> Any:
    if set(values) == {0, 1}:
        return max(values)
    known = [v for v in values if str(v).strip().rstrip(".").lower() in FAVOURABLE]
    return known[0] if len(known) == 1 else None


def _largest_share(column: pd.Series[Any]) -> float:
    return float(column.value_counts(normalize=True).iloc[0])


def _with_remarks(meaning: Meaning, *, given_label: str | None, given_groups: Sequence[str] | None) -> Meaning:
    from dataclasses import replace

    assumed, missing = [], []
    if meaning.label is None:
        missing.append("no column looks like the true outcome; name it with data.label, or --label")
    elif given_label is None:
        assumed.append(f"{meaning.label!r} is the true outcome")
    if meaning.task == "binary" and meaning.favourable is None:
        shown = " or ".join(repr(value) for value in meaning.values)
        missing.append(f"which value of {meaning.label!r} is favourable, {shown}: write it as data.positive")
    elif meaning.favourable is not None:
        doubt = ", although its name sounds adverse" if ADVERSE.search(str(meaning.label).lower()) else ""
        assumed.append(f"{meaning.favourable!r} is the favourable value of {meaning.label!r}{doubt}")
    if not meaning.groups:
        missing.append("no column looks like a protected attribute; name them in data.groups, or with --groups")
    elif given_groups is None:
        assumed.append(f"the protected attributes are {', '.join(meaning.groups)}")
    for key, column in (("decision", meaning.decision), ("score", meaning.score)):
        if column is not None:
            assumed.append(f"{column!r} is the {key} of the model under audit")
    if meaning.cluster is not None:
        assumed.append(f"rows with one {meaning.cluster!r} are of one person")
    return replace(meaning, assumed=tuple(assumed), missing=tuple(missing))
