"""The published schema agrees with what `load_plan` takes and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from steelyard.audit.cli import main
from steelyard.audit.errors import PlanError
from steelyard.audit.plan_file import parse_plan
from steelyard.audit.plan_schema import json_schema

# The example of the project's design, whole: privacy is not built yet, but its shape is.
EXAMPLE: dict[str, Any] = {
    "audit": {"name": "adult income", "seed": 7},
    "target": {"kind": "sklearn", "path": "model.skops"},
    "data": {
        "train": "train.parquet",
        "test": "test.parquet",
        "label": "income",
        "positive": ">50K",
        "groups": ["sex", "race"],
    },
    "references": ["baseline", "fair", "robust", "private"],
    "probes": ["quality.*", "fairness.*", {"quality.calibration": {"bins": 10}}],
    "gates": [
        {"metric": "fairness.selection-rate.ratio", "min": 0.8, "on_inconclusive": "review"},
        {"metric": "privacy.membership.tpr", "where": {"fpr": 0.001}, "max": 0.01, "on_not_refuted": "accept"},
        {"metric": "quality.accuracy", "versus": "baseline", "not_worse_by": 0.01},
    ],
    "required": ["fairness", "privacy"],
    "waivers": [{"gate": 1, "owner": "name@org", "expires": "2027-01-31", "reason": "..."}],
    "standards": ["nyc-ll144", "eu-ai-act", "nist-ai-rmf"],
}


def faults(plan: dict[str, Any]) -> list[str]:
    validator = Draft202012Validator(json_schema(), format_checker=Draft202012Validator.FORMAT_CHECKER)
    return [error.message for error in validator.iter_errors(plan)]


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    plan = deepcopy(EXAMPLE)
    place: Any = plan
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    return plan


def test_the_schema_is_valid_and_takes_the_example() -> None:
    Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert faults(EXAMPLE) == []
    assert parse_plan(EXAMPLE).plan.audit.seed == 7


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("refrences",), ["baseline"]),
        (("target", "pth"), "x"),
        (("target", "kind"), "sklern"),
        (("data", "groups"), "sex"),
        (("gates",), []),
        (("probes",), []),
        (("gates", 0, "mni"), 0.5),
        (("gates", 0, "min"), "high"),
        (("gates", 0, "on_inconclusive"), "ignore"),
        (("gates", 0, "intersections"), 3),
        (("waivers", 0, "owner"), ""),
        (("waivers", 0, "expires"), "soon"),
        (("audit", "alpha"), 0.7),
        (("audit", "seed"), -1),
        (("report",), {"formats": ["pdf"]}),
    ],
)
def test_schema_and_loader_refuse_the_same(path: tuple[str | int, ...], value: Any) -> None:
    plan = changed(path, value)
    assert faults(plan)
    with pytest.raises(PlanError):
        parse_plan(plan)


@pytest.mark.parametrize(
    "gate",
    [
        {"metric": "quality.accuracy"},
        {"metric": "quality.accuracy", "versus": "baseline"},
        {"metric": "quality.accuracy", "min": 0.5, "not_worse_by": 0.1},
        {"metric": "quality.accuracy", "min": 0.5, "where": {"atribute": "sex"}},
    ],
)
def test_what_only_check_would_refuse_is_in_the_schema_where_it_can_be(gate: dict[str, Any]) -> None:
    assert faults(changed(("gates", 0), gate))


def test_every_key_is_described_and_no_level_is_open() -> None:
    def objects(node: Any) -> Iterator[dict[str, Any]]:
        if isinstance(node, dict):
            if "properties" in node:
                yield node
            for value in node.values():
                yield from objects(value)
        elif isinstance(node, list):
            for value in node:
                yield from objects(value)

    found = list(objects(json_schema()))
    assert len(found) == 7
    for node in found:
        assert node["additionalProperties"] is False
    undescribed = {
        f"{node['title']}.{key}"
        for node in found
        for key, value in node["properties"].items()
        if "description" not in value
    }
    assert undescribed == {"TargetPart.kind", "ReportPart.formats"}  # their closed sets say it all


def test_the_command_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert json.loads(capsys.readouterr().out) == json_schema()
