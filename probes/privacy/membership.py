"""Do the model's probabilities tell the rows it was trained on from others?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError, SteelyardError
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
from steelyard.probes.privacy.readings import Readings, membership_specs
from steelyard.probes.privacy.scores import THRESHOLD_ATTACKS, logit_confidence
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.privacy.memoriser import Control

__all__ = ["Membership", "check_rates"]

ID = "privacy.membership"
QUANTILE = "quantile-regression"


@dataclass(frozen=True, kw_only=True)
class Membership(Probe):
    """Do the model's probabilities tell the rows it was trained on from others?

    Each attack gives every training row (a member) and every held-out row a score that is higher where the row seems to
    be a member: `loss`, `gap`, `confidence`, `entropy`, `modified-entropy` (formulas: `probes/privacy/scores.py`), and
    `quantile-regression`, which compares the score with its quantiles given the features (Bertran et al. 2023,
    arXiv:2307.03694). None trains a model like the target. `gap` says "member where the answer is right": its advantage
    is the generalisation gap, beside which the others show what more there is.

    AUC with DeLong's interval; TPR at each false-positive rate of `fprs`, whose threshold comes from half of the
    held-out rows; advantage and balanced accuracy at the best threshold of one half, judged on the other; the rates of
    groups. Each attack must first succeed on a model that remembers its rows (`control_auc`), or it is a failure.

    `blind-auc` is what a classifier finds that sees features and label but not the model: above 0.5 the two tables
    differ by themselves, and part of what the attacks find is that. At most `max_rows` rows of each table are asked.
    Rows of one cluster count as one; survey weights do not count, since an attack meets rows and not a population.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT_PROBA, Capability.QUERY, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        *membership_specs(ID),
        MetricSpec(
            id=f"{ID}.blind-auc",
            definition="AUC of a classifier that tells training rows from held-out ones by features and label, without"
            " the model (gradient boosting, taught by one half of the rows); 0.5 where the two tables are alike",
            direction=Direction.NONE,
            ideal=0.5,
            lower=0.0,
            upper=1.0,
            source="Das, Zhang and Tramèr 2024, arXiv:2406.16201",
            not_shown="whether the model leaks: it is not asked",
        ),
    )

    attacks: tuple[str, ...] = (*THRESHOLD_ATTACKS, QUANTILE)
    fprs: tuple[float, ...] = (0.001, 0.01)
    max_rows: int = 20_000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the blind baseline, then every attack's readings."""
        import numpy as np

        from steelyard.probes.privacy.blind import blind_auc
        from steelyard.probes.privacy.memoriser import believed, control
        from steelyard.probes.privacy.rows import Encoder, inside_and_outside, known_labels
        from steelyard.probes.privacy.telling import tell
        from steelyard.probes.quality.outputs import ask_proba

        check_rates(self.fprs)
        unknown = [name for name in self.attacks if name not in (*THRESHOLD_ATTACKS, QUANTILE)]
        if unknown or not self.attacks:
            known = ", ".join((*THRESHOLD_ATTACKS, QUANTILE))
            raise ProbeError(f"{', '.join(unknown) or 'nothing'} is no attack", hint=f"attacks: {known}")
        scribe = Scribe(probe=self, target=target.name)
        inside, outside = inside_and_outside(sample, rng, self.max_rows)
        by = "id" if sample.training is not None and sample.training.ids is not None else "row of the training table"
        readings = Readings(scribe=scribe, inside=inside, fprs=self.fprs, level=self.level, by=by)
        blind = scribe.attempt(f"{ID}.blind-auc", {}, lambda: blind_auc(inside, outside, rng, level=self.level))
        yield blind
        beside: dict[str, Scalar] = {"blind_auc": blind.estimate.value} if isinstance(blind, Finding) else {}
        labels = np.concatenate([known_labels(inside), known_labels(outside)])
        proba = np.concatenate([ask_proba(target, inside), ask_proba(target, outside)])
        planted = control(outside, rng)
        for name in self.attacks:
            try:
                passed = believed(planted, _on_control(name, planted, rng), name, level=self.level)
                if name == QUANTILE:
                    encoder = Encoder.fit(outside)
                    features = np.concatenate([encoder(inside.inputs), encoder(outside.inputs)])
                    scores = _quantiles(features, proba, labels, len(inside.inputs), rng)
                else:
                    scores = THRESHOLD_ATTACKS[name](proba, labels)
                told = tell(inside, outside, scores)
            except SteelyardError as error:
                yield readings.failed(name, error)
                continue
            detail: dict[str, Scalar] = {**beside, "control_auc": passed}
            yield from readings.of(name, told, rng, detail=detail, binary=name == "gap")


def check_rates(fprs: tuple[float, ...]) -> None:
    """ProbeError unless every false-positive rate lies between 0 and 1."""
    wrong = [rate for rate in fprs if not 0 < rate < 1]
    if wrong:
        raise ProbeError(f"a false-positive rate is {wrong[0]:g}", hint="fprs: each between 0 and 1, such as 0.01")


def _on_control(name: str, planted: Control, rng: Generator) -> NDArray[np.float64]:
    """The attack's scores on the control, in the order of its rows."""
    import numpy as np

    proba = planted.model.predict_proba(planted.sample.inputs)
    if name != QUANTILE:
        return THRESHOLD_ATTACKS[name](proba, planted.labels)
    order = np.concatenate([np.flatnonzero(planted.member), np.flatnonzero(~planted.member)])
    features = planted.model.encoder(planted.sample.inputs)[order]
    found = _quantiles(features, proba[order], planted.labels[order], int(planted.member.sum()), rng)
    scores = np.empty(len(order))
    scores[order] = found
    return scores


def _quantiles(
    features: NDArray[np.float64],
    proba: NDArray[np.float64],
    labels: NDArray[np.int64],
    members: int,
    rng: Generator,
) -> NDArray[np.float64]:
    """The quantile attack on rows of which the first `members` are members; the label is a feature too."""
    import numpy as np

    from steelyard.probes.privacy.quantiles import quantile_scores

    seen = np.column_stack([features, labels.astype(np.float64)])
    return quantile_scores(seen, logit_confidence(proba, labels), np.arange(len(labels)) < members, rng)
