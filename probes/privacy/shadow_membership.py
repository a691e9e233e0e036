"""Do models trained as this one was, with and without a row, give away which rows it was trained on?"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

from steelyard.audit.errors import ProbeError, SteelyardError
from steelyard.audit.target import Probe, References, Sample, Target
from steelyard.audit.types import Capability, Data, Failure, Finding, Inapplicable, MetricSpec, Scalar, Task
from steelyard.probes.privacy.readings import Readings, membership_specs
from steelyard.probes.quality.outputs import Scribe

if TYPE_CHECKING:
    import numpy as np
    from numpy.random import Generator
    from numpy.typing import NDArray

    from steelyard.probes.privacy.memoriser import Control

__all__ = ["ATTACKS", "ShadowMembership", "attack_scores"]

ID = "privacy.shadow-membership"
ATTACKS = ("lira-online", "lira-offline", "per-record", "rmia", "rmia-offline")
CONTROL_SHADOWS = 8


@dataclass(frozen=True, kw_only=True)
class ShadowMembership(Probe):
    """Do models trained as this one was, with and without a row, give away which rows it was trained on?

    `shadows` models are trained on random halves of a pool of training and held-out rows (at most `max_rows` of each),
    every row in half of them, and the target's answer is compared with theirs: `lira-online`, `lira-offline` (Carlini
    et al. 2022, arXiv:2112.03570), `rmia`, `rmia-offline` (Zarifzadeh, Liu and Shokri 2024, arXiv:2312.03262; formulas
    in `probes/privacy/shadow_attacks.py`), and `per-record`: "member where p <= fpr", p the probability that a model
    without this row is as sure of it, so that each record has the false-positive rate by itself. The last orders rows
    as `lira-offline` does and has rates only, whose realised false-positive rate comes from all held-out rows.

    AUC with DeLong's interval, TPR at each rate of `fprs` with a threshold from half of the held-out rows, advantage,
    and the rates of groups, as in `privacy.membership`. Each attack must first succeed on models that remember their
    rows (`control_auc`), or it is a failure. The detail `shadows_from` says whether the target's own recipe was used
    or the nearest there is: with the wrong recipe the attacks are weaker. The most exposed records are kept as
    evidence, by id only.
    """

    id: ClassVar[str] = ID
    requires: ClassVar[frozenset[Capability | Data]] = frozenset(
        {Capability.PREDICT_PROBA, Capability.QUERY, Data.LABELS, Data.TRAINING}
    )
    tasks: ClassVar[frozenset[Task]] = frozenset({Task.BINARY, Task.MULTICLASS})
    metrics: ClassVar[tuple[MetricSpec, ...]] = membership_specs(ID)

    attacks: tuple[str, ...] = ATTACKS
    shadows: int = 16
    fprs: tuple[float, ...] = (0.001, 0.01)
    max_rows: int = 5_000
    gamma: float = 1.0
    level: float = 0.95

    def run(
        self, target: Target, sample: Sample, references: References, rng: Generator
    ) -> Iterator[Finding | Failure | Inapplicable]:
        """Train the shadows, then yield every attack's readings."""
        import numpy as np

        from steelyard.probes.privacy.membership import check_rates
        from steelyard.probes.privacy.memoriser import believed, control
        from steelyard.probes.privacy.rows import inside_and_outside, known_labels, pooled
        from steelyard.probes.privacy.shadow_attacks import balanced_members, per_record_p
        from steelyard.probes.privacy.shadows import shadow_answers
        from steelyard.probes.privacy.telling import tell
        from steelyard.probes.quality.outputs import ask_proba

        check_rates(self.fprs)
        unknown = [name for name in self.attacks if name not in ATTACKS]
        if unknown or not self.attacks:
            raise ProbeError(f"{', '.join(unknown) or 'nothing'} is no attack", hint=f"attacks: {', '.join(ATTACKS)}")
        if self.shadows < 4:
            raise ProbeError(f"{self.shadows} shadows show no spread", hint="shadows: 4 at least, better 16 or 64")
        inside, outside = inside_and_outside(sample, rng, self.max_rows)
        by = "id" if sample.training is not None and sample.training.ids is not None else "row of the training table"
        scribe = Scribe(probe=self, target=target.name)
        readings = Readings(scribe=scribe, inside=inside, fprs=self.fprs, level=self.level, by=by)
        pool = pooled(inside, outside)
        members = balanced_members(self.shadows, len(pool.inputs), rng)
        answers = shadow_answers(target, pool, members, int(rng.integers(2**31)))
        own = np.concatenate([ask_proba(target, inside), ask_proba(target, outside)])
        if answers.proba.shape != (self.shadows, *own.shape):
            raise ProbeError(f"the shadows' probabilities have shape {answers.proba.shape}, the target's {own.shape}")
        m = len(inside.inputs)
        scored = attack_scores(
            own,
            answers.proba,
            members,
            known_labels(pool),
            self.attacks,
            others=np.arange(m, len(own)),
            gamma=self.gamma,
        )
        p = per_record_p(scored.pop("z"), members)[:m]
        planted = control(outside, rng)
        on_control = _on_control(planted, self.attacks, rng)
        common: dict[str, Scalar] = {"shadows": self.shadows, "shadows_from": answers.source}
        for name in self.attacks:
            try:
                passed = believed(planted, on_control[name], name, level=self.level)
                told = tell(inside, outside, scored[name])
            except SteelyardError as error:
                yield readings.failed(name, error)
                continue
            detail: dict[str, Scalar] = {**common, "control_auc": passed}
            if name == "per-record":
                yield from readings.calibrated(name, told, detail=detail)
            else:
                yield from readings.of(name, told, rng, detail=detail, p=p)


def attack_scores(
    target: NDArray[np.float64],
    shadows: NDArray[np.float64],
    members: NDArray[np.bool_],
    labels: NDArray[np.int64],
    attacks: tuple[str, ...],
    *,
    others: NDArray[np.int64],
    gamma: float = 1.0,
) -> dict[str, NDArray[np.float64]]:
    """Scores (n,) by attack, from probabilities of the `target` (n, C) and of the `shadows` (K, n, C).

    `others` are the rows whose ratios RMIA compares with. Under "z" stand the z scores of offline LiRA.
    """
    import numpy as np

    from steelyard.probes.privacy import shadow_attacks as attack
    from steelyard.probes.privacy.scores import logit_confidence, true_probability

    phi, phis = logit_confidence(target, labels), logit_confidence(shadows, labels)
    p, ps = true_probability(target, labels), true_probability(shadows, labels)
    z = attack.lira_offline(phi, phis, members)

    def compared(offline: bool) -> NDArray[np.float64]:
        ratio = attack.ratios(p, ps, members, offline=offline)
        return attack.rmia(ratio, ratio[others], gamma=gamma)

    made: Mapping[str, NDArray[np.float64]] = {
        "lira-offline": z,
        "per-record": -np.log(np.maximum(attack.per_record_p(z, members), 1e-300)),
    }
    found = {"z": z}
    for name in attacks:
        if name == "lira-online":
            found[name] = attack.lira_online(phi, phis, members)
        elif name.startswith("rmia"):
            found[name] = compared(name == "rmia-offline")
        else:
            found[name] = made[name]
    return found


def _on_control(planted: Control, attacks: tuple[str, ...], rng: Generator) -> dict[str, NDArray[np.float64]]:
    """The attacks' scores on a model that remembers its rows, by shadows that remember theirs."""
    import numpy as np

    from steelyard.probes.privacy.shadow_attacks import balanced_members

    members = balanced_members(CONTROL_SHADOWS, len(planted.member), rng)
    shadows = np.stack([planted.remembering(own).predict_proba(planted.sample.inputs) for own in members])
    target = planted.model.predict_proba(planted.sample.inputs)
    outside = np.flatnonzero(~planted.member)
    return attack_scores(target, shadows, members, planted.labels, attacks, others=outside)
