"""fairness.multicalibration: cells worked by pandas, a planted group, and no false alarm on true scores."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, binomtest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import PlanError, ProbeError
from steelyard.audit.target import Groups, References, Sample
from steelyard.audit.types import Capability, Finding, Modality, Task
from steelyard.probes.fairness import halves as halves_module
from steelyard.probes.fairness.halves import Halves, halve
from steelyard.probes.fairness.multicalibration import EVERYONE, GAP, LARGEST, WEIGHTED, Multicalibration


@dataclass(frozen=True)
class Scored:
    """A target that has already scored."""

    scores: Any
    name: str = "candidate"
    kind: str = "test"
    task: Task = Task.BINARY
    fingerprint: str = "0"
    capabilities: frozenset[Capability] = frozenset({Capability.PREDICT, Capability.PREDICT_PROBA})

    def predict(self, inputs: Any) -> Any:
        return (self.scores >= 0.5).astype(np.int64)

    def predict_proba(self, inputs: Any) -> Any:
        return np.column_stack([1 - self.scores, self.scores])


def sample_of(frame, labels, **more):
    codes, levels = pd.factorize(frame["sex"], sort=True)
    return Sample(
        inputs=frame, labels=labels, task=Task.BINARY, modality=Modality.TABULAR, fingerprint="s",
        classes=("no", "yes"), groups={"sex": Groups(codes=codes, levels=tuple(levels))}, **more,
    )  # fmt: skip


def table(seed, n, shift=0.0, floor=0.05):
    """Scores in [floor, floor + .8] that are true, but for women of region 2, whose chance is higher by `shift`."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {"sex": rng.choice(["f", "m"], n), "region": rng.choice(list("1234"), n), "age": rng.integers(18, 90, n)}
    )
    scores = floor + 0.8 * rng.beta(1, 1.5, n)
    apart = ((frame["sex"] == "f") & (frame["region"] == "2")).to_numpy()
    return frame, (rng.random(n) < np.clip(scores + shift * apart, 0, 1)).astype(np.int64), scores


def run(frame, labels, scores, *, seed=0, sample=None, **settings):
    sample = sample_of(frame, labels) if sample is None else sample
    return list(Multicalibration(**settings).run(Scored(scores), sample, References(), generator(seed, "test")))


def gaps(rows):
    return [r for r in rows if isinstance(r, Finding) and r.metric == GAP]


def overall(rows, metric):
    (found,) = [r for r in rows if isinstance(r, Finding) and r.metric == metric]
    return found


def test_oracle_each_cell_is_what_pandas_and_scipy_say():
    frame, labels, scores = table(1, 6000, shift=0.15)
    rows = run(frame, labels, scores, seed=3)
    sample = sample_of(frame, labels)
    held = halve(sample, {"score": scores}, generator(3, "test"), max_rows=200_000).held_out
    wide = frame.assign(y=labels, s=scores).iloc[held]
    found = gaps(rows)
    assert len(found) == 10
    for finding in found:
        inside = member(wide["s"], str(finding.where["score"]))
        for term in str(finding.where["group"]).split(" & "):
            if term != EVERYONE:
                column, level = term.split("=")
                inside = inside & member(wide[column], level)
        part = wide[inside]
        assert finding.estimate.n == len(part) >= 30
        assert finding.estimate.value == pytest.approx(part["y"].mean() - part["s"].mean(), abs=1e-12)
        assert finding.detail["weighted_gap"] == pytest.approx((wide["y"] - wide["s"])[inside].sum() / len(wide))
        exact = binomtest(int(part["y"].sum()), len(part), part["s"].mean())
        both = min(1.0, 2 * min(tail(part, "less"), tail(part, "greater")))
        assert finding.detail["p"] == pytest.approx(both, rel=1e-9)
        limits = exact.proportion_ci(1 - 0.05 / len(found), method="exact")
        assert finding.estimate.low == pytest.approx(limits.low - part["s"].mean(), abs=1e-9)
        assert finding.estimate.high == pytest.approx(limits.high - part["s"].mean(), abs=1e-9)
    assert overall(rows, LARGEST).estimate.value == max(abs(f.estimate.value) for f in found)
    heaviest = max(abs(f.detail["weighted_gap"]) for f in found)
    assert overall(rows, WEIGHTED).estimate.value == pytest.approx(heaviest)


def tail(part, side):
    return binomtest(int(part["y"].sum()), len(part), part["s"].mean(), alternative=side).pvalue


def member(column, level):
    """Which rows a printed condition holds for; edges are printed with six digits."""
    if level.startswith("up to "):
        return (column <= float(level[6:]) + 1e-6).to_numpy()
    if level.startswith("above "):
        return (column > float(level[6:]) + 1e-6).to_numpy()
    if level.startswith("("):
        low, high = (float(x) for x in level[1:-1].split(", "))
        return ((column > low + 1e-6) & (column <= high + 1e-6)).to_numpy()
    return (column.astype(str) == level).to_numpy()


def test_planted_a_group_whose_score_is_too_low_is_found_and_its_clean_twin_is_not():
    found = false = 0
    for seed in range(20):
        rows = run(*table(seed, 12_000, shift=0.2), seed=seed)
        significant = [f for f in gaps(rows) if f.detail["holm_p"] <= 0.05]
        found += any(
            {"sex=f", "region=2"} <= set(str(f.where["group"]).split(" & ")) and f.estimate.low > 0 for f in significant
        )
        clean = gaps(run(*table(seed, 12_000), seed=seed))
        false += any(f.detail["holm_p"] <= 0.05 for f in clean)
    assert found >= 18
    assert false <= binom.ppf(0.999, 20, 0.05)


def test_planted_a_score_too_high_for_all_is_everyones():
    frame, labels, scores = table(2, 8000)
    rows = run(frame, labels, np.minimum(scores + 0.15, 1.0), depth=1)
    worst = overall(rows, WEIGHTED)
    assert worst.estimate.low > 0
    assert any(f.where["group"] == EVERYONE for f in gaps(rows))
    assert all(f.estimate.value < 0 for f in gaps(rows))


RUNS = 500


def null_run(seed, n, floor):
    rows = run(*table(seed, n, floor=floor), seed=seed)
    discovered = any(f.detail["holm_p"] <= 0.05 for f in gaps(rows))
    return discovered, overall(rows, LARGEST).estimate.low > 0, overall(rows, WEIGHTED).estimate.low > 0


@pytest.mark.slow
@pytest.mark.parametrize("floor", [0.05, 0.0])
def test_null_true_scores_raise_no_alarm(floor):
    alarms = np.array([null_run(seed, 3000, floor) for seed in range(RUNS)]).sum(axis=0)
    assert (alarms <= binom.ppf(0.999, RUNS, 0.05)).all(), alarms


def test_null_the_same_test_on_the_searched_rows_would_cry_wolf(monkeypatch):
    def unsplit(sample, answers, rng, *, max_rows):
        rows = np.arange(sample.n)
        return Halves(search=rows, held_out=rows, total=sample.n)

    monkeypatch.setattr(halves_module, "halve", unsplit)
    alarms = np.array([null_run(seed, 6000, 0.05) for seed in range(20)]).sum(axis=0)
    assert alarms[0] > 2 * binom.ppf(0.999, 20, 0.05), alarms


def test_clusters_and_weights_widen_the_interval():
    frame, labels, scores = table(4, 3000)
    five = frame.loc[np.repeat(frame.index, 5)].reset_index(drop=True)
    y, s = np.repeat(labels, 5), np.repeat(scores, 5)
    clusters = np.repeat(np.arange(3000), 5)

    def widths(rows):
        return {str(f.where["group"]): f.estimate.high - f.estimate.low for f in gaps(rows)}

    flat = {"depth": 1, "score_bins": 1, "top": 20}
    once = widths(run(frame, labels, scores, **flat))
    persons = widths(run(five, y, s, sample=sample_of(five, y, clusters=clusters), **flat))
    blind = widths(run(five, y, s, **flat))
    shared = sorted(set(once) & set(persons) & set(blind))
    assert len(shared) >= 5
    for group in shared:
        assert persons[group] == pytest.approx(once[group], rel=0.15)
        assert blind[group] == pytest.approx(once[group] / np.sqrt(5), rel=0.15)
    weights = np.random.default_rng(0).exponential(size=3000) + 0.05
    weighed = run(frame, labels, scores, sample=sample_of(frame, labels, weights=weights), depth=1)
    assert overall(weighed, LARGEST).estimate.n_effective < 0.8 * overall(weighed, LARGEST).estimate.n


def test_one_score_for_all_is_one_bin():
    frame, labels, _ = table(5, 2000)
    rows = run(frame, labels, np.full(2000, labels.mean()))
    assert {f.where["score"] for f in gaps(rows)} == {f"{labels.mean():.6g}"}
    assert not any(f.detail["holm_p"] <= 0.01 for f in gaps(rows) if f.where["group"] == EVERYONE)


def test_few_rows_get_fewer_bins():
    frame, labels, scores = table(7, 600)
    assert overall(run(frame, labels, scores), LARGEST).detail["score_bins"] == 3  # 300 rows, 94 for a bin
    frame, labels, scores = table(7, 4000)
    assert overall(run(frame, labels, scores), LARGEST).detail["score_bins"] == 10


def test_refusals_say_why():
    frame, labels, scores = table(6, 300)
    with pytest.raises(ProbeError, match="no bin"):
        run(frame, labels, scores, sample=replace(sample_of(frame, labels), min_n=140))
    with pytest.raises(PlanError, match="score_bins 0"):
        Multicalibration(score_bins=0)
