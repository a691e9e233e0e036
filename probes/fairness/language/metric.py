"""How the probes of language models write down what a metric means."""

from __future__ import annotations

from steelyard.audit.types import Direction, MetricSpec

__all__ = ["bad", "good", "signed"]


def signed(
    metric: str, definition: str, source: str, not_shown: str, *, ideal: float, lower: float, upper: float
) -> MetricSpec:
    """A number with an ideal inside its range: a gate bounds it by `min` and `max`."""
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.NONE, ideal=ideal, lower=lower, upper=upper,
        source=source, not_shown=not_shown,
    )  # fmt: skip


def bad(metric: str, definition: str, source: str, not_shown: str, *, upper: float = 1.0) -> MetricSpec:
    """A number from 0, which is ideal, to `upper`."""
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.LOWER, ideal=0.0, lower=0.0, upper=upper, source=source,
        not_shown=not_shown,
    )  # fmt: skip


def good(metric: str, definition: str, source: str, not_shown: str, *, upper: float = 1.0) -> MetricSpec:
    """A number from 0 to `upper`, which is ideal."""
    return MetricSpec(
        id=metric, definition=definition, direction=Direction.HIGHER, ideal=upper, lower=0.0, upper=upper,
        source=source, not_shown=not_shown,
    )  # fmt: skip
