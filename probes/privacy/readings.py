"""From membership scores to findings: AUC, rates at a false-positive rate, advantage, and each group's rate."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from steelyard.audit.errors import ProbeError, SteelyardError
from steelyard.audit.types import Direction, Evidence, Failure, Finding, MetricSpec, Scalar

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.audit.target import Probe, Sample
    from steelyard.probes.quality.outputs import Scribe
    from steelyard.probes.stats.means import Measured
    from steelyard.probes.stats.roc import AtFpr, Told

__all__ = ["Readings", "membership_specs"]

NOT_SHOWN = "what a stronger attack would find: an attack that fails has not shown that the model is private"
YEOM = "Yeom et al. 2018, arXiv:1709.01604"
LIRA = "Carlini et al. 2022, arXiv:2112.03570"


def membership_specs(prefix: str) -> tuple[MetricSpec, ...]:
    """The metrics that every membership probe has, as `prefix`.auc and so on. Their gates read fail or not_refuted."""

    def spec(name: str, definition: str, ideal: float, source: str, *, lower: float = 0.0) -> MetricSpec:
        return MetricSpec(
            id=f"{prefix}.{name}", definition=definition, direction=Direction.LOWER, ideal=ideal, lower=lower,
            upper=1.0, source=source, not_shown=NOT_SHOWN, reading="attack",
        )  # fmt: skip

    return (
        spec(
            "auc", "P(a training row scores above a held-out row) + P(equal) / 2 by the attack's score; chance is 0.5",
            0.5, YEOM,
        ),
        spec(
            "tpr", "share of training rows that the attack finds at the threshold which half of the held-out rows puts"
            " at the false-positive rate `fpr`; chance is `fpr`", 0.0, LIRA,
        ),
        spec(
            "advantage", "TPR − FPR at the threshold that is best on half of the rows, judged on the other half;"
            " chance is 0", 0.0, YEOM, lower=-1.0,
        ),
        spec(
            "balanced-accuracy", "(TPR + 1 − FPR) / 2 at the threshold that is best on half of the rows, judged on the"
            " other half; chance is 0.5", 0.5, YEOM,
        ),
        spec(
            "group-tpr", "share of the training rows of group g that the attack finds at the one threshold for all"
            " groups; intervals hold jointly over the groups of an attribute (Bonferroni)", 0.0, LIRA,
        ),
        spec(
            "group-tpr-gap", "max − min over groups g of the share of training rows found at one threshold for all",
            0.0, LIRA,
        ),
    )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Readings:
    """Writes what one attack's scores say. `inside` are the members, `fprs` the false-positive rates.

    `by` says what names a record in the evidence: its id, or its row's number where the data has no ids.
    """

    scribe: Scribe
    inside: Sample
    fprs: tuple[float, ...]
    level: float
    by: str = "row of the training table"

    @property
    def probe(self) -> Probe:
        """Whose findings these are."""
        return self.scribe.probe

    def metric(self, name: str) -> str:
        """The id of a statistic of this probe."""
        return f"{self.probe.id}.{name}"

    def failed(self, attack: str, error: SteelyardError | str) -> Failure:
        """An attack that gave nothing: all its metrics, there."""
        ids = tuple(spec.id for spec in self.probe.metrics if spec.reading == "attack")
        return self.scribe.failure(ids, {"attack": attack}, error)

    def of(
        self,
        attack: str,
        told: Told,
        rng: Generator,
        *,
        detail: Mapping[str, Scalar],
        binary: bool = False,
        p: NDArray[np.float64] | None = None,
    ) -> Iterator[Finding | Failure]:
        """All findings of one attack. `told` has the members first, in the order of `inside`.

        A `binary` score has one threshold, so no rate at an FPR. `p` (members,) are per-record false-positive rates.
        """
        from steelyard.probes.privacy.exposed import most_exposed
        from steelyard.probes.stats.roc import best_cut, tpr_at

        where: dict[str, Scalar] = {"attack": attack}
        try:
            area = told.auc(level=self.level)
        except ProbeError as error:
            yield self.failed(attack, error)
            return
        exposed = most_exposed(attack, told, self.inside.ids, by=self.by, level=self.level, p=p)
        evidence = (self._curve(attack, told), exposed)
        yield self.finding("auc", area, where, detail=detail, evidence=evidence)
        try:
            cut = best_cut(told, rng, level=self.level)
        except ProbeError as error:
            yield self.scribe.failure((self.metric("advantage"), self.metric("balanced-accuracy")), where, error)
        else:
            yield self.finding("advantage", cut.advantage, where, detail=detail)
            yield self.finding("balanced-accuracy", cut.balanced, where, detail=detail)
        yield from self._rates(where, () if binary else self.fprs, partial(tpr_at, told, rng=rng), detail)

    def calibrated(self, attack: str, told: Told, *, detail: Mapping[str, Scalar]) -> Iterator[Finding | Failure]:
        """The rates of an attack whose scores are -log of a p-value: its thresholds are the false-positive rates."""
        from steelyard.probes.stats.roc import tpr_beyond

        def at(fpr: float, level: float) -> AtFpr:
            return tpr_beyond(told, -math.log(fpr), fpr, level=level)

        yield from self._rates({"attack": attack}, self.fprs, at, detail)

    def _rates(
        self,
        where: Mapping[str, Scalar],
        fprs: tuple[float, ...],
        measure: Callable[..., AtFpr],
        detail: Mapping[str, Scalar],
    ) -> Iterator[Finding | Failure]:
        from steelyard.probes.privacy.group_rates import group_rates

        for fpr in fprs:
            at: dict[str, Scalar] = {**where, "fpr": fpr}
            try:
                found = measure(fpr=fpr, level=self.level)
            except ProbeError as error:
                yield self.scribe.failure(tuple(map(self.metric, ("tpr", "group-tpr", "group-tpr-gap"))), at, error)
                continue
            realised = found.realised.estimate
            more: dict[str, Scalar] = {"realised_fpr": realised.value, "realised_n": realised.n}
            if realised.low is not None and realised.high is not None:
                more |= {"realised_fpr_low": realised.low, "realised_fpr_high": realised.high}
            yield self.finding("tpr", found.tpr, at, detail={**detail, **more})
            yield from group_rates(self, found, at)

    def finding(
        self,
        name: str,
        measured: Measured,
        where: Mapping[str, Scalar],
        *,
        detail: Mapping[str, Scalar],
        evidence: tuple[Evidence, ...] = (),
    ) -> Finding:
        """A finding of the statistic `name`, read as an attack's."""
        found = self.scribe.finding(self.metric(name), measured, where, detail=detail, evidence=evidence)
        return replace(found, reading="attack")

    def _curve(self, attack: str, told: Told) -> Evidence:
        """The ROC curve at rates evenly spaced on a logarithmic axis: a picture, without limits."""
        from steelyard.probes.stats.roc import log_points

        fpr, tpr = log_points(told)
        plain = {"attack": attack, "fpr": fpr.round(6).tolist(), "tpr": tpr.round(6).tolist(), "axes": "log-log"}
        return Evidence(name="membership-roc", kind="json", data=json.dumps(plain, sort_keys=True).encode())
