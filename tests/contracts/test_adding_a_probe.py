"""docs/adding-a-probe.md shows a whole probe in one file; that very text runs as a plugin, from plan to verdict."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

PLAN = """\
target: {kind: predictions, path: decisions.csv, decision: yes_no, score: p}
data: {label: y, positive: 1, groups: [sex]}
probes: [quality.performance, {quality.doubt: {threshold: 0.75}}]
gates: [{metric: quality.doubt.share, max: 0.6}]
"""


@pytest.fixture
def plugin(repo_root, tmp_path) -> Path:
    """The example of the document, installed as a distribution with an entry point."""
    text = (repo_root / "docs" / "adding-a-probe.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, flags=re.DOTALL)
    site = tmp_path / "site"
    info = site / "doubtful-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "doubt.py").write_text(code, encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: doubtful\nVersion: 1.0\n", encoding="utf-8")
    (info / "entry_points.txt").write_text("[steelyard.probes]\ndoubt = doubt:Doubt\n", encoding="utf-8")
    return site


def steelyard(site: Path, *args: str, code: int) -> subprocess.CompletedProcess[str]:
    program = f"import sys; sys.path.insert(0, {str(site)!r}); from steelyard.audit.cli import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr + done.stdout
    return done


def test_the_example_runs_from_a_plan_to_a_verdict(plugin, tmp_path):
    p = np.linspace(0.0, 1.0, 1001)
    rows = [f"{'fm'[i % 2]},{i % 2},{int(p[i] >= 0.5)},{p[i]:.4f}" for i in range(1001)]
    (tmp_path / "decisions.csv").write_text("sex,y,yes_no,p\n" + "\n".join(rows) + "\n", encoding="utf-8")
    (tmp_path / "audit.yaml").write_text(PLAN, encoding="utf-8")
    out = tmp_path / "run"
    steelyard(plugin, "-q", "run", str(tmp_path / "audit.yaml"), "--out", str(out), code=0)
    record = json.loads((out / "record.json").read_bytes())
    (finding,) = [f for f in record["findings"] if f["metric"] == "quality.doubt.share"]
    assert finding["estimate"]["value"] == pytest.approx(499 / 1001)  # .2505 to .7495 is less sure than .75
    assert record["verdicts"][0]["status"] == "pass"
    assert "quality.doubt.share" in (out / "report.html").read_text(encoding="utf-8")
    assert "quality.doubt" in steelyard(plugin, "probes", code=0).stdout


def test_a_plugin_that_does_not_load_is_fatal_and_named(plugin):
    (plugin / "doubt.py").write_text("raise ImportError('no such thing')", encoding="utf-8")
    done = steelyard(plugin, "probes", code=2)
    assert "doubt" in done.stderr
    assert "no such thing" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
