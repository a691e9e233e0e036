"""How many questions does it take to copy the model?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.canonical import canonical_json
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Direction,
    Evidence,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Modality,
    Scalar,
    Task,
)
from steelyard.probes.privacy.extraction_surrogate import learn
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design

__all__ = ["Extraction", "control_answers", "features_of"]

ID = "privacy.extraction"
AGREEMENT, BASELINE, ADVANTAGE = f"{ID}.agreement", f"{ID}.baseline-agreement", f"{ID}.advantage"
SOURCE = "Jagielski et al. 2020, arXiv:1909.01838; Tramèr et al. 2016, arXiv:1609.02943"
NOT_SHOWN = (
    "what a better copy would reach: one that asks chosen questions, learns from scores, or knows the architecture"
)


def _spec(metric: str, definition: str, direction: Direction = Direction.LOWER, lower: float = 0.0) -> MetricSpec:
    return MetricSpec(
        id=metric, definition=definition, direction=direction, ideal=None if direction is Direction.NONE else 0.0,
        lower=lower, upper=1.0, source=SOURCE, not_shown=NOT_SHOWN, reading="attack",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Extraction(Probe):
    """How many questions does it take to copy the model?

    A surrogate learns from the model's decisions about `budget` rows. Agreement is the share of held-out rows that the
    two decide alike (fidelity, Jagielski et al. 2020), in [0, 1]; 1 is a full copy. Two models that are both right
    agree too, so beside it stands the agreement of the same learner taught the true labels of the same rows, which
    needs no questions at all: the advantage, paired by row, is what the answers gave away.

    Rows are the audited ones in a seeded order: half of them may be asked about, the other half is compared. A budget
    that they do not reach is inapplicable. The learner is gradient boosting on tables and logistic regression on pixels
    and words (`learner: auto`, boosting or logistic); another may copy better. It must first copy a rule that is one
    threshold on one input, or this is a Failure. The detail gives the share of the decision that the model makes most:
    agreement with it is no merit.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.LABELS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _spec(AGREEMENT, "share of held-out rows that the surrogate decides as the model does"),
        _spec(
            BASELINE,
            "share of held-out rows that a learner of the true labels of the same rows decides as the model does",
            Direction.NONE,
        ),
        _spec(ADVANTAGE, "agreement − baseline agreement, paired by row", lower=-1.0),
    )

    budgets: tuple[int, ...] = (100, 300, 1000, 3000)
    learner: str = "auto"
    max_rows: int = 8000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield agreement, baseline and advantage for each budget."""
        import numpy as np

        from steelyard.probes.fairness.drawn import canonical_rows
        from steelyard.probes.stats.linearised import Design

        if not self.budgets or min(self.budgets) < 2:
            raise ProbeError(f"budgets are {self.budgets}", hint="each asks about 2 rows or more")
        if sample.clusters is not None:
            raise NotApplicable("rows of one cluster would be both asked about and compared")
        tables = sample.modality is Modality.TABULAR
        learner = ("boosting" if tables else "logistic") if self.learner == "auto" else self.learner
        scribe = Scribe(probe=self, target=target.name)
        rows = canonical_rows(sample, rng, self.max_rows)
        seed = int(rng.integers(2**31))
        matrix, size = features_of(sample, rows), len(sample.classes)
        answers = np.asarray(target.predict(sample.inputs), dtype=np.int64)[rows]
        labels = np.asarray(sample.labels, dtype=np.int64)[rows]
        half = len(rows) // 2
        ask, held = np.arange(half), np.arange(half, len(rows))
        design = Design.of(sample).take(rows[held])
        reached = sorted({b for b in self.budgets if b <= half})
        if reached:
            self._check(learner, matrix, ask[: reached[-1]], held, seed)
        curve: list[dict[str, float]] = []
        for budget in sorted(set(self.budgets)):
            where: dict[str, Scalar] = {"budget": budget}
            if budget not in reached:
                why = f"{budget:,} queries need more rows: {half:,} are there to ask about, the others judge the copy"
                yield Inapplicable(
                    probe=self.id, target=target.name, reason=why, metrics=(AGREEMENT, BASELINE, ADVANTAGE)
                )
                continue
            asked = ask[:budget]
            guesses = [
                learn(learner, matrix[asked], codes[asked], size, seed).predict(matrix[held])
                for codes in (answers, labels)
            ]
            curve.append(
                {"budget": budget, **{str(i): float((g == answers[held]).mean()) for i, g in enumerate(guesses)}}
            )
            last = budget == reached[-1]
            yield from self._compared(
                scribe, learner, guesses, answers[held], where, design, tuple(curve) if last else ()
            )

    def _check(
        self, learner: str, matrix: NDArray[np.float64], asked: NDArray[np.int64], held: NDArray[np.int64], seed: int
    ) -> None:
        """The positive control: a threshold on one input is copied better than by its commoner answer."""
        from steelyard.probes.stats.intervals import clopper_pearson_lower

        rule = control_answers(matrix)
        right = learn(learner, matrix[asked], rule[asked], 2, seed).predict(matrix[held]) == rule[held]
        common = max(rule[held].mean(), 1 - rule[held].mean())
        if clopper_pearson_lower(int(right.sum()), len(held), 1 - self.level) <= common:
            raise ProbeError(
                f"the {learner} learner does not copy a threshold on one input with {len(asked)} questions",
                hint="larger budgets or more rows",
            )

    def _compared(
        self, scribe: Scribe, learner: str, guesses: list[NDArray[np.int64]], answers: NDArray[np.int64],
        where: dict[str, Scalar], design: Design, curve: tuple[dict[str, float], ...],
    ) -> Iterator[Finding]:  # fmt: skip
        import numpy as np

        from steelyard.probes.stats.means import mean, proportion

        alike = [guess == answers for guess in guesses]
        detail: dict[str, Scalar] = {
            "commonest_answer": float(np.bincount(answers).max() / len(answers)), "learner": learner,
        }  # fmt: skip
        evidence: tuple[Evidence, ...] = ()
        if curve:
            named = [{"budget": c["budget"], "agreement": c["0"], "baseline": c["1"]} for c in curve]
            evidence = (Evidence(name="extraction-curve", kind="json", data=canonical_json(named)),)
        found = {
            AGREEMENT: proportion(alike[0], design, level=self.level),
            BASELINE: proportion(alike[1], design, level=self.level),
            ADVANTAGE: mean(alike[0] * 1.0 - alike[1], design, level=self.level, lower=-1.0, upper=1.0),
        }
        for metric, measured in found.items():
            shown = evidence if metric == AGREEMENT else ()
            made = scribe.finding(metric, measured, where, detail=detail, evidence=shown)
            yield replace(made, reading="attack")


def control_answers(matrix: NDArray[np.float64]) -> NDArray[np.int64]:
    """(n,) 1 where the column that varies most evenly is above its median. ProbeError where no column varies."""
    import numpy as np

    above = matrix > np.median(matrix, axis=0)
    if not above.any():
        raise ProbeError("no input differs between rows, so there is nothing to copy a rule from")
    return above[:, int(np.abs(above.mean(axis=0) - 0.5).argmin())].astype(np.int64)


def features_of(sample: Sample, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """(rows, d) what a surrogate sees: encoded columns, pixels, or TF-IDF weights of the words of a text."""
    import numpy as np
    import pandas as pd

    from steelyard.probes.fairness.encoded import describing_columns, encode
    from steelyard.probes.fairness.templates import text_column

    if sample.modality is Modality.IMAGE:
        images = np.asarray(sample.inputs, dtype=np.float64)[rows]
        return images.reshape(len(images), -1)
    features = sample.features
    column = text_column(features, "") if sample.modality is Modality.TEXT else ""
    bare = sample.modality is Modality.TEXT and not isinstance(features, pd.DataFrame)
    if column or bare:
        from sklearn.feature_extraction.text import TfidfVectorizer

        texts = (pd.Series(features) if bare else features[column]).iloc[rows].fillna("").astype(str)
        words = TfidfVectorizer(max_features=1000, sublinear_tf=True).fit_transform(texts)
        return np.asarray(words.toarray(), dtype=np.float64)
    return encode(describing_columns(features, rows, set()))
