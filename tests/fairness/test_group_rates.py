"""Selection and error rates between groups: oracles, planted truth, and the gate's own error."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.types import Failure, Finding, Status

SELECTION = "fairness.selection-rate"
ERRORS = "fairness.error-rates"


def decide(decisions):
    """A model that answers with the decisions it was given."""
    return lambda X: np.asarray(decisions)[X["row"].to_numpy()]


def measured(decisions, labels, groups, *, gates=(), **kwargs):
    frame = pd.DataFrame({"row": np.arange(len(decisions))})
    kwargs.setdefault("probes", ["fairness.*"])
    return audit(decide(decisions), frame, np.asarray(labels), groups=groups, gates=gates, positive=1, **kwargs)


def value(record, metric, **where):
    found = [f.estimate for f in record.findings_of(metric) if dict(f.where) == where]
    assert len(found) == 1, (metric, where)
    return found[0].value


@pytest.fixture(scope="module")
def random_table():
    rng = np.random.default_rng(11)
    n = 3000
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], n, p=[0.4, 0.6]), "race": rng.choice(list("abc"), n)})
    labels = rng.integers(0, 2, n)
    decisions = (rng.uniform(size=n) < 0.3 + 0.2 * labels + 0.1 * (groups["sex"] == "m")).astype(int)
    return decisions, labels, groups


def test_oracle_fairlearn_gives_the_same_values(random_table):
    from fairlearn import metrics as fl

    decisions, labels, groups = random_table
    record = measured(decisions, labels, groups)
    sex, both = groups["sex"], groups
    pairs = [
        (f"{SELECTION}.difference", fl.demographic_parity_difference),
        (f"{SELECTION}.ratio", fl.demographic_parity_ratio),
        (f"{ERRORS}.equalized-odds-difference", fl.equalized_odds_difference),
        (f"{ERRORS}.equalized-odds-ratio", fl.equalized_odds_ratio),
        (f"{ERRORS}.equal-opportunity-difference", fl.equal_opportunity_difference),
    ]
    for metric, theirs in pairs:
        assert value(record, metric, attribute="sex") == pytest.approx(
            theirs(labels, decisions, sensitive_features=sex), abs=1e-12
        )
        assert value(record, metric, intersection="sex*race") == pytest.approx(
            theirs(labels, decisions, sensitive_features=both), abs=1e-12
        )
    frame = fl.MetricFrame(
        metrics={"tpr": fl.true_positive_rate, "fpr": fl.false_positive_rate, "fnr": fl.false_negative_rate},
        y_true=labels,
        y_pred=decisions,
        sensitive_features=sex,
    )
    for rate in ("tpr", "fpr", "fnr"):
        for group in ("f", "m"):
            got = value(record, f"{ERRORS}.{rate}", attribute="sex", group=group)
            assert got == pytest.approx(frame.by_group[rate][group], abs=1e-12)


def test_a_case_worked_by_hand():
    # f: 4 of 10 chosen, m: 8 of 10; of the labelled f 3 of 5 found, of the labelled m 5 of 5
    decisions = [1] * 3 + [0] * 2 + [1] * 1 + [0] * 4 + [1] * 5 + [1] * 3 + [0] * 2
    labels = [1] * 5 + [0] * 5 + [1] * 5 + [0] * 5
    groups = pd.DataFrame({"sex": ["f"] * 10 + ["m"] * 10})
    record = measured(decisions, labels, groups, min_n=2)
    assert value(record, f"{SELECTION}.difference", attribute="sex") == pytest.approx(0.4)
    assert value(record, f"{SELECTION}.ratio", attribute="sex") == pytest.approx(0.5)
    assert value(record, f"{SELECTION}.difference-to-rest", attribute="sex") == pytest.approx(0.4)
    assert value(record, f"{ERRORS}.tpr-difference", attribute="sex") == pytest.approx(0.4)
    assert value(record, f"{ERRORS}.fpr-difference", attribute="sex") == pytest.approx(0.4)
    assert value(record, f"{ERRORS}.ppv", attribute="sex", group="f") == pytest.approx(3 / 4)
    assert value(record, f"{ERRORS}.npv", attribute="sex", group="f") == pytest.approx(4 / 6)
    assert value(record, f"{ERRORS}.accuracy", attribute="sex", group="m") == pytest.approx(7 / 10)


def test_the_plans_reference_group_is_the_one_compared_with(random_table):
    decisions, labels, groups = random_table
    record = measured(decisions, labels, groups, reference_groups={"race": "b"})
    rates = {g: value(record, f"{SELECTION}.rate", attribute="race", group=g) for g in "abc"}
    widest = max(abs(rates[g] - rates["b"]) for g in "ac")
    assert value(record, f"{SELECTION}.difference-to-reference", attribute="race") == pytest.approx(widest)
    least = min(rates[g] / rates["b"] for g in "ac")
    assert value(record, f"{SELECTION}.ratio-to-reference", attribute="race") == pytest.approx(least)


def test_oracle_compas_error_rates_as_published(shared_data):
    """ProPublica 2016, all 7,214 rows, Low against Medium and High: FPR .4485 / .2345, FNR .2799 / .4772."""
    table = pd.read_csv(shared_data / "compas" / "compas-scores-two-years.csv")
    assert len(table) == 7214
    flagged = (table["score_text"] != "Low").astype(int)
    record = measured(flagged, table["two_year_recid"], table[["race"]])
    for rate, group, published in (
        ("fpr", "African-American", 0.4485),
        ("fpr", "Caucasian", 0.2345),
        ("fnr", "African-American", 0.2799),
        ("fnr", "Caucasian", 0.4772),
    ):
        assert round(value(record, f"{ERRORS}.{rate}", attribute="race", group=group), 4) == published


def test_oracle_adult_labels_by_sex_as_published():
    """AIF360 on the 45,222 complete rows: statistical parity difference -.1989, disparate impact .3635."""
    from steelyard.models.data.bundled import load_bundled

    adult = load_bundled("adult").frame
    earns = (adult["income"] == ">50K").astype(int)
    record = measured(earns, earns, adult[["sex"]], probes=[SELECTION])
    assert len(adult) == 45222
    women = value(record, f"{SELECTION}.rate", attribute="sex", group="Female")
    men = value(record, f"{SELECTION}.rate", attribute="sex", group="Male")
    assert round(women - men, 4) == -0.1989
    assert round(value(record, f"{SELECTION}.difference", attribute="sex"), 4) == 0.1989
    assert round(value(record, f"{SELECTION}.ratio", attribute="sex"), 4) == 0.3635


def test_oracle_one_name_three_numbers_is_ours_by_its_definition():
    """Max - min and the mean over pairs differ on the same predictions; ours is the max - min it says it is."""
    rates, n = {"a": 0.10, "b": 0.20, "c": 0.25}, 1000
    decisions = np.concatenate([np.arange(n) < rate * n for rate in rates.values()]).astype(int)
    groups = pd.DataFrame({"race": np.repeat(list(rates), n)})
    record = measured(decisions, decisions, groups, probes=[SELECTION])
    finding = next(f for f in record.findings_of(f"{SELECTION}.difference") if f.where)
    assert finding.estimate.value == pytest.approx(0.15)  # the mean over pairs would be 0.1
    assert finding.definition.startswith("max − min over groups")


def planted(gap: float, n: int, seed: int):
    rng = np.random.default_rng(seed)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "race": rng.choice(list("abc"), n)})
    labels = rng.integers(0, 2, n)
    p = 0.4 + gap * (groups["sex"] == "m")
    return (rng.uniform(size=n) < p).astype(int), labels, groups


GATES = [
    {"metric": f"{SELECTION}.difference", "max": 0.1},
    {"metric": f"{ERRORS}.equalized-odds-difference", "max": 0.15, "where": {"attribute": "sex"}},
]


def test_planted_truth_a_biased_model_fails_and_its_clean_twin_passes():
    biased = measured(*planted(0.3, 12000, 1), gates=GATES)
    clean = measured(*planted(0.0, 12000, 1), gates=GATES)
    assert [v.status for v in biased.verdicts] == [Status.FAIL, Status.FAIL]
    assert biased.exit_code == 1
    assert biased.verdicts[0].detail["lowest"] == "f"
    assert [v.status for v in clean.verdicts] == [Status.PASS, Status.PASS]
    assert clean.exit_code == 0


def test_a_bias_that_only_an_intersection_shows_needs_the_gate_to_cover_it():
    rng = np.random.default_rng(2)
    n = 12000
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], n), "race": rng.choice(["a", "b"], n)})
    odd = (groups["sex"] == "f") ^ (groups["race"] == "a")  # equal rates for each sex and each race
    decisions = (rng.uniform(size=n) < np.where(odd, 0.25, 0.55)).astype(int)
    gate = {"metric": f"{SELECTION}.difference", "max": 0.1}
    apart = measured(decisions, decisions, groups, probes=[SELECTION], gates=[gate])
    crossed = measured(decisions, decisions, groups, probes=[SELECTION], gates=[{**gate, "intersections": 2}])
    assert apart.verdicts[0].status is Status.PASS
    assert crossed.verdicts[0].status is Status.FAIL
    assert value(apart, f"{SELECTION}.difference", intersection="sex*race") == pytest.approx(0.3, abs=0.03)


@pytest.mark.slow
def test_null_fair_models_fail_at_most_alpha_of_the_time():
    """Tolerance 0 on equal rates over all groups jointly: every fail is a false alarm."""
    runs, fails = 300, 0
    gate = [{"metric": f"{SELECTION}.difference", "max": 0.0, "intersections": 2}]
    for seed in range(runs):
        decisions, labels, groups = planted(0.0, 900, 100 + seed)
        record = measured(decisions, labels, groups, gates=gate, probes=[{SELECTION: {"draws": 500}}], seed=seed)
        fails += record.verdicts[0].status is Status.FAIL
    assert fails <= 26  # the 99.9 % point of a binomial of 300 at .05


def test_missing_groups_are_counted_and_shown_but_not_compared():
    decisions, labels, groups = planted(0.0, 3000, 3)
    groups.loc[:199, "sex"] = None
    decisions[:200] = 1
    record = measured(decisions, labels, groups)
    assert value(record, f"{SELECTION}.rate", attribute="sex", group="unknown") == 1.0
    assert value(record, f"{SELECTION}.difference", attribute="sex") < 0.1
    count = next(g for g in record.sample.groups if g.unknown)
    assert (count.attribute, count.n) == ("sex", 200)


def test_groups_below_the_minimum_n_are_named_and_not_compared():
    decisions, labels, groups = planted(0.0, 3000, 4)
    groups.loc[:19, "race"] = "tiny"
    decisions[:20] = 1
    gate = {"metric": f"{SELECTION}.difference", "max": 0.15, "where": {"attribute": "race"}}
    record = measured(decisions, labels, groups, gates=[gate])
    verdict = record.verdicts[0]
    assert verdict.status is Status.PASS
    assert "tiny" in verdict.explanation
    assert "race = tiny" in str(verdict.detail["untested"])


@pytest.mark.parametrize("race", ["one group", "small groups"])
def test_a_gate_never_passes_on_an_attribute_that_was_not_compared(race):
    decisions, labels, groups = planted(0.0, 3000, 4)
    groups["race"] = "only" if race == "one group" else (["a"] * 9 + ["b"] * 9 + [None] * 5000)[: len(groups)]
    covering = {"metric": f"{SELECTION}.difference", "max": 0.15}
    narrow = {**covering, "where": {"attribute": "sex"}}
    record = measured(decisions, labels, groups, gates=[covering, narrow])
    both, sex = record.verdicts
    assert both.status is Status.NOT_MEASURED
    assert "race has fewer than two groups" in both.reason
    assert (both.estimate, both.p_pass) == (None, None)
    assert sex.status is Status.PASS
    assert record.exit_code == 4
    decisions, labels, biased = planted(0.4, 3000, 4)
    biased["race"] = groups["race"]
    (failed,) = measured(decisions, labels, biased, gates=[covering]).verdicts
    assert failed.status is Status.FAIL  # what was compared is proof enough


def test_no_number_from_nothing():
    """Rule 7: nobody of a group has the label, nobody is chosen: a row with the reason, never a 0.0."""
    n = 400
    groups = pd.DataFrame({"sex": ["f"] * n + ["m"] * n})
    labels = [0] * n + [0, 1] * (n // 2)
    record = measured([0] * (2 * n), labels, groups)
    reasons = [(f.metrics[0], f.where.get("group"), f.reason) for f in record.failures if isinstance(f, Failure)]
    assert any(m == f"{ERRORS}.tpr" and g == "f" and "0 of 0" in why for m, g, why in reasons)
    assert any(m == f"{SELECTION}.ratio" and "0 / 0" in why for m, _, why in reasons)
    assert not [f for f in record.findings_of(f"{ERRORS}.tpr") if f.where.get("group") == "f"]
    gated = measured([0] * (2 * n), labels, groups, gates=[{"metric": f"{ERRORS}.tpr-difference", "max": 0.1}])
    assert gated.verdicts[0].status is Status.NOT_MEASURED
    assert gated.exit_code == 4


def test_more_than_twenty_groups_are_compared_with_the_pooled_rest():
    rng = np.random.default_rng(6)
    n = 6000
    groups = pd.DataFrame({"state": rng.integers(0, 30, n).astype(str)})
    decisions = rng.integers(0, 2, n)
    record = measured(decisions, decisions, groups, probes=[SELECTION])
    finding = next(f for f in record.findings_of(f"{SELECTION}.difference") if f.where)
    assert finding.detail["contrast"] == "rest"
    assert finding.detail["contrasts"] == 30
    assert "pooled rest" in finding.definition
    forced = measured(decisions, decisions, groups, probes=[{SELECTION: {"pairwise": True}}])
    finding = next(f for f in forced.findings_of(f"{SELECTION}.difference") if f.where)
    assert finding.detail["contrasts"] == 30 * 29 / 2


def test_one_person_many_rows_widens_the_interval():
    decisions, labels, groups = planted(0.0, 600, 8)
    five = np.repeat(np.arange(600), 5)
    as_rows = measured(decisions[five], labels[five], groups.iloc[five], probes=[SELECTION])
    as_people = measured(decisions[five], labels[five], groups.iloc[five], probes=[SELECTION], clusters=five)
    once = measured(decisions, labels, groups, probes=[SELECTION])

    def width(record) -> float:
        e = next(
            f.estimate
            for f in record.findings_of(f"{SELECTION}.rate")
            if isinstance(f, Finding) and f.where.get("group") == "f"
        )
        return e.high - e.low

    assert width(as_people) == pytest.approx(width(once), rel=0.1)
    assert width(as_rows) < 0.6 * width(once)


@pytest.mark.parametrize("high", [0, 1])
def test_one_group_of_many_that_differs_fails_a_ratio_whichever_side_it_is_on(high):
    """With more than 20 groups each is compared with the pooled rest, and a group above it counts like one below."""
    rng = np.random.default_rng(9)
    state = np.repeat([f"s{i:02}" for i in range(22)], 300)
    rate = np.where(state == "s05", 0.95 if high else 0.26, 0.5)
    decisions = (rng.uniform(size=len(state)) < rate).astype(int)
    gate = {"metric": f"{SELECTION}.ratio", "min": 0.8}
    record = measured(decisions, decisions, {"state": state}, probes=[SELECTION], gates=[gate])
    (verdict,) = record.verdicts
    assert verdict.status is Status.FAIL
    assert "pooled rest" in verdict.explanation
    assert verdict.estimate.value == pytest.approx(0.53, abs=0.05)


def test_a_model_is_not_compared_with_a_reference_over_other_groups():
    """The candidate selects too few of group c for its PPV to be tested; the reference's PPV there is."""
    group = np.repeat(list("abc"), 1000)
    labels = np.tile([0, 1], 1500)
    all_right, few = labels.copy(), labels.copy()
    few[group == "c"] = 0
    few[np.flatnonzero((group == "c") & (labels == 0))[:29]] = 1  # 29 chosen, all of them wrongly
    frame = pd.DataFrame({"row": np.arange(3000)})
    record = audit(
        decide(few),
        frame,
        labels,
        groups={"g": group},
        positive=1,
        references={"ref": decide(all_right)},
        probes=[ERRORS],
        gates=[{"metric": f"{ERRORS}.ppv-difference", "versus": "ref", "not_worse_by": 0.15}],
    )
    (verdict,) = record.verdicts
    assert verdict.status is Status.NOT_MEASURED
    assert "g = c" in verdict.reason
