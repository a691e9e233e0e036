"""What each reference gains and costs: only where intervals are apart, and on the right side."""

from __future__ import annotations

from dataclasses import replace

import pytest

from steelyard.audit.record import TargetCard
from steelyard.audit.types import Direction, Estimate, Finding
from steelyard.reports.references_view import CurveLine, draw_curves, references_view
from steelyard.reports.shareable import shareable


def finding(metric: str, target: str, value: float, half: float | None, direction: Direction) -> Finding:
    estimate = Estimate(
        value=value,
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        level=0.95,
        n=500,
        method="by hand",
        no_interval="" if half is not None else "by hand",
    )
    return Finding(
        metric=metric, target=target, estimate=estimate, definition="d", direction=direction, ideal=None,
        probe=metric.rpartition(".")[0], probe_version=1,
    )  # fmt: skip


def card(name: str, role: str = "reference") -> TargetCard:
    return TargetCard(name=name, role=role, kind="recipe", task="binary", fingerprint="f" * 64, capabilities=())


@pytest.fixture
def weighed(record):
    up, down = Direction.HIGHER, Direction.LOWER
    rows = [
        ("quality.performance.accuracy", up, {"candidate": 0.90, "robust/cnn": 0.80, "network/cnn": 0.95}),
        ("robustness.attack.error", down, {"candidate": 0.90, "robust/cnn": 0.10, "network/cnn": 0.90}),
        ("quality.performance.f1", up, {"candidate": 0.70, "robust/cnn": 0.71, "network/cnn": 0.71}),
        ("fairness.x.none", Direction.NONE, {"candidate": 0.1, "robust/cnn": 0.9, "network/cnn": 0.9}),
    ]
    found = [finding(m, t, v, 0.02, d) for m, d, values in rows for t, v in values.items()]
    found.append(finding("quality.performance.auc", "robust/cnn", 0.5, None, up))
    found.append(finding("quality.performance.auc", "candidate", 0.9, 0.01, up))
    targets = (card("candidate", "candidate"), card("robust/cnn"), card("network/cnn"))
    spent = {"robust/cnn": {"cpu_seconds": 61.4, "cost": {"peak_memory": 1331.2}}}
    return replace(record, findings=tuple(found), targets=targets, environment={"training": spent})


def test_gains_and_costs_are_those_with_intervals_apart(weighed):
    view = references_view(shareable(weighed))
    beside = {(b.name, b.against): b for b in view.balances}
    assert set(beside) == {("robust/cnn", "candidate"), ("robust/cnn", "network/cnn"), ("network/cnn", "candidate")}
    robust = beside["robust/cnn", "candidate"]
    assert robust.gains == ("Attack: error 0.100 [0.080, 0.120] against 0.900 [0.880, 0.920]",)
    assert robust.costs == ("Performance: accuracy 0.800 [0.780, 0.820] against 0.900 [0.880, 0.920]",)
    assert robust.open == "2 of 4 figures"  # F1 overlaps, and the AUC has no interval
    assert robust.price == "61.4 CPU-s; the whole process held up to 1.3 GiB"
    assert beside["network/cnn", "candidate"].costs == ()
    assert beside["network/cnn", "candidate"].price == "–"


def test_a_swapped_direction_swaps_the_sides(weighed):
    turned = {Direction.HIGHER: Direction.LOWER, Direction.LOWER: Direction.HIGHER, Direction.NONE: Direction.NONE}
    swapped = replace(weighed, findings=tuple(replace(f, direction=turned[f.direction]) for f in weighed.findings))
    (before, *_), (after, *_) = (
        references_view(shareable(weighed)).balances,
        references_view(shareable(swapped)).balances,
    )
    assert (before.gains, before.costs) == (after.costs, after.gains)
    assert before.gains


def test_a_curve_is_drawn_within_its_frame():
    drawing = draw_curves(CurveLine(name="<loss>", values=(2.0, 1.0, 0.5)))
    assert "&lt;loss&gt;" in drawing
    assert "60.0,16.0" in drawing  # the highest value at the left edge, at the top
    assert draw_curves(CurveLine(name="flat", values=(1.0, 1.0))).count("<path") >= 1


def test_every_trained_model_has_its_card(record):
    view = references_view(shareable(record))
    assert [c.name for c in view.cards] == [t.name for t in record.targets if t.role == "reference"]
    labels = {fact.label: fact.value for fact in view.cards[0].facts}
    assert labels["Training rows"] == "3,000"
    assert labels["Accuracy on the training rows"] == "0.871"
    assert view.cards[0].curves[0].values == (0.69, 0.51, 0.44, 0.41)
