"""What of a record may be shared: the groups hidden, and every number and sentence that would give them away.

Every report is built from a `Shareable`. `record.json` in the run folder keeps the full counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import combinations, product
from typing import Any

from steelyard.audit.record import Record
from steelyard.audit.types import Contrasts, Estimate, Finding, Scalar, Verdict
from steelyard.reports.suppress import hidden_in_one_way, hidden_in_two_way

__all__ = ["LEFT_OUT", "WITHHELD", "Shareable", "plan_part", "shareable"]

WITHHELD = "withheld"
LEFT_OUT = ("untested", "skipped", "left")  # detail keys that list groups left out: they touch no number
Group = tuple[str, str]  # (attribute or "a*b", group)

_NUMBER = re.compile(r"(?<![\w.])\d[\d,]*(?:\.\d+)?")
_COUNT = re.compile(r"(?<![\w.])\d[\d,]*(?![\d,]|\.\d)")


def plan_part(record: Record, name: str) -> Mapping[str, Any]:
    """One mapping of the plan, empty where the plan has none."""
    part = record.plan.get(name)
    return part if isinstance(part, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shareable:
    """A record with the groups that its reports must not show.

    `small` are the hidden groups with fewer rows than `minimum`; the other hidden ones only protect them, so that a
    contrast between two groups of fair size is still shown, to three decimals: an exact fraction would tell its
    denominator. The n of a metric in `comparisons` leaves out untested groups, and so tells how many rows they have.
    """

    record: Record
    minimum: int
    hidden: frozenset[Group]
    small: frozenset[Group]
    hidden_tables: frozenset[str]  # intersections hidden whole: not even which of their groups exist is shown
    names: re.Pattern[str] | None  # a hidden group's name as a word of a text
    small_names: re.Pattern[str] | None
    comparisons: frozenset[
        str
    ]  # metrics that compare groups: their n leaves out the untested groups and so tells of them

    def hides(self, where: Mapping[str, Scalar]) -> bool:
        """Does `where` point at a hidden group?"""
        if "group" not in where:
            return False
        scope = where.get("attribute", where.get("intersection", ""))
        return scope in self.hidden_tables or (str(scope), str(where["group"])) in self.hidden

    def hides_table(self, where: Mapping[str, Scalar]) -> bool:
        """Does `where` point into an intersection that is hidden whole?"""
        return "group" in where and where.get("intersection") in self.hidden_tables

    def shows_n(self, metric: str) -> bool:
        """May the n of this metric's estimates be shown?"""
        return not (self.hidden and metric in self.comparisons)

    def estimate(self, finding: Finding) -> Estimate | None:
        """The finding's estimate; None where it is of a hidden group, or is a contrast that names a small one."""
        return self._shown(finding.estimate, finding.where, finding.detail)

    def verdict_estimate(self, verdict: Verdict) -> Estimate | None:
        """The deciding estimate of a gate; None where there is none, or as for a finding."""
        return None if verdict.estimate is None else self._shown(verdict.estimate, verdict.where, verdict.detail)

    def withholds(self, verdict: Verdict) -> bool:
        """Is there a deciding estimate that is not shown?"""
        return verdict.estimate is not None and self.verdict_estimate(verdict) is None

    def _shown(self, estimate: Estimate, where: Mapping[str, Scalar], detail: Mapping[str, Scalar]) -> Estimate | None:
        sides = [v for k, v in detail.items() if isinstance(v, str) and not k.startswith(LEFT_OUT)]
        if self.hides(where) or any(_found(self.small_names, v) for v in sides):
            return None
        if any(_found(self.names, v) for v in sides):
            return replace(
                estimate, value=_rounded(estimate.value), low=_rounded(estimate.low), high=_rounded(estimate.high)
            )
        return estimate

    def text(self, text: str, where: Mapping[str, Scalar] | None = None) -> str:
        """`text` with an ellipsis for every number where it is about a small group, for counts where a hidden one."""
        return _masked(self.names, self.small_names, text, self.hides(where or {}))

    def detail(self, detail: Mapping[str, Scalar], where: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
        """The detail of a finding or verdict: nothing of a hidden group, no rate where one is named, texts masked."""
        if self.hides(where or {}):
            return {}
        sides = [v for k, v in detail.items() if isinstance(v, str) and not k.startswith(LEFT_OUT)]
        named = any(_found(self.names, v) for v in sides)
        kept = {k: v for k, v in detail.items() if not (named and isinstance(v, float))}
        return {k: self.text(v) if isinstance(v, str) else v for k, v in kept.items()}


@lru_cache(maxsize=8192)  # a report says the same thing in many places, and names may be many
def _masked(names: re.Pattern[str] | None, small: re.Pattern[str] | None, text: str, hides: bool) -> str:
    if names is None or not (hides or _found(names, text)):
        return text
    every = hides or _found(small, text)
    parts, found = names.split(text), names.findall(text)
    masked = [(_NUMBER if every else _COUNT).sub("…", part) for part in parts]
    return "".join(a + b for a, b in zip(masked, [*found, ""], strict=True))


@lru_cache(maxsize=8192)
def _found(pattern: re.Pattern[str] | None, text: str) -> bool:
    return pattern is not None and pattern.search(text) is not None


def _rounded(value: Any) -> Any:
    return None if value is None else round(value, 3)


def _pattern(groups: Iterable[Group]) -> re.Pattern[str] | None:
    names = sorted({group for _, group in groups if group}, key=lambda name: (-len(name), name))
    return re.compile(rf"(?<![\w.])(?:{'|'.join(map(re.escape, names))})(?!\w|\.\d)") if names else None


def shareable(record: Record) -> Shareable:
    """Decide what to hide. The minimum is the plan's `report.min_cell`, 10 where the plan has none."""
    minimum = int(plan_part(record, "report").get("min_cell", 10))
    counts = _row_counts(record)
    hidden = _hidden(counts, minimum)
    shown = {scope for (scope, group), n in counts.items() if (scope, group) not in hidden and n > 0}
    tables = frozenset(scope for scope, _ in hidden if "*" in scope and scope not in shown)
    small = frozenset(group for group in hidden if counts[group] < minimum)
    return Shareable(
        record=record,
        minimum=minimum,
        hidden=hidden,
        small=small,
        hidden_tables=tables,
        names=_pattern(hidden),
        small_names=_pattern(small),
        comparisons=frozenset(f.metric for f in record.findings if _compares(f)),
    )


def _compares(finding: Finding) -> bool:
    if "group" in finding.where:
        return False
    return isinstance(finding.basis, Contrasts) or not {"attribute", "intersection", "intersections"}.isdisjoint(
        finding.where
    )


def _row_counts(record: Record) -> dict[Group, int]:
    """Rows of each group: the sample card's, else the largest n of any finding about the group (never more than it)."""
    counts = {(c.attribute, c.group): c.n for c in record.sample.groups}
    found: dict[Group, int] = defaultdict(int)
    for finding in record.findings:
        where = finding.where
        if "group" in where and ("attribute" in where or "intersection" in where):
            key = (str(where.get("attribute", where.get("intersection"))), str(where["group"]))
            found[key] = max(found[key], finding.estimate.n)
    return {**found, **counts}


def _hidden(counts: Mapping[Group, int], minimum: int) -> frozenset[Group]:
    tables: dict[str, dict[str, int]] = defaultdict(dict)
    for (scope, group), n in counts.items():
        tables[scope][group] = n
    attributes = [scope for scope in tables if "*" not in scope]
    lines = {name: hidden_in_one_way(tables[name], minimum) for name in attributes}
    hidden = {(name, group) for name, groups in lines.items() for group in groups}
    handled = set(attributes)
    for first, second in combinations(attributes, 2):
        found = [s for s in (f"{first}*{second}", f"{second}*{first}") if s in tables]
        if not found:
            continue
        scope = found[0]
        a, b = (first, second) if scope == f"{first}*{second}" else (second, first)
        cells = {pair: tables[scope].get("*".join(pair), 0) for pair in product(tables[a], tables[b])}
        known = {"*".join(pair) for pair in cells}
        hidden |= {(scope, "*".join(c)) for c in hidden_in_two_way(cells, lines[a], lines[b], minimum)}
        hidden |= {(scope, group) for group in tables[scope] if group not in known}
        handled.add(scope)
    for scope in tables.keys() - handled:  # deeper, or of attributes without counts: whole or not at all
        if any(n < minimum for n in tables[scope].values()):
            hidden |= {(scope, group) for group in tables[scope]}
    return frozenset(hidden)
