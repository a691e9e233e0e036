"""Simultaneous resamples of Adult's 10 sex × race cells and 4 metrics, beside Fairlearn's bootstrap of rows.

Ours is timed from the count table to the maximum of |T*| over all 180 pairwise contrasts: rates and standard errors of
every group in every resample. Fairlearn's MetricFrame resamples rows and gives the rates alone.
"""

from __future__ import annotations

import statistics
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from steelyard.audit.canonical import generator
from steelyard.audit.target import Groups
from steelyard.probes.stats.layout import lay_out
from steelyard.probes.stats.resample import resample
from steelyard.probes.stats.table import CountTable

ADULT = Path(__file__).resolve().parents[1] / "models" / "data" / "adult.parquet"
RATES = ("selection-rate", "tpr", "fpr", "accuracy")
DRAWS, ROWS, PEER_RESAMPLES, REPEATS = 1000, 45_222, 4, 15


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    sex, race, labels, decisions = _rows()
    table = CountTable.from_rows({"sex": sex, "race": race}, labels, decisions)
    ours = statistics.median(_ours(table, seed) for seed in range(REPEATS))
    rows = [_row("1,000 resamples of 10 cells × 4 metrics", ours, "CPU-s", 0.05, ours <= 0.05)]
    peer = _fairlearn(sex, race, labels, decisions)
    if peer is not None:
        mine = ours / DRAWS
        rows[0]["peer"] = peer * DRAWS
        rows[0]["ratio"] = peer / mine
        rows.append(_row("Fairlearn MetricFrame, CPU-s a resample", peer, "CPU-s", None, True))
        faster = _row("resamples, times faster than Fairlearn", peer / mine, "x", 10_000, peer / mine >= 10_000)
        rows.append(faster | {"higher": True})
    repeat = -(-1_000_000 // ROWS)
    many = [np.tile(x, repeat)[:1_000_000] for x in (sex.codes, race.codes, labels, decisions)]
    start = time.process_time()
    CountTable.from_rows(
        {"sex": Groups(codes=many[0], levels=sex.levels), "race": Groups(codes=many[1], levels=race.levels)},
        many[2],
        many[3],
    )
    counting = time.process_time() - start
    rows.append(_row("counting 1,000,000 rows × 2 attributes", counting, "CPU-s", 0.3, counting <= 0.3))
    return rows


def _row(name: str, value: float, unit: str, target: float | None, ok: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": bool(ok)}


def _rows() -> tuple[Groups, Groups, np.ndarray, np.ndarray]:
    """Adult's own groups and labels where it is bundled, else as many rows with its shares; decisions are drawn."""
    rng = np.random.default_rng(0)
    if ADULT.is_file():
        import pandas as pd

        frame = pd.read_parquet(ADULT, columns=["sex", "race", "income"])
        coded = [pd.factorize(frame[name].astype(str), sort=True) for name in ("sex", "race", "income")]
        (sex, sexes), (race, races), (labels, _) = coded
    else:
        sexes, races = ("Female", "Male"), ("A", "B", "C", "D", "E")
        sex, race = rng.choice(2, ROWS, p=[0.325, 0.675]), rng.choice(5, ROWS, p=[0.86, 0.093, 0.029, 0.01, 0.008])
        labels = (rng.random(ROWS) < 0.11 + 0.2 * sex).astype(np.int64)
    decisions = (rng.random(labels.size) < 0.08 + 0.45 * labels + 0.05 * sex).astype(np.int64)
    groups = [
        Groups(codes=np.asarray(codes, dtype=np.int64), levels=tuple(levels))
        for codes, levels in ((sex, sexes), (race, races))
    ]
    return groups[0], groups[1], np.asarray(labels, dtype=np.int64), decisions


def _ours(table: CountTable, seed: int) -> float:
    start = time.process_time()
    layout = lay_out(table, rates=RATES, scope=(("sex", "race"),), contrast="pairwise", reference={}, min_n=1)
    replicates = resample(table, layout.arms, DRAWS, generator(seed, "bench"))
    largest = replicates.largest(layout.first, layout.second)
    spent = time.process_time() - start
    if largest.size != DRAWS or layout.first.size != 180 or not np.isfinite(largest).all():
        raise RuntimeError("the benchmark did not do its work")
    return spent


def _fairlearn(sex: Groups, race: Groups, labels: np.ndarray, decisions: np.ndarray) -> float | None:
    """CPU-seconds a resample, or None where Fairlearn is not installed."""
    try:
        from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
    except ImportError:
        return None
    from sklearn.metrics import accuracy_score

    settings: dict[str, Any] = {
        "metrics": {
            "selection": selection_rate,
            "tpr": true_positive_rate,
            "fpr": false_positive_rate,
            "accuracy": accuracy_score,
        },
        "y_true": labels,
        "y_pred": decisions,
        "sensitive_features": {"sex": sex.codes, "race": race.codes},
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        MetricFrame(**settings)
        plain = time.process_time() - start
        start = time.process_time()
        MetricFrame(**settings, n_boot=PEER_RESAMPLES, ci_quantiles=[0.025, 0.975], random_state=0)
        return (time.process_time() - start - plain) / PEER_RESAMPLES


if __name__ == "__main__":
    for line in main():
        print(f"{line['name']}: {line['value']:.4g} {line['unit']} (target {line['target']}, ok {line['ok']})")
