"""Consistency: a hand case, scikit-learn and brute force as oracles, planted truth, coverage."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.types import Status
from steelyard.probes.fairness.individual import consistency, nearest
from steelyard.probes.stats.linearised import Design

ID = "fairness.individual"


def measured(model, frame, groups=None, *, gates=(), settings=None, **kwargs):
    labels = np.arange(len(frame)) % 2
    return audit(model, frame, labels, groups=groups, gates=gates, probes=[{ID: settings or {}}], **kwargs)


def value_of(record, statistic="consistency"):
    (found,) = record.findings_of(f"{ID}.{statistic}")
    return found.estimate.value


def disagreement(X, y, k, design=None):
    design = design or Design(n=len(y))
    neighbours = nearest(X, k, design)
    return (y[neighbours] != y[:, None]).astype(float), neighbours, design


def test_a_case_worked_by_hand():
    # on a line: 0 1 2 | 10 11 12, decisions 1 1 0 | 0 0 0; two neighbours each
    X = np.array([0.0, 1.1, 2.0, 10.0, 11.1, 12.0])[:, None]
    y = np.array([1, 1, 0, 0, 0, 0])
    found = consistency(*disagreement(X, y, 2), level=0.95)
    assert found.estimate.value == pytest.approx(1 - (1 / 2 + 1 / 2 + 1 + 0 + 0 + 0) / 6)


def test_oracle_scikit_learn_neighbours_and_zemels_formula():
    from sklearn.neighbors import KNeighborsRegressor

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=500), "b": rng.normal(5, 20, 500)})
    decisions = (frame["a"] + rng.normal(size=500) > 0).astype(int)
    scaled = ((frame - frame.mean()) / frame.std(ddof=0)).to_numpy()
    theirs = KNeighborsRegressor(n_neighbors=5).fit(scaled, decisions).predict(None)  # None: each row left out itself
    record = measured(lambda X: decisions.to_numpy()[: len(X)], frame)
    assert value_of(record) == pytest.approx(1 - np.abs(decisions - theirs).mean(), abs=1e-12)


@pytest.mark.parametrize("clustered", [False, True], ids=["rows", "pairs of rows"])
def test_oracle_the_variance_is_that_of_deleting_each_row(clustered):
    """To first order: within pairs, the terms of two rows that are neighbours of one another's are added up."""
    rng = np.random.default_rng(1)
    n, k = 120, 4
    X, y = rng.normal(size=(n, 3)), rng.uniform(size=n) < 0.4
    clusters = np.repeat(np.arange(n // 2), 2) if clustered else np.arange(n)
    design = Design(n=n, clusters=clusters if clustered else None)

    def statistic(keep):
        inner = Design(n=int(keep.sum()), clusters=clusters[keep] if clustered else None)
        gaps, _, _ = disagreement(X[keep], y[keep], k, inner)
        return 1 - gaps[:, :k].mean()

    units = np.unique(clusters)
    deleted = np.array([statistic(clusters != u) for u in units])
    brute = (len(units) - 1) / len(units) * np.square(deleted - deleted.mean()).sum()
    found = consistency(*disagreement(X, y, k, design), level=0.95)
    slope = found.estimate.value * (1 - found.estimate.value)
    assert (found.basis.se * slope) ** 2 == pytest.approx(brute, rel=0.1 if clustered else 0.02)


def test_the_interval_covers():
    """400 samples: the mean of the statistic is in the 95 % interval as often as it should be, and not much more."""
    found = []
    for seed in range(400):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(300, 3))
        y = rng.uniform(size=300) < 1 / (1 + np.exp(-2 * X[:, 0]))
        found.append(consistency(*disagreement(X, y, 5), level=0.95).estimate)
    truth = np.mean([e.value for e in found])
    covered = sum(e.low <= truth <= e.high for e in found)
    assert covered >= 366  # .1 % point of a binomial of 400 at .95
    widths, spread = np.mean([e.high - e.low for e in found]), np.std([e.value for e in found])
    assert widths < 1.4 * 2 * 1.96 * spread


def scored(frame):
    return 1 / (1 + np.exp(-frame["skill"]))


def lottery(frame):
    return (frame["ticket"] * 7919 % 1).round(6)


@pytest.fixture(scope="module")
def people():
    rng = np.random.default_rng(3)
    n = 3000
    town = rng.choice(["x", "y", "z"], n)
    return pd.DataFrame({"skill": rng.normal(size=n) * 2, "town": town, "ticket": rng.uniform(size=n)})


def test_planted_truth_a_lottery_is_inconsistent_and_a_rule_consistent(people):
    gate = [{"metric": f"{ID}.consistency", "min": 0.9}, {"metric": f"{ID}.score-consistency", "min": 0.85}]
    fair = measured(scored, people, gates=gate, settings={"ignore": ["ticket"]})
    unfair = measured(lottery, people, gates=gate, settings={"ignore": ["ticket"]})
    assert [v.status for v in fair.verdicts] == [Status.PASS, Status.PASS]
    assert [v.status for v in unfair.verdicts] == [Status.FAIL, Status.FAIL]
    assert value_of(unfair) == pytest.approx(0.5, abs=0.03)


def test_null_a_model_at_the_tolerance_is_called_worse_in_at_most_alpha_of_the_runs():
    """Decisions by the toss of a coin agree with half their neighbours: consistency is .5 exactly."""
    from steelyard.probes.stats.claims import claim

    alarms = 0
    for seed in range(400):
        rng = np.random.default_rng(9000 + seed)
        y = rng.uniform(size=250) < 0.5
        found = consistency(*disagreement(rng.normal(size=(250, 2)), y, 5), level=0.95)
        alarms += claim(found.basis, minimum=0.5).fail_p <= 0.05
    assert alarms <= 33


def test_protected_attributes_are_no_part_of_the_distance(people):
    groups = pd.DataFrame({"sex": np.where(people["ticket"] > 0.5, "f", "m")})
    frame = people[["skill"]].assign(sex=groups["sex"])
    with_sex = measured(lambda X: (X["sex"] == "f").astype(int).to_numpy(), frame, groups)
    assert value_of(with_sex) == pytest.approx(0.5, abs=0.03)  # as unequal as it gets among equals in skill
    (finding,) = with_sex.findings_of(f"{ID}.consistency")
    assert finding.detail["columns"] == 1


def test_a_large_table_is_thinned_and_says_so(people):
    record = measured(scored, people, settings={"max_rows": 500})
    (finding,) = record.findings_of(f"{ID}.consistency")
    assert (finding.detail["rows_drawn"], finding.detail["rows"], finding.estimate.n) == (500, 3000, 500)


def test_rows_of_one_person_are_not_their_own_neighbours():
    rng = np.random.default_rng(4)
    X = np.repeat(rng.normal(size=(60, 2)), 3, axis=0)
    design = Design(n=180, clusters=np.repeat(np.arange(60), 3))
    neighbours = nearest(X, 5, design)
    assert neighbours.shape == (180, 6)
    assert (design.clusters[neighbours] != design.clusters[:, None]).all()


def test_weights_count_rows(people):
    X, y = people[["skill"]].to_numpy()[:400], (people["ticket"].to_numpy()[:400] > 0.4).astype(int)
    plain = consistency(*disagreement(X, y, 5), level=0.95)
    even = consistency(*disagreement(X, y, 5, Design(n=400, weights=np.full(400, 3.0))), level=0.95)
    assert even.estimate.value == pytest.approx(plain.estimate.value)
    assert even.basis.se == pytest.approx(plain.basis.se)


def test_what_cannot_be_measured_says_so(people):
    constant = measured(lambda X: np.ones(len(X), dtype=int), people)
    assert "same decision" in constant.failures[0].reason
    assert "no probabilities" in constant.inapplicable[0].reason
    few = measured(scored, people[:5], settings={"k": 5})
    assert "too few" in few.failures[0].reason
    unanimous = consistency(np.zeros((300, 6)), np.zeros((300, 6), dtype=int), Design(n=300), level=0.95).estimate
    assert unanimous.value == 1.0
    assert 0.9 < unanimous.low < 0.95
