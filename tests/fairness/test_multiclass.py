"""Classes between groups: oracle, planted truth, and the gate's own error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit import audit
from steelyard.audit.canonical import generator
from steelyard.audit.target import References
from steelyard.audit.types import Failure, Finding, Status
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.fairness.multiclass import Multiclass
from steelyard.probes.stats.claims import claim

P = "fairness.multiclass."


class Given:
    def predict(self, frame):
        return np.array(["x", "y", "z"])[frame["d"].to_numpy()]


def rows_of(d, y, groups, seed=1, probe=None, **design):
    sample = sample_from_arrays(pd.DataFrame({"d": d}), np.array(["x", "y", "z"])[y], pd.DataFrame(groups))
    sample = replace(sample, **design)
    probe = probe or Multiclass(depth=1, draws=1000)
    return list(probe.run(wrap(Given(), sample), sample, References(), generator(seed, "multiclass")))


def read(rows, statistic, **where):
    found = [r for r in rows if isinstance(r, Finding) and r.metric == P + statistic and dict(r.where) == where]
    assert len(found) == 1, (statistic, where)
    return found[0]


def drawn(seed, n=900, lost=0.0):
    """80 % right; of the rows of group c that are of class z a share `lost` is called x instead."""
    rng = np.random.default_rng(seed)
    g = rng.choice(list("abc"), n, p=(0.4, 0.3, 0.3))
    y = rng.choice(3, n, p=(0.5, 0.3, 0.2))
    d = np.where(rng.uniform(size=n) < 0.8, y, rng.choice(3, n))
    d[(g == "c") & (y == 2) & (rng.uniform(size=n) < lost)] = 0
    return d, y, {"g": g}


def test_oracle_fairlearn_on_each_class_against_the_rest():
    from fairlearn import metrics as fl

    d, y, groups = drawn(1, lost=0.5)
    rows, worst = rows_of(d, y, groups), {}
    for code, name in enumerate("xyz"):
        frame = fl.MetricFrame(
            metrics={"selection-rate": fl.selection_rate, "tpr": fl.true_positive_rate, "fpr": fl.false_positive_rate},
            y_true=y == code, y_pred=d == code, sensitive_features=groups["g"],
        )  # fmt: skip
        for rate in ("selection-rate", "tpr", "fpr"):
            found = read(rows, f"{rate}-difference", attribute="g", **{"class": name})
            assert found.estimate.value == pytest.approx(frame.difference()[rate], abs=1e-12)
            worst[rate] = max(worst.get(rate, 0.0), frame.difference()[rate])
            for group in "abc":
                one = read(rows, rate, attribute="g", group=group, **{"class": name})
                assert one.estimate.value == pytest.approx(frame.by_group[rate][group], abs=1e-12)
    for rate, value in worst.items():
        found = read(rows, f"worst-{rate}-difference", attribute="g")
        assert found.estimate.value == pytest.approx(value, abs=1e-12)
    assert read(rows, "worst-tpr-difference", attribute="g").detail["class"] == "z"


def test_planted_truth_a_gate_over_all_classes_sees_the_last_one():
    """The defect is in class z alone: a gate that looked at the first class would pass."""
    gates = [{"metric": P + "tpr-difference", "max": 0.15}, {"metric": P + "worst-tpr-difference", "max": 0.15}]

    def verdicts(lost):
        d, y, groups = drawn(2, 6000, lost=lost)
        names = np.array(["x", "y", "z"])
        record = audit(
            lambda X: names[d[X["row"].to_numpy()]], pd.DataFrame({"row": np.arange(6000)}), names[y],
            groups=pd.DataFrame(groups), gates=gates, probes=["fairness.multiclass"],
        )  # fmt: skip
        return [v.status for v in record.verdicts]

    assert verdicts(0.6) == [Status.FAIL, Status.FAIL]
    assert verdicts(0.0) == [Status.PASS, Status.PASS]


def test_a_class_that_a_group_lacks_is_left_out_by_name():
    d, y, groups = drawn(3)
    y[(groups["g"] == "c") & (y == 2)] = 0
    rows = rows_of(d, y, groups)
    lost = [r for r in rows if isinstance(r, Failure) and r.metrics == (P + "tpr",)]
    assert [dict(r.where) for r in lost] == [{"attribute": "g", "group": "c", "class": "z"}]
    assert "c" in read(rows, "tpr-difference", attribute="g", **{"class": "z"}).detail["untested"]
    y[y == 2] = 0
    none = rows_of(d, np.append(y[:-1], 2), groups)  # one row of class z: no group can be compared on it
    assert [r for r in none if isinstance(r, Failure) and r.metrics == (P + "worst-tpr-difference",)]


@pytest.mark.slow
def test_null_alike_groups_fail_at_most_alpha_of_the_time():
    names = ("worst-selection-rate-difference", "worst-tpr-difference", "worst-fpr-difference")
    runs, fails = 100, dict.fromkeys(names, 0)
    for seed in range(runs):
        rows = rows_of(*drawn(500 + seed, 1500), seed=seed, probe=Multiclass(depth=1, draws=500))
        for name in names:
            fails[name] += claim(read(rows, name, attribute="g").basis, maximum=0.0).fail_p <= 0.05
    assert max(fails.values()) <= 13, fails  # the 99.9 % point of a binomial of 100 at .05
