"""Local Law 144: figures by hand, tables as the rule lays them out, nothing passed or failed, intervals that hold."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit import audit
from steelyard.audit.target import Groups
from steelyard.audit.types import Status
from steelyard.probes.fairness.impact_ratios import group_rates, impact_ratios
from steelyard.probes.fairness.ll144 import median
from steelyard.probes.stats.table import CountTable
from steelyard.reports.render import render_bytes

PROBE = "fairness.ll144"


class Decided:
    classes_ = np.array([0, 1])

    def __init__(self, decisions):
        self.decisions = np.asarray(decisions)

    def predict(self, frame):
        return self.decisions[frame["row"].to_numpy()]


class Scored(Decided):
    def __init__(self, scores):
        self.scores = np.asarray(scores)
        super().__init__((self.scores > 0.6).astype(int))

    def predict_proba(self, frame):
        p = self.scores[frame["row"].to_numpy()]
        return np.column_stack([1 - p, p])


def audited(model, groups, *, gates=(), settings=None, **kwargs):
    frame = pd.DataFrame({"row": np.arange(len(groups))})
    labels = np.arange(len(groups)) % 2
    probes = [{PROBE: settings or {}}]
    return audit(model, frame, labels, groups=groups, gates=gates, positive=1, probes=probes, **kwargs)


def value(record, name, **where):
    (found,) = [f for f in record.findings_of(f"{PROBE}.{name}") if dict(f.where) == where]
    return found.estimate.value


def tables(record):
    found = {}
    for finding in record.findings:
        for item in finding.evidence:
            plain = json.loads(item.data)
            found[plain["title"]] = plain
    return found


RACES = {  # applicants, selected: 2,584 in all
    "Hispanic or Latino": (408, 204),
    "White": (797, 412),
    "Black": (390, 170),
    "Pacific Islander": (119, 52),
    "Asian": (616, 302),
    "Native American": (41, 18),
    "Two or more": (213, 96),
}


def applicants(sexes=("f", "m")):
    rng = np.random.default_rng(0)
    race = np.concatenate([[name] * n for name, (n, _) in RACES.items()])
    decisions = np.concatenate([np.arange(n) < k for n, k in RACES.values()]).astype(int)
    return decisions, pd.DataFrame({"race": race, "sex": rng.choice(sexes, len(race))})


def test_a_case_worked_by_hand():
    decisions, groups = applicants()
    record = audited(Decided(decisions), groups)
    for race, rate, ratio in (
        ("Hispanic or Latino", 0.500, 0.967),
        ("White", 0.517, 1.0),
        ("Black", 0.436, 0.843),
        ("Pacific Islander", 0.437, 0.845),
        ("Asian", 0.490, 0.948),
        ("Two or more", 0.451, 0.872),
    ):
        where = {"attribute": "race", "group": race}
        assert round(value(record, "selection-rate", **where), 3) == rate
        assert round(value(record, "impact-ratio", **where), 3) == ratio
    assert round(value(record, "selection-rate", attribute="race", group="Native American"), 3) == 0.439


def test_a_category_below_two_per_cent_keeps_its_count_and_rate_and_loses_its_ratio():
    decisions, groups = applicants()
    record = audited(Decided(decisions), groups, settings={"justification": "41 people say little"})
    small = {"attribute": "race", "group": "Native American"}  # 41 of 2,584: 1.6 %
    assert not [f for f in record.findings_of(f"{PROBE}.impact-ratio") if dict(f.where) == small]
    (failure,) = [f for f in record.failures if dict(f.where) == {"attribute": "race"}]
    assert "less than 2 % of the rows each: Native American" in failure.reason
    assert "41 people say little" in failure.reason
    table = tables(record)["Selection rates and impact ratios by race"]
    (row,) = [r["cells"] for r in table["rows"] if r["group"] == "Native American"]
    assert row == ["Native American", 41, 18, pytest.approx(18 / 41), None, None]
    assert "41 people say little" in table["notes"][0]
    kept = audited(Decided(decisions), groups, settings={"exclude": False})
    assert round(value(kept, "impact-ratio", **small), 3) == 0.849


def test_an_excluded_category_is_not_the_highest_either():
    decisions = np.array([1] * 5 + [1] * 100 + [0] * 100 + [1] * 80 + [0] * 120)
    groups = pd.DataFrame({"race": ["tiny"] * 5 + ["a"] * 200 + ["b"] * 200})
    out = audited(Decided(decisions), groups)
    assert value(out, "impact-ratio", attribute="race", group="b") == pytest.approx(0.4 / 0.5)
    kept = audited(Decided(decisions), groups, settings={"exclude": False})
    assert value(kept, "impact-ratio", attribute="race", group="b") == pytest.approx(0.4)


def test_tables_are_laid_out_as_the_rule_asks():
    decisions, groups = applicants(sexes=("f", "m", None))
    record = audited(Decided(decisions), groups, settings={"sex": "sex", "race": "race"})
    found = tables(record)
    columns = [c["name"] for c in found["Selection rates and impact ratios by sex"]["columns"]]
    rule = ["# of applicants", "# selected", "Selection rate", "Impact ratio"]
    assert columns == ["sex", *rule, "95 % interval of the ratio"]
    both = found["Selection rates and impact ratios by race × sex"]
    assert [c["name"] for c in both["columns"]] == ["race", "sex", *rule, "95 % interval of the ratio"]
    assert len(both["rows"]) == 14  # seven by two, and no row of the unknown
    frame = groups.assign(k=decisions)
    for row in both["rows"]:
        race, sex, n, k, rate, ratio, limits = row["cells"]
        mine = frame[(frame["race"] == race) & (frame["sex"] == sex)]
        assert (n, k, rate) == (len(mine), mine["k"].sum(), pytest.approx(mine["k"].mean()))
        assert (ratio is None) == (limits is None) == (n < 0.02 * frame["sex"].notna().sum())
        if ratio is not None:
            assert limits[0] <= ratio <= limits[1] <= 1
    unknown = int(frame["sex"].isna().sum())
    assert value(record, "unknown", attribute="sex", group="unknown") == unknown
    assert value(record, "unknown", attribute="race") == 0
    assert f"Data on {unknown} individuals with an unknown sex category" in str(
        found["Selection rates and impact ratios by sex"]["totals"]
    )
    assert value(record, "selection-rate", attribute="sex", group="unknown") == pytest.approx(
        frame.loc[frame["sex"].isna(), "k"].mean()
    )


def test_scoring_rates_are_the_shares_above_the_median_of_everyone():
    rng = np.random.default_rng(1)
    scores = np.round(rng.beta(2, 3, 1501), 2)  # with ties at the median
    groups = pd.DataFrame({"sex": rng.choice(["f", "m", None], 1501, p=[0.4, 0.5, 0.1])})
    record = audited(Scored(scores), groups)
    above = scores > np.median(scores)  # of the unknown as well
    rates = {sex: above[groups["sex"] == sex].mean() for sex in "fm"}
    for sex in "fm":
        where = {"attribute": "sex", "group": sex}
        assert value(record, "scoring-rate", **where) == pytest.approx(rates[sex])
        assert value(record, "scoring-impact-ratio", **where) == pytest.approx(rates[sex] / max(rates.values()))
    table = tables(record)["Scoring rates and impact ratios by sex"]
    assert [c["name"] for c in table["columns"]][1:4] == ["# of applicants", "Scoring rate", "Impact ratio"]


def test_a_regressor_has_scoring_rates_and_says_that_it_selects_no_one():
    rng = np.random.default_rng(2)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], 400)})
    frame, scores = pd.DataFrame({"row": np.arange(400)}), rng.normal(size=400)
    record = audit(
        lambda X: scores[X["row"].to_numpy()], frame, scores + 1, groups=groups, probes=[PROBE], task="regression"
    )
    assert value(record, "scoring-rate", attribute="sex", group="f") == pytest.approx(
        (scores > np.median(scores))[groups["sex"] == "f"].mean()
    )
    assert any(f"{PROBE}.selection-rate" in row.metrics for row in record.inapplicable)


def test_the_weighted_median_is_that_of_rows_repeated():
    rng = np.random.default_rng(3)
    scores, times = rng.normal(size=80), rng.integers(1, 6, 80)
    repeated = np.sort(np.repeat(scores, times))
    assert median(scores, times.astype(float)) == repeated[(len(repeated) - 1) // 2]
    assert median(scores, None) == np.median(scores)


def test_constant_scores_are_no_number():
    groups = pd.DataFrame({"sex": ["f", "m"] * 100})
    record = audited(Scored(np.full(200, 0.7)), groups)
    assert not record.findings_of(f"{PROBE}.scoring-impact-ratio")
    reasons = [f.reason for f in record.failures if f"{PROBE}.scoring-impact-ratio" in f.metrics]
    assert reasons
    assert all("0 / 0" in reason for reason in reasons)


def test_gates_on_it_are_reported_and_never_pass_or_fail():
    decisions = np.concatenate([np.arange(1000) < 800, np.arange(1000) < 100]).astype(int)
    groups = pd.DataFrame({"sex": ["m"] * 1000 + ["f"] * 1000})
    names = ("impact-ratio", "selection-rate", "unknown")
    record = audited(Decided(decisions), groups, gates=[{"metric": f"{PROBE}.{name}"} for name in names])
    assert [v.status for v in record.verdicts] == [Status.REPORTED] * 3
    assert all(spec.reading == "disclosure" for spec in record.findings)
    with pytest.raises(Exception, match="a disclosure without a pass mark"):
        audited(Decided(decisions), groups, gates=[{"metric": f"{PROBE}.impact-ratio", "min": 0.8}])


def test_planted_truth_a_skewed_tool_reads_low_and_its_fair_twin_near_one():
    rng = np.random.default_rng(4)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], 6000), "race": rng.choice(list("abc"), 6000)})
    fair = rng.uniform(size=6000)
    skewed = np.where(groups["sex"] == "f", 0.7 * fair, fair)
    where = {"attribute": "sex", "group": "f"}
    for name in ("impact-ratio", "scoring-impact-ratio"):
        for scores, low in ((skewed, True), (fair, False)):
            record = audited(Scored(scores), groups)
            (found,) = [f for f in record.findings_of(f"{PROBE}.{name}") if dict(f.where) == where]
            assert (found.estimate.high < 0.8) == low
            assert (found.estimate.low > 0.8) == (not low)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(5, 60), st.floats(0, 1)), min_size=2, max_size=5))
def test_no_impact_ratio_is_above_one_and_one_is_one(groups):
    codes = np.concatenate([[i] * n for i, (n, _) in enumerate(groups)])
    chosen = np.concatenate([np.arange(n) < round(n * p) for n, p in groups]).astype(int)
    named = {"race": Groups(codes=codes, levels=tuple(f"g{i}" for i in range(len(groups))))}
    table = CountTable.from_rows(named, None, chosen)
    rates = group_rates(table, ("race",), 1)
    if not chosen.any():
        return
    found = impact_ratios(table, ("race",), rates, min_n=1, level=0.95, draws=200, seed=0)
    ratios = [r.estimate.value for r in found]
    assert max(ratios) == 1
    assert all(0 <= r.estimate.low <= r.estimate.value <= r.estimate.high <= 1 for r in found)


def test_null_scoring_intervals_hold_although_the_median_is_of_the_same_rows():
    """Where groups score alike all scoring ratios are 1, and no interval may miss it more often than alpha."""
    from scipy.stats import binom

    rng = np.random.default_rng(5)
    runs, missed = 300, 0
    codes = np.repeat(np.arange(3), (100, 200, 300))
    for run in range(runs):
        scores = rng.normal(size=600)
        named = {"race": Groups(codes=codes, levels=("a", "b", "c"))}
        table = CountTable.from_rows(named, None, (scores > median(scores, None)).astype(int))
        rates = group_rates(table, ("race",), 1)
        found = impact_ratios(table, ("race",), rates, min_n=1, level=0.95, draws=400, seed=run)
        missed += any(r.estimate.high < 1 for r in found)
    assert missed <= binom.ppf(0.999, runs, 0.05)


def test_coverage_where_rates_differ_and_the_highest_changes_from_sample_to_sample():
    from scipy.stats import binom

    rng = np.random.default_rng(6)
    truth, runs, missed = np.array([0.5, 0.48, 0.30, 0.45]), 300, 0
    codes = np.repeat(np.arange(4), 150)
    for run in range(runs):
        named = {"race": Groups(codes=codes, levels=tuple("abcd"))}
        table = CountTable.from_rows(named, None, (rng.uniform(size=600) < truth[codes]).astype(int))
        rates = group_rates(table, ("race",), 1)
        found = impact_ratios(table, ("race",), rates, min_n=1, level=0.95, draws=400, seed=run)
        ratio = truth / truth.max()
        missed += any(not r.estimate.low <= ratio["abcd".index(r.group)] <= r.estimate.high for r in found)
    assert missed <= binom.ppf(0.999, runs, 0.05)


def test_oracle_compas_renders_as_the_rule_lays_it_out(shared_data):
    """ProPublica's COMPAS table: being called low risk is the favourable decision here."""
    frame = pd.read_csv(shared_data / "compas" / "compas-scores-two-years.csv")
    low = (frame["score_text"] == "Low").astype(int).to_numpy()
    groups = frame[["sex", "race"]].copy()
    groups.loc[groups.index[:30], "sex"] = None
    record = audited(Decided(low), groups, settings={"sex": "sex", "race": "race"})
    rates = pd.Series(low).groupby(frame["race"]).mean()
    found = tables(record)["Selection rates and impact ratios by race"]
    shown = {row["group"]: row["cells"] for row in found["rows"]}
    assert set(shown) == set(rates.index)
    large = frame["race"].value_counts(normalize=True) >= 0.02
    best = rates[large[large].index].max()
    for race, cells in shown.items():
        assert cells[1] == (frame["race"] == race).sum()
        assert cells[3] == pytest.approx(rates[race])
        assert cells[4] == (pytest.approx(rates[race] / best) if large[race] else None)
    text = render_bytes(record, "markdown").decode()
    assert "| race | \\# of applicants | \\# selected | Selection rate | Impact ratio |" in text
    assert "Data on 30 individuals with an unknown sex category are not in the figures above" in text
    assert "left out of the impact ratio" in text


@pytest.mark.parametrize("exclude", [True, False])
@pytest.mark.parametrize("name", ["html", "json", "markdown"])
def test_no_report_tells_of_a_group_too_small_to_show(name, exclude):
    """Seven people, five of them selected: no cell, note, count of the unknown or ratio to them may give that away."""
    races = {"White": (600, 300), "Black": (400, 150), "Other": (90, 31), "Rare": (7, 5)}
    race = np.concatenate([[group] * n for group, (n, _) in races.items()] + [[None] * 23])
    decisions = np.concatenate([np.arange(n) < k for n, k in races.values()] + [np.arange(23) < 11]).astype(int)
    record = audited(Decided(decisions), pd.DataFrame({"race": race}), settings={"exclude": exclude})
    text = render_bytes(record, name).decode()
    assert "Black" in text
    assert "71.4 %" not in text  # 5 / 7
    assert "0.714" not in text
    assert "0.525" not in text  # .375 / .714: Black to Rare, where Rare has the highest rate
    assert "23 individuals" not in text  # all rows less these and the shown groups are the seven
    if name == "json":
        (table,) = json.loads(text)["tables"]
        assert [row[0] for row in table["rows"]] == ["Black", "Other", "White"]
        assert (table["rows"][0][4] == "withheld") == (not exclude)
