"""What a private or defended reference buys and costs beside its plain twin, the same kind of model trained plainly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from steelyard.audit.record import TargetCard
from steelyard.audit.types import Estimate, Finding
from steelyard.reports.numbers import estimate_text
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import guard

__all__ = ["ACCURACY", "GAPS", "Price", "apart", "gap_scope", "prices"]

ACCURACY = "quality.performance.accuracy"
GAPS = {
    "fairness.error-rates.accuracy-difference": "Accuracy difference",
    "fairness.error-rates.tpr-difference": "TPR difference",
}
FAMILIES = ("private", "defended")


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """A reference beside its twin. `lead` is the sentence on groups, where there is one to be said of privacy."""

    name: str
    against: str  # empty where the audit has no twin of it
    lead: str
    parts: tuple[str, ...]


def prices(shared: Shareable, there: Sequence[TargetCard], risks: Mapping[str, Finding]) -> tuple[Price, ...]:
    """One for each private or defended reference and each of its twins; `risks` holds each model's largest AUC.

    The candidate is taken for the twin where it was trained by such a recipe and no reference was.
    """
    found = []
    for card in there:
        if card.role != "reference" or recipe_of(card).partition("/")[0] not in FAMILIES:
            continue
        twins = [other for other in there if recipe_of(other) in _plain(card)]
        twins = [other for other in twins if other.role == "reference"] or twins
        found += [_price(shared, card, twin, risks) for twin in twins]
        if not twins:
            wanted = " or ".join(_plain(card))
            part = f"no plain twin of it was measured: name {wanted} among the references to see what it costs"
            found.append(Price(name=guard(card.name), against="", lead="", parts=(guard(part),)))
    return tuple(found)


def recipe_of(card: TargetCard) -> str:
    """The recipe's id, which a plan's own name for the reference may hide."""
    return card.training.recipe if card.training is not None else card.name


def _plain(card: TargetCard) -> tuple[str, ...]:
    """The ids of the recipes that train the same kind of model plainly."""
    name = str(card.settings.get("base") or recipe_of(card).rpartition("/")[2])
    families = {"mlp": ("network",), "cnn": ("network",), "logistic": ("baseline",), "boosting": ("baseline",)}
    return tuple(f"{family}/{name}" for family in families.get(name, ("network", "baseline")))


def gap_scope(shared: Shareable, metric: str, target: str) -> Finding | None:
    """The gap over all attributes jointly; without it the widest of any one attribute."""
    found = [f for f in shared.record.findings_of(metric, target) if not f.where or f.where.keys() == {"attribute"}]
    jointly = [f for f in found if not f.where]
    return max(jointly or found, key=lambda f: f.estimate.value, default=None)


def apart(one: Estimate, other: Estimate) -> Literal[-1, 0, 1]:
    """1 where `one` lies above `other` beyond both intervals, -1 below, 0 where they meet or one has none.

    Intervals that do not overlap are more than a test would ask for; those that do overlap leave the matter open.
    """
    if one.low is None or one.high is None or other.low is None or other.high is None:
        return 0
    return 1 if one.low > other.high else -1 if one.high < other.low else 0


def _price(shared: Shareable, card: TargetCard, twin: TargetCard, risks: Mapping[str, Finding]) -> Price:
    def accuracy(target: str) -> Finding | None:
        return next((f for f in shared.record.findings_of(ACCURACY, target) if not f.where), None)

    parts = [
        _beside(shared, "membership AUC", risks[card.name], risks[twin.name], ("higher", "lower")),
        _beside(shared, "accuracy", accuracy(card.name), accuracy(twin.name), ("higher", "lower")),
    ]
    leads = []
    private = recipe_of(card).startswith("private/")
    for metric, title in GAPS.items():
        mine = gap_scope(shared, metric, card.name)
        theirs = None if mine is None else _at(shared, metric, twin.name, mine)
        parts.append(_beside(shared, f"{_lower(title)} between groups", mine, theirs, ("wider", "narrower")))
        if private and mine is not None and theirs is not None:
            leads.append(_lead(shared, metric, mine, theirs))
    lead = next(
        (text for start in ("DP hurts", "DP widens", "DP narrows") for text in leads if text.startswith(start)), ""
    )
    if private and leads and not lead:
        lead = "That DP hurts small groups is not shown here, nor that it does not"
    return Price(
        name=guard(card.name), against=guard(twin.name), lead=lead, parts=tuple(part for part in parts if part)
    )


def _lower(title: str) -> str:
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _at(shared: Shareable, metric: str, target: str, like: Finding) -> Finding | None:
    return next((f for f in shared.record.findings_of(metric, target) if dict(f.where) == dict(like.where)), None)


def _beside(shared: Shareable, what: str, mine: Finding | None, theirs: Finding | None, words: tuple[str, str]) -> str:
    """ "accuracy 0.80 [..] against 0.85 [..]: clearly lower"; empty where one of them is not there or not shown."""
    one = None if mine is None else shared.estimate(mine)
    two = None if theirs is None else shared.estimate(theirs)
    if one is None or two is None:
        return ""
    sign = apart(one, two)
    said = f"clearly {words[0] if sign > 0 else words[1]}" if sign else "intervals overlap, so open"
    if not sign and (one.low is None or two.low is None):
        said = "open, without intervals"
    return f"{what} {estimate_text(one)} against {estimate_text(two)} ({said})"


def _lead(shared: Shareable, metric: str, mine: Finding, theirs: Finding) -> str:
    """What is said of the groups: nothing unless the gap is clearly wider than the twin's, or clearly narrower."""
    one, two = shared.estimate(mine), shared.estimate(theirs)
    sign = 0 if one is None or two is None else apart(one, two)
    title = _lower(GAPS[metric])
    if sign <= 0:
        return f"DP narrows the {title} between groups here" if sign else ""
    attribute, lowest, highest = (str(mine.detail.get(key, "")) for key in ("of", "lowest", "highest"))
    rows = {g.group: g.n for g in shared.record.sample.groups if g.attribute == attribute}
    known = lowest in rows and highest in rows
    hidden = {(attribute, lowest), (attribute, highest)} & shared.hidden
    if not known or hidden or rows[lowest] >= rows[highest] or not _fell(shared, metric, mine, theirs.target):
        return f"DP widens the {title} between groups here"
    whose = f"{guard(lowest)} ({guard(attribute)})"
    return f"DP hurts small groups here: the {title} is clearly wider, {whose} clearly worse off"


def _fell(shared: Shareable, metric: str, mine: Finding, twin: str) -> bool:
    """Whether the worst-off group's own rate is clearly below what the twin gives that group."""
    where = {"attribute": mine.detail["of"], "group": mine.detail["lowest"]}
    rates = shared.record.findings_of(metric.removesuffix("-difference"))
    own = {f.target: shared.estimate(f) for f in rates if dict(f.where) == where}
    one, two = own.get(mine.target), own.get(twin)
    return one is not None and two is not None and apart(one, two) < 0
