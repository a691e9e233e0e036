"""What each reference gains and what it costs, beside the model it is compared with; and how it was trained.

Computed from the findings of the record alone. A reference that was hardened, made private or told to treat groups
alike is not better or worse: it is better here and worse there, and both are said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from steelyard.audit.record import TargetCard
from steelyard.audit.types import Direction, Finding
from steelyard.reports.charts import ticks
from steelyard.reports.findings_view import full_name
from steelyard.reports.nearer import clearly_better
from steelyard.reports.numbers import count, estimate_text, fixed, number
from steelyard.reports.sections import Fact
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import guard, humanise

__all__ = ["Balance", "CurveLine", "ModelCard", "ReferencesView", "draw_curves", "references_view"]

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 560, 200, 60, 540, 16, 164
_MOST_LISTED = 12  # figures named for one side; the families have all of them


@dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """One reference beside `against`: what is clearly better, what clearly worse, and of how many the rest."""

    name: str
    against: str
    gains: tuple[str, ...]
    costs: tuple[str, ...]
    open: str  # how many figures tell nothing either way
    price: str  # of the training


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveLine:
    """One quantity by epoch."""

    name: str
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """How one model was trained."""

    name: str
    facts: tuple[Fact, ...]
    curves: tuple[CurveLine, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferencesView:
    """The section on references; nothing in it where none was trained."""

    balances: tuple[Balance, ...]
    cards: tuple[ModelCard, ...]


def references_view(shared: Shareable) -> ReferencesView:
    """Each reference beside the candidate, and beside its plain twin where the audit has one."""
    cards = shared.record.targets
    found = _broadest(shared)
    candidate = shared.record.candidate()
    balances = []
    for card in cards:
        if card.role != "reference":
            continue
        twins = [candidate, *(other for other in cards if _is_plain_twin(card, other))]
        balances += [_balance(shared, card, other, found) for other in dict.fromkeys(twins)]
    return ReferencesView(
        balances=tuple(balances),
        cards=tuple(_card(shared, card) for card in cards if card.training is not None),
    )


def _is_plain_twin(card: TargetCard, other: TargetCard) -> bool:
    """Whether `other` is the same architecture trained plainly: robust/cnn beside network/cnn."""
    family, _, name = card.name.partition("/")
    plain, _, same = other.name.partition("/")
    return bool(name) and same == name and plain != family and plain in {"network", "baseline"}


def _broadest(shared: Shareable) -> dict[str, dict[str, Finding]]:
    """For each metric that has a better direction, the figure over the whole sample of each target."""
    found: dict[str, dict[str, Finding]] = {}
    for finding in shared.record.findings:
        if not finding.where and finding.direction is not Direction.NONE and not finding.exploratory:
            found.setdefault(finding.metric, {})[finding.target] = finding
    return found


def _balance(
    shared: Shareable, card: TargetCard, other: TargetCard, found: Mapping[str, Mapping[str, Finding]]
) -> Balance:
    gains: list[str] = []
    costs: list[str] = []
    undecided = 0
    for metric, by_target in found.items():
        mine, theirs = by_target.get(card.name), by_target.get(other.name)
        if mine is None or theirs is None:
            continue
        one, two = shared.estimate(mine), shared.estimate(theirs)
        if one is None or two is None:
            continue
        sign = clearly_better(mine, one, two)
        if sign == 0:
            undecided += 1
            continue
        text = f"{full_name(metric)} {estimate_text(one)} against {estimate_text(two)}"
        (gains if sign > 0 else costs).append(text)
    return Balance(
        name=guard(card.name),
        against=guard(other.name),
        gains=_listed(gains),
        costs=_listed(costs),
        open=f"{undecided} of {undecided + len(gains) + len(costs)} figures",
        price=_price(shared, card),
    )


def _listed(texts: Sequence[str]) -> tuple[str, ...]:
    rest = len(texts) - _MOST_LISTED
    return (*texts[:_MOST_LISTED], f"and {rest} more") if rest > 0 else tuple(texts)


def _price(shared: Shareable, card: TargetCard) -> str:
    spent = _spent(shared, card)
    seconds = spent.get("cpu_seconds")
    if not isinstance(seconds, (int, float)) or isinstance(seconds, bool):
        return "–"
    cost = spent.get("cost")
    peak = cost.get("peak_memory") if isinstance(cost, Mapping) else None  # MiB of the process
    memory = ""
    if isinstance(peak, (int, float)) and not isinstance(peak, bool) and peak > 0:
        memory = f"; the whole process held up to {_tenth(peak / 1024)} GiB"
    return f"{_tenth(seconds)} CPU-s{memory}"


def _tenth(value: float) -> str:
    """With one decimal; what would be rounded to nothing is "< 0.1"."""
    return fixed(value, 1) if value >= 0.1 or value <= 0 else "< 0.1"


def _spent(shared: Shareable, card: TargetCard) -> Mapping[str, Any]:
    """What training it cost: host-dependent, so it stands in the environment, outside the digest."""
    everything = shared.record.environment.get("training")
    mine = everything.get(card.name) if isinstance(everything, Mapping) else None
    return mine if isinstance(mine, Mapping) else {}


def _card(shared: Shareable, card: TargetCard) -> ModelCard:
    trained = card.training
    assert trained is not None  # noqa: S101 (the caller has looked)
    facts = [
        Fact(label="Recipe", value=guard(trained.recipe), code=True),
        Fact(label="Training rows", value=count(trained.n_train)),
        Fact(label="Data fingerprint", value=guard(trained.data), code=True),
        Fact(label="Seed", value=str(trained.seed), code=True),
    ]
    settings = [f"{key} {value}" for key, value in card.settings.items() if value not in ("", None)]
    if settings:
        facts.append(Fact(label="Settings", value=guard(", ".join(settings)), code=True))
    facts += [
        Fact(label=f"{humanise(guard(key))} on the training rows", value=number(value))
        for key, value in trained.metrics.items()
        if math.isfinite(value)
    ]
    price = _price(shared, card)
    if price != "–":
        facts.append(Fact(label="Cost of the training", value=price))
    around = _spent(shared, card).get("environment")
    if isinstance(around, Mapping) and around:
        said = ", ".join(f"{key} {value}" for key, value in around.items())
        facts.append(Fact(label="Trained with", value=guard(said), code=True))
    curves = tuple(
        CurveLine(name=guard(humanise(name)), values=tuple(values))
        for name, values in trained.curves.items()
        if len(values) > 1 and all(math.isfinite(value) for value in values)
    )
    return ModelCard(
        name=guard(card.name), facts=tuple(facts), curves=curves, notes=tuple(guard(note) for note in trained.notes)
    )


def draw_curves(line: CurveLine) -> str:
    """One quantity by epoch, as inline SVG."""
    marks = ticks(min(line.values), max(line.values), 4)
    low, high = (marks[0], marks[-1]) if len(marks) > 1 else (marks[0] - 0.5, marks[0] + 0.5)
    last = len(line.values) - 1
    place = [
        f"{_LEFT + i / last * (_RIGHT - _LEFT):.1f},{_BOTTOM - (v - low) / (high - low) * (_BOTTOM - _TOP):.1f}"
        for i, v in enumerate(line.values)
    ]
    parts = [
        f'<svg class="chart curve" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" height="{_HEIGHT}" role="img">',
        f"<title>{escape(line.name)} by epoch</title>",
    ]
    decimals = max(0, -math.floor(math.log10(high - low))) + 1
    for mark in marks:
        y = _BOTTOM - (mark - low) / (high - low) * (_BOTTOM - _TOP)
        parts.append(f'<path class="g" d="M{_LEFT} {y:.1f}H{_RIGHT}"/>')
        parts.append(
            f'<text class="t" x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{fixed(mark, decimals)}</text>'
        )
    parts.append(f'<polyline class="i0" points="{" ".join(place)}"/>')
    parts.append(f'<text class="t" x="{_LEFT}" y="{_HEIGHT - 12}">epoch 1</text>')
    parts.append(f'<text class="t" x="{_RIGHT}" y="{_HEIGHT - 12}" text-anchor="end">epoch {last + 1}</text>')
    parts.append("</svg>")
    return "".join(parts)
