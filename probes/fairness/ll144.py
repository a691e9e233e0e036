"""What does New York City's Local Law 144 ask an employer to publish about this tool?"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, MetricSpec, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

PREFIX = "fairness.ll144."
RULE = "6 RCNY § 5-300 (definitions)"
NOT_SHOWN = "whether a difference is lawful, due to chance or justified: the rule sets no pass mark"
SCORES = ("scoring-rate", "scoring-impact-ratio")
SELECTIONS = ("selection-rate", "impact-ratio")


def _spec(
    name: str, definition: str, direction: Direction, ideal: float | None, source: str, *, upper: float = 1.0
) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=definition, direction=direction, ideal=ideal, lower=0.0, upper=upper,
        source=source, not_shown=NOT_SHOWN, reading="disclosure",
    )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LocalLaw144(Probe):
    """What does New York City's Local Law 144 ask an employer to publish about this tool?

    The rule (6 RCNY 5-300 to 5-304) asks for selection rates, or scoring rates where the tool gives scores, and impact
    ratios, by sex, by race/ethnicity and by both together; for the number of people in no known category; and lets a
    category with less than 2 % of the data be left out of the ratio, with a reason, while its count and rate stay. It
    asks for no interval and sets no pass mark: the intervals are ours, and a gate on any of this reads "reported".

    `sex` and `race` name the attributes; with neither every attribute and every pair of them is laid out. `exclude`
    leaves categories with less than the share `exclude_below` out of the ratio; `justification` is the reason given.
    """

    id: ClassVar[str] = "fairness.ll144"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.REGRESSION})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        _spec(
            "selection-rate",
            "P(ŷ = 1 | g): those of a category who are selected, divided by all who applied in it",
            Direction.NONE, None, RULE,
        ),
        _spec(
            "impact-ratio",
            "selection rate of a category divided by that of the most selected category; at most 1",
            Direction.HIGHER, 1.0, RULE,
        ),
        _spec(
            "scoring-rate",
            "P(score > median | g): those of a category who score above the median of the whole sample, which the"
            " interval takes as given",
            Direction.NONE, None, RULE,
        ),
        _spec(
            "scoring-impact-ratio",
            "scoring rate of a category divided by that of the highest scoring category; at most 1",
            Direction.HIGHER, 1.0, RULE,
        ),
        _spec(
            "unknown",
            "how many rows are of no known category of an attribute, and so in none of its figures",
            Direction.NONE, None, "6 RCNY § 5-301(b), § 5-303", upper=float("inf"),
        ),
    )  # fmt: skip

    reads_counts: ClassVar[bool] = True

    sex: str = ""
    race: str = ""
    exclude: bool = True
    exclude_below: float = 0.02
    justification: str = "a ratio would rest on too few people"
    level: float = 0.95
    draws: int = 2000

    needs_every_row: ClassVar[bool] = True

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: not with clusters. Its tables are of all rows or of none."""
        return sample.reduced.pairs is None

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the unknown counts, then every category's rate and ratio, table by table."""
        from steelyard.probes.fairness.categories import Categories

        scopes = self._scopes(sample)
        seed = int(rng.integers(2**53))
        outcomes: dict[tuple[str, str], NDArray[np.bool_]] = {}
        if sample.task is Task.BINARY:
            outcomes[SELECTIONS] = target.predict(sample.inputs) == 1
        else:
            yield self._inapplicable(target, SELECTIONS, "the tool gives scores and selects no one", ())
        scores = None if sample.reduced is not None else _scores(target, sample)
        if sample.reduced is not None and Capability.PREDICT_PROBA in target.capabilities:
            reason = "the scores were counted, not read one by one; a larger data.reduce_above reads them"
            yield self._inapplicable(target, SCORES, reason, ("rows",))
        elif scores is None:
            reason = "the tool gives decisions but no scores"
            yield self._inapplicable(target, SCORES, reason, (Capability.PREDICT_PROBA.value,))
        else:
            outcomes[SCORES] = scores > median(scores, sample.weights)
        for names in scopes:
            categories = Categories.of(self, target.name, sample, names, seed)
            yield from categories.unknown()
            for metrics, outcome in outcomes.items():
                yield from categories.measure(metrics, outcome)

    def _scopes(self, sample: Sample) -> list[tuple[str, ...]]:
        """Sex, race/ethnicity and their intersection; or all attributes and their pairs."""
        named = [name for name in (self.sex, self.race) if name]
        for name in named:
            if name not in sample.groups:
                raise ProbeError(
                    f"there is no attribute {name!r} in the data",
                    hint=f"the attributes are: {', '.join(sample.groups)}",
                )
        chosen = [name for name in sample.groups if not named or name in named]
        return [(name,) for name in chosen] + list(combinations(chosen, 2))

    def _inapplicable(
        self, target: Target, metrics: tuple[str, ...], reason: str, missing: tuple[str, ...]
    ) -> Inapplicable:
        ids = tuple(f"{PREFIX}{name}" for name in metrics)
        return Inapplicable(probe=self.id, target=target.name, reason=reason, missing=missing, metrics=ids)


def _scores(target: Target, sample: Sample) -> NDArray[np.float64] | None:
    from steelyard.probes.quality.outputs import ask, ask_proba

    if sample.task is Task.REGRESSION:
        scores: NDArray[np.float64] = ask(target, sample).decisions.astype(float)
        return scores
    return ask_proba(target, sample)[:, 1] if Capability.PREDICT_PROBA in target.capabilities else None


def median(scores: NDArray[np.float64], weights: NDArray[np.float64] | None) -> float:
    """The median of the whole sample; under weights the least score with half of the weight at or below it."""
    import numpy as np

    if weights is None:
        return float(np.median(scores))
    order = np.argsort(scores, kind="stable")
    reached = np.cumsum(weights[order])
    return float(scores[order][np.searchsorted(reached, reached[-1] / 2 * (1 - 1e-12))])
