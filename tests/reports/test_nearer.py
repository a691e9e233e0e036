"""Which of two figures is clearly better: by the distance from the ideal, not by the direction alone."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.types import Direction, Estimate, Finding
from steelyard.reports.findings_view import families
from steelyard.reports.nearer import clearly_better
from steelyard.reports.references_view import references_view
from steelyard.reports.shareable import shareable

UP, DOWN = Direction.HIGHER, Direction.LOWER
TO_REFERENCE = "fairness.error-rates.tpr-ratio-to-reference"
APART = "fairness.adverse-impact.smd"
AREA = "privacy.membership.auc"


def span(low: float, high: float) -> Estimate:
    return Estimate(value=(low + high) / 2, low=low, high=high, level=0.95, n=500, method="by hand")


def finding(metric: str, direction: Direction, ideal: float | None, one: Estimate, **more: object) -> Finding:
    fields = {"target": "candidate", "reading": "measurement", **more}
    return Finding(
        metric=metric, estimate=one, definition="d", direction=direction, ideal=ideal,
        probe=metric.rpartition(".")[0], probe_version=1, **fields,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("metric", "direction", "ideal", "one", "two", "wanted"),
    [
        (TO_REFERENCE, UP, 1, (1.75, 1.90), (0.85, 0.95), -1),  # 1.8 times as often is further off than 0.9
        (TO_REFERENCE, UP, 1, (1.02, 1.08), (0.70, 0.80), 1),
        (TO_REFERENCE, UP, 1, (1.9, 2.1), (0.45, 0.55), 0),  # twice and half are as far
        (TO_REFERENCE, UP, 1, (0.9, 1.4), (0.6, 0.8), 0),  # it holds the ideal, and reaches as far as the other
        (TO_REFERENCE, UP, 1, (0.5, 2.0), (0.8, 0.9), 0),  # wide, and the ideal is in it
        (TO_REFERENCE, UP, 1, (0.0, 0.0), (0.2, 0.4), -1),
        ("fairness.selection-rate.ratio", UP, 1, (0.9, 0.95), (0.5, 0.6), 1),
        ("fairness.scores.mean-score-difference-to-reference", DOWN, 0, (-0.3, -0.2), (0.01, 0.05), -1),
        (APART, DOWN, 0, (-0.3, -0.2), (0.2, 0.3), 0),
        (APART, DOWN, 0, (-0.1, 0.05), (0.2, 0.3), 1),
        ("quality.performance.accuracy", UP, 1, (0.8, 0.82), (0.7, 0.72), 1),
        ("quality.performance.mae", DOWN, 0, (5.0, 6.0), (7.0, 8.0), 1),
        ("fairness.ranking.skew-min", UP, 0, (-0.2, -0.1), (-0.5, -0.4), 1),
        ("quality.performance.accuracy-gain", UP, None, (0.1, 0.2), (-0.2, -0.1), 1),
    ],
)
def test_the_nearer_to_the_ideal_is_the_better(metric, direction, ideal, one, two, wanted):
    mine = finding(metric, direction, ideal, span(*one))
    assert clearly_better(mine, span(*one), span(*two)) == wanted
    assert clearly_better(mine, span(*two), span(*one)) == -wanted


def test_an_attack_below_chance_has_found_nothing():
    mine = finding(AREA, DOWN, 0.5, span(0.3, 0.35), reading="attack")
    assert clearly_better(mine, span(0.3, 0.35), span(0.49, 0.51)) == 0
    assert clearly_better(mine, span(0.3, 0.35), span(0.6, 0.7)) == 1


def test_without_an_interval_nothing_is_clear():
    bare = Estimate(value=0.1, low=None, high=None, level=0.95, n=5, method="m", no_interval="few")
    assert clearly_better(finding(APART, DOWN, 0, bare), bare, span(5, 6)) == 0


limits = st.tuples(st.floats(0.01, 100), st.floats(0.01, 100)).map(sorted)


@given(limits, limits)
def test_turning_a_ratio_round_changes_nothing(one, two):
    """Which group is below the line of a ratio is a choice; who is nearer to parity is not."""
    mine = finding(TO_REFERENCE, UP, 1, span(*one))
    turned = [span(1 / high, 1 / low) for low, high in (one, two)]
    found, after = clearly_better(mine, span(*one), span(*two)), clearly_better(mine, *turned)
    assert found == after or {found, after} <= {0, 1} or {found, after} <= {0, -1}  # limits that just touch
    assert found != -after or found == 0


def test_a_ratio_further_from_parity_is_a_cost_in_the_report(record):
    found = (
        finding(TO_REFERENCE, UP, 1, span(0.85, 0.95)),
        finding(TO_REFERENCE, UP, 1, span(1.75, 1.90), target="baseline/logistic"),
    )
    shared = shareable(replace(record, findings=found))
    (balance,) = [b for b in references_view(shared).balances if b.name == "baseline/logistic"]
    assert balance.gains == ()
    assert len(balance.costs) == 1
    assert "1.825" in balance.costs[0]
    said = families(shared, {})[0].questions[0].metrics[0].direction
    assert said == "the nearer to 1 the better"


def test_a_metric_within_its_ideal_is_told_by_its_direction(record):
    shared = shareable(replace(record, findings=(finding(TO_REFERENCE, UP, 1, span(0.85, 0.95)),)))
    assert families(shared, {})[0].questions[0].metrics[0].direction == "higher is better; ideal 1"
    attack = finding(AREA, DOWN, 0.5, span(0.3, 0.4), reading="attack")
    shared = shareable(replace(record, findings=(attack,)))
    assert families(shared, {})[0].questions[0].metrics[0].direction == "lower is better; ideal 0.5"
