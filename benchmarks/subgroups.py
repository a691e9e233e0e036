"""Search of all conjunctions to depth 3 of Adult's 14 features, and the held-out test, beside SliceLine.

Ours is the whole probe on the model's decisions: split, conditions, counting, ranking, test, intervals. SliceLine
(Sagadeeva and Boehm 2021, doi:10.1145/3448016.3457323; the `sliceline` package) gets the searched half, coded as ours,
the same depth and the same least number of rows, and returns its 10 best slices without a test; its time is compared
with our search alone: counting, ranking, and choosing 10 that differ. It prunes by bounds on its own score, ours counts
every conjunction.
"""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from steelyard.audit.canonical import generator
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Capability, Finding, Task
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.bundled import load_bundled
from steelyard.probes.fairness.found import Search, ample, prepare
from steelyard.probes.fairness.multicalibration import Multicalibration
from steelyard.probes.fairness.subgroups import LARGEST, Subgroups

REPEATS = 5
PROBE = Subgroups(bins=10, max_levels=24)  # 200,712 conjunctions


@dataclass(frozen=True)
class Decided:
    """A model that has already answered: what is timed is the search."""

    proba: Any
    name: str = "candidate"
    kind: str = "bench"
    task: Task = Task.BINARY
    fingerprint: str = "0"
    capabilities: frozenset[Capability] = frozenset({Capability.PREDICT, Capability.PREDICT_PROBA})

    def predict(self, inputs: Any) -> Any:
        """Decisions at one half."""
        return (self.proba[:, 1] >= 0.5).astype(np.int64)

    def predict_proba(self, inputs: Any) -> Any:
        """The scores."""
        return self.proba


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    sample, target = _adult()
    list(PROBE.run(target, sample, References(), generator(0, "warm")))  # imports
    times, size = [], 0
    for seed in range(REPEATS):
        start = time.process_time()
        found = list(PROBE.run(target, sample, References(), generator(seed, "bench")))
        times.append(time.process_time() - start)
        size = next(int(f.detail["conjunctions"]) for f in found if isinstance(f, Finding) and f.metric == LARGEST)
    if size < 190_000:
        raise RuntimeError(f"only {size} conjunctions: the benchmark did not do its work")
    whole = statistics.median(times)
    rows = [_row(f"Adult, {size:,} conjunctions: search and held-out test", whole, "CPU-s", 3.0, whole <= 3)]
    start = time.process_time()
    list(Multicalibration().run(target, sample, References(), generator(0, "bench")))
    spent = time.process_time() - start
    rows.append(_row("Adult, multicalibration to depth 2 × 10 score bins", spent, "CPU-s", 3.0, spent <= 3))
    search, errors = _searched(sample, target)
    ours = statistics.median(_ours(sample, search, errors) for _ in range(REPEATS))
    alone = _row(f"the search alone, {len(search.halves.search):,} rows", ours, "CPU-s", None, True)
    peer = _sliceline(search, errors)
    if isinstance(peer, str):
        alone["name"] += f" ({peer})"
    else:
        alone |= {"name": alone["name"] + " (peer: SliceLine)", "peer": peer, "ratio": peer / ours}
    return [*rows, alone]


def _row(name: str, value: float, unit: str, target: float | None, ok: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": bool(ok)}


def _adult() -> tuple[Sample, Decided]:
    """All 45,222 rows, and the scores of a logistic regression on them."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import OneHotEncoder

    frame = load_bundled("adult").frame
    inputs, labels = frame.drop(columns="income"), (frame["income"] == ">50K").astype(int).to_numpy()
    coded = OneHotEncoder(min_frequency=100).fit_transform(inputs.select_dtypes("category"))
    proba = LogisticRegression(max_iter=500).fit(coded, labels).predict_proba(coded)
    return sample_from_arrays(inputs, labels, frame[["sex", "race"]]), Decided(proba)


def _searched(sample: Sample, target: Decided) -> tuple[Search, np.ndarray]:
    """Conditions and halves, and the errors of all rows."""
    decisions = target.predict(None)
    search = prepare(
        sample, {"decision": decisions}, generator(0, "bench"), bins=PROBE.bins, max_levels=PROBE.max_levels,
        depth=PROBE.depth, max_rows=PROBE.max_rows, max_conjunctions=PROBE.max_conjunctions,
    )  # fmt: skip
    return search, decisions != sample.labels


def _ours(sample: Sample, search: Search, errors: np.ndarray) -> float:
    start = time.process_time()
    found = PROBE._find(sample, search, errors, np.ones(sample.n, dtype=bool))
    spent = time.process_time() - start
    if len(found) != PROBE.top:
        raise RuntimeError("the benchmark did not do its work")
    return spent


def _sliceline(search: Search, errors: np.ndarray) -> float | str:
    """CPU-seconds, or why there are none."""
    try:
        from sliceline.slicefinder import Slicefinder
    except ImportError:
        return "SliceLine is not installed: pip install sliceline"
    half = search.halves.search
    least = max(ample(30), int(np.ceil(PROBE.min_support * len(half))))
    codes = np.column_stack([axis.codes[half] + 1 for axis in search.axes])
    finder = Slicefinder(alpha=0.95, k=PROBE.top, max_l=PROBE.depth, min_sup=least, verbose=False)
    start = time.process_time()
    finder.fit(codes, errors[half].astype(float))
    spent = time.process_time() - start
    if not len(finder.top_slices_):
        return "SliceLine found no slice"
    return spent


if __name__ == "__main__":
    for line in main():
        peer = f", peer {line['peer']:.4g}" if "peer" in line else ""
        print(f"{line['name']}: {line['value']:.4g} {line['unit']} (target {line['target']}, ok {line['ok']}{peer})")
