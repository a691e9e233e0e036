"""What it costs to start: CPU-seconds of `steelyard --help` and of `import steelyard.audit`.

The bare interpreter is measured in the same run, since it is part of both.
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys
import tempfile
from typing import Any

RUNS = 7
HELP_TARGET = 0.5


def cpu_seconds(command: list[str]) -> float:
    """Median over `RUNS` of user + system CPU-seconds of the command and its children, after one run to warm up."""
    spent = []
    with tempfile.TemporaryDirectory() as elsewhere:
        for _ in range(RUNS + 1):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(command, check=True, capture_output=True, cwd=elsewhere)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return statistics.median(spent[1:])


def main() -> list[dict[str, Any]]:
    """Rows for the table of `benchmarks/run.py`."""
    bare = cpu_seconds([sys.executable, "-c", "pass"])
    shown = cpu_seconds([sys.executable, "-P", "-m", "steelyard.audit", "--help"])
    imported = cpu_seconds([sys.executable, "-P", "-c", "import steelyard.audit"])
    return [
        {"name": "python -c pass", "value": bare, "unit": "CPU-s", "target": None, "ok": True},
        {
            "name": "import steelyard.audit",
            "value": imported,
            "unit": "CPU-s",
            "target": HELP_TARGET,
            "ok": imported <= HELP_TARGET,
        },
        {
            "name": "steelyard --help",
            "value": shown,
            "unit": "CPU-s",
            "target": HELP_TARGET,
            "ok": shown <= HELP_TARGET,
        },
    ]


if __name__ == "__main__":
    for row in main():
        print(row)
