"""Does the model hold on to its decision about a row longer where it was trained on it?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

from steelyard.audit.errors import ProbeError, SteelyardError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.privacy.readings import Readings, membership_specs
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    from typing import Any

    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.types import Modality

__all__ = ["LabelOnly", "robustness"]

ID = "privacy.label-only-membership"
ATTACK = "robustness"


class Decides(Protocol):
    """What the attack needs of a model."""

    def predict(self, inputs: Any) -> NDArray[Any]:
        """(n,) class codes."""
        ...


@dataclass(frozen=True, kw_only=True)
class LabelOnly(Probe):
    """Does the model hold on to its decision about a row longer where it was trained on it?

    For a model that gives decisions and no probabilities. A row's score is the share of `queries` noisy copies of it
    that get the row's own label, at strengths from 0 (the row itself) to `strength`: numbers moved by so many standard
    deviations of their column, words redrawn or dropped, pixels moved. Rows far inside their class, as training rows
    tend to be, keep it longer. Choquette-Choo et al. 2021, arXiv:2007.14321.

    Readings, positive control and groups are as in `privacy.membership`. `max_rows` rows of each table are asked,
    `queries` times each.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT, Capability.QUERY, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = membership_specs(ID)

    queries: int = 16
    strength: float = 1.0
    fprs: tuple[float, ...] = (0.01,)
    max_rows: int = 1_000
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the readings of the one attack."""
        import numpy as np

        from steelyard.probes.privacy.membership import check_rates
        from steelyard.probes.privacy.memoriser import believed, control
        from steelyard.probes.privacy.rows import inside_and_outside, known_labels, pooled
        from steelyard.probes.privacy.telling import tell

        check_rates(self.fprs)
        if self.queries < 2 or not self.strength > 0:
            raise ProbeError("the noise says nothing with under 2 queries or without strength", hint="queries: 16")
        inside, outside = inside_and_outside(sample, rng, self.max_rows)
        by = "id" if sample.training is not None and sample.training.ids is not None else "row of the training table"
        scribe = Scribe(probe=self, target=target.name)
        readings = Readings(scribe=scribe, inside=inside, fprs=self.fprs, level=self.level, by=by)
        planted = control(outside, rng)
        strengths = np.linspace(0.0, self.strength, self.queries)
        try:
            known = robustness(planted.model, planted.sample.inputs, sample.modality, planted.labels, strengths, rng)
            passed = believed(planted, known, ATTACK, level=self.level)
            pool = pooled(inside, outside)
            scores = robustness(target, pool.inputs, sample.modality, known_labels(pool), strengths, rng)
            told = tell(inside, outside, scores)
        except SteelyardError as error:
            yield readings.failed(ATTACK, error)
            return
        detail: dict[str, Scalar] = {"control_auc": passed, "queries": self.queries}
        yield from readings.of(ATTACK, told, rng, detail=detail)


def robustness(
    model: Decides,
    inputs: Any,
    modality: Modality,
    labels: NDArray[np.int64],
    strengths: NDArray[np.float64],
    rng: Generator,
) -> NDArray[np.float64]:
    """(n,) the share of noisy copies, one at each of `strengths`, that get the row's label (n,)."""
    import numpy as np

    from steelyard.probes.privacy.rows import disturbed

    kept = np.zeros(len(labels))
    for strength in strengths.tolist():
        copy = inputs if strength == 0 else disturbed(inputs, modality, strength, rng)
        kept += np.asarray(model.predict(copy)) == labels
    return kept / len(strengths)
