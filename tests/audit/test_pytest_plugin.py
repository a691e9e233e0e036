"""The fixture for other people's tests: it audits, its failure names the gate, and loading it is light."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

GATE = {"metric": "fairness.selection-rate.difference", "max": 0.1}


def decide(frame):
    return frame["decision"].to_numpy()


def table(gap: float) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    sex = rng.choice(["f", "m"], 4000)
    decision = (rng.uniform(size=4000) < 0.4 + gap * (sex == "m")).astype(int)
    return pd.DataFrame({"decision": decision}), decision, sex


def test_a_fair_model_passes_and_an_unfair_one_names_its_gate(steelyard):
    X, y, sex = table(0.0)
    steelyard(decide, X, y, groups={"sex": sex}, gates=[GATE], probes=["fairness.*"]).assert_gates()
    X, y, sex = table(0.4)
    record = steelyard(decide, X, y, groups={"sex": sex}, gates=[GATE], probes=["fairness.*"])
    with pytest.raises(AssertionError, match=r"gate 1 fail: fairness\.selection-rate\.difference ≤ 0\.1"):
        record.assert_gates()


def test_measured_and_not_judged_is_no_pass(steelyard):
    X, y, sex = table(0.0)
    record = steelyard(decide, X, y, groups={"sex": sex})
    assert not record.judged
    with pytest.raises(AssertionError, match="no gates"):
        record.assert_gates()


def test_a_notebook_shows_the_record(steelyard):
    X, y, sex = table(0.0)
    shown = steelyard(decide, X, y, groups={"sex": np.where(sex == "f", "<script>", sex)}, gates=[GATE])._repr_html_()
    assert "fairness.selection-rate.difference" in shown
    assert "<script" not in shown


def test_loading_the_plugin_is_light():
    program = (
        "import sys, steelyard.audit.pytest_plugin;"
        "print([m for m in ('numpy', 'pandas', 'scipy', 'sklearn', 'torch', 'pydantic') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
