"""Bounds under missing attributes: brute force, planted truth, and the gate's own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.missing_attributes import MissingAttributes
from steelyard.probes.stats.claims import claim

P = "fairness.missing-attributes."


class Given:
    def predict(self, frame):
        return frame["d"].to_numpy()


def rows_of(d, y, groups, min_n=1, **design):
    sample = sample_from_arrays(pd.DataFrame({"d": np.asarray(d)}), np.asarray(y), pd.DataFrame(groups))
    sample = replace(sample, min_n=min_n, **design)
    probe = MissingAttributes()
    return list(probe.run(wrap(Given(), sample), sample, References(), generator(1, "missing")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


@pytest.mark.parametrize("seed", range(6))
def test_oracle_every_assignment_of_a_small_table(seed):
    from itertools import product

    rng = np.random.default_rng(seed)
    n = 18
    g = np.array([*"aaaaabbbbcccc", None, None, None, None, None], dtype=object)
    d, y = rng.integers(0, 2, n), rng.integers(0, 2, n)
    d[:2], y[:2], y[5:7], y[9:11] = (0, 1), (0, 1), (0, 1), (0, 1)
    rows = rows_of(d, y, {"g": g})
    gone = np.flatnonzero(pd.isna(g))
    best = {"selection-rate": 0.0, "tpr": 0.0, "fpr": 0.0, "ratio": 1.0}
    for assignment in product("abc", repeat=gone.size):
        full = g.copy()
        full[gone] = assignment
        for name, base in (("selection-rate", np.ones(n, bool)), ("tpr", y == 1), ("fpr", y == 0)):
            rates = [d[(full == k) & base].mean() for k in "abc"]
            best[name] = max(best[name], max(rates) - min(rates))
            if name == "selection-rate" and max(rates) > 0:
                best["ratio"] = min(best["ratio"], min(rates) / max(rates))
    for name in ("selection-rate", "tpr", "fpr"):
        found = read(rows, f"{name}-difference", attribute="g").estimate
        assert found.value == pytest.approx(best[name], abs=1e-12), name
    assert read(rows, "selection-rate-ratio", attribute="g").estimate.value == pytest.approx(best["ratio"], abs=1e-12)


def drawn(seed, n=4000, missing=0.05, chosen_if_missing=0.4):
    rng = np.random.default_rng(seed)
    g = rng.choice(["a", "b"], n).astype(object)
    gone = rng.uniform(size=n) < missing
    d = (rng.uniform(size=n) < np.where(gone, chosen_if_missing, 0.4)).astype(int)
    g[gone] = None
    return d, rng.integers(0, 2, n), {"g": g}


def test_planted_truth_few_missing_rows_cannot_hide_a_gap_and_many_can():
    few, many = rows_of(*drawn(1, missing=0.01)), rows_of(*drawn(1, missing=0.4))
    for name, tolerance in (
        ("selection-rate-difference", {"maximum": 0.15}),
        ("selection-rate-ratio", {"minimum": 0.7}),
    ):
        assert claim(read(few, name, attribute="g").basis, **tolerance).pass_p < 0.05, name
        assert claim(read(many, name, attribute="g").basis, **tolerance).fail_p < 0.05, name
    found = read(many, "selection-rate-difference", attribute="g")
    assert found.detail["with_the_missing_left_out"] < 0.1  # what a report without bounds would have said
    assert found.detail["missing"] > 1000


def test_nothing_missing_does_not_apply_and_small_groups_are_named():
    d, y, groups = drawn(2, 500, missing=0.0)
    with pytest.raises(NotApplicable, match="no attribute has a missing value"):
        rows_of(d, y, groups)
    d, y, groups = drawn(2, 500)
    groups["g"][:5] = "tiny"
    rows = rows_of(d, y, groups, min_n=30)
    assert any(isinstance(r, Failure) and "tiny" in r.reason for r in rows)
    assert read(rows, "selection-rate-difference", attribute="g").detail["untested"] == "g = tiny"


def test_one_person_many_rows_and_weights_keep_the_bound_and_its_error():
    d, y, groups = drawn(3, 800)
    four = np.repeat(np.arange(800), 4)
    once = rows_of(d, y, groups)
    many = rows_of(d[four], y[four], {"g": groups["g"][four]}, clusters=four)
    heavy = rows_of(d, y, groups, weights=np.full(800, 2.0))
    name = "selection-rate-difference"
    ours, theirs, w = (read(r, name, attribute="g").estimate for r in (many, once, heavy))
    assert ours.value == pytest.approx(theirs.value)
    assert ours.high - ours.low == pytest.approx(theirs.high - theirs.low, rel=0.1)
    assert (w.value, w.high) == pytest.approx((theirs.value, theirs.high), rel=0.02)


@pytest.mark.slow
def test_null_at_the_bound_itself_neither_claim_is_made_more_often_than_alpha():
    # shares a and b .475 each, missing .05, of which .4 chosen: the bound in the population
    up = (0.475 * 0.4 + 0.05 * 0.4) / (0.475 + 0.05 * 0.4)
    down = 0.475 * 0.4 / (0.475 + 0.05 * 0.6)
    runs, fails, passes = 300, 0, 0
    for seed in range(runs):
        found = read(rows_of(*drawn(500 + seed, 1500)), "selection-rate-difference", attribute="g")
        made = claim(found.basis, maximum=up - down)
        fails += made.fail_p <= 0.05
        passes += made.pass_p <= 0.05
    assert max(fails, passes) <= 27  # the 99.9 % point of a binomial of 300 at .05
