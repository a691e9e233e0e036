"""Contract of `check`: what cannot be meant is refused before anything is opened."""

from __future__ import annotations

from copy import deepcopy
from datetime import date
from typing import Any

import pytest

from steelyard.audit.plan_check import chosen_probes
from steelyard.audit.plan_file import PlanErrors, check, parse_plan
from steelyard.audit.types import Direction, MetricSpec

PROBES = ("quality.performance", "quality.calibration", "fairness.selection-rate", "fairness.error-rates")
RECIPES = ("baseline/logistic", "baseline/boosting")
SETTINGS = {
    "quality.performance": (),
    "quality.calibration": ("bins", "binning"),
    "fairness.selection-rate": ("contrast",),
    "fairness.error-rates": ("contrast",),
}
TODAY = date(2026, 6, 1)


def spec(name: str, direction: Direction, *aliases: str, lower: float = 0, upper: float = 1) -> MetricSpec:
    return MetricSpec(id=name, definition="of a test", direction=direction, aliases=aliases, lower=lower, upper=upper)


SPECS = (
    spec("quality.performance.accuracy", Direction.HIGHER, "quality.accuracy"),
    spec("quality.performance.log-loss", Direction.LOWER, upper=float("inf")),
    spec("quality.performance.mean-error", Direction.NONE, lower=-float("inf"), upper=float("inf")),
    spec("quality.calibration.ece", Direction.LOWER),
    spec("fairness.selection-rate.ratio", Direction.HIGHER),
    spec("fairness.selection-rate.difference", Direction.LOWER),
    spec("fairness.error-rates.tpr", Direction.HIGHER),
)
METRICS = {name: s for s in SPECS for name in (s.id, *s.aliases)}

GOOD: dict[str, Any] = {
    "target": {"kind": "sklearn", "path": "m.skops"},
    "data": {"train": "a.csv", "test": "b.csv", "label": "y", "groups": ["sex", "race"]},
    "references": ["baseline"],
    "probes": ["quality.*", "fairness.*"],
    "gates": [
        {"metric": "fairness.selection-rate.ratio", "min": 0.8, "id": "four-fifths"},
        {"metric": "quality.accuracy", "versus": "baseline", "not_worse_by": 0.01},
    ],
    "required": ["fairness"],
    "waivers": [{"gate": "four-fifths", "owner": "a", "expires": "2027-01-31", "reason": "b"}],
}


def changed(**parts: Any) -> dict[str, Any]:
    return {**deepcopy(GOOD), **parts}


def checked(data: dict[str, Any]) -> tuple[str, ...]:
    source = parse_plan(data)
    return check(source.plan, source, metrics=METRICS, probes=PROBES, recipes=RECIPES, settings=SETTINGS, today=TODAY)


def errors(data: dict[str, Any]) -> list[str]:
    with pytest.raises(PlanErrors) as caught:
        checked(data)
    return [str(error).removeprefix("plan: ") for error in caught.value.errors]


def test_a_sensible_plan_passes_without_a_word() -> None:
    assert checked(GOOD) == ()


def gate(**keys: Any) -> dict[str, Any]:
    return changed(gates=[{"metric": "fairness.selection-rate.ratio", **keys}], waivers=[])


@pytest.mark.parametrize(
    ("data", "line"),
    [
        (
            gate(metric="fairness.selection_rate.ratio", min=0.8),
            "gates[0].metric 'fairness.selection_rate.ratio' is unknown; did you mean 'fairness.selection-rate.ratio'?",
        ),
        (
            changed(target={"kind": "recipe", "name": "baseline/bosting"}, data={"dataset": "adult"}),
            "target.name 'baseline/bosting' is no recipe; did you mean 'baseline/boosting'?",
        ),
        (gate(metric="zzz", min=0.8), "gates[0].metric 'zzz' is unknown; 'steelyard probes' lists the metrics"),
        (gate(), "gates[0] has no tolerance; give it min, or versus with not_worse_by"),
        (gate(max=0.8), "gates[0].max is on fairness.selection-rate.ratio, of which higher is better; use min"),
        (
            gate(metric="quality.calibration.ece", min=0.1),
            "gates[0].min is on quality.calibration.ece, of which lower is better; use max",
        ),
        (
            gate(min=80),
            "gates[0].min is 80, outside the range of fairness.selection-rate.ratio; it lies between 0 and 1",
        ),
        (
            gate(metric="quality.performance.mean-error", min=1, max=-1),
            "gates[0].min 1 is above its max -1; swap them",
        ),
        (
            gate(versus="baseline"),
            "gates[0].not_worse_by is missing beside versus; say how much worse is still acceptable, "
            "such as 0.01, or 0",
        ),
        (
            gate(min=0.8, not_worse_by=0.1),
            "gates[0].not_worse_by has nothing to be compared with; add versus: a name from references",
        ),
        (
            gate(min=0.8, versus="baseline", not_worse_by=0.1),
            "gates[0] has both versus and a limit; make it two gates: one with the limit, one with versus",
        ),
        (
            gate(versus="baselin", not_worse_by=0.1),
            "gates[0].versus 'baselin' is not in references; did you mean 'baseline'?",
        ),
        (
            gate(versus="logistic", not_worse_by=0.1),
            "gates[0].versus 'logistic' is not in references; did you mean 'baseline/logistic'?",
        ),
        (
            gate(versus="baseline", not_worse_by=1),
            "gates[0].not_worse_by is 1, as wide as the range of fairness.selection-rate.ratio; it must be less than 1",
        ),
        (
            gate(metric="quality.performance.mean-error", versus="baseline", not_worse_by=0.1),
            "gates[0].versus is on quality.performance.mean-error, which has no better direction; "
            "nothing can be worse there; use max and min",
        ),
        (
            gate(min=0.8, where={"atribute": "sex"}),
            "gates[0].where.atribute is an unknown key; did you mean 'attribute'?",
        ),
        (
            gate(min=0.8, where={"attribute": "sx"}),
            "gates[0].where.attribute 'sx' is not in data.groups; did you mean 'sex'?",
        ),
        (
            gate(min=0.8, where={"intersection": "race*sex"}),
            "gates[0].where.intersection 'race*sex' is no intersection of data.groups; these are sex*race",
        ),
        (
            gate(metric="fairness.error-rates.tpr", min=0.8, where={"group": "Female"}),
            "gates[0].where.group has no attribute; say of which attribute the group is",
        ),
        (
            gate(min=0.8, where={"attribute": "sex", "group": "Female"}),
            "gates[0].where.group cannot narrow fairness.selection-rate.ratio, which compares all groups of an "
            "attribute; it takes attribute or intersection",
        ),
        (
            gate(min=0.8, where={"attribute": "sex", "intersection": "sex*race"}),
            "gates[0].where has both attribute and intersection; keep one; where: {intersection: a*b} stands alone",
        ),
        (gate(min=0.8, id="7"), "gates[0].id '7' is not a name; a number is a gate's place in the list; use a name"),
        (
            changed(gates=[*GOOD["gates"], GOOD["gates"][0]]),
            "gates[2].id 'four-fifths' is there twice; ids are unique",
        ),
        (
            changed(probes=["fairness.*"]),
            "gates[1].metric 'quality.performance.accuracy' is measured by quality.performance, "
            "which the plan does not ask for; add quality.performance to probes",
        ),
        (
            changed(probes=[*GOOD["probes"], "qualty.*"]),
            "probes[2] 'qualty.*' matches no probe; did you mean 'quality.*'?",
        ),
        (
            changed(probes=[*GOOD["probes"], {"quality.calibration": {"bin": 3}}]),
            "probes[2] quality.calibration has no setting 'bin'; did you mean 'bins'?",
        ),
        (
            changed(probes=["fairness.*", {"quality.performance": {"bins": 3}}]),
            "probes[1] quality.performance has no setting 'bins'; it has no settings",
        ),
        (changed(required=["fairnes"]), "required[0] 'fairnes' is an unknown family; did you mean 'fairness'?"),
        (
            changed(probes=["quality.*"], gates=GOOD["gates"][1:], waivers=[]),
            "required[0] 'fairness' is a family of which the plan asks no probe; add fairness.* to probes",
        ),
        (
            changed(references=["baselin"], gates=GOOD["gates"][:1]),
            "references[0] 'baselin' is unknown; did you mean 'baseline'?",
        ),
        (changed(references=["baseline", "baseline"]), "references[1] 'baseline' is there twice; keep one of them"),
        (
            changed(data={**GOOD["data"], "train": None}),
            "references need data.train; references are trained; name the training table, or remove the references",
        ),
        (
            changed(data={**GOOD["data"], "test": None}),
            "data has no test and no dataset; name the table the audit is measured on, or set data.held_out to a share "
            "of data.train",
        ),
        (
            changed(data={**GOOD["data"], "dataset": "adult"}),
            "data.dataset and data.train are both given; a bundled data set brings its own split; keep one of them",
        ),
        (changed(data={**GOOD["data"], "label": None}), "data.label is missing; name the column with the true outcome"),
        (
            changed(data={**GOOD["data"], "features": ["age", "y"]}),
            "data.features[1] 'y' is the label; a model that sees its outcome proves nothing",
        ),
        (changed(data={**GOOD["data"], "weight": "y"}), "data.weight is the label 'y'; name another column"),
        (
            changed(data={**GOOD["data"], "reference_groups": {"rac": "White"}}),
            "data.reference_groups.rac is not one of data.groups; did you mean 'race'?",
        ),
        (
            changed(data={**GOOD["data"], "groups": []}),
            "gates[0] compares groups, but data.groups is empty; name them",
        ),
        (
            changed(data={**GOOD["data"], "groups": ["sex"]}, gates=[{**GOOD["gates"][0], "intersections": 2}]),
            "gates[0].intersections is 2, but data.groups has 1 attribute; an intersection takes two",
        ),
        (changed(target={"kind": "sklearn"}), "target.path is missing; kind 'sklearn' needs it"),
        (changed(target={"kind": "recipe"}), "target.name is missing; kind 'recipe' needs it"),
        (
            changed(target={"kind": "python", "path": "model.py"}),
            "target.factory is missing; name the function that returns the model, or write path: file.py:function",
        ),
        (
            changed(target={"kind": "sklearn", "path": "m.skops", "score": "p"}),
            "target.score does not belong to kind 'sklearn'; its keys are path, threshold, trust_pickle, trusted",
        ),
        (
            changed(target={"kind": "http", "path": "m.py"}),
            "target.kind 'http' is not available in this version; it is one of sklearn, predictions, python, recipe, "
            "torch, onnx, transformers",
        ),
        (
            changed(target={"kind": "torch"}),
            "target.path is missing; kind 'torch' needs it",
        ),
        (
            changed(target={"kind": "onnx", "path": "m.onnx", "weights": "w.safetensors"}),
            "target.weights does not belong to kind 'onnx'; its keys are path, settings, threshold",
        ),
        (
            changed(data={**GOOD["data"], "held_out": 0.2}),
            "data.held_out does not go with this data; it is a share of data.train, where nothing else is tested on",
        ),
        (
            changed(data={"train": "a", "test": "b", "task": "language", "label": "y", "groups": ["sex", "race"]}),
            "data.label does not go with task language; a language model decides nothing: remove it",
        ),
        (
            changed(
                target={"kind": "predictions", "path": "t.csv"}, data={"train": "a.csv", "groups": ["sex", "race"]}
            ),
            "target has no decision and no score column; name at least one of them",
        ),
        (
            changed(target={"kind": "predictions", "path": "t.csv", "score": "p"}),
            "data.test does not go with a table of predictions; the columns are those of target.path; remove it",
        ),
        (
            changed(waivers=[{**GOOD["waivers"][0], "gate": 3}]),
            "waivers[0].gate 3 does not exist; gates are counted from 1 to 2, or named by their id",
        ),
        (
            changed(waivers=[{**GOOD["waivers"][0], "gate": 0}]),
            "waivers[0].gate 0 does not exist; gates are counted from 1 to 2, or named by their id",
        ),
        (
            changed(waivers=[{**GOOD["waivers"][0], "gate": "four-fifth"}]),
            "waivers[0].gate 'four-fifth' does not exist; did you mean 'four-fifths'?",
        ),
    ],
)
def test_what_cannot_be_meant_is_one_line(data: dict[str, Any], line: str) -> None:
    assert errors(data) == [line]


@pytest.mark.parametrize(
    "data",
    [
        changed(target={"kind": "python", "path": "model.py:load"}),
        changed(
            target={"kind": "predictions", "path": "t.csv", "decision": "d"}, data={"train": "a", "groups": ["sex"]}
        ),
        changed(target={"kind": "recipe", "name": "boosting"}, data={"dataset": "adult"}),
        changed(target={"kind": "recipe", "name": "boosting", "settings": {"max_iter": 3}}, data={"dataset": "adult"}),
        changed(target={"kind": "torch", "path": "net.py:load", "weights": "w.safetensors"}),
        changed(data={"train": "a.csv", "held_out": 0.2, "label": "y", "groups": ["sex", "race"]}),
        changed(
            target={"kind": "transformers", "path": "gpt2", "head": "causal", "revision": "0" * 40},
            data={"groups": ["sex", "race"]},
            references=[],
            gates=GOOD["gates"][:1],
        ),
        changed(data={**GOOD["data"], "label": None, "train": "train-images-idx3-ubyte.gz", "test": "t10k-idx3"}),
        changed(data={**GOOD["data"], "label": None, "train": "pictures/train", "test": "pictures/test"}),
        gate(versus="baseline/logistic", not_worse_by=0),
        gate(min=0.8, where={"intersection": "sex*race"}),
        gate(metric="quality.performance.mean-error", min=-1, max=1),
        changed(references=["logistic"], gates=[{**GOOD["gates"][1], "versus": "baseline/logistic"}], waivers=[]),
        changed(waivers=[{**GOOD["waivers"][0], "gate": "2"}]),
    ],
)
def test_what_can_be_meant_is_left_alone(data: dict[str, Any]) -> None:
    assert checked(data) == ()


def test_an_expired_waiver_warns_the_day_after() -> None:
    waiver = {**GOOD["waivers"][0], "expires": "2026-06-01"}
    assert checked(changed(waivers=[waiver])) == ()
    (line,) = checked(changed(waivers=[{**waiver, "expires": "2026-05-31"}]))
    assert "expired on 2026-05-31 and waives nothing" in line


def test_a_gate_that_cannot_fail_warns() -> None:
    (line,) = checked(gate(min=0))
    assert line == "plan: gates[0].min 0 is the limit of fairness.selection-rate.ratio: this gate can never fail"


def test_later_probe_entries_win_and_keep_the_order() -> None:
    plan = parse_plan(
        changed(probes=["quality.*", {"quality.*": {"bins": 5}}, {"quality.calibration": {"bins": 9}}])
    ).plan
    assert chosen_probes(plan, PROBES) == {"quality.performance": {"bins": 5}, "quality.calibration": {"bins": 9}}
