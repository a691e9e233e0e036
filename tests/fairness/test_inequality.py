"""Inequality of benefits: hand cases, planted truth, and the gate's own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.inequality import Inequality
from steelyard.probes.stats.claims import claim

P = "fairness.inequality."


class Given:
    def predict(self, frame):
        return frame["d"].to_numpy()


def rows_of(d, y, groups, seed=1, probe=None, min_n=30, **design):
    model = Given()
    sample = sample_from_arrays(pd.DataFrame({"d": np.asarray(d)}), np.asarray(y), pd.DataFrame(groups))
    sample = replace(sample, min_n=min_n, **design)
    probe = probe or Inequality(depth=1, draws=1000)
    return list(probe.run(wrap(model, sample), sample, References(), generator(seed, "inequality")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


def drawn(seed, n=900, missed=0.15, raised=0.15):
    """Errors at .15 either way; group c has its own rates of misses and of false alarms."""
    rng = np.random.default_rng(seed)
    g = rng.choice(list("abc"), n, p=(0.4, 0.4, 0.2))
    y = rng.integers(0, 2, n)
    wrong = np.where(y == 1, np.where(g == "c", missed, 0.15), np.where(g == "c", raised, 0.15))
    return np.where(rng.uniform(size=n) < wrong, 1 - y, y), y, {"g": g}


def test_oracle_the_indices_by_their_definitions():
    """As Speicher et al. write them, person by person: 1/(n a (a-1)) sum ((b/mu)^a - 1), and the limit a = 1."""
    d, y, groups = drawn(1)
    rows, b, g = rows_of(d, y, groups), d - y + 1.0, groups["g"]

    def entropy(x):
        return sum((v / x.mean()) ** 2 - 1 for v in x) / (len(x) * 2)

    theil = sum(v / b.mean() * np.log(v / b.mean()) for v in b if v > 0) / len(b)
    assert read(rows, "generalized-entropy").estimate.value == pytest.approx(entropy(b), abs=1e-12)
    assert read(rows, "theil").estimate.value == pytest.approx(theil, abs=1e-12)
    means = np.select([g == k for k in "abc"], [b[g == k].mean() for k in "abc"])
    between, within = (read(rows, f"{w}-group", attribute="g").estimate.value for w in ("between", "within"))
    assert between == pytest.approx(entropy(means), abs=1e-12)  # everyone given the mean of their group
    assert between + within == pytest.approx(entropy(b), abs=1e-12)
    fn, fp = ((d == 0) & (y == 1)), ((d == 1) & (y == 0))
    ratios = [fn[g == k].sum() / fp[g == k].sum() for k in "abc"]
    found = read(rows, "treatment-equality", attribute="g").estimate.value
    assert found == pytest.approx(min(ratios) / max(ratios))


def test_a_case_worked_by_hand():
    # b = 0, 1, 1, 2: mean 1, mean square 1.5, so GE = .25; Theil = (2 ln 2) / 4
    rows = rows_of([0, 1, 0, 1], [1, 1, 0, 0], {"g": list("aabb")}, min_n=2)
    assert read(rows, "generalized-entropy").estimate.value == pytest.approx(0.25)
    assert read(rows, "theil").estimate.value == pytest.approx(np.log(2) / 2)
    assert read(rows, "between-group", attribute="g").estimate.value == pytest.approx(0.125)  # means .5 and 1.5
    assert any(isinstance(r, Failure) and "fewer than 10 false negatives" in r.reason for r in rows)


def test_planted_truth_one_group_bears_the_misses():
    bad, good = rows_of(*drawn(2, 8000, missed=0.5, raised=0.05)), rows_of(*drawn(2, 8000))
    assert claim(read(bad, "treatment-equality", attribute="g").basis, minimum=0.6).fail_p < 0.05
    assert claim(read(good, "treatment-equality", attribute="g").basis, minimum=0.6).pass_p < 0.05
    assert claim(read(bad, "between-group", attribute="g").basis, maximum=0.001).fail_p < 0.05
    assert claim(read(good, "between-group", attribute="g").basis, maximum=0.001).pass_p < 0.05
    assert claim(read(bad, "theil").basis, maximum=0.1).fail_p < 0.05


def test_no_errors_at_all_is_zero_with_the_bound_that_n_gives():
    _, y, groups = drawn(3)
    estimate = read(rows_of(y, y, groups), "generalized-entropy").estimate
    d = 1 - 0.05 ** (1 / 900)
    assert (estimate.value, estimate.low) == (0.0, 0.0)
    assert estimate.high == pytest.approx(d / (2 * (1 - d)))
    none = rows_of(np.zeros(900, int), np.where(np.arange(900) < 899, 1, 0), groups)  # all missed but one
    assert all(np.isfinite(r.estimate.value) for r in none if isinstance(r, Finding))


def test_one_person_many_rows_widens_the_intervals():
    d, y, groups = drawn(4, 600)
    four = np.repeat(np.arange(600), 4)
    once, many = rows_of(d, y, groups), rows_of(d[four], y[four], {"g": groups["g"][four]}, clusters=four)
    for name, where in (("theil", {}), ("between-group", {"attribute": "g"}), ("within-group", {"attribute": "g"})):
        ours, theirs = read(many, name, **where).estimate, read(once, name, **where).estimate
        assert ours.value == pytest.approx(theirs.value)
        assert ours.high - ours.value == pytest.approx(theirs.high - theirs.value, rel=0.2), name


@pytest.mark.slow
def test_null_alike_groups_fail_at_most_alpha_and_intervals_cover():
    runs, fails, covered = 300, {"between-group": 0, "treatment-equality": 0}, 0
    truth = (1.15 / 1 - 1) / 2  # mean of b 1, mean square 1 + P(error)
    for seed in range(runs):
        rows = rows_of(*drawn(500 + seed), seed=seed, probe=Inequality(depth=1, draws=500))
        fails["between-group"] += claim(read(rows, "between-group", attribute="g").basis, maximum=0.0).fail_p <= 0.05
        found = read(rows, "treatment-equality", attribute="g")
        fails["treatment-equality"] += claim(found.basis, minimum=1.0).fail_p <= 0.05
        estimate = read(rows, "generalized-entropy").estimate
        covered += estimate.low <= truth <= estimate.high
    assert max(fails.values()) <= 27, fails  # the 99.9 % point of a binomial of 300 at .05
    assert covered >= 273  # and its mirror at .95
