"""What does it cost to audit a table too large to be read? Counting by DuckDB, beside Fairlearn's MetricFrame on rows.

STEELYARD_BENCH_ROWS sets the size of the generated table (default 20 million; the target is stated for 100 million).
The table is measured at a quarter of its rows too, so that "linear" is measured and not assumed. Each size is audited
in a process of its own; its CPU-seconds are user and system time of that process after the imports, its memory the
greatest resident size. Where fewer than 100 million rows were audited, the row for them is named an extrapolation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

ROWS = int(float(os.environ.get("STEELYARD_BENCH_ROWS", 20_000_000)))
CHUNK = 1_000_000
STATED = 100_000_000
LEVELS: dict[str, list[Any]] = {
    "sex": ["female", "male"],
    "race": ["asian", "black", "native", "other", "two or more", "white"],
    "age": ["18-29", "30-44", "45-59", "60+"],
    "region": ["east", "north", "south", "west"],
    "disability": ["no", "yes", None],
}
DATA = Path(os.environ.get("STEELYARD_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
ACS = DATA / "acs_income" / "ACSIncome.test.parquet"

AUDIT = """
import json, resource, sys, time
from pathlib import Path
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.target import References
from steelyard.audit.units import Unit, run_unit
from steelyard.models.data.load import load_samples
from steelyard.models.targets.load import load_target
from steelyard.probes.fairness.error_rates import ErrorRates
from steelyard.probes.fairness.selection_rate import SelectionRate
import duckdb, pandas, scipy.stats, scipy.special, scipy.sparse
path, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
start, wall = time.process_time(), time.perf_counter()
part = TargetPart(kind="predictions", path=path.name, decision="decision")
sample = load_samples(DataPart(label="label", positive=1, **settings), target=part, base=path.parent).test
assert sample.reduced is not None
target = load_target(part, base=path.parent, sample=sample)
counted = time.process_time() - start
done = [run_unit(Unit(probe=kind(), target=target, references=References(), key=kind.id), sample, 0)
        for kind in (SelectionRate, ErrorRates)]
found = [row for one in done for row in one.findings]
print(json.dumps({
    "cpu": time.process_time() - start, "wall": time.perf_counter() - wall, "counting": counted, "n": sample.n,
    "findings": len(found), "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
}))
"""


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    with tempfile.TemporaryDirectory() as folder:
        whole, part = Path(folder) / "whole.parquet", Path(folder) / "quarter.parquet"
        _generate(whole, ROWS)
        _generate(part, ROWS // 4)
        groups = {"groups": list(LEVELS)}
        large, small = _audit(whole, groups), _audit(part, groups)
        size = whole.stat().st_size
        whole.unlink()
        rows = _any_size(large, small, size)
        rows += _end_to_end(Path(folder))
        rows += _beside_fairlearn(Path(folder))
    return rows


def _any_size(large: dict[str, Any], small: dict[str, Any], size: int) -> list[dict[str, Any]]:
    million = f"{large['n'] / 1e6:,.0f} million rows, 5 attributes, {large['findings']:,} findings"
    cost = large["counting"] * STATED / large["n"] + large["cpu"] - large["counting"]
    name = (
        "100 million rows" if large["n"] == STATED else f"100 million rows, extrapolated from {large['n'] / 1e6:,.0f}"
    )
    growth = (large["counting"] - small["counting"]) / (0.75 * large["n"]) * small["n"] * 4 / large["counting"]
    return [
        _row(f"{million}: all of it", large["cpu"], "CPU-s", None, True),
        _row(f"{million}: counting alone", large["counting"], "CPU-s", None, True),
        _row(f"{million}: wall", large["wall"], "s", None, True),
        _row(f"the table on disk, {million[:12]}", size / 1e9, "GB", None, True),
        _row(f"{name}: selection and error rates", cost, "CPU-s", 30.0, cost <= 30),
        _row(f"{million}: peak memory", large["peak"] / 1e9, "GB", 1.0, large["peak"] <= 1e9),
        _row("counting, marginal cost of a row over the mean cost of one", growth, "x", 1.1, growth <= 1.1),
    ]


def _end_to_end(folder: Path) -> list[dict[str, Any]]:
    """A whole run of the command on ACS: plan, count, probes, gates, record and reports."""
    if not ACS.exists():
        return []
    frame = pd.read_parquet(ACS)
    plain = pd.DataFrame({name: frame[name] for name in frame.columns if name in ("SEX", "RAC1P", "MAR")})
    plain["label"] = frame["PINCP"].astype(int)
    plain["decision"] = (frame["SCHL"] >= 21).astype(int)  # a bachelor's degree or more
    plain.to_parquet(folder / "acs.parquet")
    (folder / "audit.yaml").write_text(
        "audit: {name: acs}\n"
        "target: {kind: predictions, path: acs.parquet, decision: decision}\n"
        f"data: {{label: label, positive: 1, groups: [{', '.join(plain.columns[:-2])}], reduce_above: 1000}}\n"
        "probes: [fairness.selection-rate, fairness.error-rates]\n"
        "gates: [{metric: fairness.selection-rate.difference, max: 0.2}]\n"
    )
    # pip compiles what it installs; a checkout is compiled here, so that both start alike
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    env["PYTHONPYCACHEPREFIX"] = str(folder / "compiled")
    command = [sys.executable, "-m", "steelyard.audit", "-q", "run", "audit.yaml", "--out"]
    subprocess.run([*command, "once"], cwd=folder, env=env, capture_output=True, check=False)
    before, wall = os.times(), time.perf_counter()
    done = subprocess.run([*command, "run"], cwd=folder, env=env, capture_output=True, text=True, check=False)
    wall, after = time.perf_counter() - wall, os.times()
    assert (folder / "run" / "report.html").exists(), done.stderr[-2000:]
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    name = f"{len(plain):,} ACS rows end to end, with start and reports"
    return [_row(name, wall, "s", 5.0, wall <= 5), _row(f"{name}: CPU", cpu, "CPU-s", None, True)]


def _beside_fairlearn(folder: Path) -> list[dict[str, Any]]:
    """Group rates of 1 million rows in memory and from a file, the same values as MetricFrame to 1e-12."""
    try:
        from fairlearn.metrics import MetricFrame, false_positive_rate, selection_rate, true_positive_rate
    except ImportError:
        return []
    import duckdb  # noqa: F401  (loaded before the clock starts)

    from steelyard.audit.plan import DataPart, TargetPart
    from steelyard.audit.target import Groups
    from steelyard.models.data.load import load_samples
    from steelyard.models.targets.load import load_target
    from steelyard.probes.stats.arms import look_up_rates, measure_groups
    from steelyard.probes.stats.cells import table_of_cells
    from steelyard.probes.stats.table import CountTable

    path = folder / "million.parquet"
    _generate(path, 1_000_000)
    frame = pd.read_parquet(path)
    names, rates = ("sex", "race", "age"), ("selection-rate", "tpr", "fpr")
    metrics = dict(zip(rates, (selection_rate, true_positive_rate, false_positive_rate), strict=True))
    start = time.process_time()
    peer = MetricFrame(
        metrics=metrics, y_true=frame["label"], y_pred=frame["decision"], sensitive_features=frame[list(names)]
    ).by_group
    theirs = time.process_time() - start

    coded = {name: pd.factorize(frame[name], sort=True) for name in names}
    groups = {name: Groups(codes=codes, levels=tuple(levels)) for name, (codes, levels) in coded.items()}
    labels, decisions = frame["label"].to_numpy(), frame["decision"].to_numpy()
    start = time.process_time()
    table = CountTable.from_rows(groups, labels, decisions)
    arms = measure_groups(table, table.groups(names), look_up_rates(rates, table))
    memory = time.process_time() - start

    part = TargetPart(kind="predictions", path=path.name, decision="decision")
    data = DataPart(label="label", positive=1, groups=list(names), reduce_above=1000)
    start = time.process_time()
    sample = load_samples(data, target=part, base=folder).test
    counted = table_of_cells(sample, load_target(part, base=folder, sample=sample).predict(sample.inputs))
    again = measure_groups(counted, counted.groups(names), look_up_rates(rates, counted))
    file = time.process_time() - start
    apart = max(_apart(peer, table, names, arms.p), _apart(peer, counted, names, again.p))
    return [
        _row("Fairlearn MetricFrame, 1 million rows, 3 metrics, 48 cells", theirs, "CPU-s", None, True),
        _row("the same from rows in memory", memory, "CPU-s", None, True) | {"peer": theirs, "ratio": theirs / memory},
        _row("the same from a parquet file", file, "CPU-s", None, True) | {"peer": theirs, "ratio": theirs / file},
        _row("rows in memory, times faster than Fairlearn", theirs / memory, "x", 100, theirs >= 100 * memory)
        | {"higher": True},
        _row("largest difference to Fairlearn's values", apart, "", 1e-12, apart <= 1e-12),
    ]


def _apart(peer: pd.DataFrame, table: Any, names: tuple[str, ...], p: np.ndarray) -> float:
    cells = table.groups(names).names
    values = p.reshape(3, -1)
    gaps = [abs(peer.loc[tuple(cell.split("*"))].to_numpy() - values[:, i]) for i, cell in enumerate(cells)]
    return float(np.max(gaps))


def _audit(path: Path, settings: dict[str, Any]) -> dict[str, Any]:
    told = json.dumps({**settings, "reduce_above": 1000})
    done = subprocess.run([sys.executable, "-c", AUDIT, str(path), told], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _generate(path: Path, n: int) -> None:
    """Rows in chunks, never all in memory: five attributes, a label and a decision that depends on both."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    writer, rng = None, np.random.default_rng(0)
    for start in range(0, n, CHUNK):
        m = min(CHUNK, n - start)
        codes = {name: rng.integers(0, len(levels), m).astype(np.int32) for name, levels in LEVELS.items()}
        label = (rng.random(m) < 0.3 + 0.05 * codes["age"]).astype(np.int8)
        decision = (rng.random(m) < 0.2 + 0.5 * label + 0.02 * codes["race"]).astype(np.int8)
        columns: dict[str, Any] = {
            name: pa.DictionaryArray.from_arrays(codes[name], pa.array(levels, pa.string())).cast(pa.string())
            for name, levels in LEVELS.items()
        }
        table = pa.table({**columns, "label": label, "decision": decision})
        writer = writer or pq.ParquetWriter(path, table.schema)
        writer.write_table(table, row_group_size=CHUNK)
    assert writer is not None
    writer.close()


def _row(name: str, value: float, unit: str, target: float | None, ok: bool) -> dict[str, Any]:
    return {"name": name, "value": value, "unit": unit, "target": target, "ok": bool(ok)}


if __name__ == "__main__":
    for row in main():
        print(f"{row['name']}: {row['value']:.4g} {row['unit']}{'' if row['ok'] else '  (target missed)'}")
