"""The rates of a yes/no decision, each as two masks over the table label × decision.

A rate is P(numerator | denominator). Masks are indexed [label][decision], so that one count table answers them all.
"""

from __future__ import annotations

from dataclasses import dataclass

from steelyard.audit.canonical import FrozenMap

__all__ = ["RATES", "Mask", "Rate"]

Mask = tuple[tuple[bool, bool], tuple[bool, bool]]

_ALL: Mask = ((True, True), (True, True))
_LABEL_0: Mask = ((True, True), (False, False))
_LABEL_1: Mask = ((False, False), (True, True))
_CHOSEN: Mask = ((False, True), (False, True))
_REFUSED: Mask = ((True, False), (True, False))


@dataclass(frozen=True, slots=True, kw_only=True)
class Rate:
    """P(`numerator` | `denominator`), both as masks [label][decision]; range 0 to 1."""

    name: str
    numerator: Mask
    denominator: Mask
    needs_labels: bool = True


def _rate(name: str, numerator: Mask, denominator: Mask, *, needs_labels: bool = True) -> tuple[str, Rate]:
    return name, Rate(name=name, numerator=numerator, denominator=denominator, needs_labels=needs_labels)


RATES: FrozenMap = FrozenMap(
    dict(
        [
            _rate("selection-rate", _CHOSEN, _ALL, needs_labels=False),  # P(yhat = 1)
            _rate("tpr", ((False, False), (False, True)), _LABEL_1),  # P(yhat = 1 | y = 1)
            _rate("fpr", ((False, True), (False, False)), _LABEL_0),  # P(yhat = 1 | y = 0)
            _rate("fnr", ((False, False), (True, False)), _LABEL_1),  # P(yhat = 0 | y = 1)
            _rate("tnr", ((True, False), (False, False)), _LABEL_0),  # P(yhat = 0 | y = 0)
            _rate("ppv", ((False, False), (False, True)), _CHOSEN),  # P(y = 1 | yhat = 1)
            _rate("npv", ((True, False), (False, False)), _REFUSED),  # P(y = 0 | yhat = 0)
            _rate("accuracy", ((True, False), (False, True)), _ALL),  # P(yhat = y)
            _rate("base-rate", _LABEL_1, _ALL),  # P(y = 1)
        ]
    )
)
