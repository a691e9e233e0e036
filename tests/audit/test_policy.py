"""Contract of the policy: every status under every policy, the order of the exit codes, waivers, gates in words."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steelyard.audit.errors import PlanError
from steelyard.audit.plan import GatePart, WaiverPart
from steelyard.audit.plan_file import parse_plan
from steelyard.audit.policy import apply_waivers, describe_gate, exit_code, explain_exit, gate_number, resolve_gates
from steelyard.audit.types import Direction, MetricSpec, Status, Verdict


def verdict(status: Status, gate: int = 1, inconclusive: str = "review", refuted: str = "review") -> Verdict:
    return Verdict(
        gate=gate,
        metric="a.b.c",
        status=status,
        threshold="a.b.c ≥ 1",
        reason="as it is",
        on_inconclusive=inconclusive,  # type: ignore[arg-type]
        on_not_refuted=refuted,  # type: ignore[arg-type]
    )


# (status, on_inconclusive, on_not_refuted): the exit code, written out by hand from the stated rules.
TABLE = {
    (status, inconclusive, refuted): code
    for status, codes in {
        Status.PASS: (0, 0, 0, 0, 0, 0),
        Status.FAIL: (1, 1, 1, 1, 1, 1),
        Status.INCONCLUSIVE: (3, 3, 1, 1, 0, 0),
        Status.NOT_MEASURED: (4, 4, 4, 4, 4, 4),
        Status.NOT_REFUTED: (3, 0, 3, 0, 3, 0),
        Status.REPORTED: (0, 0, 0, 0, 0, 0),
        Status.WAIVED: (0, 0, 0, 0, 0, 0),
    }.items()
    for (inconclusive, refuted), code in zip(
        [(i, r) for i in ("review", "fail", "accept") for r in ("review", "accept")], codes, strict=True
    )
}


def test_the_table_covers_every_status_and_policy() -> None:
    assert len(TABLE) == len(Status) * 3 * 2


@pytest.mark.parametrize(("key", "code"), TABLE.items())
def test_each_status_under_each_policy(key: tuple[Status, str, str], code: int) -> None:
    status, inconclusive, refuted = key
    assert exit_code([verdict(status, 1, inconclusive, refuted)], [], incomplete=False) == code


verdicts = st.builds(
    verdict,
    st.sampled_from(list(Status)),
    st.integers(1, 5),
    st.sampled_from(["review", "fail", "accept"]),
    st.sampled_from(["review", "accept"]),
)
RANK = {0: 0, 3: 1, 4: 2, 1: 3}


@given(several=st.lists(verdicts, min_size=1), uncovered=st.lists(st.just("privacy"), max_size=1), broken=st.booleans())
def test_one_beats_four_beats_three(several: list[Verdict], uncovered: list[str], broken: bool) -> None:
    codes = [TABLE[v.status, v.on_inconclusive, v.on_not_refuted] for v in several]
    expected = max([*codes, 4 if uncovered or broken else 0], key=RANK.__getitem__)
    assert exit_code(several, uncovered, incomplete=broken) == expected
    assert exit_code(several[::-1], uncovered, incomplete=broken) == expected


@given(several=st.lists(verdicts, min_size=1), more=verdicts, broken=st.booleans())
def test_one_more_verdict_never_makes_it_better(several: list[Verdict], more: Verdict, broken: bool) -> None:
    before = exit_code(several, [], incomplete=broken)
    assert RANK[exit_code([*several, more], [], incomplete=broken)] >= RANK[before]


def test_an_audit_without_verdicts_never_passes_as_judged() -> None:
    assert exit_code([], [], incomplete=False, judged=True) == 4
    assert exit_code([], [], incomplete=False, judged=False) == 0
    assert exit_code([], [], incomplete=True, judged=False) == 4
    assert exit_code([], ["privacy"], incomplete=False, judged=False) == 4


def test_every_code_has_its_words() -> None:
    words = {explain_exit(code) for code in range(6)}
    assert len(words) == 6
    assert explain_exit(70) == "Steelyard itself broke"


GATES = [GatePart(metric="a.b.c", min=1, id="first"), GatePart(metric="a.b.d", min=1)]
WAIVER = WaiverPart(gate="first", owner="name@org", expires=date(2027, 1, 31), reason="known")


@pytest.mark.parametrize(
    ("wanted", "number"), [(1, 1), (2, 2), ("first", 1), ("2", 2), (0, None), (3, None), ("x", None)]
)
def test_a_gate_is_named_by_number_or_id(wanted: int | str, number: int | None) -> None:
    assert gate_number(wanted, GATES) == number


@pytest.mark.parametrize("status", list(Status))
def test_a_waiver_accepts_a_known_result_only(status: Status) -> None:
    (after,) = apply_waivers([verdict(status)], [WAIVER], GATES, date(2027, 1, 31))
    if status in {Status.FAIL, Status.INCONCLUSIVE, Status.NOT_REFUTED}:
        assert after.status is Status.WAIVED
        assert after.waived_from is status
        assert after.waiver == "waived by name@org until 2027-01-31: known"
        assert exit_code([after], [], incomplete=False) == 0
    else:
        assert after == verdict(status)


def test_a_waiver_ends_after_its_day() -> None:
    assert apply_waivers([verdict(Status.FAIL)], [WAIVER], GATES, date(2027, 2, 1)) == (verdict(Status.FAIL),)


def test_a_waiver_is_of_one_gate_and_the_longest_counts() -> None:
    longer = WAIVER.model_copy(update={"gate": 1, "expires": date(2028, 1, 1), "owner": "b"})
    both = [verdict(Status.FAIL, 1), verdict(Status.FAIL, 2)]
    for waivers in ([WAIVER, longer], [longer, WAIVER]):
        first, second = apply_waivers(both, waivers, GATES, date(2026, 1, 1))
        assert first.waiver.startswith("waived by b until 2028")
        assert second == both[1]


RATIO = MetricSpec(id="fairness.selection-rate.ratio", definition="d", direction=Direction.HIGHER)
RATE = replace(RATIO, id="fairness.selection-rate.rate")
ACCURACY = replace(RATIO, id="quality.performance.accuracy")


@pytest.mark.parametrize(
    ("gate", "spec", "words"),
    [
        ({"min": 0.8}, RATIO, "fairness.selection-rate.ratio ≥ 0.8, between all groups of sex, race"),
        (
            {"min": 0.8, "intersections": 2},
            RATIO,
            "fairness.selection-rate.ratio ≥ 0.8, between all groups of sex, race, sex*race",
        ),
        (
            {"min": 0.8, "where": {"attribute": "race"}, "intersections": 2},
            RATIO,
            "fairness.selection-rate.ratio ≥ 0.8, between all groups of race, sex*race",
        ),
        (
            {"min": 0.8, "where": {"attribute": "sex"}},
            RATIO,
            "fairness.selection-rate.ratio ≥ 0.8, between all groups of sex",
        ),
        (
            {"min": 0.1, "where": {"attribute": "sex", "group": "Female"}},
            RATE,
            "fairness.selection-rate.rate ≥ 0.1, for the group Female of sex",
        ),
        (
            {"min": 0.1, "where": {"attribute": "sex"}},
            RATE,
            "fairness.selection-rate.rate ≥ 0.1, for every group of sex",
        ),
        ({"max": 1.0}, ACCURACY, "quality.performance.accuracy ≤ 1"),
        ({"min": -0.000001, "max": 0.5}, ACCURACY, "-1e-06 ≤ quality.performance.accuracy ≤ 0.5"),
        ({"max": 0.01, "where": {"fpr": 0.001}}, ACCURACY, "quality.performance.accuracy ≤ 0.01, fpr 0.001"),
        (
            {"versus": "baseline", "not_worse_by": 0.01},
            ACCURACY,
            "quality.performance.accuracy at most 0.01 worse than baseline",
        ),
        ({"versus": "baseline", "not_worse_by": 0}, ACCURACY, "quality.performance.accuracy no worse than baseline"),
    ],
)
def test_gates_in_words(gate: dict[str, object], spec: MetricSpec, words: str) -> None:
    part = GatePart.model_validate({"metric": spec.id, **gate})
    assert describe_gate(part, spec, ["sex", "race"]) == words


def test_gates_resolve_aliases_and_refuse_the_unknown() -> None:
    plan = parse_plan(
        {
            "target": {"kind": "sklearn", "path": "m.skops"},
            "data": {"test": "t.csv", "label": "y", "groups": ["sex"]},
            "probes": ["quality.*"],
            "gates": [{"metric": "quality.accuracy", "min": 0.5}],
        }
    ).plan
    (gate,) = resolve_gates(plan, {"quality.accuracy": ACCURACY})
    assert (gate.number, gate.metric) == (1, "quality.performance.accuracy")
    assert gate.threshold == "quality.performance.accuracy ≥ 0.5"
    with pytest.raises(PlanError, match=r"gates\[0\]\.metric 'quality\.accuracy' is unknown"):
        resolve_gates(plan, {})
