"""What the demo costs: seconds, CPU-seconds, peak memory, and the size of the report it leaves.

Run as a first-time user runs it: nothing cached, so both references are trained.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SECONDS, PEAK_GB, REPORT_MB = 60.0, 1.5, 2.0


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`. The peak is that of the demo's largest process."""
    with tempfile.TemporaryDirectory() as elsewhere:
        environment = os.environ | {"STEELYARD_CACHE": str(Path(elsewhere) / "cache")}
        demo = [sys.executable, str(ROOT / "examples" / "adult" / "demo.py")]
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        done = subprocess.run(demo, env=environment, cwd=elsewhere, capture_output=True, text=True, check=False)
        seconds, after = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
        sizes = [path.stat().st_size / 1e6 for path in Path(elsewhere).rglob("report.html")]
    if done.returncode != 0:
        raise SystemExit(f"the demo ended with {done.returncode}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    peak = after.ru_maxrss / (1e9 if sys.platform == "darwin" else 1e6)  # bytes there, KiB elsewhere
    (size,) = sizes  # one audit, one report
    return [
        {"name": "demo, wall clock", "value": seconds, "unit": "s", "target": SECONDS, "ok": seconds <= SECONDS},
        {"name": "demo, CPU", "value": cpu, "unit": "CPU-s", "target": None, "ok": True},
        {"name": "demo, peak memory", "value": peak, "unit": "GB", "target": PEAK_GB, "ok": peak <= PEAK_GB},
        {"name": "demo, report", "value": size, "unit": "MB", "target": REPORT_MB, "ok": size <= REPORT_MB},
    ]


if __name__ == "__main__":
    for row in main():
        print(row)
