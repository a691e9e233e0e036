"""The detail of a finding or a verdict in words: between which groups, over how many comparisons, and the rest."""

from __future__ import annotations

from collections.abc import Mapping

from steelyard.audit.types import Scalar
from steelyard.reports.numbers import count, number
from steelyard.reports.shareable import LEFT_OUT
from steelyard.reports.text import guard, humanise

__all__ = ["detail_facts", "detail_words"]

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
_VERSUS = ("versus", "references")
_AGAINST = {
    "pairwise": "all pairs",
    "rest": "each group with the pooled rest",
    "reference": "each group with the reference group",
}


def detail_facts(detail: Mapping[str, Scalar]) -> tuple[tuple[str, str], ...]:
    """What is told and its value, the groups of the widest contrast first. Groups left out have their own section."""
    widest = "widest between" if "lowest" in detail else "between"
    named = (("compared with", _against(detail)), (widest, _between(detail)), ("compared", _compared(detail)))
    facts = [(label, value) for label, value in named if value]
    for key, value in detail.items():
        known = key in _CONTRAST or (key in _VERSUS and all(k in detail for k in _VERSUS))
        if known or key.startswith(LEFT_OUT) or value is False or value == "":
            continue
        shown = number(value) if isinstance(value, float) else guard(str(value))
        facts.append((humanise(guard(key)).lower(), "yes" if value is True else shown))
    return tuple(facts)


def detail_words(detail: Mapping[str, Scalar]) -> tuple[str, ...]:
    """The same as short phrases, such as "bins: 15"."""
    plain = ("compared with", "widest between", "between", "compared")
    return tuple(
        value if label in plain else label if value == "yes" else f"{label}: {value}"
        for label, value in detail_facts(detail)
    )


def _against(detail: Mapping[str, Scalar]) -> str:
    """Which of the references of a gate decides it: the one that speaks most against the model under audit."""
    if not all(key in detail for key in _VERSUS):
        return ""
    name, n = guard(str(detail["versus"])), detail["references"]
    return name if n == 1 else f"{name}, of {n} references the one it does worst against"


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
