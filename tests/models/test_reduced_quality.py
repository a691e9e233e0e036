"""Accuracy, losses, areas and calibration of a counted table, beside those of the same rows."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("duckdb", reason="counting needs the extra `big`")

from steelyard.audit.canonical import generator
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable, Normal
from steelyard.models.data.load import load_samples
from steelyard.models.targets.load import load_target
from steelyard.models.targets.memoised import Memoised
from steelyard.probes.quality.calibration import Calibration
from steelyard.probes.quality.performance import Performance

TARGET = {"score": "score"}


def scored(n: int = 5000, seed: int = 2, *, digits: int | None = None) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    score = rng.beta(2, 3, n)
    if digits is not None:
        score = score.round(digits)
    return pd.DataFrame(
        {
            "score": score,
            "decided": (score > 0.5).astype(int),
            "y": (rng.uniform(size=n) < 0.1 + 0.8 * score).astype(int),
            "sex": rng.choice(["f", "m", None], n, p=[0.5, 0.45, 0.05]),
            "age": rng.choice(["old", "young"], n),
            "w": rng.lognormal(size=n),
            "who": rng.integers(0, 900, n),
        }
    )


def both(frame: pd.DataFrame, folder: Path, target: dict[str, Any] = TARGET, **data: Any) -> list[Any]:
    frame.to_parquet(folder / "t.parquet")
    part = TargetPart(kind="predictions", path="t.parquet", **target)
    found: list[tuple[Memoised, Sample]] = []
    for above in (len(frame), 10):
        plan = DataPart(label="y", groups=["sex", "age"], reduce_above=above, **data)
        sample = load_samples(plan, target=part, base=folder).test
        found.append((load_target(part, base=folder, sample=sample), sample))
    return found


def read(probe: Any, target: Memoised, sample: Sample) -> dict[tuple[str, Any], Any]:
    rows = list(probe.run(target, sample, References(), generator(4, "x")))
    return {
        (row.metric if isinstance(row, Finding) else "/".join(row.metrics), getattr(row, "where", None)): row
        for row in rows
    }


@pytest.mark.parametrize("weight", [None, "w"])
@pytest.mark.parametrize("digits", [None, 2], ids=["continuous", "two digits"])
def test_performance_reads_the_same(weight: str | None, digits: int | None, tmp_path: Path) -> None:
    """With two digits each score has a bin of its own, and the area is the area of the rows, interval and all."""
    rows, counts = (read(Performance(), *pair) for pair in both(scored(digits=digits), tmp_path, weight=weight))
    assert rows.keys() == counts.keys()
    for key, mine in rows.items():
        other = counts[key]
        assert type(mine) is type(other), key
        if not isinstance(mine, Finding):
            assert mine.reason == other.reason
            continue
        a, b = mine.estimate, other.estimate
        assert (a.n, a.level) == (b.n, b.level)
        if key[0].endswith(".auc") and digits is None:
            hidden = float(b.method.split("at most ")[1].split()[0]) if "hide at most" in b.method else 0.0
            assert hidden > 0 or key[1]  # a small group may have no two scores in one bin
            assert abs(a.value - b.value) <= hidden * 1.01 + 1e-12
            assert b.low <= a.value <= b.high
            assert b.low < a.low + 1e-4
            assert b.high > a.high - 1e-4
            continue
        for left, right in ((a.value, b.value), (a.low, b.low), (a.high, b.high)):
            assert left == pytest.approx(right, abs=1e-9 if left != a.value else 2e-12), key
        assert (a.n_effective is None) == (b.n_effective is None)
        assert type(mine.basis) is type(other.basis)
        if isinstance(mine.basis, Normal):
            assert mine.basis.skew == pytest.approx(other.basis.skew, abs=1e-7)
            assert mine.basis.skew != 0 or not key[0].endswith(("brier", "log-loss"))


def test_a_table_of_decisions_only(tmp_path: Path) -> None:
    rows, counts = (read(Performance(), *p) for p in both(scored(), tmp_path, {"decision": "decided"}))
    assert rows == counts
    assert any(isinstance(row, Inapplicable) for row in counts.values())


def test_clusters_are_refused_in_so_many_words_where_rows_are_not_drawn(tmp_path: Path) -> None:
    _, (target, sample) = both(scored(), tmp_path, cluster="who")
    with pytest.raises(Exception, match="cannot allow for clusters"):
        list(Performance().run(target, sample, References(), generator(0, "x")))


@pytest.mark.parametrize("shift", [0.0, 0.6], ids=["clean", "shuffled order"])
def test_the_bound_of_an_area_holds_and_a_worse_order_reads_worse(shift: float, tmp_path: Path) -> None:
    frame = scored(20_000)
    noise = np.random.default_rng(1).uniform(size=len(frame))
    frame["score"] = (1 - shift) * frame["score"] + shift * noise
    rows, counts = (read(Performance(), *pair) for pair in both(frame, tmp_path))
    key = next(key for key in rows if key[0] == "quality.performance.auc" and not key[1])
    assert math.isclose(rows[key].estimate.value, counts[key].estimate.value, abs_tol=1e-5)
    assert (counts[key].estimate.high < 0.6) == (shift > 0)


def test_binned_area_covers_at_its_level() -> None:
    """Over 400 samples the interval with the bin error in it misses the true area no more often than it may."""
    from scipy.stats import binom

    from steelyard.models.data.score_bins import Histogram
    from steelyard.probes.quality.reduced import area_of_bins

    truth = 2 / 3  # P(sqrt(U) > V) for independent uniform U and V is the mean of sqrt(U)
    missed, rng = 0, np.random.default_rng(9)
    for _ in range(400):
        positive = np.concatenate([np.ones(200, bool), np.zeros(300, bool)])
        score = np.where(positive, np.sqrt(rng.uniform(size=500)), rng.uniform(size=500))
        cell = np.stack([positive, np.minimum((score * 16).astype(int), 15)], axis=1)
        keys, code = np.unique(cell, axis=0, return_inverse=True)
        count = np.bincount(code)
        low, high = np.full(len(keys), 2.0), np.full(len(keys), -1.0)
        np.minimum.at(low, code, score)
        np.maximum.at(high, code, score)
        found = Histogram(
            bins=16, entry=keys[:, 0], bin=keys[:, 1], rows=count, weight=count.astype(float),
            weight_square=count.astype(float), score=low, square=low, cube=low, low=low, high=high,
        )  # fmt: skip
        got = area_of_bins(found, np.ones(len(keys), bool), keys[:, 0] == 1, False, 0.95).estimate
        missed += not got.low <= truth <= got.high
    assert missed <= binom.ppf(0.999, 400, 0.05)


def test_failures_name_the_small_groups(tmp_path: Path) -> None:
    rows, counts = (read(Performance(), *p) for p in both(scored(), tmp_path, min_n=400))
    left_out = {key for key, row in rows.items() if isinstance(row, Failure)}
    assert left_out
    assert left_out == {key for key, row in counts.items() if isinstance(row, Failure)}


@pytest.mark.parametrize("binning", ["equal-mass", "equal-width"])
def test_calibration_of_scores_with_a_bin_each_is_that_of_the_rows(binning: Any, tmp_path: Path) -> None:
    """Multiples of 1/64: each has a fine bin of its own, so bins, errors and draws are those of the rows."""
    frame = scored()
    frame["score"] = (frame["score"] * 64).round() / 64
    probe = Calibration(bins=8, binning=binning, draws=400)
    rows, counts = (read(probe, *pair) for pair in both(frame, tmp_path))
    assert rows.keys() == counts.keys()
    for key, mine in rows.items():
        if isinstance(mine, Finding):
            a, b = mine.estimate, counts[key].estimate
            assert (a.value, a.low, a.high) == pytest.approx((b.value, b.low, b.high), abs=1e-9), key
            if isinstance(mine.basis, Normal):
                assert mine.basis.skew == pytest.approx(counts[key].basis.skew, abs=1e-9)
            assert a.n == b.n


def test_calibration_of_continuous_scores(tmp_path: Path) -> None:
    """The bins differ by a row or two, the error hardly; the model that promises too much is told from its twin."""
    frame = scored(20_000)
    frame["y"] = (np.random.default_rng(3).uniform(size=len(frame)) < frame["score"]).astype(int)
    rows, counts = (read(Calibration(), *pair) for pair in both(frame, tmp_path))
    frame["score"] = np.minimum(1.3 * frame["score"], 1.0)
    bad = read(Calibration(), *both(frame, tmp_path)[1])
    ece = "quality.calibration.ece"
    one = next(key for key in rows if key[0] == ece and not key[1])
    assert rows[one].estimate.value == pytest.approx(counts[one].estimate.value, abs=1e-3)
    assert counts[one].estimate.low < 0.01
    assert bad[one].estimate.low > 0.05


def test_weights_are_refused_by_calibration(tmp_path: Path) -> None:
    _, (target, sample) = both(scored(), tmp_path, weight="w")
    with pytest.raises(Exception, match="cannot allow for weights"):
        list(Calibration().run(target, sample, References(), generator(0, "x")))
