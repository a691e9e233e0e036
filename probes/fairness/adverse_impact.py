"""Would a labour inspector see adverse impact in these decisions?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Contrasts,
    Data,
    Direction,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Reading,
    Scalar,
    Task,
)
from steelyard.probes.fairness.between_groups import Statistic, count_table, measure, scopes
from steelyard.probes.fairness.inspection import Inspection, reading_of_rule

if TYPE_CHECKING:
    from numpy.random import Generator

PREFIX = "fairness.adverse-impact."
GUIDELINES = "Uniform Guidelines on Employee Selection Procedures 1978, 29 CFR 1607.4(D)"
CHOICE = "the group compared with has the highest rate in these very rows, so chance alone makes others look worse"
NOT_SHOWN = f"whether the decisions are right or justified by the job; {CHOICE}"
TESTED = "of a group against the plan's reference group, or where the plan names none the group with the highest rate"


def _spec(
    name: str,
    definition: str,
    direction: Direction,
    ideal: float | None,
    source: str,
    *,
    lower: float = 0.0,
    upper: float = float("inf"),
    reading: Reading = "measurement",
    not_shown: str = NOT_SHOWN,
) -> MetricSpec:
    return MetricSpec(
        id=f"{PREFIX}{name}", definition=definition, direction=direction, ideal=ideal, lower=lower, upper=upper,
        source=source, not_shown=not_shown, reading=reading,
    )  # fmt: skip


METRICS = (
    _spec("rate", "P(ŷ = 1 | g): the share of group g that is selected", Direction.NONE, None, GUIDELINES, upper=1.0),
    _spec(
        "ratio",
        "min over groups g of P(ŷ = 1 | g), divided by the max: the four-fifths rule reads it as it stands against 0.8",
        Direction.HIGHER, 1.0, GUIDELINES, upper=1.0,
    ),
    _spec(
        "impact-ratio",
        "P(ŷ = 1 | g) divided by the largest of the groups; at most 1",
        Direction.HIGHER, 1.0, GUIDELINES, upper=1.0,
    ),
    _spec(
        "groups-below",
        "how many groups have an impact ratio below 0.8, read literally, with no regard to chance",
        Direction.LOWER, 0.0, GUIDELINES, reading="disclosure",
    ),
    _spec(
        "standard-deviations",
        "(p_ref − p_g) / sqrt(p (1 − p) (1/n_g + 1/n_ref)), p the pooled rate: by how many standard deviations the "
        f"selections fall short, {TESTED}",
        Direction.LOWER, 0.0, "Castaneda v. Partida, 430 U.S. 482 (1977), note 17: more than two or three",
        lower=float("-inf"), reading="disclosure",
    ),
    _spec(
        "p-value",
        "two-sided p of equal selection rates, by the pooled Z, or by Fisher's exact test where both groups together "
        f"have fewer than 30 rows or an expected count is below 5, {TESTED}",
        Direction.NONE, None, "Fisher 1935, doi:10.2307/2342435", upper=1.0, reading="disclosure",
    ),
    _spec(
        "selections-to-flip",
        "the least number of selections that, moved from the reference group to group g, bring its ratio to 0.8; 0 "
        "where it is there already",
        Direction.NONE, None, "Uniform Guidelines, Questions and Answers 1979, 44 FR 11996, no. 21",
        reading="disclosure",
    ),
    _spec(
        "common-odds-ratio",
        "Σ a d / N divided by Σ b c / N over the strata of the control (Mantel-Haenszel): the odds of selection of "
        "group g over those of the reference group, within strata",
        Direction.HIGHER, 1.0, "Mantel & Haenszel 1959, doi:10.1093/jnci/22.4.719",
        not_shown="whether the control is itself fair, or whether the odds ratio is the same in every stratum",
    ),
    _spec(
        "cmh-p-value",
        "p of equal selection rates within every stratum of the control: Cochran-Mantel-Haenszel chi-square, 1 degree "
        "of freedom, no continuity correction",
        Direction.NONE, None, "Mantel & Haenszel 1959, doi:10.1093/jnci/22.4.719", upper=1.0, reading="disclosure",
        not_shown="whether the control is itself fair, or impacts of opposite sign in different strata",
    ),
    _spec(
        "smd",
        "(mean score of the reference group − mean score of group g) / SD, where the SD is pooled within the two "
        "groups: Cohen's d",
        Direction.LOWER, 0.0, "Cohen 1988, Statistical Power Analysis, 2nd ed.", lower=float("-inf"),
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class AdverseImpact(Probe):
    """Would a labour inspector see adverse impact in these decisions?

    The four-fifths rule (29 CFR 1607.4(D)) compares each group's selection rate with that of the group with the highest
    rate, as a point ratio with 0.8; beside it stands the simultaneous interval that a gate is judged by. The two-SD
    rule (pooled Z), Fisher's exact test for few cases, the Cochran-Mantel-Haenszel test within the strata of a control,
    the number of selections that would flip the conclusion, and the standardised difference of the scores follow.
    The group with the highest rate is chosen on the same rows: the intervals and the adjusted p-values beside each
    literal one allow for that, the literal ones do not. Says nothing about whether a difference is justified.

    `control` names a feature whose values are the strata; a number with more than ten values is cut at its quantiles
    into `control_bins`. `level`, `draws`, `pairwise` and `depth` as in `fairness.selection-rate`.
    """

    id: ClassVar[str] = "fairness.adverse-impact"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    reads_counts: ClassVar[bool] = True

    level: float = 0.95
    draws: int = 2000
    pairwise: bool = False
    depth: int = 2
    control: str = ""
    control_bins: int = 5

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Yield the joint ratios, then for each attribute and intersection the groups against the highest rate."""
        table = count_table(self, target, sample)
        seed = int(rng.integers(2**53))
        for row in measure(
            self, target, sample, table,
            rates={f"{PREFIX}rate": "selection-rate"},
            statistics=(Statistic(metric=f"{PREFIX}ratio", rates=("selection-rate",), form="ratio"),),
            seed=seed, level=self.level, draws=self.draws, pairwise=self.pairwise, depth=self.depth,
        ):  # fmt: skip
            yield _literal(row)
        if sample.reduced is not None and Capability.PREDICT_PROBA in target.capabilities:
            yield Inapplicable(
                probe=self.id, target=target.name, missing=("rows",), metrics=(f"{PREFIX}smd",),
                reason="the scores were counted, not read one by one: see fairness.scores, which draws rows",
            )  # fmt: skip
        elif Capability.PREDICT_PROBA not in target.capabilities:
            yield Inapplicable(
                probe=self.id, target=target.name, reason="the model gives decisions but no scores",
                missing=(Capability.PREDICT_PROBA.value,), metrics=(f"{PREFIX}smd",),
            )  # fmt: skip
        inspection = Inspection.of(self, target, sample, table, seed)
        for where, scope in scopes(tuple(sample.groups), self.depth):
            if len(scope) == 1 and where:
                yield from inspection.inspect(scope[0], where)


def _literal(row: Finding | Failure) -> Finding | Failure:
    """The rule as it is written, beside the interval: only where the ratio is to the highest rate."""
    if isinstance(row, Failure) or not isinstance(row.basis, Contrasts) or row.basis.contrast != "pairwise":
        return row
    detail: Mapping[str, Scalar] = {**row.detail, "four_fifths": reading_of_rule(row.estimate.value)}
    return replace(row, detail=detail)
