"""What of a record may be shared: the groups hidden, and every number and sentence that would give them away.

Every report is built from a `Shareable`. `record.json` in the run folder keeps the full counts.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

from steelyard.audit.record import Record
from steelyard.audit.types import Estimate, Failure, Finding, Scalar, Verdict
from steelyard.reports.suppress import hidden_in_one_way, hidden_in_two_way

__all__ = ["WITHHELD", "Shareable", "plan_part", "shareable"]

WITHHELD = "withheld"
Group = tuple[str, str]  # (attribute or "a*b", group)


def plan_part(record: Record, name: str) -> Mapping[str, Any]:
    """One mapping of the plan, empty where the plan has none."""
    part = record.plan.get(name)
    return part if isinstance(part, Mapping) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Shareable:
    """A record with the groups that its reports must not show. `counts` are rows of each group, hidden ones too."""

    record: Record
    minimum: int
    counts: Mapping[Group, int]
    hidden: frozenset[Group]
    hidden_tables: frozenset[str]  # intersections hidden whole: not even which of their groups exist is shown
    mention: re.Pattern[str] | None  # a hidden group's name as a word of a text

    def hides(self, where: Mapping[str, Scalar]) -> bool:
        """Does `where` point at a hidden group?"""
        if "group" not in where:
            return False
        scope = where.get("attribute", where.get("intersection", ""))
        return scope in self.hidden_tables or (str(scope), str(where["group"])) in self.hidden

    def hides_table(self, where: Mapping[str, Scalar]) -> bool:
        """Does `where` point into an intersection that is hidden whole?"""
        return "group" in where and where.get("intersection") in self.hidden_tables

    def estimate(self, finding: Finding) -> Estimate | None:
        """The finding's estimate; None where it is of a hidden group, or is a contrast that names one."""
        if self.hides(finding.where) or any(self.mentions(v) for k, v in finding.detail.items() if _names_group(k)):
            return None
        return finding.estimate

    def verdict_estimate(self, verdict: Verdict) -> Estimate | None:
        """The deciding estimate of a gate; None where it is of a hidden group, or its detail names one."""
        named = any(self.mentions(v) for k, v in verdict.detail.items() if _names_group(k))
        return None if named or self.hides(verdict.where) else verdict.estimate

    def mentions(self, value: Scalar) -> bool:
        """Does a text name a hidden group?"""
        return isinstance(value, str) and self.mention is not None and self.mention.search(value) is not None

    def text(self, text: str, where: Mapping[str, Scalar] | None = None) -> str:
        """`text`; where it is about a hidden group, every number outside names becomes an ellipsis."""
        if not self.hidden or not (self.mentions(text) or self.hides(where or {})):
            return text
        parts = self.mention.split(text) if self.mention else [text]
        names = self.mention.findall(text) if self.mention else []
        masked = [re.sub(r"(?<![\w.])\d[\d,]*(?:\.\d+)?", "…", part) for part in parts]
        return "".join(a + b for a, b in zip(masked, [*names, ""], strict=True))

    def detail(self, detail: Mapping[str, Scalar], where: Mapping[str, Scalar] | None = None) -> dict[str, Scalar]:
        """The detail of a finding or verdict: nothing of a hidden group, and texts masked."""
        if self.hides(where or {}):
            return {}
        return {k: self.text(v) if isinstance(v, str) else v for k, v in detail.items()}

    def failure_reason(self, failure: Failure) -> str:
        """Why something was not measured, masked where it is about a hidden group."""
        return self.text(failure.reason, failure.where)


def _names_group(key: str) -> bool:
    """Detail keys that say which groups a contrast is between; lists of groups left out touch no number."""
    return not key.startswith(("untested", "skipped", "left"))


def shareable(record: Record) -> Shareable:
    """Decide what to hide. The minimum is the plan's `report.min_cell`, 10 where the plan has none."""
    minimum = int(plan_part(record, "report").get("min_cell", 10))
    counts = _row_counts(record)
    hidden = _hidden(counts, minimum)
    names = sorted({group for _, group in hidden}, key=lambda name: (-len(name), name))
    pattern = "|".join(re.escape(name) for name in names if name)
    mention = re.compile(rf"(?<![\w.])(?:{pattern})(?![\w]|\.\d)") if pattern else None
    shown = {scope for scope, group in counts if (scope, group) not in hidden and counts[scope, group] > 0}
    tables = frozenset(scope for scope, _ in hidden if "*" in scope and scope not in shown)
    return Shareable(
        record=record, minimum=minimum, counts=counts, hidden=hidden, hidden_tables=tables, mention=mention
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
