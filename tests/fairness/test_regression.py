"""Regressors between groups: oracles, planted truth, and the gate's own error."""

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
from steelyard.probes.fairness.regression import Regression
from steelyard.probes.stats.claims import claim

P = "fairness.regression."


class Given:
    def predict(self, frame):
        return frame["s"].to_numpy()


def rows_of(s, y, groups, seed=1, probe=None, **design):
    model = Given()
    sample = replace(sample_from_arrays(pd.DataFrame({"s": s}), y, pd.DataFrame(groups), task="regression"), **design)
    probe = probe or Regression(depth=1, draws=1000)
    return list(probe.run(wrap(model, sample), sample, References(), generator(seed, "regression")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


def drawn(seed, n=600, shift=0.0, noise=1.0):
    rng = np.random.default_rng(seed)
    g = rng.choice(list("abc"), n, p=(0.6, 0.3, 0.1))
    s = rng.normal(10, 3, n) + shift * (g == "c")
    return s, s + rng.normal(size=n) * np.where(g == "c", noise, 1.0) - shift * (g == "c"), {"g": g}


def test_oracle_sklearn_numpy_and_scipy_give_the_same_values():
    from scipy.stats import wasserstein_distance
    from sklearn.metrics import mean_absolute_error, root_mean_squared_error

    s, y, groups = drawn(1, 900, shift=1.0, noise=2.0)
    g, rows = groups["g"], rows_of(s, y, groups)

    def gap(f):
        values = [f(y[g == k], s[g == k]) for k in "abc"]
        return max(values) - min(values)

    for name, f in (
        ("mae", mean_absolute_error), ("rmse", root_mean_squared_error), ("mean-prediction", lambda _, p: p.mean()),
        ("mean-error", lambda t, p: (p - t).mean()),
    ):  # fmt: skip
        assert read(rows, f"{name}-difference", attribute="g").estimate.value == pytest.approx(gap(f), abs=1e-9), name
    for name, f in (("mae", mean_absolute_error), ("rmse", root_mean_squared_error)):
        of = {k: f(y[g == k], s[g == k]) for k in "abc"}
        ratio = read(rows, f"{name}-ratio", attribute="g").estimate.value
        assert ratio == pytest.approx(min(of.values()) / max(of.values()), abs=1e-9)
        to = read(rows, f"{name}-difference-to-reference", attribute="g")
        assert to.estimate.value == pytest.approx(max(abs(of[k] - of["a"]) for k in "bc"), abs=1e-9)
    for q in (0.1, 0.5, 0.9):
        theirs = gap(lambda _, p, q=q: np.quantile(p, q, method="inverted_cdf"))
        found = read(rows, "quantile-difference", attribute="g", quantile=q)
        assert found.estimate.value == pytest.approx(theirs, abs=1e-12)
    far = max(wasserstein_distance(s[g == a], s[g == b]) for a, b in ("ab", "ac", "bc"))
    assert read(rows, "wasserstein", attribute="g").estimate.value == pytest.approx(far, abs=1e-9)


def test_planted_truth_a_group_predicted_too_high_and_one_predicted_badly():
    high, noisy, clean = (rows_of(*drawn(2, 6000, **kw)) for kw in ({"shift": 2.0}, {"noise": 3.0}, {}))
    for name, bad in (("mean-error-difference", high), ("mean-prediction-difference", high), ("wasserstein", high),
                      ("mae-difference", noisy), ("rmse-difference", noisy)):  # fmt: skip
        assert claim(read(bad, name, attribute="g").basis, maximum=0.8).fail_p < 0.05, name
        assert claim(read(clean, name, attribute="g").basis, maximum=0.8).pass_p < 0.05, name
    where = {"attribute": "g", "quantile": 0.5}
    assert claim(read(high, "quantile-difference", **where).basis, maximum=0.8).fail_p < 0.05
    assert claim(read(clean, "quantile-difference", **where).basis, maximum=0.8).pass_p < 0.05


def test_constant_predictions_and_perfect_ones_are_failures_not_zeros():
    _, y, groups = drawn(3, 900)
    flat = rows_of(np.full(900, 10.0), y, groups)
    named = {m for r in flat if isinstance(r, Failure) for m in r.metrics}
    assert {P + "wasserstein", P + "mean-prediction-difference", P + "quantile-difference"} <= named
    assert not [r for r in flat if isinstance(r, Finding) and r.metric == P + "wasserstein"]
    perfect = rows_of(y, y, groups)
    assert any(isinstance(r, Failure) and "predicted exactly" in r.reason for r in perfect)


def test_one_person_many_rows_widens_the_intervals():
    s, y, groups = drawn(4, 500)
    four = np.repeat(np.arange(500), 4)
    once = rows_of(s, y, groups)
    many = rows_of(s[four], y[four], {"g": groups["g"][four]}, clusters=four)
    for name in ("mean-prediction-difference", "mae-difference", "rmse-difference", "wasserstein"):
        ours, theirs = read(many, name, attribute="g").estimate, read(once, name, attribute="g").estimate
        assert ours.high - ours.value == pytest.approx(theirs.high - theirs.value, rel=0.2), name


@pytest.mark.slow
def test_null_alike_groups_fail_at_most_alpha_of_the_time():
    names = ("mean-prediction-difference", "mean-error-difference", "mae-difference", "rmse-difference", "wasserstein")
    runs, fails = 200, dict.fromkeys((*names, "median"), 0)
    for seed in range(runs):
        rows = rows_of(*drawn(500 + seed), seed=seed, probe=Regression(depth=1, draws=500, quantiles=(0.5,)))
        for name in names:
            fails[name] += claim(read(rows, name, attribute="g").basis, maximum=0.0).fail_p <= 0.05
        median = read(rows, "quantile-difference", attribute="g", quantile=0.5)
        fails["median"] += claim(median.basis, maximum=0.0).fail_p <= 0.05
    assert max(fails.values()) <= 20, fails  # the 99.9 % point of a binomial of 200 at .05
