"""Tables that a finding carries as evidence, laid out by the probe and shown as they are, less what must be hidden.

The evidence is JSON: `{"title", "scope", "columns": [{"name", "kind"}], "rows": [{"group", "cells"}], "highest",
"relative", "notes", "totals"}`. `scope` is an attribute or an intersection and `group` a group of it; a row of a
hidden group is left out. `relative` are the columns that tell of the group `highest` as well (a ratio to it), `totals`
notes that tell of all groups together: neither is shown where it would give a hidden group away. A cell fits its
column's kind: text, count, share, ratio or interval (two numbers); null is a dash.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.audit.types import Finding
from steelyard.reports.numbers import count, interval, number, percent
from steelyard.reports.sections import Table
from steelyard.reports.shareable import WITHHELD, Shareable
from steelyard.reports.text import guard

__all__ = ["TABLE", "ShownTable", "shown_tables", "tables_of"]

TABLE = "table"
LOST = "The table is not shown: its evidence file is not beside the record, or does not fit it"
KINDS = ("text", "count", "share", "ratio", "interval")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownTable:
    """A table after suppression: `rows` of plain cells, with `WITHHELD` where a cell must not be shown."""

    metric: str
    target: str
    title: str
    columns: tuple[tuple[str, str], ...]  # name, kind
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...]


def shown_tables(shared: Shareable, found: Iterable[Finding], evidence: Mapping[str, bytes]) -> tuple[ShownTable, ...]:
    """Every table behind these findings, once for each target."""
    tables = {}
    for finding in found:
        for item in finding.evidence:
            if item.name == TABLE and item.kind == "json" and (finding.target, item.digest) not in tables:
                plain = _read(item.data or evidence.get(item.digest, b""))
                tables[finding.target, item.digest] = _shown(shared, finding, plain)
    return tuple(tables.values())


def tables_of(shared: Shareable, found: Iterable[Finding], evidence: Mapping[str, bytes]) -> tuple[Table, ...]:
    """The tables of the model under audit, as text. Those of the references are in report.json."""
    candidate = shared.record.candidate().name
    return tuple(_worded(t) for t in shown_tables(shared, (f for f in found if f.target == candidate), evidence))


def _worded(table: ShownTable) -> Table:
    kinds = [kind for _, kind in table.columns]
    return Table(
        title=guard(table.title),
        columns=tuple(guard(name) for name, _ in table.columns),
        labels=next((i for i, kind in enumerate(kinds) if kind != "text"), len(kinds)),
        rows=tuple(tuple(_text(cell, kind) for cell, kind in zip(row, kinds, strict=True)) for row in table.rows),
        notes=tuple(guard(note) for note in table.notes),
    )


def _text(cell: Any, kind: str) -> str:
    if cell is None:
        return "–"
    if cell == WITHHELD or kind == "text":
        return guard(str(cell))
    if kind == "interval":
        return interval(*cell)
    return {"count": count, "share": percent, "ratio": number}[kind](cell)


def _shown(shared: Shareable, finding: Finding, plain: Mapping[str, Any] | None) -> ShownTable:
    if plain is None:
        return ShownTable(
            metric=finding.metric, target=finding.target, title="Table", columns=(), rows=(), notes=(LOST,)
        )
    scope, rows, missing = plain["scope"], [], False
    hidden = scope in shared.hidden_tables or any(where == scope for where, _ in shared.hidden)
    best = (scope, plain["highest"])
    tells = scope in shared.hidden_tables or best in shared.small
    for row in plain["rows"]:
        if shared.hides({"intersection" if "*" in scope else "attribute": scope, "group": row["group"]}):
            missing = True
            continue
        cells = list(row["cells"])
        for index in plain["relative"]:
            if cells[index] is not None:
                cells[index] = WITHHELD if tells else _rounded(cells[index]) if best in shared.hidden else cells[index]
        rows.append(tuple(cells))
    notes = [*plain["notes"], *(() if hidden else plain["totals"])]
    if missing:
        notes.append(f"Groups with fewer than {shared.minimum} rows are not shown, nor those that would give them away")
    return ShownTable(
        metric=finding.metric, target=finding.target, title=plain["title"],
        columns=tuple((c["name"], c["kind"]) for c in plain["columns"]), rows=tuple(rows), notes=tuple(notes),
    )  # fmt: skip


def _rounded(cell: Any) -> Any:
    """Three decimals: an exact fraction would tell the denominator of the hidden group it is a ratio to."""
    return [round(x, 3) for x in cell] if isinstance(cell, list) else round(cell, 3)


def _read(data: bytes) -> Mapping[str, Any] | None:
    """The table; None where the bytes are absent or are no such table."""
    try:
        plain = json.loads(data)
    except ValueError:
        return None
    return plain if isinstance(plain, dict) and _sound(plain) else None


def _sound(plain: Mapping[str, Any]) -> bool:
    texts = all(isinstance(plain.get(key), str) for key in ("title", "scope", "highest"))
    lists = all(isinstance(plain.get(key), list) for key in ("columns", "rows", "relative", "notes", "totals"))
    if not texts or not lists or not all(isinstance(note, str) for note in plain["notes"] + plain["totals"]):
        return False
    kinds = [c.get("kind") if isinstance(c, dict) and isinstance(c.get("name"), str) else "" for c in plain["columns"]]
    if not all(kind in KINDS for kind in kinds) or not all(_place(i, kinds) for i in plain["relative"]):
        return False
    return all(_sound_row(row, kinds) for row in plain["rows"])


def _place(index: Any, kinds: list[Any]) -> bool:
    return isinstance(index, int) and 0 <= index < len(kinds) and kinds[index] in ("ratio", "interval")


def _sound_row(row: Any, kinds: list[Any]) -> bool:
    if not isinstance(row, dict) or not isinstance(row.get("group"), str) or not isinstance(row.get("cells"), list):
        return False
    cells = row["cells"]
    return len(cells) == len(kinds) and all(_fits(cell, kind) for cell, kind in zip(cells, kinds, strict=True))


def _fits(cell: Any, kind: str) -> bool:
    if cell is None:
        return True
    if kind == "text":
        return isinstance(cell, str)
    if kind == "interval":
        return isinstance(cell, list) and len(cell) == 2 and all(_finite(x) for x in cell)
    return _finite(cell)


def _finite(x: Any) -> bool:
    return isinstance(x, (int, float)) and not isinstance(x, bool) and math.isfinite(x)
