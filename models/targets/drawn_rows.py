"""Which probes are put to rows drawn from a table that was counted, and how do their findings say so?"""

from __future__ import annotations

from dataclasses import dataclass, replace

from steelyard.audit.errors import ProbeError
from steelyard.audit.target import Groups, Probe, Sample, Target
from steelyard.audit.types import Failure, Finding, Inapplicable
from steelyard.models.targets.memoised import Memoised, freeze

__all__ = ["HINT", "DrawnRows", "behind", "draw", "wants_rows", "why_not"]


HINT = "a larger data.reduce_above reads it whole"


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnRows:
    """The drawn rows as a sample, the target's answers for them, and in words what they are; "" where they are all."""

    target: Target
    sample: Sample
    words: str

    def mark(self, row: Finding | Failure | Inapplicable) -> Finding | Failure | Inapplicable:
        """The row; a finding says in its detail, and among what it does not show, that it is of drawn rows."""
        if not isinstance(row, Finding) or not self.words:
            return row
        not_shown = "; ".join(
            text for text in (row.not_shown.rstrip("."), f"the other rows: it is {self.words}") if text
        )
        return replace(row, detail={**row.detail, "sampled": self.words}, not_shown=not_shown)


def wants_rows(probe: Probe, sample: Sample) -> bool:
    """Whether the sample is of counts and the probe, or this probe with these settings, cannot read them."""
    return sample.reduced is not None and not (probe.reads_counts and probe.counts_suffice(sample))


def why_not(probe: Probe, target: Target) -> str:
    """Why drawn rows are no answer to a probe that wants rows; empty where they are.

    A probe whose question is of all rows at once (the first hundred of them, a table to publish) has `needs_every_row`.
    """
    if probe.needs_every_row:
        return "it asks about all rows together, and this table was reduced to counts"
    return "" if behind(target) is not None else "it needs rows, and this table was reduced to counts"


def behind(target: Target) -> Target | None:
    """What answers for single rows of a counted table: its columns."""
    return target.model if isinstance(target, Memoised) else None


def draw(target: Target, sample: Sample) -> DrawnRows:
    """The rows drawn from a counted sample, for a probe that needs rows. Raises SteelyardError where there are none."""
    columns = behind(target)
    if columns is None:
        raise ProbeError("it needs rows, and this table was reduced to counts", hint=HINT)
    drawn: Sample = sample.reduced.sampled()
    groups = {name: _beside(mine, sample.groups[name]) for name, mine in drawn.groups.items()}
    rows = replace(drawn, groups=groups, training=sample.training)
    words = f"on a seeded sample of {rows.n:,} rows of {sample.n:,}" if rows.n < sample.n else ""
    return DrawnRows(target=freeze(columns, rows), sample=rows, words=words)


def _beside(mine: Groups, whole: Groups) -> Groups:
    """The drawn rows' groups with the reference group that the plan names, where one of them is in it."""
    return replace(mine, reference=whole.reference) if whole.reference in mine.levels else mine
