"""The detail of a finding or a verdict in words: between which groups, over how many comparisons, and the rest."""

from __future__ import annotations

from collections.abc import Mapping

from steelyard.audit.types import Scalar
from steelyard.reports.numbers import count, number
from steelyard.reports.shareable import LEFT_OUT
from steelyard.reports.text import guard, humanise

__all__ = ["detail_words"]

_CONTRAST = (
    "of",
    "rate",
    "lowest",
    "highest",
    "lowest_rate",
    "highest_rate",
    "contrast",
    "contrasts",
    "small_contrasts",
)
_AGAINST = {
    "pairwise": "all pairs",
    "rest": "each group with the pooled rest",
    "reference": "each group with the reference group",
}


def detail_words(detail: Mapping[str, Scalar]) -> tuple[str, ...]:
    """Short phrases, the groups of the widest contrast first. Groups left out have a section of their own."""
    parts = [phrase for phrase in (_between(detail), _compared(detail)) if phrase]
    for key, value in detail.items():
        if key in _CONTRAST or key.startswith(LEFT_OUT) or value is False or value == "":
            continue
        name = humanise(guard(key)).lower()
        shown = number(value) if isinstance(value, float) else guard(str(value))
        parts.append(name if value is True else f"{name}: {shown}")
    return tuple(parts)


def _between(detail: Mapping[str, Scalar]) -> str:
    """ "sex: Female 0.110, Male 0.312 (tpr)"; a group without its rate where the rate must not be shown."""
    sides = []
    crossed = "*" in str(detail.get("of", ""))
    for side in ("lowest", "highest"):
        if side in detail:
            rate = detail.get(f"{side}_rate")
            name = guard(str(detail[side])).replace("*", " × " if crossed else "*")
            figure = f" {number(float(rate))}" if isinstance(rate, (int, float)) else ""
            sides.append(f"{name}{figure}")
    if not sides:
        return ""
    of = f"{guard(str(detail['of'])).replace('*', ' × ')}: " if "of" in detail else ""
    rate_name = f" ({guard(str(detail['rate'])).replace('-', ' ')})" if "rate" in detail else ""
    return of + ", ".join(sides) + rate_name


def _compared(detail: Mapping[str, Scalar]) -> str:
    n, small = detail.get("contrasts"), detail.get("small_contrasts")
    if not isinstance(n, int):
        return ""
    kind = str(detail.get("contrast", ""))
    words = f"{count(n)} comparison{'s' * (n != 1)}" + (f", {_AGAINST.get(kind, guard(kind))}" if kind else "")
    return words + (f", {count(small)} of them with few cases" if isinstance(small, int) and small else "")
