"""What a model answers about the rows, checked once, and how an answer becomes a finding or a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import ProbeError, SteelyardError
from steelyard.audit.types import Capability, Evidence, Failure, Finding, Scalar, Task

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from steelyard.audit.target import Probe, Sample, Target
    from steelyard.probes.stats.means import Measured

__all__ = ["Outputs", "Scribe", "ask", "ask_proba"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outputs:
    """`decisions` (n,): class codes, or numbers for regression. `proba` (n, classes), None where the model has none."""

    decisions: NDArray[Any]
    proba: NDArray[np.float64] | None


def ask(target: Target, sample: Sample) -> Outputs:
    """The target's answers about the sample. ProbeError where they are not one finite answer per row.

    Of rows that were counted there is one for each entry, and no probabilities.
    """
    import numpy as np

    decisions = np.asarray(target.predict(sample.inputs))
    n = sample.n if sample.reduced is None else len(sample.inputs)
    if decisions.shape != (n,):
        raise ProbeError(f"the model's decisions have shape {decisions.shape}; {n} rows need ({n},)")
    if not np.isfinite(decisions).all():
        bad = int(np.count_nonzero(~np.isfinite(decisions)))
        raise ProbeError(f"{bad} of the model's {sample.n} predictions are not finite numbers")
    proba = None
    if (
        sample.reduced is None
        and sample.task is not Task.REGRESSION
        and Capability.PREDICT_PROBA in target.capabilities
    ):
        proba = ask_proba(target, sample)
    return Outputs(decisions=decisions, proba=proba)


def ask_proba(target: Target, sample: Sample) -> NDArray[np.float64]:
    """The target's probabilities, (n, classes). ProbeError where they are not finite and between 0 and 1."""
    import numpy as np

    proba = np.asarray(target.predict_proba(sample.inputs), dtype=np.float64)
    wanted = (sample.n, len(sample.classes))
    if proba.shape != wanted:
        raise ProbeError(f"the model's probabilities have shape {proba.shape}; {wanted} is needed")
    bad = int(np.count_nonzero(~((proba >= 0) & (proba <= 1 + 1e-9)).all(axis=1)))
    if bad:
        raise ProbeError(f"{bad} of {sample.n} rows have a probability that is missing or outside 0 to 1")
    return np.minimum(proba, 1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scribe:
    """Writes one probe's findings and failures about one target."""

    probe: Probe
    target: str

    def finding(
        self,
        metric: str,
        measured: Measured,
        where: Mapping[str, Scalar],
        *,
        detail: Mapping[str, Scalar] | None = None,
        evidence: tuple[Evidence, ...] = (),
    ) -> Finding:
        """A finding, with the words of its metric's definition."""
        spec = self.probe.spec(metric)
        return Finding(
            metric=metric, target=self.target, estimate=measured.estimate, definition=spec.definition,
            direction=spec.direction, ideal=spec.ideal, probe=self.probe.id, probe_version=self.probe.version,
            where=where, basis=measured.basis, detail=detail or {}, evidence=evidence, not_shown=spec.not_shown,
            reading=spec.reading,
        )  # fmt: skip

    def failure(self, metrics: tuple[str, ...], where: Mapping[str, Scalar], error: SteelyardError | str) -> Failure:
        """What could not be measured, and why."""
        hint = error.hint if isinstance(error, SteelyardError) else ""
        reason = error.message if isinstance(error, SteelyardError) else error
        return Failure(probe=self.probe.id, target=self.target, reason=reason, hint=hint, metrics=metrics, where=where)

    def attempt(self, metric: str, where: Mapping[str, Scalar], measure: Callable[[], Measured]) -> Finding | Failure:
        """The finding that `measure` gives, or the failure that it says it is."""
        try:
            return self.finding(metric, measure(), where)
        except ProbeError as error:
            return self.failure((metric,), where, error)
