"""From the basis of a finding to the joint contrasts it stands for, the same ones at measuring and at judging."""

from __future__ import annotations

from functools import lru_cache

from steelyard.audit.canonical import generator
from steelyard.audit.types import Contrasts, Estimate, Scalar
from steelyard.probes.stats.contrasts import JointContrasts, joint_contrasts
from steelyard.probes.stats.resample import Draws, redraw
from steelyard.probes.stats.table import CountTable

__all__ = ["detail_of", "joint_of", "reading_of"]

METHOD = "simultaneous over all contrasts in scope: max-T of count resamples, score limits for small cells"


def joint_of(basis: Contrasts, table: CountTable, level: float) -> JointContrasts:
    """The joint contrasts of `basis` on `table`, at joint confidence `level`.

    The resamples depend on `basis.seed` alone, so an auditor with the count table recomputes the same limits.
    """
    return joint_contrasts(
        table,
        rates=basis.rates,
        scope=basis.scope,
        form=basis.form,
        contrast=basis.contrast,
        reference=dict(basis.reference),
        level=level,
        min_n=basis.min_n,
        draws=basis.draws,
        rng=generator(basis.seed, "contrasts"),
        redrawn=lambda: _redrawn(table, basis.draws, basis.seed),
    )


@lru_cache(maxsize=1)
def _redrawn(table: CountTable, draws: int, seed: int) -> Draws:
    """The draws that all comparisons on one table share (a table is told apart by its identity)."""
    return Draws(redraw(table, draws, generator(seed, "contrasts")))


def reading_of(joint: JointContrasts) -> Estimate:
    """The widest contrast as an estimate.

    Its n are the rows in the denominator of the rate, over the compared groups of the deciding attribute. Raises
    ProbeError where every ratio is 0 / 0.
    """
    widest = joint.estimate
    deciding = _deciding(joint)
    rows = int(joint.arms.rows[deciding].sum())
    effective = float(joint.arms.n[deciding].sum())
    return Estimate(
        value=widest.value,
        low=min(widest.low, widest.value),
        high=max(widest.high, widest.value),
        level=joint.level,
        n=rows,
        n_effective=None if joint.arms.linear is None else effective,
        method=METHOD,
    )


def detail_of(joint: JointContrasts) -> dict[str, Scalar]:
    """What a reader wants beside the widest contrast: between which groups, over how many, and who was left out."""
    widest = joint.estimate
    low_first = widest.p_first <= widest.p_second
    found: dict[str, Scalar] = {
        "of": "*".join(widest.attributes),
        "rate": widest.rate,
        "lowest": widest.first if low_first else widest.second,
        "highest": widest.second if low_first else widest.first,
        "lowest_rate": min(widest.p_first, widest.p_second),
        "highest_rate": max(widest.p_first, widest.p_second),
        "contrast": joint.contrast,
        "contrasts": joint.m,
        "small_contrasts": int(joint.small.sum()),
    }
    if joint.untested:
        found["untested"] = "; ".join(f"{'*'.join(names)} = {group}" for names, group, _ in joint.untested)
    if joint.skipped:
        found["skipped"] = "; ".join("*".join(names) for names, _ in joint.skipped)
    return found


def _deciding(joint: JointContrasts) -> list[int]:
    """The arms of the deciding attribute and rate; the pooled rest counts no row twice."""
    widest, layout = joint.estimate, joint.layout
    rate, scope = layout.rates.index(widest.rate), layout.scope.index(widest.attributes)
    mine = [j for j in range(len(layout.names)) if layout.rate_of[j] == rate and layout.scope_of[j] == scope]
    if joint.contrast == "rest":
        starts = set(layout.first.tolist())  # the groups; the other side is the rest of each
        return [j for j in mine if j in starts]
    return mine
