"""Does the model tell an attribute of the people it was trained on, beyond what anybody could guess?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Direction,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["AttributeInference", "mean_difference"]

ID = "privacy.attribute-inference"
ADVANTAGE, LEAK = f"{ID}.advantage", f"{ID}.member-advantage"
SOURCE = "Jayaraman and Evans 2022, arXiv:2209.01292; Fredrikson et al. 2015, DOI 10.1145/2810103.2813677"
NOT_SHOWN = "what another attack finds, or an attacker who knows more of the training rows"


def _spec(metric: str, definition: str) -> MetricSpec:
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.LOWER, ideal=0.0, lower=-2.0, upper=2.0, source=SOURCE,
        not_shown=NOT_SHOWN, reading="attack",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AttributeInference(Probe):
    """Does the model tell an attribute of the people it was trained on, beyond what anybody could guess?

    The attacker knows a person's other features and label, may ask the model, and guesses the attribute A: the value a
    that maximises P(a | x) · p(y | x, a), p the model's answer and P an imputer learnt on other people (Fredrikson et
    al. 2015, with a prior per row). Beside it stands an imputer without the model, P(a | x, y), learnt on the same
    rows: most published attacks do no better than that (Jayaraman and Evans 2022).

    advantage: share of rows guessed right with the model − share imputed right, on training rows and on others; in
    [−1, 1]. What it gains on both it has learnt of the population. member-advantage: the first minus the second, which
    only the training rows can have told; 0 is no leak. Rows of a pair are the same people, so intervals are paired.

    `attributes` names input columns; left out, those of the plan's groups that the model takes as inputs: of an
    attribute that it never saw it can tell no more than the label does. The same attack is first run on a model that
    has every training row by heart; where it finds nothing there, this is a Failure and says nothing of the candidate.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT_PROBA, Capability.QUERY, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _spec(ADVANTAGE, "share of rows whose attribute is guessed right with the model − share imputed without it"),
        _spec(LEAK, "advantage on training rows − advantage on other rows"),
    )  # fmt: skip

    attributes: tuple[str, ...] = ()
    learner: str = "boosting"
    max_rows: int = 4000
    max_levels: int = 10
    floor: float = 0.001
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield for each attribute the advantage on members and on others, and their difference."""
        import pandas as pd

        train = sample.training
        if train is None or train.labels is None:
            raise NotApplicable("it needs labelled training rows (data.train)")
        if not isinstance(sample.inputs, pd.DataFrame):
            raise NotApplicable("it guesses one column of a row from the others, and the inputs have no named columns")
        scribe = Scribe(probe=self, target=target.name)
        wanted = self.attributes or tuple(sample.groups)
        if not wanted:
            raise NotApplicable("no attribute is named, and the plan has no groups", hint="the setting `attributes`")
        seed = int(rng.integers(2**53))
        for attribute in wanted:
            where: dict[str, Scalar] = {"attribute": attribute}
            if attribute not in sample.inputs.columns or attribute not in train.inputs.columns:
                if self.attributes:
                    yield scribe.failure((ADVANTAGE, LEAK), where, f"no input column is called {attribute!r}")
                    continue
                yield Inapplicable(
                    probe=self.id, target=target.name, metrics=(ADVANTAGE, LEAK),
                    reason=f"{attribute} is not an input: the model never saw it",
                )  # fmt: skip
                continue
            try:
                yield from self._attribute(scribe, target, sample, attribute, seed)
            except ProbeError as error:
                yield scribe.failure((ADVANTAGE, LEAK), where, error)

    def _attribute(
        self, scribe: Scribe, target: Target, sample: Sample, attribute: str, seed: int
    ) -> Iterator[Finding]:
        from steelyard.audit.canonical import generator
        from steelyard.probes.privacy.attribute_inference_rows import arrange, gains, memoriser
        from steelyard.probes.stats.means import mean

        known = arrange(
            sample, attribute, generator(seed, attribute), learner=self.learner, max_rows=self.max_rows,
            max_levels=self.max_levels,
        )  # fmt: skip
        designs = known.members.design, known.others.design
        control = memoriser(known)
        planted = [gains(known, arm, control, self.floor) for arm in (known.members, known.others)]
        found = mean_difference(planted[0], planted[1], *designs, level=self.level)
        if found.estimate.low is None or found.estimate.low <= 0:
            reason = f"the attack does not find {attribute} in a model that has every training row by heart"
            raise ProbeError(reason, hint="the imputation is right about nearly everybody, or the rows are too few")
        gained = [gains(known, arm, target.predict_proba, self.floor) for arm in (known.members, known.others)]
        detail: dict[str, Scalar] = {
            "control": found.estimate.value, "learner": self.learner, "values": len(known.levels),
            "imputed_right": float((known.imputer.predict(known.members.matrix) == known.members.truth).mean()),
        }  # fmt: skip
        where: dict[str, Scalar] = {"attribute": attribute}
        for split, values, design in zip(("train", "test"), gained, designs, strict=True):
            measured = mean(values, design, level=self.level, lower=-1.0, upper=1.0)
            yield _attack(scribe.finding(ADVANTAGE, measured, {**where, "split": split}, detail=detail))
        leak = mean_difference(gained[0], gained[1], *designs, level=self.level)
        yield _attack(scribe.finding(LEAK, leak, where, detail=detail))


def _attack(finding: Finding) -> Finding:
    return replace(finding, reading="attack")


def mean_difference(
    first: NDArray[np.float64], second: NDArray[np.float64], one: Design, two: Design, *, level: float
) -> Measured:
    """Mean of `first` minus mean of `second`, values in [−1, 1] of different rows: Welch's t interval.

    Where neither varies, the exact bound over the smaller arm.
    """
    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import linear, unseen

    whole = Design(n=one.n + two.n)
    a, b = one.average(first), two.average(second)
    parts = [design.variance(values - mean) for design, values, mean in ((one, first, a), (two, second, b))]
    if not any(parts):
        return unseen(a - b, 2.0, min(one.kish, two.kish), whole, level=level, lower=-2.0, upper=2.0)
    spread = sum(part**2 / (design.units - 1) for part, design in zip(parts, (one, two), strict=True))
    return linear(
        a - b, sum(parts), sum(parts) ** 2 / spread, whole, level=level, lower=-2.0, upper=2.0,
        method="difference of means over different rows, Welch's t",
    )  # fmt: skip
