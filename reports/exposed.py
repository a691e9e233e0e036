"""Which training rows does an attack find first? The most exposed records behind a membership finding, by id alone.

The evidence is JSON: `{"attack", "by", "members", "held_out", "false_discovery_rate", "standing_out", "records":
[{"id", "held_out_rows_at_or_above", "adjusted", "p"}]}`. `standing_out` counts the members whose adjusted p-value is at
most the false discovery rate; it and `adjusted` are null where rows come in clusters. An id is text from data. Nothing
else of a row is in the evidence, and so no group: a list of exposed people is no place to say what they are.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.audit.types import Finding
from steelyard.reports.numbers import count, number, p_value, percent
from steelyard.reports.sections import Exposed
from steelyard.reports.shareable import Shareable
from steelyard.reports.text import describe_where, guard

__all__ = ["EXPOSED", "ShownExposed", "exposed_of", "shown_exposed"]

EXPOSED = "membership-exposed"
LOST = "The most exposed records are not shown: their evidence file is not beside the record, or does not fit it."
MEANS = (
    "The false positive rate is the share of held-out rows that look as much like members as the row does. To stand"
    " out means that whoever has the row and may ask the model can tell that it was trained on; where training and"
    " held-out rows differ by themselves (blind AUC), a row may stand out for that alone. It does not mean that the"
    " model gives away what the row holds, nor that rows which are not listed are safe from a stronger attack."
)
_MOST = 20
_RECORD = ("id", "held_out_rows_at_or_above", "adjusted", "p")


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownExposed:
    """What one attack's evidence says, checked, with no other keys than those above; None where it cannot be read."""

    metric: str
    target: str
    attack: str
    found: Mapping[str, Any] | None


def shown_exposed(
    shared: Shareable, found: Iterable[Finding], evidence: Mapping[str, bytes]
) -> tuple[ShownExposed, ...]:
    """The most exposed records of each attack on each target, the attack that finds most first."""
    shown = []
    for finding in sorted(found, key=lambda f: -f.estimate.value):
        if "group" in finding.where or shared.estimate(finding) is None:
            continue
        for item in finding.evidence:
            if item.name == EXPOSED and item.kind == "json":
                plain = _read(item.data or evidence.get(item.digest, b""))
                name = str(finding.where.get("attack", "")) or describe_where(finding.where)
                shown.append(ShownExposed(metric=finding.metric, target=finding.target, attack=name, found=plain))
    return tuple(shown)


def exposed_of(shared: Shareable, found: Sequence[Finding], evidence: Mapping[str, bytes]) -> tuple[Exposed, ...]:
    """The lists of the model under audit, as text. Those of the references are in report.json."""
    candidate = shared.record.candidate().name
    return tuple(_worded(item) for item in shown_exposed(shared, (f for f in found if f.target == candidate), evidence))


def _worded(item: ShownExposed) -> Exposed:
    plain = item.found
    if plain is None:
        return Exposed(attack=guard(item.attack), lead=LOST, means="", columns=(), rows=())
    records = plain["records"]
    adjusted, own = plain["standing_out"] is not None, any("p" in record for record in records)
    columns = (
        plain["by"][:1].upper() + plain["by"][1:] or "Record",
        "False positive rate",
        *(("p by models without it",) if own else ()),
        *(("Adjusted p", "Stands out") if adjusted else ()),
    )
    rows = []
    for record in records:
        share = record["held_out_rows_at_or_above"]
        cells = [guard(record["id"]) or "–", number(share) if share > 0 else f"< {number(1 / plain['held_out'])}"]
        cells += [p_value(record.get("p"))] if own else []
        if adjusted:
            cells += [p_value(record["adjusted"]), _yes(record["adjusted"] <= plain["false_discovery_rate"])]
        rows.append(tuple(cells))
    return Exposed(
        attack=guard(item.attack), lead=_lead(plain), means=MEANS, columns=tuple(guard(c) for c in columns),
        rows=tuple(rows),
    )  # fmt: skip


def _yes(it_does: bool) -> str:
    return "yes" if it_does else "no"


def _lead(plain: Mapping[str, Any]) -> str:
    members, held, standing = (plain[key] for key in ("members", "held_out", "standing_out"))
    if standing is None:
        return (
            f"Of {count(members)} training rows, those that the attack is surest of. Rows come in clusters, so no"
            " p-value of a single row is given and none is said to stand out."
        )
    rate = percent(plain["false_discovery_rate"])
    if standing == 0:
        return (
            f"No single record stands out: beside {count(held)} held-out rows, what the attack is surest of is no more"
            f" than chance allows among {count(members)} training rows (false discovery rate {rate}). The rows are"
            " listed since a stronger attack would begin with them, not because they are known to be found. The attack"
            " may all the same tell training rows from others on average: that is the AUC."
        )
    which = f", the surest {len(plain['records'])} of them listed" if standing > len(plain["records"]) else ""
    return (
        f"{count(standing)} of {count(members)} training rows {'stands' if standing == 1 else 'stand'} out{which}: the"
        f" attack is surer of them than of nearly all {count(held)} held-out rows. Of the rows said to stand out, at"
        f" most {rate} are expected to do so by chance."
    )


def _read(data: bytes) -> Mapping[str, Any] | None:
    """The evidence with the keys that are known; None where the bytes are absent or do not fit."""
    try:
        plain = json.loads(data)
    except ValueError:
        return None
    if not isinstance(plain, dict) or not isinstance(plain.get("by"), str):
        return None
    members, held, standing, rate = (
        plain.get(key) for key in ("members", "held_out", "standing_out", "false_discovery_rate")
    )
    if (
        not all(_is_count(n) and n != 0 for n in (members, held))
        or not _is_rate(rate)
        or not (standing is None or _is_count(standing))
    ):
        return None
    records = plain.get("records")
    if not isinstance(records, list) or not all(_sound(record, standing is not None) for record in records):
        return None
    kept = [{key: record[key] for key in _RECORD if record.get(key) is not None} for record in records[:_MOST]]
    return {
        "by": plain["by"], "members": members, "held_out": held, "standing_out": standing,
        "false_discovery_rate": rate, "records": kept,
    }  # fmt: skip


def _sound(record: Any, adjusted: bool) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("id"), str):
        return False
    needed = ("held_out_rows_at_or_above", *(("adjusted",) if adjusted else ()))
    return all(_is_rate(record.get(key)) for key in needed) and ("p" not in record or _is_rate(record["p"]))


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_rate(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and 0 <= value <= 1
