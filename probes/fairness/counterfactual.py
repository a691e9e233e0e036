"""Would the decision be another, had the person been of another group?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.fairness.drawn import known_groups
from steelyard.probes.quality.outputs import Scribe
from steelyard.probes.quality.slices import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.fairness.twins import Answers, Twins
    from steelyard.probes.stats.linearised import Design

__all__ = ["Counterfactual"]

ID = "fairness.counterfactual"
Rows = Iterator[Finding | Failure | Inapplicable]
GALHOTRA = "Galhotra, Brun, Meliou 2017, arXiv:1709.03221"
KUSNER = "Kusner et al. 2017, arXiv:1703.06856 (the question; the answer here is a transport of marginals, not a cause)"
ALONE = "whether features that stand for the attribute do its work: see the metrics that end in -with-proxies"
TRANSPORT = "what causes what: the proxies are moved as the groups differ in them, whatever the reason"


def _specs() -> tuple[MetricSpec, ...]:
    found = []
    for end, change, source, not_shown in (
        ("", "the attribute alone is changed to each other group's value", GALHOTRA, ALONE),
        (
            "-with-proxies",
            "the attribute, if the model sees it, is changed to each other group's value and its proxies are moved to"
            " that group's distribution",
            KUSNER,
            TRANSPORT,
        ),
    ):
        found += [
            MetricSpec(
                id=f"{ID}.flip-rate{end}",
                definition=f"share of rows whose decision changes for some group when {change}",
                direction=Direction.LOWER,
                ideal=0.0,
                lower=0.0,
                upper=1.0,
                source=source,
                not_shown=not_shown,
            ),
            MetricSpec(
                id=f"{ID}.score-spread{end}",
                definition="mean over rows of the largest minus the smallest score (P(positive), or the prediction of a"
                f" regressor) when {change}",
                direction=Direction.LOWER,
                ideal=0.0,
                lower=0.0,
                source=source,
                not_shown=not_shown,
            ),
            MetricSpec(
                id=f"{ID}.score-change{end}",
                definition="mean over rows of the score as a member of group g minus the score as a member of the"
                f" reference group (the plan's, else the largest), when {change}",
                direction=Direction.NONE,
                ideal=0.0,
                source=source,
                not_shown=not_shown,
            ),
        ]
    return tuple(found)


@dataclass(frozen=True, kw_only=True)
class Counterfactual(Probe):
    """Would the decision be another, had the person been of another group?

    The model is asked again about rows whose protected attribute was changed, all else equal: the share of rows whose
    decision flips for some other group (in [0, 1], 0 is parity; "causal discrimination" in Galhotra, Brun, Meliou 2017,
    arXiv:1709.03221), the mean spread of the score over the groups, and its mean change from the reference group to
    each other. The attribute must be an input column that tells the groups one to one; where it is not, the model does
    not see it and the row says so. An encoding of it under another name (`sex_Male`) is a proxy here.

    "-with-proxies" also moves up to `proxies` features that tell the groups apart. Half of the rows (one of each
    cluster) teach the map, the other half are asked, so that the interval is exact for the map that was learnt. A
    feature is a proxy if the groups' distributions of it differ (Kolmogorov-Smirnov, chi-squared; Bonferroni at
    `screen`); those furthest apart are taken. Numbers follow the quantile map between the groups, words the coupling
    that changes the fewest rows (`probes/fairness/transport.py`); each feature moves by itself, other protected
    attributes stay. This is what the groups' marginal differences do to the decision. It is no causal model: a proxy
    that is a fair reason moves along too.

    More than `max_rows` rows are thinned to a seeded sample. Rows without an answer are not asked. Clusters and weights
    enter the intervals; the maps are learnt from unweighted rows.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Capability.QUERY, Data.GROUPS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = _specs()

    proxies: int = 5
    screen: float = 0.05
    max_rows: int = 5000
    level: float = 0.95

    def run(self, target: Target, sample: Sample, references: References, rng: Generator) -> Rows:
        """Yield for every attribute what changes with it alone, then with its proxies."""
        import pandas as pd

        from steelyard.probes.fairness.drawn import canonical_rows

        if not isinstance(sample.inputs, pd.DataFrame):
            raise NotApplicable("the inputs are an array without column names, so no attribute is among them")
        rows = canonical_rows(sample, rng, self.max_rows)
        seed = int(rng.integers(2**53))
        for attribute, groups in sample.groups.items():
            yield from self._attribute(target, sample, rows, attribute, groups, seed)

    def _attribute(
        self, target: Target, sample: Sample, rows: NDArray[np.int64], attribute: str, groups: Groups, seed: int
    ) -> Rows:
        from steelyard.probes.fairness.twins import Twins

        scribe = Scribe(probe=self, target=target.name)
        where: dict[str, Scalar] = {"attribute": attribute}
        known = known_groups(replace(groups, codes=groups.codes[rows]), sample.min_n)
        measured = self._measured(sample, target)
        alone = tuple(m for m in measured if not m.endswith("-with-proxies"))
        moved = tuple(m for m in measured if m.endswith("-with-proxies"))
        if known.small:
            left = LeftOut(where=where, groups=known.small, min_n=sample.min_n)
            yield scribe.failure(measured, where, left.reason)
        if len(known.levels) < 2:
            reason = f"{attribute} has fewer than two groups with {sample.min_n} rows: there is nothing to change it to"
            yield scribe.failure(measured, where, reason)
            return
        twins = Twins.of(target, sample, rows[known.rows], attribute, groups, known.levels)
        if twins.values is None:
            reason = f"the model does not see {attribute}: {twins.unseen}"
            yield Inapplicable(probe=self.id, target=target.name, reason=reason, metrics=alone)
        else:
            yield from self._readings(scribe, sample, twins, twins.alone(), "", where, {})
        try:
            proxies = twins.proxies(self.proxies, self.screen)
            answers = twins.with_proxies(proxies, generator(seed, attribute))
        except ProbeError as error:
            yield scribe.failure(moved, where, error)
            return
        detail: dict[str, Scalar] = {
            "proxies": ", ".join(f"{s.column} ({s.distance:.2f})" for s in proxies),
            "rows_learnt_from": twins.learnt,
        }
        yield from self._readings(scribe, sample, twins, answers, "-with-proxies", where, detail)

    def _measured(self, sample: Sample, target: Target) -> tuple[str, ...]:
        """The metrics that this task and this model have."""
        scores = sample.task is Task.REGRESSION or (
            sample.task is Task.BINARY and Capability.PREDICT_PROBA in target.capabilities
        )
        return tuple(
            spec.id for spec in self.metrics if (scores if ".score-" in spec.id else sample.task is not Task.REGRESSION)
        )

    def _readings(
        self,
        scribe: Scribe,
        sample: Sample,
        twins: Twins,
        answers: Answers,
        end: str,
        where: Mapping[str, Scalar],
        detail: Mapping[str, Scalar],
    ) -> Iterator[Finding]:
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean, proportion

        design: Design = Design.of(sample).take(answers.rows)
        more: dict[str, Scalar] = {**detail, "groups": len(twins.levels)}
        if len(twins.rows) < sample.n:
            more["rows"] = sample.n
        if sample.task is not Task.REGRESSION:
            flips = (answers.decisions != answers.decisions[0]).any(axis=0)
            yield scribe.finding(
                f"{ID}.flip-rate{end}", proportion(flips, design, level=self.level), where, detail=more
            )
        if answers.scores is None:
            return
        reach = float("inf") if sample.task is Task.REGRESSION else 1.0
        spread = answers.scores.max(axis=0) - answers.scores.min(axis=0)
        measured = mean(spread, design, level=self.level, lower=0.0, upper=reach)
        yield scribe.finding(f"{ID}.score-spread{end}", measured, where, detail=more)
        reference = twins.reference
        for j, name in enumerate(twins.names):
            if j != reference:
                change = answers.scores[j] - answers.scores[reference]
                measured = mean(change, design, level=self.level, lower=-reach, upper=reach)
                beside: dict[str, Scalar] = {**more, "reference": twins.names[reference]}
                yield scribe.finding(f"{ID}.score-change{end}", measured, {**where, "group": name}, detail=beside)
