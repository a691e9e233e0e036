"""How good are the model's answers, overall and for each group, and against the references on the same rows?"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import SteelyardError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.quality.metrics import (
    CLASS_GAINS,
    METRICS,
    PROBABILITY_GAINS,
    PROBABILITY_METRICS,
    REGRESSION_GAINS,
    metric_id,
)
from steelyard.probes.quality.outputs import Outputs, Scribe, ask
from steelyard.probes.quality.slices import LeftOut, group_slices

if TYPE_CHECKING:
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.stats.linearised import Design
    from steelyard.probes.stats.means import Measured

__all__ = ["Performance"]

Rows = Iterator[Finding | Failure | Inapplicable]
Measures = dict[str, Callable[[], "Measured"]]
EVERYWHERE: Mapping[str, Scalar] = {}
NO_PROBABILITIES = "the model gives decisions but no probabilities: no AUC, log loss, perplexity and Brier score"
BY_GROUP = ("accuracy", "auc", "log-loss", "brier")
BY_GROUP_REGRESSION = ("mae", "mean-error")


@dataclass(frozen=True, kw_only=True)
class Performance(Probe):
    """How good are the model's answers, overall, for each group, and beside the references?

    Classification: accuracy, balanced accuracy, precision, recall, F1 of the decisions; AUC, log loss, perplexity and
    Brier score of the probabilities. Regression: MAE, RMSE, R2 and the mean error. Each has an interval at `level`:
    Clopper-Pearson for shares, DeLong for areas, Student's t on the linearised variance for the rest; clusters and
    survey weights enter all of them. Accuracy, AUC, log loss and Brier score (or MAE and the mean error) are
    also read for each group and each intersection of two attributes with at least `data.min_n` rows.

    The model under audit is compared with each reference on the same rows (`accuracy-gain` and so on, with
    `where: {versus}`; positive is better). Says nothing about rows unlike these, or about why the model errs.
    """

    id: ClassVar[str] = "quality.performance"
    requires: ClassVar[frozenset[Capability | Data]] = frozenset({Capability.PREDICT, Data.LABELS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = METRICS
    reads_counts: ClassVar[bool] = True
    level: float = 0.95

    def counts_suffice(self, sample: Sample) -> bool:
        """Whether a counted `sample` is read as it is: not with clusters, whose sums of losses are not kept apart."""
        return sample.reduced.pairs is None

    def run(self, target: Target, sample: Sample, references: References, rng: Generator) -> Rows:
        """Overall readings, then those per group and intersection, then the comparisons. Draws nothing from `rng`."""
        scribe = Scribe(probe=self, target=target.name)
        if sample.reduced is not None:
            from steelyard.probes.quality.reduced import measure_counts

            yield from measure_counts(scribe, target, sample, self.level, lacking=NO_PROBABILITIES)
            return
        outputs = ask(target, sample)
        if sample.task is not Task.REGRESSION and outputs.proba is None:
            yield Inapplicable(
                probe=self.id, target=target.name, reason=NO_PROBABILITIES,
                missing=(Capability.PREDICT_PROBA.value,), metrics=PROBABILITY_METRICS,
            )  # fmt: skip
        for name, measure in self._overall(outputs, sample).items():
            yield scribe.attempt(metric_id(name), EVERYWHERE, measure)
        if sample.task is Task.MULTICLASS:
            yield from self._by_class(scribe, outputs, sample)
        yield from self._by_group(scribe, outputs, sample)
        for name, reference in references.items():
            if name != target.name:
                yield from self._versus(scribe, outputs, reference, sample)

    def _overall(self, outputs: Outputs, sample: Sample) -> Measures:
        from steelyard.probes.stats.linearised import Design

        design, labels = Design.of(sample), _labels(sample)
        if sample.task is Task.REGRESSION:
            from steelyard.probes.quality import regression

            errors = outputs.decisions - labels
            return self._shared(outputs, sample, None) | {
                "rmse": partial(regression.rmse, errors, design, level=self.level),
                "r2": partial(regression.r2, errors, labels, design, level=self.level),
            }
        from steelyard.probes.quality import classification as c

        given, classes = (outputs.decisions, labels, design), len(sample.classes)
        found = self._shared(outputs, sample, None)
        found["balanced-accuracy"] = partial(c.balanced_accuracy, *given, classes=classes, level=self.level)
        if sample.task is Task.BINARY:
            found["precision"] = partial(c.precision, *given, level=self.level)
            found["recall"] = partial(c.recall, *given, level=self.level)
            found["f1"] = partial(c.f1, *given, level=self.level)
        else:
            for name in ("precision", "recall", "f1"):
                found[name] = partial(c.macro, name, *given, classes=classes, level=self.level)
        if outputs.proba is not None:
            found["perplexity"] = partial(c.perplexity, c.log_losses(outputs.proba, labels), design, level=self.level)
        return found

    def _shared(self, outputs: Outputs, sample: Sample, rows: NDArray[Any] | None) -> Measures:
        """The measures that are read for groups too, on some `rows` (indices; None: all)."""
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean, proportion

        design, labels, decisions, proba = Design.of(sample), _labels(sample), outputs.decisions, outputs.proba
        if rows is not None:
            design, labels, decisions = design.take(rows), labels[rows], decisions[rows]
            proba = None if proba is None else proba[rows]
        if sample.task is Task.REGRESSION:
            errors = decisions - labels
            return {
                "mae": partial(mean, abs(errors), design, level=self.level, lower=0.0),
                "mean-error": partial(mean, errors, design, level=self.level),
            }
        found: Measures = {"accuracy": partial(proportion, decisions == labels, design, level=self.level)}
        if proba is not None:
            from steelyard.probes.quality.classification import CLIP, brier_losses, log_losses

            bounded = partial(mean, design=design, level=self.level, lower=0.0)
            found["auc"] = partial(_area, proba, labels, design, self.level)
            found["log-loss"] = partial(bounded, log_losses(proba, labels), upper=-math.log(CLIP))
            found["brier"] = partial(bounded, brier_losses(proba, labels), upper=_brier_range(sample))
        return found

    def _by_class(self, scribe: Scribe, outputs: Outputs, sample: Sample) -> Rows:
        from steelyard.probes.quality import classification as c
        from steelyard.probes.stats.linearised import Design

        for k, label in enumerate(sample.classes):
            for name, measure in (("precision", c.precision), ("recall", c.recall), ("f1", c.f1)):
                bound = partial(measure, outputs.decisions, _labels(sample), Design.of(sample), level=self.level, k=k)
                yield scribe.attempt(metric_id(name), {"class": label}, bound)

    def _by_group(self, scribe: Scribe, outputs: Outputs, sample: Sample) -> Rows:
        names: tuple[str, ...] = BY_GROUP_REGRESSION if sample.task is Task.REGRESSION else BY_GROUP
        if outputs.proba is None and sample.task is not Task.REGRESSION:
            names = ("accuracy",)
        for part in group_slices(sample):
            if isinstance(part, LeftOut):
                yield scribe.failure(tuple(metric_id(name) for name in names), part.where, part.reason)
                continue
            for name, measure in self._shared(outputs, sample, part.rows).items():
                yield scribe.attempt(metric_id(name), part.where, measure)

    def _versus(self, scribe: Scribe, outputs: Outputs, reference: Target, sample: Sample) -> Rows:
        where = {"versus": reference.name}
        gains = REGRESSION_GAINS if sample.task is Task.REGRESSION else CLASS_GAINS
        try:
            others = ask(reference, sample)
        except SteelyardError as error:
            yield scribe.failure(gains, where, error)
            return
        if sample.task is not Task.REGRESSION and (outputs.proba is None or others.proba is None):
            who = "the model" if outputs.proba is None else "the reference"
            yield scribe.failure(PROBABILITY_GAINS, where, f"{who} gives decisions but no probabilities")
        for name, measure in self._gains(outputs, others, sample).items():
            yield scribe.attempt(metric_id(f"{name}-gain"), where, measure)

    def _gains(self, outputs: Outputs, others: Outputs, sample: Sample) -> Measures:
        from steelyard.probes.stats.linearised import Design
        from steelyard.probes.stats.means import mean

        design, labels = Design.of(sample), _labels(sample)
        if sample.task is Task.REGRESSION:
            shrunk = abs(others.decisions - labels) - abs(outputs.decisions - labels)
            return {"mae": partial(mean, shrunk, design, level=self.level)}
        from steelyard.probes.quality.classification import CLIP, brier_losses, log_losses
        from steelyard.probes.quality.paired import accuracy_gain

        right, other_right = outputs.decisions == labels, others.decisions == labels
        found: Measures = {"accuracy": partial(accuracy_gain, right, other_right, design, level=self.level)}
        if outputs.proba is not None and others.proba is not None:
            reach = {"log-loss": -math.log(CLIP), "brier": _brier_range(sample)}
            found["auc"] = partial(_area_gain, outputs.proba, others.proba, labels, design, self.level)
            for name, losses in (("log-loss", log_losses), ("brier", brier_losses)):
                saved = losses(others.proba, labels) - losses(outputs.proba, labels)
                far = reach[name]
                found[name] = partial(mean, saved, design, level=self.level, lower=-far, upper=far)
        return found


def _labels(sample: Sample) -> NDArray[Any]:
    labels = sample.labels
    if labels is None:  # `requires` names labels, so the runner never gets here
        raise SteelyardError("quality.performance needs labels")
    return labels


def _brier_range(sample: Sample) -> float:
    return 1.0 if sample.task is Task.BINARY else 2.0


def _area(proba: NDArray[Any], labels: NDArray[Any], design: Design, level: float) -> Measured:
    from steelyard.probes.stats.auc import auc, macro_auc

    if proba.shape[1] == 2:
        return auc(proba[:, 1], labels == 1, design, level=level)
    return macro_auc(proba, labels, design, level=level)


def _area_gain(
    proba: NDArray[Any], others: NDArray[Any], labels: NDArray[Any], design: Design, level: float
) -> Measured:
    from steelyard.probes.stats.auc import auc_difference, macro_auc_difference

    if proba.shape[1] == 2:
        return auc_difference(proba[:, 1], others[:, 1], labels == 1, design, level=level)
    return macro_auc_difference(proba, others, labels, design, level=level)
