"""Conditional parity: statsmodels as the oracle, planted truth, and the gate's own error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.canonical import generator
from steelyard.audit.types import Status
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.largest import joint_errors, largest
from steelyard.probes.stats.linearised import Design
from steelyard.probes.stats.stratified import Stratified

ID = "fairness.conditional"
CONTROLLED = [{ID: {"controls": ["dept"]}}]


def measured(decisions, groups, controls, *, gates=(), probes=CONTROLLED, **kwargs):
    frame = pd.DataFrame({"decision": np.asarray(decisions)}).assign(**controls)
    labels = np.arange(len(frame)) % 2
    return audit(
        lambda X: X["decision"].to_numpy(),
        frame,
        labels,
        groups=groups,
        gates=gates,
        positive=1,
        probes=probes,
        **kwargs,
    )


def finding(record, statistic, **where):
    (found,) = [f for f in record.findings_of(f"{ID}.{statistic}") if dict(f.where) == where]
    return found


@pytest.fixture(scope="module")
def admissions():
    """Berkeley 1973, the six largest departments: (admitted, applied) of men and women.

    Bickel, Hammel, O'Connell 1975, DOI 10.1126/science.187.4175.398.
    """
    counts = {
        "A": ((512, 825), (89, 108)), "B": ((353, 560), (17, 25)), "C": ((120, 325), (202, 593)),
        "D": ((138, 417), (131, 375)), "E": ((53, 191), (94, 393)), "F": ((22, 373), (24, 341)),
    }  # fmt: skip
    rows = []
    for dept, sides in counts.items():
        for sex, (k, n) in zip(("m", "f"), sides, strict=True):
            rows += [(dept, sex, 1)] * k + [(dept, sex, 0)] * (n - k)
    return pd.DataFrame(rows, columns=["dept", "sex", "decision"]), counts


def test_oracle_statsmodels_on_the_berkeley_admissions(admissions):
    from statsmodels.stats.contingency_tables import StratifiedTable

    table, counts = admissions
    tables = [np.array([[m[0], m[1] - m[0]], [f[0], f[1] - f[0]]]) for m, f in counts.values()]
    theirs = StratifiedTable(tables)
    record = measured(table["decision"], table[["sex"]], {"dept": table["dept"]})
    difference, ratio = finding(record, "difference", attribute="sex"), finding(record, "ratio", attribute="sex")
    pooled = theirs.riskratio_pooled
    assert ratio.estimate.value == pytest.approx(min(pooled, 1 / pooled), abs=1e-12)
    cmh = theirs.test_null_odds(correction=False)
    assert difference.detail["cmh_p"] == pytest.approx(cmh.pvalue, abs=1e-12)
    assert difference.detail["cmh_statistic"] == pytest.approx(cmh.statistic, abs=1e-10)
    # women were admitted less often overall, yet not within the departments
    by_hand = sum((f[0] / f[1] - m[0] / m[1]) * m[1] * f[1] / (m[1] + f[1]) for m, f in counts.values())
    by_hand /= sum(m[1] * f[1] / (m[1] + f[1]) for m, f in counts.values())
    assert difference.estimate.value == pytest.approx(abs(by_hand), abs=1e-12)
    assert by_hand > 0
    assert difference.detail["lowest"] == "m"
    worst = finding(record, "worst-stratum-difference", attribute="sex")
    assert worst.detail["stratum"] == "dept = A"
    assert worst.estimate.value == pytest.approx(89 / 108 - 512 / 825)


def test_a_single_stratum_is_the_plain_difference_with_its_usual_standard_error():
    rng = np.random.default_rng(0)
    group, hits = rng.integers(0, 2, 4000), rng.uniform(size=4000) < 0.3
    table = Stratified.of(np.zeros(4000, dtype=np.int64), group, hits, Design(n=4000), levels=(0, 1), strata=1)
    pooled = table.differences()
    p, n = [hits[group == g].mean() for g in (0, 1)], [(group == g).sum() for g in (0, 1)]
    assert pooled.values[0] == pytest.approx(p[0] - p[1])
    wald = sum(q * (1 - q) / m for q, m in zip(p, n, strict=True))
    assert pooled.covariance[0, 0] == pytest.approx(wald, rel=2e-3)


def test_weights_of_one_and_clusters_of_one_change_the_variance_by_next_to_nothing():
    rng = np.random.default_rng(1)
    n = 6000
    strata, group = rng.integers(0, 4, n), rng.integers(0, 3, n)
    hits = rng.uniform(size=n) < 0.2 + 0.1 * strata
    kinds = (
        Design(n=n), Design(n=n, weights=np.full(n, 2.5)), Design(n=n, clusters=np.arange(n)),
    )  # fmt: skip
    tables = [Stratified.of(strata, group, hits, d, levels=(0, 1, 2), strata=4) for d in kinds]
    plain = tables[0]
    for other in tables[1:]:
        assert other.differences().values == pytest.approx(plain.differences().values, abs=1e-12)
        assert other.differences().covariance == pytest.approx(plain.differences().covariance, rel=0.02, abs=2e-6)
        assert other.log_ratios().covariance == pytest.approx(plain.log_ratios().covariance, rel=0.02, abs=2e-5)
        assert other.cmh(0) is None


def test_rows_written_twice_and_clustered_say_no_more_than_once():
    rng = np.random.default_rng(2)
    n = 2000
    strata, group, hits = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.uniform(size=n) < 0.4
    once = Stratified.of(strata, group, hits, Design(n=n, clusters=np.arange(n)), levels=(0, 1), strata=3)
    twice = Stratified.of(
        *(np.tile(x, 2) for x in (strata, group, hits)), Design(n=2 * n, clusters=np.tile(np.arange(n), 2)),
        levels=(0, 1), strata=3,
    )  # fmt: skip
    assert twice.differences().covariance == pytest.approx(once.differences().covariance, rel=1e-9)


def planted(seed, *, bias, n=8000):
    """Departments differ in their rates, groups in where they apply; `bias` is what the group adds within."""
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    dept = np.where(rng.uniform(size=n) < np.where(sex == "f", 0.7, 0.3), "hard", "easy")
    p = np.where(dept == "hard", 0.2, 0.6) + bias * (sex == "m")
    return (rng.uniform(size=n) < p).astype(int), pd.DataFrame({"sex": sex}), {"dept": dept}


GATES = [{"metric": f"{ID}.difference", "max": 0.08}, {"metric": f"{ID}.ratio", "min": 0.8}]


def test_planted_truth_a_gap_inside_the_strata_fails_and_one_that_the_strata_explain_passes():
    explained = measured(*planted(3, bias=0.0), gates=GATES, probes=[*CONTROLLED, "fairness.selection-rate"])
    biased = measured(*planted(3, bias=0.2), gates=GATES)
    (raw,) = [f for f in explained.findings_of("fairness.selection-rate.difference") if f.where == {"attribute": "sex"}]
    assert raw.estimate.low > 0.1  # the unconditional gap is large
    assert [v.status for v in explained.verdicts] == [Status.PASS, Status.PASS]
    assert [v.status for v in biased.verdicts] == [Status.FAIL, Status.FAIL]
    assert finding(biased, "difference", attribute="sex").detail["lowest"] == "f"


def test_strata_that_go_opposite_ways_cancel_when_pooled_and_show_in_the_worst():
    rng = np.random.default_rng(4)
    n = 8000
    sex, dept = rng.choice(["f", "m"], n), rng.choice(["x", "y"], n)
    p = np.where((sex == "f") == (dept == "x"), 0.6, 0.3)
    record = measured(rng.uniform(size=n) < p, pd.DataFrame({"sex": sex}), {"dept": dept})
    assert finding(record, "difference", attribute="sex").estimate.value < 0.05
    assert finding(record, "worst-stratum-difference", attribute="sex").estimate.low > 0.2


@pytest.mark.parametrize("strata", [3, 300], ids=["few large strata", "many small ones"])
def test_null_and_coverage(strata):
    """Three groups without a difference: tolerance 0 is called broken in at most alpha of the runs."""
    runs, alarms, covered = 400, 0, 0
    for seed in range(runs):
        rng = np.random.default_rng(1000 + seed)
        n = 900
        s, g = rng.integers(0, strata, n), rng.choice(3, n, p=[0.5, 0.3, 0.2])
        base = 0.1 + 0.5 * (s % 5) / 4
        hits = rng.uniform(size=n) < base
        table = Stratified.of(s, g, hits, Design(n=n), levels=(0, 1, 2), strata=strata)
        pooled = table.differences()
        errors = joint_errors(pooled.covariance, table.df, 1000, generator(seed, "test"))
        reading = largest(pooled.values, errors, level=0.95, n=n, method="", upper=1.0)
        alarms += claim(reading.basis, maximum=0.0).fail_p <= 0.05
        covered += reading.estimate.low <= 0.0
    assert alarms <= 33  # the 99.9 % point of a binomial of 400 at .05
    assert alarms >= 7  # nor is it idle: the .1 % point
    assert covered >= 367


def test_null_of_the_worst_stratum():
    runs, alarms = 300, 0
    for seed in range(runs):
        rng = np.random.default_rng(5000 + seed)
        n = 1600
        s, g = rng.integers(0, 8, n), rng.integers(0, 2, n)
        hits = rng.uniform(size=n) < np.where(s < 4, 0.03, 0.4)
        table = Stratified.of(s, g, hits, Design(n=n), levels=(0, 1), strata=8)
        worst = table.within_strata(30, 1000, generator(seed, "test"))
        reading = largest(worst.values, worst.errors, level=0.95, n=n, method="", upper=1.0)
        alarms += claim(reading.basis, maximum=0.0).fail_p <= 0.05
    assert alarms <= 26


def test_without_a_control_it_does_not_apply_and_names_the_setting():
    record = measured(*planted(5, bias=0.0, n=300), probes=[ID])
    (row,) = record.inapplicable
    assert "controls" in row.reason
    assert not record.findings


def test_what_cannot_be_measured_says_so():
    decisions, groups, controls = planted(6, bias=0.0, n=400)
    wrong = measured(decisions, groups, controls, probes=[{ID: {"controls": ["no such"]}}])
    assert "no such" in wrong.failures[0].reason
    apart = measured(decisions, groups, {"dept": groups["sex"].to_numpy()})
    assert all("share no stratum" in f.reason or "no stratum has" in f.reason for f in apart.failures)
    constant = measured(np.ones(400, dtype=int), groups, controls)
    assert "decides all its rows alike" in constant.failures[0].reason
    lone = groups.copy()
    lone.loc[:4, "sex"] = "x"
    some = measured(decisions, lone, controls)
    assert any("x (n < 10)" in f.reason and f.where == {"attribute": "sex"} for f in some.failures)
    lone.loc[:99, "sex"] = None
    assert finding(measured(decisions, lone, controls), "difference", attribute="sex").detail["unknown_rows"] == 100


def test_numbers_are_cut_at_their_quantiles_and_missing_ones_are_a_stratum():
    from steelyard.probes.fairness.strata import stratify

    age = np.arange(100, dtype=float)
    age[:10] = np.nan
    found = stratify(pd.DataFrame({"age": age, "flag": [True, False] * 50}), ("age",), 3)
    assert len(found.names) == 4
    assert found.names[-1] == "age = missing"
    assert np.bincount(found.codes).tolist() == [30, 30, 30, 10]
    assert len(stratify(pd.DataFrame({"age": age, "flag": [True, False] * 50}), ("age", "flag"), 3).names) == 8
