"""How well do the features tell the protected attribute?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import NotApplicable, ProbeError
from steelyard.audit.target import Groups, Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Direction, Failure, Finding, MetricSpec, Scalar
from steelyard.probes.fairness.drawn import known_groups
from steelyard.probes.quality.outputs import Scribe
from steelyard.probes.quality.slices import LeftOut

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["Proxies", "cross_fitted", "fold_area"]

ID = "fairness.proxies"
AUC = f"{ID}.auc"
LEARNERS = ("boosting", "logistic")


@dataclass(frozen=True, kw_only=True)
class Proxies(Probe):
    """How well do the features tell the protected attribute?

    The area under the ROC curve of a learner that guesses the attribute from all features but the attribute's own
    column: P(a member of the group gets a higher guess than another row), in [0, 1]; .5 is no better than chance, 1
    tells every one. For more than two groups it is read for each group against the rest, and their mean is the
    attribute's. Feldman et al. 2015, arXiv:1412.3756, ask the same of a data set.

    Guesses are cross-fitted (`folds`, whole clusters together), so that no row is guessed by a learner that has seen
    it, and the areas of the folds are averaged. Their standard errors are averaged as well, which holds however the
    folds depend on one another. Independent folds, as in LeDell, Petersen, van der Laan 2015, DOI
    10.1214/15-EJS1035, would give shorter intervals; but where the features tell nothing, two learners that each
    learnt the noise of the other's test rows go wrong together, and "more than chance" was claimed in twice the runs
    it should have been.

    The learner is gradient boosting on at most `max_rows` seeded rows (or `learner: logistic`): another one, or more
    rows, can find more. The detail names the `top` features that tell the groups apart each by itself, with the most
    that a rule on it can gain (0 to 1).

    A disclosure: its gates read "reported". It is a property of the data, not of the model's use of them, and no value
    of it is right: features that tell nothing of any group hardly exist, and a model can ignore those that do.
    Whether it does is asked by `fairness.counterfactual`.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.GROUPS})
    about_data: ClassVar[bool] = True
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=AUC,
            definition="area under the ROC curve of cross-fitted guesses of the attribute from the other features: mean"
            " over folds, and over groups against the rest where there are more than two",
            direction=Direction.LOWER,
            ideal=0.5,
            lower=0.0,
            upper=1.0,
            source="LeDell, Petersen, van der Laan 2015, DOI 10.1214/15-EJS1035; Feldman et al. 2015, arXiv:1412.3756",
            not_shown="whether the model uses what the features tell: see fairness.counterfactual",
            reading="disclosure",
        ),
    )

    learner: str = "boosting"
    folds: int = 2
    max_rows: int = 5000
    top: int = 5
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure]:
        """Yield the area of every attribute, and of every group where there are more than two."""
        from steelyard.probes.fairness.drawn import canonical_rows

        if self.learner not in LEARNERS:
            raise ProbeError(f"learner is {self.learner!r}", hint=f"one of {', '.join(LEARNERS)}")
        if self.folds < 2:
            raise ProbeError(f"folds is {self.folds}; cross-fitting needs at least 2")
        rows = canonical_rows(sample, rng, self.max_rows)
        seed = int(rng.integers(2**31))
        for attribute, groups in sample.groups.items():
            yield from self._attribute(target, sample, rows, attribute, groups, seed)

    def _attribute(
        self, target: Target, sample: Sample, rows: NDArray[np.int64], attribute: str, groups: Groups, seed: int
    ) -> Iterator[Finding | Failure]:
        import numpy as np

        from steelyard.probes.fairness.encoded import describing_columns, encode
        from steelyard.probes.fairness.separation import separations
        from steelyard.probes.stats.linearised import Design

        scribe = Scribe(probe=self, target=target.name)
        where: dict[str, Scalar] = {"attribute": attribute}
        known = known_groups(replace(groups, codes=groups.codes[rows]), sample.min_n)
        if known.small:
            left = LeftOut(where=where, groups=known.small, min_n=sample.min_n)
            yield scribe.failure((AUC,), where, left.reason)
        if len(known.levels) < 2:
            yield scribe.failure(
                (AUC,), where, f"{attribute} has fewer than two groups with {sample.min_n} rows: nothing to tell apart"
            )
            return
        mine = rows[known.rows]
        codes = np.searchsorted(np.array(known.levels), groups.codes[mine])
        design = Design.of(sample).take(mine)
        try:
            columns = describing_columns(sample.features, mine, {attribute})
            guesses, fold = cross_fitted(encode(columns), codes, design, self.folds, self.learner, seed)
        except NotApplicable as error:
            yield scribe.failure((AUC,), where, error.message)
            return
        except ProbeError as error:
            yield scribe.failure((AUC,), where, error)
            return
        names = [groups.levels[k] for k in known.levels]
        first = separations(columns, codes)[: self.top]
        detail: dict[str, Scalar] = {
            "learner": self.learner,
            "top": ", ".join(f"{s.column} ({s.distance:.2f})" for s in first) or "none",
        }
        if len(rows) < sample.n:
            detail |= {"rows_drawn": len(mine), "rows": sample.n}
        every = [1] if len(names) == 2 else list(range(len(names)))
        wanted: list[tuple[dict[str, Scalar], list[int]]] = [(where, every)]
        if len(names) > 2:
            wanted += [({**where, "group": name}, [g]) for g, name in enumerate(names)]
        for place, members in wanted:
            try:
                measured = fold_area(guesses, codes, members, fold, design, level=self.level)
            except ProbeError as error:
                yield scribe.failure((AUC,), place, error)
                continue
            yield replace(scribe.finding(AUC, measured, place, detail=detail), reading="disclosure")


def cross_fitted(
    matrix: NDArray[np.float64], codes: NDArray[np.int64], design: Design, folds: int, learner: str, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """(n, groups) probabilities of the groups `codes`, each row's by a learner of the other folds; and the folds (n,).

    Rows come in canonical order, clusters are dealt to the folds in turn. ProbeError where a fold lacks a group.
    """
    import numpy as np

    if matrix.shape[1] == 0:
        raise ProbeError("no feature differs between rows")
    units = np.arange(len(codes)) if design.clusters is None else design.clusters
    first, unit = np.unique(units, return_index=True, return_inverse=True)[1:]
    turn = np.empty(len(first), dtype=np.int64)
    turn[np.argsort(first)] = np.arange(len(first))
    fold = turn[unit] % folds
    size = int(codes.max()) + 1
    guesses = np.zeros((len(codes), size))
    for f in range(folds):
        train, test = fold != f, fold == f
        if len(np.unique(codes[train])) < size or len(np.unique(codes[test])) < size:
            raise ProbeError("a fold has no row of one of the groups", hint="more rows, or fewer folds")
        model = _learner(learner, seed)
        weights = None if design.weights is None else design.weights[train]
        guesses[test] = model.fit(matrix[train], codes[train], sample_weight=weights).predict_proba(matrix[test])
    return guesses, fold


def _learner(name: str, seed: int) -> Any:
    if name == "logistic":
        from sklearn.linear_model import LogisticRegression

        return LogisticRegression(max_iter=2000)
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        max_iter=60, learning_rate=0.1, max_leaf_nodes=15, early_stopping=False, random_state=seed
    )


def fold_area(
    guesses: NDArray[np.float64],
    codes: NDArray[np.int64],
    members: list[int],
    fold: NDArray[np.int64],
    design: Design,
    *,
    level: float,
) -> Measured:
    """Mean over folds, and over the groups `members`, of the area of `guesses` (n, groups) for the group.

    Its standard error is at most the mean of the folds' own, whatever their correlation. Degrees of freedom are those
    of the smallest group in a fold. Where every fold is in perfect order: an exact bound over one fold's pairs.
    """
    import numpy as np

    from steelyard.audit.types import Binomial, Estimate
    from steelyard.probes.stats.auc import area, independent_pairs
    from steelyard.probes.stats.intervals import clopper_pearson
    from steelyard.probes.stats.means import Measured, linear

    found = np.unique(fold)
    values, errors, pairs, units = [], [], design.n * 1.0, design.units
    for f in found:
        inside = np.flatnonzero(fold == f)
        inner, influence = design.take(inside), np.zeros(len(inside))
        for g in members:
            member = codes[inside] == g
            part = area(guesses[inside, g], member, inner)
            values.append(part.value)
            influence += part.contributions(inner) / len(members)
            pairs = min(pairs, independent_pairs(member, inner))
            units = min(units, inner.take(member).units, inner.take(~member).units)
        errors.append(math.sqrt(inner.variance(influence)))
    value, se = float(np.mean(values)), float(np.mean(errors))
    if value > 1 - 1e-12 or value < 1e-12:
        value = float(round(value))
        low, high = clopper_pearson(value * pairs, pairs, level)
        estimate = Estimate(
            value=value, low=float(low), high=float(high), level=level, n=design.n, n_effective=pairs,
            method="perfect order in every fold: Clopper-Pearson over independent pairs",
        )  # fmt: skip
        return Measured(estimate=estimate, basis=Binomial(successes=value * pairs, trials=pairs))
    return linear(
        value, se**2, max(units - 1.0, 1.0), design, level=level, scale="logit", lower=0.0, upper=1.0,
        method="cross-fitted area, the folds' standard errors averaged, Student t on the logit scale",
    )  # fmt: skip
