"""Run the benchmarks and show them as one table: `make bench`, or `make bench BENCH=startup` for some of them.

A benchmark is a file of this folder with `main() -> list[dict]`; a row is {name, value, unit, target, ok, peer, ratio}.
`target` is what the value must not exceed (None: shown only; with `higher: True` what it must reach), `ok` whether it
holds, `peer` what a peer needs for the same in the same run, and `ratio` = peer / value. Each file runs in a process of
its own, one after the other, so that none pays for another's imports or memory. Seconds are CPU-seconds of the process.
Missing a target is said, not punished: the exit status is 1 only where a benchmark crashed. The rows are kept in
benchmarks/out/latest.json.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent
OUT = FOLDER / "out"
NEEDED = {"name", "value", "unit", "target", "ok"}

ONE = """
import importlib.util, json, sys
spec = importlib.util.spec_from_file_location("benchmark", sys.argv[1])
module = importlib.util.module_from_spec(spec)
sys.modules["benchmark"] = module
spec.loader.exec_module(module)
rows = module.main()
with open(sys.argv[2], "w", encoding="utf-8") as file:
    json.dump(rows, file, default=float)
"""


def discover(wanted: list[str], folder: Path = FOLDER) -> list[Path]:
    """The benchmark files, all or the named ones. An unknown name ends the run with the names there are."""
    found = {path.stem: path for path in sorted(folder.glob("*.py")) if path.name != "run.py"}
    unknown = sorted(set(wanted) - set(found))
    if unknown:
        raise SystemExit(f"no benchmark {', '.join(unknown)}; there are: {', '.join(found)}")
    return [path for name, path in found.items() if not wanted or name in wanted]


def measure(path: Path, out: Path = OUT) -> list[dict[str, Any]] | None:
    """The rows of one benchmark, or None where it crashed (what it said has then been printed)."""
    out.mkdir(parents=True, exist_ok=True)
    rows_file = out / f"{path.stem}.json"
    rows_file.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", ONE, str(path), str(rows_file)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0 or not rows_file.is_file():
        print(
            f"{path.name} crashed (exit {done.returncode}):\n{done.stdout[-1000:]}{done.stderr[-3000:]}",
            file=sys.stderr,
        )
        return None
    rows: list[dict[str, Any]] = json.loads(rows_file.read_text(encoding="utf-8"))
    for row in rows:
        missing = NEEDED - set(row)
        if missing:
            print(f"{path.name}: a row lacks {sorted(missing)}: {row}", file=sys.stderr)
            return None
    return rows


def number(value: object) -> str:
    """Three significant digits without an exponent where that is readable."""
    if value is None:
        return ""
    if not isinstance(value, int | float) or isinstance(value, bool):
        return str(value)
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as aligned text."""
    head = ("benchmark", "value", "unit", "target", "", "peer", "peer / ours")
    lines = [head]
    for row in rows:
        said = "" if row["target"] is None else "meets" if row["ok"] else "misses target"
        target = "" if row["target"] is None else f"{'>=' if row.get('higher') else '<='} {number(row['target'])}"
        ratio = f"{number(row['ratio'])} x" if row.get("ratio") is not None else ""
        lines.append((row["name"], number(row["value"]), row["unit"], target, said, number(row.get("peer")), ratio))
    widths = [max(len(line[i]) for line in lines) for i in range(len(head))]
    numeric = {1, 3, 5, 6}
    return "\n".join(
        "  ".join(
            cell.rjust(w) if i in numeric else cell.ljust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        )
        for line in lines
    )


def main(wanted: list[str]) -> int:
    """Measure, print, keep. Returns the exit status."""
    rows: list[dict[str, Any]] = []
    crashed = []
    for path in discover(wanted):
        print(f"{path.stem} ...", file=sys.stderr, flush=True)
        measured = measure(path)
        if measured is None:
            crashed.append(path.name)
        else:
            rows += measured
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    (OUT / "latest.json").write_text(json.dumps({"machine": machine, "rows": rows}, indent=1) + "\n", encoding="utf-8")
    print(table(rows))
    missed = [row["name"] for row in rows if row["target"] is not None and not row["ok"]]
    print(f"{len(rows)} measured, {len(missed)} miss their target, {len(crashed)} crashed")
    return 1 if crashed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
