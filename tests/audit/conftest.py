"""A small audit that takes a second: a table of decisions, no model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.console import NoProgress
from steelyard.audit.plan_file import load_plan
from steelyard.audit.run import run_audit

PLAN = """\
audit: {name: small, seed: 5}
target: {kind: predictions, path: decisions.csv, decision: approved, score: p}
data: {label: repaid, positive: 1, groups: [sex, race]}
probes: [quality.*, {fairness.selection-rate: {draws: 400}}, {fairness.error-rates: {draws: 400}}]
gates:
  - {metric: fairness.selection-rate.difference, where: {attribute: sex}, max: 0.1}
  - {metric: quality.accuracy, min: 0.5}
required: [quality, fairness]
"""


def write_decisions(path: Path, *, gap: float = 0.0, n: int = 2000, seed: int = 1) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    sex = rng.choice(["f", "m"], n)
    p = rng.uniform(0.05, 0.95, n)
    repaid = (rng.uniform(size=n) < p).astype(int)
    approved = (p + gap * ((sex == "m") - 0.5) > 0.5).astype(int)
    race = rng.choice(["a", "b", "c"], n)
    frame = pd.DataFrame({"id": np.arange(n), "sex": sex, "race": race, "repaid": repaid, "approved": approved, "p": p})
    frame.to_csv(path, index=False)
    return frame


@pytest.fixture
def small_plan(tmp_path: Path) -> Path:
    """audit.yaml beside a fair decisions.csv."""
    write_decisions(tmp_path / "decisions.csv")
    plan = tmp_path / "audit.yaml"
    plan.write_text(PLAN, encoding="utf-8")
    return plan


@pytest.fixture
def rewrite_decisions(small_plan: Path) -> Callable[..., pd.DataFrame]:
    """Write the plan's decisions anew, with a planted gap or another seed."""
    return lambda **kwargs: write_decisions(small_plan.with_name("decisions.csv"), **kwargs)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run that nobody changes."""
    base = tmp_path_factory.mktemp("finished")
    write_decisions(base / "decisions.csv")
    (base / "audit.yaml").write_text(PLAN, encoding="utf-8")
    run_audit(load_plan(base / "audit.yaml"), out=base / "run", progress=NoProgress())
    return base / "run"
