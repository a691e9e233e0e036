"""What gates say: every verdict, joint claims over parts, references, Holm over a family."""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.judge import Measured, judge
from steelyard.audit.plan import AuditPart, DataPart, GatePart, Plan, ReportPart, TargetPart, WaiverPart
from steelyard.audit.types import (
    Binomial,
    Direction,
    Estimate,
    Failure,
    Finding,
    Inapplicable,
    MetricSpec,
    Normal,
    Reading,
    Status,
)

TODAY = dt.date(2026, 11, 21)


def spec(metric: str, direction: Direction = Direction.HIGHER, reading: Reading = "measurement") -> MetricSpec:
    return MetricSpec(id=metric, definition="d", direction=direction, lower=0, upper=1, reading=reading)


def share(metric: str, k: int, n: int, target: str = "candidate", **where: Any) -> Finding:
    detail = {"unknown": True} if where.pop("unknown", False) else {}
    return Finding(
        metric=metric,
        target=target,
        where=where,
        estimate=Estimate(value=k / n, low=0.0, high=1.0, level=0.95, n=n, method="test"),
        definition="d",
        direction=Direction.HIGHER,
        ideal=1.0,
        probe="quality.test",
        probe_version=1,
        basis=Binomial(successes=k, trials=n),
        detail=detail,
    )


def judged(gates, findings, *, specs=None, failures=(), inapplicable=(), waivers=(), alpha=0.05):
    parts = [GatePart.model_validate(gate) for gate in gates]
    known = {s.id: s for s in specs or [spec(gate["metric"]) for gate in gates]}
    plan = Plan.model_construct(
        audit=AuditPart(alpha=alpha),
        target=TargetPart(kind="python"),
        data=DataPart(groups=["sex"]),
        references=["baseline"],
        probes=["quality.*"],
        gates=parts,
        required=[],
        waivers=[WaiverPart.model_validate(w) for w in waivers],
        standards=[],
        report=ReportPart(),
    )
    measured = Measured(
        findings=findings,
        failures=failures,
        inapplicable=inapplicable,
        attributes=("sex",),
        candidate="candidate",
        table=lambda digest: pytest.fail("no table is needed"),
    )
    return judge(plan, measured, known, today=TODAY)


M = "quality.test.share"
GATE = {"metric": M, "min": 0.8}


@pytest.mark.parametrize(
    ("k", "n", "status"),
    [(900, 1000, Status.PASS), (700, 1000, Status.FAIL), (82, 100, Status.INCONCLUSIVE), (8, 10, Status.INCONCLUSIVE)],
)
def test_one_number_against_a_minimum(k, n, status):
    (verdict,) = judged([GATE], [share(M, k, n)])
    assert verdict.status is status
    assert verdict.gate == 1
    assert verdict.estimate.value == k / n
    if status is Status.INCONCLUSIVE:
        assert verdict.n_needed is None or verdict.n_needed > n


def test_nothing_measured_says_why_and_is_never_a_pass():
    (bare,) = judged([GATE], [])
    assert (bare.status, bare.estimate) == (Status.NOT_MEASURED, None)
    assert M in bare.reason
    crashed = Failure(probe="quality.test", target="candidate", reason="it crashed: planted")
    (verdict,) = judged([GATE], [], failures=[crashed])
    assert (verdict.status, verdict.reason) == (Status.NOT_MEASURED, "it crashed: planted")
    unfit = Inapplicable(probe="quality.test", target="candidate", reason="no labels", metrics=(M,))
    (verdict,) = judged([GATE], [], inapplicable=[unfit])
    assert verdict.status is Status.NOT_MEASURED
    assert "no labels" in verdict.reason


def test_groups_without_a_number_are_told_of_a_gate_on_groups_and_not_of_one_overall():
    group = {"attribute": "sex", "group": "x"}
    small = Failure(probe="quality.test", target="candidate", reason="x is too small", metrics=(M,), where=group)
    (overall,) = judged([GATE], [share(M, 900, 1000)], failures=[small])
    assert "Not covered" not in overall.explanation
    (groups,) = judged([GATE], [share(M, 900, 1000, attribute="sex", group="f")], failures=[small])
    assert groups.status is Status.PASS
    assert "Not covered: x is too small." in groups.explanation


def test_a_reference_is_no_stand_in_for_the_candidate():
    (verdict,) = judged([GATE], [share(M, 900, 1000, target="baseline/logistic")])
    assert verdict.status is Status.NOT_MEASURED


def test_a_number_without_a_basis_cannot_be_judged():
    import dataclasses

    bare = dataclasses.replace(share(M, 900, 1000), basis=None)
    (verdict,) = judged([GATE], [bare])
    assert verdict.status is Status.NOT_MEASURED


def test_rule_6_an_attack_fails_or_is_not_refuted_but_never_passes():
    attack = spec(M, reading="attack")
    held = judged([GATE], [share(M, 990, 1000)], specs=[attack])[0]
    broken = judged([GATE], [share(M, 500, 1000)], specs=[attack])[0]
    assert (held.status, broken.status) == (Status.NOT_REFUTED, Status.FAIL)


def test_a_disclosure_is_reported_once_it_is_measured():
    told = spec(M, Direction.NONE)
    gate = {"metric": M}
    assert judged([gate], [share(M, 5, 10)], specs=[told])[0].status is Status.REPORTED
    assert judged([gate], [], specs=[told])[0].status is Status.NOT_MEASURED


def test_every_group_has_to_hold_and_one_that_breaks_is_enough():
    fine = [share(M, 950, 1000, attribute="sex", group="f"), share(M, 950, 1000, attribute="sex", group="m")]
    bad = [fine[0], share(M, 600, 1000, attribute="sex", group="m")]
    few = [fine[0], share(M, 19, 20, attribute="sex", group="m")]
    gate = {**GATE, "where": {"attribute": "sex"}}
    assert judged([gate], fine)[0].status is Status.PASS
    failed = judged([gate], bad)[0]
    assert failed.status is Status.FAIL
    assert failed.detail["group"] == "m"
    unsure = judged([gate], few)[0]
    assert unsure.status is Status.INCONCLUSIVE
    assert unsure.detail["group"] == "m"


def test_unknown_rows_are_not_a_group_that_a_gate_covers():
    rows = [share(M, 950, 1000, attribute="sex", group="f"), share(M, 1, 900, attribute="sex", group="?", unknown=True)]
    assert judged([{**GATE, "where": {"attribute": "sex"}}], rows)[0].status is Status.PASS


def test_rule_4_holm_over_the_gates_of_one_family():
    """p = .03 fails alone, and not beside nineteen other gates of its family; gates of another family do not count."""
    weak = share(M, 769, 1000)  # P(X <= 769 | .8, 1000) = .009
    others = [share(f"quality.test.other{i}", 850, 1000) for i in range(9)]
    alone = judged([GATE], [weak])[0]
    gates = [GATE, *[{"metric": f.metric, "min": 0.8} for f in others]]
    beside = judged(gates, [weak, *others])[0]
    apart = judged([GATE, *[{**g, "metric": g["metric"].replace("quality", "safety")} for g in gates[1:]]], [weak])[0]
    assert alone.status is Status.FAIL
    assert beside.p_fail == alone.p_fail
    assert beside.p_fail_adjusted == pytest.approx(10 * alone.p_fail)
    assert beside.status is Status.INCONCLUSIVE
    assert apart.status is Status.FAIL


def gain(value: float, se: float, versus: str) -> Finding:
    return Finding(
        metric=f"{M}-gain",
        target="candidate",
        where={"versus": versus},
        estimate=Estimate(value=value, low=value - 2 * se, high=value + 2 * se, level=0.95, n=1000, method="paired"),
        definition="d",
        direction=Direction.HIGHER,
        ideal=None,
        probe="quality.test",
        probe_version=1,
        basis=Normal(value=value, se=se, df=999),
    )


VERSUS = {"metric": M, "versus": "baseline", "not_worse_by": 0.01}


@pytest.mark.parametrize(
    ("gains", "status"),
    [
        ({"baseline/a": 0.02, "baseline/b": 0.01}, Status.PASS),
        ({"baseline/a": 0.02, "baseline/b": -0.05}, Status.FAIL),
        ({"baseline/a": 0.02, "baseline/b": -0.012}, Status.INCONCLUSIVE),
    ],
)
def test_versus_holds_against_every_reference_of_the_family(gains, status):
    rows = [share(M, 900, 1000), *[share(M, 900, 1000, target=name) for name in gains]]
    rows += [gain(value, 0.005, name) for name, value in gains.items()]
    (verdict,) = judged([VERSUS], rows)
    assert verdict.status is status
    if status is not Status.PASS:
        assert verdict.detail["versus"] == "baseline/b"


def test_versus_without_a_paired_reading_compares_two_intervals_and_says_so():
    def verdict(mine: int, theirs: int):
        return judged([VERSUS], [share(M, mine, 4000), share(M, theirs, 4000, target="baseline/a")])[0]

    assert verdict(3600, 3200).status is Status.PASS
    assert verdict(3000, 3600).status is Status.FAIL
    close = verdict(3600, 3601)
    assert close.status is Status.INCONCLUSIVE
    assert "two separate intervals" in close.explanation


def test_versus_a_reference_that_was_not_measured_is_not_measured():
    (verdict,) = judged([VERSUS], [share(M, 900, 1000)])
    assert verdict.status is Status.NOT_MEASURED
    half = [share(M, 900, 1000), share(M, 900, 1000, target="baseline/a"), gain(0.02, 0.005, "baseline/a")]
    other = share("quality.test.else", 1, 2, target="baseline/b")  # there, but without this metric
    (verdict,) = judged([VERSUS], [*half, other])
    assert verdict.status is Status.NOT_MEASURED


def test_a_waiver_accepts_a_known_failure_until_it_expires():
    waiver = {"gate": 1, "owner": "a@b.org", "expires": TODAY, "reason": "agreed"}
    late = {**waiver, "expires": TODAY - dt.timedelta(days=1)}
    bad = [share(M, 700, 1000)]
    waived = judged([GATE], bad, waivers=[waiver])[0]
    assert (waived.status, waived.waived_from) == (Status.WAIVED, Status.FAIL)
    assert judged([GATE], bad, waivers=[late])[0].status is Status.FAIL
    assert judged([GATE], [], waivers=[waiver])[0].status is Status.NOT_MEASURED


def test_a_verdict_that_seems_to_disagree_with_its_interval_says_why():
    """Six equal groups: the joint interval reaches past .1, and the pass by single limits stands (rule 3)."""
    rng = np.random.default_rng(4)
    n, groups = 6000, 6
    frame = pd.DataFrame({"row": np.arange(n)})
    group = np.repeat(np.arange(groups), n // groups).astype(str)
    decisions = np.concatenate([rng.permutation(np.arange(n // groups) < 300) for _ in range(groups)]).astype(int)
    record = audit(
        lambda X: decisions[X["row"].to_numpy()],
        frame,
        decisions,
        groups={"g": group},
        positive=1,
        probes=["fairness.selection-rate"],
        gates=[{"metric": "fairness.selection-rate.difference", "max": 0.05}],
    )
    (verdict,) = record.verdicts
    assert verdict.status is Status.PASS
    assert verdict.estimate.high > 0.05
    assert "one-sided" in verdict.explanation


def test_a_record_prints_as_one_line():
    rng = np.random.default_rng(0)
    y, sex = rng.integers(0, 2, 400), rng.choice(["f", "m"], 400)
    record = audit(
        lambda X: y, np.zeros((400, 1)), y, groups={"sex": sex}, gates=[{"metric": "quality.accuracy", "min": 0.5}]
    )
    assert repr(record).startswith("<Record 'audit': gate 1 pass; exit code 0; ")
    bare = audit(lambda X: y, np.zeros((400, 1)), y, groups={"sex": sex})
    assert "not judged" in repr(bare)
    assert "every gate passed" not in bare._repr_html_()


def hole(**where: Any) -> Failure:
    return Failure(probe="quality.test", target="candidate", reason="too few", metrics=(M,), where=where)


def test_an_attribute_without_a_number_keeps_a_gate_over_all_of_them_from_passing():
    fine = [share(M, 950, 1000, attribute="sex", group=g) for g in "fm"]
    bad = [fine[0], share(M, 500, 1000, attribute="sex", group="m")]
    over_all = {"metric": M, "min": 0.8}
    assert judged([over_all], fine)[0].status is Status.PASS
    lost = judged([over_all], fine, failures=[hole(attribute="race")])[0]
    assert (lost.status, lost.reason.endswith("too few")) == (Status.NOT_MEASURED, True)
    assert judged([over_all], bad, failures=[hole(attribute="race")])[0].status is Status.FAIL
    only_sex = {**over_all, "where": {"attribute": "sex"}}
    assert judged([only_sex], fine, failures=[hole(attribute="race")])[0].status is Status.PASS
    one_group = hole(attribute="sex", group="x")
    partly = judged([only_sex], fine, failures=[one_group])[0]
    assert partly.status is Status.PASS
    assert "Not covered" in partly.explanation
    crossed = {**over_all, "intersections": 2}
    assert judged([over_all], fine, failures=[hole(intersection="sex*race")])[0].status is Status.PASS
    assert judged([crossed], fine, failures=[hole(intersection="sex*race")])[0].status is Status.NOT_MEASURED


def test_what_a_probe_left_behind_when_it_crashed_cannot_pass_for_the_whole():
    half = [share(M, 950, 1000, attribute="sex", group="f")]
    crash = Failure(probe="quality.test", target="candidate", reason="it crashed: planted")
    verdict = judged([{**GATE, "where": {"attribute": "sex"}}], half, failures=[crash])[0]
    assert verdict.status is Status.NOT_MEASURED
    assert "planted" in verdict.reason
    exact = judged([GATE], [share(M, 950, 1000)], failures=[crash])[0]
    assert exact.status is Status.PASS  # the very number asked for was measured before the crash


def test_a_reference_of_the_family_without_a_reading_is_not_dropped():
    import dataclasses

    good = [share(M, 950, 1000), share(M, 900, 1000, target="baseline/a"), gain(0.05, 0.005, "baseline/a")]
    assert judged([VERSUS], good)[0].status is Status.PASS
    plan_gate = [GatePart.model_validate(VERSUS)]
    plan = Plan.model_construct(audit=AuditPart(), data=DataPart(groups=["sex"]), gates=plan_gate, waivers=[])
    measured = Measured(
        findings=good, failures=(), inapplicable=(), attributes=("sex",), candidate="candidate",
        table=lambda digest: b"", references=("baseline/a", "baseline/b"),
    )  # fmt: skip
    (verdict,) = judge(plan, measured, {M: spec(M)}, today=TODAY)
    assert verdict.status is Status.NOT_MEASURED
    assert "baseline/b" in verdict.reason
    (alone,) = judge(plan, dataclasses.replace(measured, references=("baseline/a",)), {M: spec(M)}, today=TODAY)
    assert alone.status is Status.PASS


def test_intersections_are_covered_when_the_gate_says_so():
    rows = [share(M, 950, 1000), share(M, 950, 1000, attribute="sex", group="f")]
    rows += [share(M, 10, 1000, intersection="sex*race", group="f*b")]
    for where in ({}, {"attribute": "sex"}):
        gate = {**GATE, "where": where}
        assert judged([gate], rows)[0].status is Status.PASS
        assert judged([{**gate, "intersections": 2}], rows)[0].status is Status.FAIL
    other = {**GATE, "where": {"attribute": "age"}, "intersections": 2}
    assert judged([other], rows)[0].status is Status.NOT_MEASURED


def test_a_class_without_a_number_is_a_hole_too():
    rows = [share(M, 950, 1000, attribute="sex", **{"class": name}) for name in "ab"]
    gate = {**GATE, "where": {"attribute": "sex"}}
    assert judged([gate], rows)[0].status is Status.PASS
    lost = judged([gate], rows, failures=[hole(attribute="sex", **{"class": "c"})])[0]
    assert lost.status is Status.NOT_MEASURED


def test_a_disclosure_with_a_hole_is_not_reported():
    told = spec(M, Direction.NONE)
    rows = [share(M, 5, 10, attribute="sex", group="f")]
    assert judged([{"metric": M}], rows, specs=[told])[0].status is Status.REPORTED
    lost = judged([{"metric": M}], rows, specs=[told], failures=[hole(attribute="race")])[0]
    assert lost.status is Status.NOT_MEASURED


def test_a_waiver_does_not_cover_what_was_not_measured_beside_a_failure():
    waiver = {"gate": 1, "owner": "a@b.org", "expires": TODAY, "reason": "agreed"}
    bad = [share(M, 500, 1000, attribute="sex", group="f")]
    verdict = judged([GATE], bad, failures=[hole(attribute="race")], waivers=[waiver])[0]
    assert verdict.status is Status.FAIL
