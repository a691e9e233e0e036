"""Is the claim about ε true? One training with canaries, and what an onlooker can tell of their coins."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import (
    Capability,
    Data,
    Deviation,
    Direction,
    Estimate,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Normal,
    Scalar,
    Task,
)
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    from numpy.random import Generator

    from steelyard.probes.stats.dp_audit import Correction, ScoreAudit

__all__ = ["Claim", "DpAudit", "claim_of", "epsilon_measured"]

ID = "privacy.dp-audit"
EPSILON, EXCESS, PROVEN = f"{ID}.epsilon", f"{ID}.excess", f"{ID}.accountant-epsilon"
STEINKE = "Steinke, Nasr and Jagielski 2023, arXiv:2305.08846"
QUANTILES = 2001  # so that a claim that is plainly false still fails beside a hundred other gates (Holm)
NOT_SHOWN = "that the mechanism is private: an attack that finds little may be a weak one"


@dataclass(frozen=True, kw_only=True)
class DpAudit(Probe):
    """Is the claim about ε true?

    The target is trained once more, in its own way, on its training rows and canaries: held-out rows with a wrong
    label, each included by a fair coin. A canary scores by log p - log(1 - p) of its wrong label in the new model, and
    by the same less what the target, which saw none, gives it. From guesses about the coins follows a lower confidence
    bound on ε at δ (Steinke et al. 2023, arXiv:2305.08846), with all ways of guessing that are tried paid for by
    Bonferroni, or chosen on a half that is not tested. The detail `epsilon_if_gaussian` is the
    sharper bound if the trade-off curve is a Gaussian mechanism's (Mahloujifar et al. 2024, arXiv:2410.22235).

    `excess` is the bound less the claimed ε: `claimed_epsilon` at `claimed_delta`, or, where that is 0, the budget of a
    target trained by a recipe of the family `private`. A gate `max: 0` on it fails where the claim is refuted, and
    reads not_refuted else. `accountant-epsilon` is what the accountant of such a recipe proves: the one number here
    that can pass. It is withdrawn where the audit refutes it.

    The same audit must first succeed on a model that remembers its canaries (`control_epsilon`), or it is a failure.
    """

    id: ClassVar[str] = ID
    version: ClassVar[int] = 2
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT_PROBA, Capability.QUERY, Capability.FIT_AGAIN, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = (
        MetricSpec(
            id=EPSILON,
            definition="lower confidence bound on ε at δ from one training with canaries; the printed value is the"
            " bound at 50 % confidence, the interval one-sided",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            source=STEINKE,
            not_shown=NOT_SHOWN,
            reading="attack",
        ),
        MetricSpec(
            id=EXCESS,
            definition="lower confidence bound on ε at δ, less the claimed ε; above 0 the claim is refuted",
            direction=Direction.LOWER,
            ideal=0.0,
            source=STEINKE,
            not_shown=NOT_SHOWN,
            reading="attack",
        ),
        MetricSpec(
            id=PROVEN,
            definition="the ε at δ that the accountant of the training proves, for one row more or less",
            direction=Direction.LOWER,
            ideal=0.0,
            lower=0.0,
            source="Abadi et al. 2016, arXiv:1607.00133; Mironov, Talwar and Zhang 2019, arXiv:1908.10530",
            not_shown="what was learnt of the rows outside the noisy steps: scaling, vocabulary, choice of settings",
        ),
    )

    canaries: int = 1_000
    correction: str = "bonferroni"
    claimed_epsilon: float = 0.0
    claimed_delta: float = 1e-5
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Train with canaries, audit, and weigh the claim."""
        from steelyard.probes.privacy.canaries import canary_scores, control_scores, plant

        if self.correction not in ("bonferroni", "split"):
            raise ProbeError(f"correction is {self.correction!r}", hint="it is bonferroni or split")
        claim = claim_of(self, target)
        scribe = Scribe(probe=self, target=target.name)
        planted = plant(sample, self.canaries, rng)
        control = self._audit(control_scores(planted), planted.included, claim.delta, rng)
        if control.epsilon <= 0:
            raise ProbeError(
                "the audit does not find the canaries in a model that remembers them, so that finding none elsewhere"
                " would mean nothing",
                hint="more canaries, or rows that differ from each other",
            )
        found = self._audit(canary_scores(target, planted, rng), planted.included, claim.delta, rng)
        detail: dict[str, Scalar] = {
            "delta": claim.delta, "canaries": len(planted.included), "guesses": found.guesses, "right": found.right,
            "tested": found.m, "correction": self.correction, "control_epsilon": round(control.epsilon, 4),
        }  # fmt: skip
        if claim.delta > 0:
            detail["epsilon_if_gaussian"] = round(found.gaussian(), 6)
        yield self._finding(scribe, EPSILON, found, 0.0, detail)
        if claim.epsilon is not None:
            more: dict[str, Scalar] = {**detail, "claimed_epsilon": claim.epsilon, "claimed_by": claim.source}
            yield self._finding(scribe, EXCESS, found, claim.epsilon, more)
        yield self._proven(scribe, target, found, claim)

    def _audit(self, scores: Any, included: Any, delta: float, rng: Generator) -> ScoreAudit:
        from steelyard.probes.stats.dp_audit import audit_scores

        correction: Correction = "split" if self.correction == "split" else "bonferroni"
        return audit_scores(scores, included, delta, level=self.level, correction=correction, rng=rng)

    def _finding(
        self, scribe: Scribe, metric: str, found: ScoreAudit, less: float, detail: dict[str, Scalar]
    ) -> Finding:
        from steelyard.probes.stats.means import Measured

        estimate, basis = epsilon_measured(found, less)
        return replace(
            scribe.finding(metric, Measured(estimate=estimate, basis=basis), {}, detail=detail), reading="attack"
        )

    def _proven(
        self, scribe: Scribe, target: Target, found: ScoreAudit, claim: Claim
    ) -> Finding | Failure | Inapplicable:
        """The accountant's ε: an upper bound by proof, with the audited bound below it; withdrawn where refuted."""
        from steelyard.probes.stats.means import Measured

        if claim.proven is None:
            return Inapplicable(
                probe=self.id, target=target.name, metrics=(PROVEN,), missing=("accountant",),
                reason="no accountant stands behind it: the target was not trained by a recipe of the family private",
            )  # fmt: skip
        if found.epsilon > claim.proven:
            reason = (
                f"the accountant says ε = {claim.proven:g}, and the audit refutes that: it is at least"
                f" {found.epsilon:.3g} with {self.level:.0%} confidence"
            )
            return scribe.failure((PROVEN,), {}, reason)
        estimate = Estimate(
            value=claim.proven, low=found.epsilon, high=claim.proven, level=self.level, n=found.m,
            method="accountant's upper bound (a proof); lower limit by the audit",
        )  # fmt: skip
        # a proof has no error: so small a one, and just below, that a gate at the very figure passes
        basis = Normal(value=claim.proven * (1 - 1e-9), se=claim.proven * 1e-12, df=1e6)
        return scribe.finding(PROVEN, Measured(estimate=estimate, basis=basis), {}, detail={"delta": claim.delta})


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """`epsilon` at `delta` as `source` claims it, None where nobody does; `proven` is an accountant's."""

    epsilon: float | None
    delta: float
    source: str = ""
    proven: float | None = None


def claim_of(probe: DpAudit, target: Target) -> Claim:
    """What is claimed: by the plan, else by the budget of a recipe of the family `private`."""
    if not 0 <= probe.claimed_delta < 1:
        raise ProbeError(f"claimed_delta is {probe.claimed_delta}", hint="at least 0 and below 1, such as 1e-5")
    if probe.claimed_epsilon < 0:
        raise ProbeError(f"claimed_epsilon is {probe.claimed_epsilon}", hint="above 0, or 0 for no claim")
    recipe = getattr(target, "recipe", None)
    budget = getattr(recipe, "epsilon", None) if getattr(recipe, "family", "") == "private" else None
    delta = float(getattr(recipe, "delta", probe.claimed_delta)) if budget is not None else probe.claimed_delta
    if probe.claimed_epsilon > 0:
        # a proof at another δ proves nothing at the claimed one
        proven = float(budget) if budget is not None and delta <= probe.claimed_delta else None
        return Claim(epsilon=probe.claimed_epsilon, delta=probe.claimed_delta, source="the plan", proven=proven)
    if budget is None:
        return Claim(epsilon=None, delta=probe.claimed_delta)
    return Claim(epsilon=float(budget), delta=delta, source="the target's recipe", proven=float(budget))


def epsilon_measured(found: ScoreAudit, less: float = 0.0) -> tuple[Estimate, Deviation]:
    """The audited ε less `less` as an estimate, and the basis from which a gate recomputes its p-value.

    The value is the bound at 50 % confidence, the lower limit that at the audit's level, the upper one infinite. The
    quantiles are the distances from the value to the bounds at every confidence, so that "above τ" has the p-value at
    which the bound falls to τ, 1 / (QUANTILES + 1) at the least.
    """
    import numpy as np

    levels = np.linspace(0.0, 1.0, QUANTILES)
    levels[-1] = 1 - 0.25 / QUANTILES  # stands for certainty, at which there is no bound
    curve = found.curve(levels)
    value = max(float(curve[QUANTILES // 2]), found.epsilon)
    estimate = Estimate(
        value=value - less, low=found.epsilon - less, high=math.inf, level=found.level, n=found.m,
        method=f"one-run audit: {found.right} of {found.guesses} guesses right, {len(found.cases)} ways tried",
    )  # fmt: skip
    quantiles = np.maximum.accumulate(np.maximum(value - curve, 0.0))
    return estimate, Deviation(value=value - less, quantiles=tuple(quantiles.tolist()))
