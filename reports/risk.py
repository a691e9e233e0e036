"""Membership risk against accuracy and against the gaps between groups: the candidate and every reference.

Computed from the findings of the record alone. A defence is worth what it takes from the attacker, and costs what it
takes from the users, of whom small groups often pay most (Bagdasaryan, Poursaeed, Shmatikov 2019, arXiv:1905.12101).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from steelyard.audit.record import TargetCard
from steelyard.audit.types import Finding, Scalar
from steelyard.reports.numbers import estimate_text, limit
from steelyard.reports.risk_twins import ACCURACY, GAPS, Price, gap_scope, prices
from steelyard.reports.scatter import Dot, Scatter, draw_scatter
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.text import guard

__all__ = ["ATTACKS", "Figure", "Risk", "Standing", "draw_risk", "risk"]

ATTACKS = ("privacy.membership", "privacy.shadow-membership")
MEANING = (
    "How much each model gives away about which rows it was trained on, beside its accuracy: better is up and to the"
    " left, and an AUC of 0.5 is chance. Of each model the strongest of the attacks is shown that were tried on it."
)
CAUTION = (
    "Choosing the largest of several figures favours the attacker: it is likely above what that attack finds on other"
    " rows, and its interval does not count the choice. A low figure is no proof either: an attack that was not tried"
    " may find more. Only an accountant's ε bounds them all."
)
BESIDE = (
    "Each beside the same kind of model trained plainly, where the audit has it. “Clearly” is said where the two"
    " intervals do not overlap. Each figure is held to its own level, and each model was trained once: the intervals"
    " count the rows, not the luck of a training run."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A figure with its interval, and what it is of: the attack, or between which groups."""

    text: str
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """One model: what the strongest attack finds, what it gets right, and how far apart its groups are."""

    name: str
    dot: Dot
    auc: Figure
    tpr: Figure
    accuracy: Figure
    gaps: tuple[Figure, ...]
    tried: int  # attacks that gave an AUC or a rate


@dataclass(frozen=True, slots=True, kw_only=True)
class Risk:
    """The section. `columns` head the gaps; `notes` say where the models cannot be held side by side."""

    fpr: str  # empty where no rate at a false-positive rate was measured
    columns: tuple[str, ...]
    standings: tuple[Standing, ...]
    prices: tuple[Price, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...]
    meaning: str = MEANING
    caution: str = CAUTION
    beside: str = BESIDE


@dataclass(frozen=True, slots=True, kw_only=True)
class _Attacked:
    """What attacks found about one model: the largest AUC, and the largest rate at the false-positive rate."""

    auc: Finding
    tpr: Finding | None
    tried: frozenset[tuple[str, Scalar]]


def risk(shared: Shareable) -> Risk | None:
    """None where the candidate and at least one reference were not both attacked and measured for accuracy."""
    cards = shared.record.targets
    accuracy = {f.target: f for f in shared.record.findings_of(ACCURACY) if not f.where}
    found = [f for probe in ATTACKS for name in ("auc", "tpr") for f in shared.record.findings_of(f"{probe}.{name}")]
    rates = [f for f in found if f.where.keys() == {"attack", "fpr"}]
    fpr = min((float(f.where["fpr"]) for f in rates), default=None)
    attacked = {card.name: _attacked(card.name, found, fpr) for card in cards}
    there = [card for card in cards if card.name in accuracy and attacked[card.name] is not None]
    if len(there) < 2 or shared.record.candidate() not in there:
        return None
    strongest = {card.name: a for card in there if (a := attacked[card.name]) is not None}
    columns = [metric for metric in GAPS if any(shared.record.findings_of(metric, card.name) for card in there)]
    caught = any(_group_gap(shared, a) is not None for a in strongest.values())
    return Risk(
        fpr="" if fpr is None else limit(fpr),
        columns=(
            *(f"{GAPS[metric]} between groups" for metric in columns),
            *(("Membership TPR between groups",) if caught else ()),
        ),
        standings=tuple(
            Standing(
                name=guard(card.name),
                dot=Dot(
                    index=cards.index(card),
                    name=guard(card.name),
                    x=shared.estimate(strongest[card.name].auc),
                    y=shared.estimate(accuracy[card.name]),
                ),
                auc=_figure(shared, strongest[card.name].auc, "attack"),
                tpr=_figure(shared, strongest[card.name].tpr, "attack"),
                accuracy=_figure(shared, accuracy[card.name]),
                gaps=(
                    *(_figure(shared, gap_scope(shared, metric, card.name), "attribute") for metric in columns),
                    *((_figure(shared, _group_gap(shared, strongest[card.name]), "attribute"),) if caught else ()),
                ),
                tried=len(strongest[card.name].tried),
            )
            for card in there
        ),
        prices=prices(shared, there, {name: a.auc for name, a in strongest.items()}),
        absent=tuple(guard(card.name) for card in cards if card not in there),
        notes=tuple(_notes(there, strongest)),
    )


def _attacked(target: str, found: Sequence[Finding], fpr: float | None) -> _Attacked | None:
    mine = [f for f in found if f.target == target and "attack" in f.where]
    areas = [f for f in mine if f.metric.endswith(".auc")]
    if not areas:
        return None
    rates = [f for f in mine if f.metric.endswith(".tpr") and f.where.get("fpr") == fpr]
    return _Attacked(
        auc=max(areas, key=lambda f: f.estimate.value),
        tpr=max(rates, key=lambda f: f.estimate.value, default=None),
        tried=frozenset((f.probe, f.where["attack"]) for f in mine),
    )


def _group_gap(shared: Shareable, attacked: _Attacked) -> Finding | None:
    """The widest gap in how many members of a group are found, by the attack with the highest rate."""
    rate = attacked.tpr
    if rate is None:
        return None
    metric = f"{rate.metric.rpartition('.')[0]}.group-tpr-gap"
    of_it = [
        f
        for f in shared.record.findings_of(metric, rate.target)
        if {key: value for key, value in f.where.items() if key != "attribute"} == dict(rate.where)
    ]
    return max(of_it, key=lambda f: f.estimate.value, default=None)


def _figure(shared: Shareable, finding: Finding | None, key: str = "") -> Figure:
    if finding is None:
        return Figure(text="–")
    estimate = shared.estimate(finding)
    note = guard(str(finding.where[key])) if key in finding.where else ""
    if key == "attack" and finding.metric.startswith("privacy.shadow-membership."):
        note += ", shadow models"
    return Figure(text=WITHHELD if estimate is None else estimate_text(estimate), note=note)


def _notes(there: Sequence[TargetCard], strongest: Mapping[str, _Attacked]) -> Iterator[str]:
    tried = [strongest[card.name].tried for card in there]
    if len(set(tried)) > 1:
        counts = ", ".join(f"{guard(card.name)} {len(strongest[card.name].tried)}" for card in there)
        yield (
            "The models did not all meet the same attacks, and who meets more of them seems to be more exposed:"
            f" attacks that gave a figure: {counts}"
        )
    unlike = {str(strongest[card.name].auc.where["attack"]) for card in there}
    if len(unlike) > 1:
        yield "The strongest attack is not the same one for all models: each is shown at its own worst"


def draw_risk(found: Risk) -> str:
    """The scatter as inline SVG; an empty string where fewer than two models can be drawn."""
    return draw_scatter(
        Scatter(
            anchor="risk-chart",
            title="Accuracy against membership risk",
            words="accuracy against the AUC of the strongest membership attack on each, with intervals."
            " Better is up and to the left. The table below holds the same figures.",
            across="AUC of the strongest membership attack (0.5 is chance)",
            up="accuracy",
            mark=0.5,
            dots=tuple(standing.dot for standing in found.standings),
        )
    )
