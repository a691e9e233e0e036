"""From the basis of a finding to the joint contrasts it stands for, the same ones at measuring and at judging."""

from __future__ import annotations

from steelyard.audit.canonical import generator
from steelyard.audit.types import Contrasts
from steelyard.probes.stats.contrasts import JointContrasts, joint_contrasts
from steelyard.probes.stats.table import CountTable

__all__ = ["joint_of"]


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
    )
