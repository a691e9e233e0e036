"""The JSON Schema of a plan, for editors that complete and check `audit.yaml` while it is written.

It says as much as a schema can: keys, types, limits, closed sets. That a metric exists, or that a tolerance points the
right way, only `steelyard plan` can tell.
"""

from __future__ import annotations

from typing import Any

from steelyard.audit.plan import Plan
from steelyard.audit.plan_gates import WHERE_KEYS

__all__ = ["json_schema"]

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_GATE_KEYS = {
    "metric": "A metric id or alias, as `steelyard probes` lists them.",
    "id": "A name for waivers to point at.",
    "max": "The tolerance of a metric of which lower is better.",
    "min": "The tolerance of a metric of which higher is better.",
    "where": "The part of the metric the gate looks at; without it, the groups of every attribute jointly.",
    "intersections": "2: the gate covers the intersections of two attributes as well.",
    "versus": "A name from references that the candidate is compared with.",
    "not_worse_by": "versus: how much worse than the reference is still acceptable.",
    "on_inconclusive": "What an inconclusive verdict means for the exit code: 3, 1 or 0.",
    "on_not_refuted": "What an attack that did not succeed means for the exit code: 3 or 0.",
}
_WAIVER_KEYS = {
    "gate": "The gate's number, counted from 1, or its id.",
    "owner": "Who answers for it.",
    "expires": "The last day on which it holds.",
    "reason": "Why the result is acceptable until then.",
}
_PLAN_KEYS = {
    "audit": "Who and how: name, seed, level.",
    "target": "The model under audit.",
    "data": "The data, and what its columns mean.",
    "references": "Models to weigh the candidate against: recipes that are trained on data.train.",
    "probes": "What is asked: names, patterns such as quality.*, or {name: {setting: value}}.",
    "gates": "The stated tolerances; the exit code follows from them.",
    "required": "Families of probes of which something must have been measured.",
    "waivers": "Gates whose known result a named person accepts until a date.",
    "standards": "Standards the report refers to.",
    "report": "What the reports show.",
}


def json_schema() -> dict[str, Any]:
    """The plan's JSON Schema, draft 2020-12; unknown keys are refused at every level."""
    schema = Plan.model_json_schema()
    parts = schema["$defs"]
    for properties, texts in (
        (schema["properties"], _PLAN_KEYS),
        (parts["GatePart"]["properties"], _GATE_KEYS),
        (parts["WaiverPart"]["properties"], _WAIVER_KEYS),
    ):
        for key, text in texts.items():
            properties[key]["description"] = text
    gate = parts["GatePart"]
    gate["properties"]["where"]["propertyNames"] = {"enum": list(WHERE_KEYS)}
    gate["anyOf"] = [{"required": [key]} for key in ("max", "min", "versus")]
    gate["dependentRequired"] = {"versus": ["not_worse_by"], "not_worse_by": ["versus"]}
    heading = {
        "$schema": DIALECT,
        "title": "Steelyard audit plan",
        "description": "What an audit will do, fixed before anything is measured.",
    }
    return heading | {key: value for key, value in schema.items() if key not in heading}
