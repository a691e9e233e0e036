"""Rankings of groups: hand cases, planted truth, and the gate's own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.ranking import Ranked
from steelyard.probes.stats.claims import claim
from steelyard.probes.stats.ranks import ndkl, rank

P = "fairness.ranking."


class Given:
    def predict(self, frame):
        return frame["s"].to_numpy()


def rows_of(s, groups, seed=1, probe=None, min_n=2, **design):
    model, y = Given(), np.arange(len(s)) * 1.0
    sample = sample_from_arrays(pd.DataFrame({"s": s}), y, pd.DataFrame(groups), task="regression")
    sample = replace(sample, min_n=min_n, **design)
    probe = probe or Ranked(depth=1, draws=1000, shuffles=100)
    return list(probe.run(wrap(model, sample), sample, References(), generator(seed, "ranking")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


def test_a_case_worked_by_hand():
    # order: a a b a b b; discounts 1, .6309, .5, .4307, .3869, .3562
    s, g = [6.0, 5, 4, 3, 2, 1], list("aababb")
    rows = rows_of(s, {"g": g}, probe=Ranked(depth=1, k=2))
    d = 1 / np.log2(1 + np.arange(1, 7))
    a, b = (d[0] + d[1] + d[3]) / 3, (d[2] + d[4] + d[5]) / 3
    assert read(rows, "exposure", attribute="g", group="a").estimate.value == pytest.approx(a)
    assert read(rows, "exposure-ratio", attribute="g").estimate.value == pytest.approx(b / a)
    assert read(rows, "skew-max", attribute="g").estimate.value == pytest.approx(np.log(2))  # 2 of 2 against half
    assert read(rows, "representation-min", attribute="g").estimate.value == 0.0
    assert any(isinstance(r, Failure) and "none of the first 2 is of group b" in r.reason for r in rows)
    shares = np.array([1, 1, 2 / 3, 3 / 4, 3 / 5, 1 / 2])
    kl = [sum(p * np.log(p / 0.5) for p in (x, 1 - x) if p > 0) for x in shares]
    assert read(rows, "ndkl", attribute="g").estimate.value == pytest.approx((d @ kl) / d.sum())
    assert read(rows, "ndkl", attribute="g").reading == "disclosure"


def test_oracle_ties_give_what_random_tie_breaking_gives_on_average():
    rng = np.random.default_rng(0)
    s, g = np.array([3.0, 3, 3, 2, 2, 1, 1, 1]), np.array(list("aabbabab"))
    found = rank(s)
    exposure, seats = found.exposure[found.run], found.seats(4)[found.run]
    total, top = np.zeros(8), np.zeros(8)
    for _ in range(4000):
        place = np.empty(8)
        place[np.lexsort((rng.uniform(size=8), -s))] = np.arange(1, 9)
        total += 1 / np.log2(1 + place)
        top += place <= 4
    assert exposure == pytest.approx(total / 4000, abs=0.02)
    assert seats == pytest.approx(top / 4000, abs=0.03)
    turned = np.array([2, 0, 1, 4, 3, 7, 6, 5])
    codes = (g == "a").astype(int)
    assert ndkl(rank(s), codes, 2) == pytest.approx(ndkl(rank(s[turned]), codes[turned], 2))


def drawn(seed, n=900, shift=0.0):
    rng = np.random.default_rng(seed)
    g = rng.choice(list("abc"), n, p=(0.5, 0.3, 0.2))
    return rng.normal(size=n) + shift * (g == "c"), {"g": g}


def test_planted_truth_a_group_pushed_down_and_its_clean_twin():
    pushed, clean = rows_of(*drawn(1, 5000, shift=-1.5)), rows_of(*drawn(1, 5000))
    for name, tolerance in (("exposure-ratio", 0.9), ("representation-min", 0.5)):
        assert claim(read(pushed, name, attribute="g").basis, minimum=tolerance).fail_p < 0.05, name
        assert read(clean, name, attribute="g").estimate.value > tolerance
    assert claim(read(clean, "exposure-ratio", attribute="g").basis, minimum=0.9).pass_p < 0.05
    assert read(pushed, "exposure-ratio", attribute="g").detail["lowest"] == "c"
    assert read(pushed, "ndkl", attribute="g").detail["share_of_random_orders_as_large"] < 0.02
    assert read(clean, "ndkl", attribute="g").detail["share_of_random_orders_as_large"] > 0.05


def test_weights_have_no_place_in_a_ranking():
    with pytest.raises(ProbeError, match="weights are not supported"):
        rows_of(np.arange(200.0), {"g": list("ab") * 100}, weights=np.ones(200))


def test_rows_of_one_person_count_as_one():
    """Four copies of each row in a cluster: the same values, and intervals as wide as a quarter of the rows gives."""
    rng = np.random.default_rng(4)
    s, g = rng.normal(size=300), rng.choice(list("ab"), 300)
    once = rows_of(s, {"g": g}, probe=Ranked(depth=1, draws=1000, k=50))
    four = rows_of(
        np.repeat(s, 4), {"g": np.repeat(g, 4)}, probe=Ranked(depth=1, draws=1000, k=200),
        clusters=np.repeat(np.arange(300), 4),
    )  # fmt: skip
    alone = rows_of(np.repeat(s, 4), {"g": np.repeat(g, 4)}, probe=Ranked(depth=1, draws=1000, k=200))
    for name in ("representation", "exposure"):
        one, many, naive = (read(rows, name, attribute="g", group="a").estimate for rows in (once, four, alone))
        assert many.high - many.low > 1.6 * (naive.high - naive.low)
        if name == "representation":  # exposure falls with n, and so is another number here
            assert (many.value, many.low, many.high) == pytest.approx((one.value, one.low, one.high), abs=1e-9)


def test_null_clustered_rankings_fail_at_most_alpha_of_the_time():
    """Five rows a person with one score each person: without the clusters, most of these would be told apart."""
    fails = {"representation-min": 0, "exposure-ratio": 0}
    naive = 0
    for seed in range(60):
        rng = np.random.default_rng(900 + seed)
        person = np.repeat(np.arange(80), 5)
        s = rng.normal(size=80)[person] + 0.01 * rng.normal(size=400)
        g = rng.choice(list("ab"), 80)[person]
        probe = Ranked(depth=1, draws=300, shuffles=0, k=80)
        rows = rows_of(s, {"g": g}, seed=seed, probe=probe, clusters=person)
        for name in fails:
            fails[name] += claim(read(rows, name, attribute="g").basis, minimum=1.0).fail_p <= 0.05
        alone = rows_of(s, {"g": g}, seed=seed, probe=probe)
        naive += claim(read(alone, "representation-min", attribute="g").basis, minimum=1.0).fail_p <= 0.05
    assert max(fails.values()) <= 9, fails  # the 99.9 % point of a binomial of 60 at .05
    assert naive > 9


def test_everyone_at_the_top_is_no_number():
    rows = rows_of(*drawn(2, 80))
    assert any(isinstance(r, Failure) and "everyone is at the top" in r.reason for r in rows)
    tied = rows_of(np.ones(400), {"g": np.repeat(["a", "b"], 200)})
    assert not [r for r in tied if isinstance(r, Finding) and r.metric == P + "exposure-ratio"]


@pytest.mark.slow
def test_null_alike_groups_fail_at_most_alpha_of_the_time():
    names = {"exposure-ratio": {"minimum": 1.0}, "representation-min": {"minimum": 1.0}, "skew-max": {"maximum": 0.0}}
    runs, fails = 200, dict.fromkeys(names, 0)
    for seed in range(runs):
        rows = rows_of(*drawn(500 + seed, 400), seed=seed, probe=Ranked(depth=1, draws=500, shuffles=0, k=50))
        for name, tolerance in names.items():
            fails[name] += claim(read(rows, name, attribute="g").basis, **tolerance).fail_p <= 0.05
    assert max(fails.values()) <= 20, fails  # the 99.9 % point of a binomial of 200 at .05
