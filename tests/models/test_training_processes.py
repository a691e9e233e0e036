"""Two processes that share each batch end with the weights of one that has all of it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")
pytest.importorskip("accelerate")

SCRIPT = """
import json, os, sys, torch
from steelyard.models.networks.architectures import build
from steelyard.models.networks.determinism import seeded
from steelyard.models.training.loop import Rows, Settings, train_network

processes = int(os.environ.get("WORLD_SIZE", "1"))
inputs = torch.randn(90, 6, generator=torch.Generator().manual_seed(0))
rows = Rows(inputs=inputs, labels=(inputs[:, 0] > 0).long(), weights=None)
with seeded(0, "weights"):
    module = build("mlp", inputs=6, classes=2, hidden=8)
settings = Settings(epochs=2, batch=30 // processes, device="cpu", lr=1e-2)
curves = train_network(module, rows, settings, seed=1)
weights = torch.cat([p.detach().flatten() for p in module.parameters()])
with open(f"{sys.argv[1]}/{os.environ.get('RANK', 'alone')}.json", "w") as stream:
    json.dump([weights.tolist(), list(curves.column("loss"))], stream)
"""


@pytest.mark.slow
def test_two_processes_end_where_one_does(tmp_path: Path) -> None:
    script = tmp_path / "train.py"
    script.write_text(SCRIPT)
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    env = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    for command in ([sys.executable], several):
        call = [*command, str(script), str(tmp_path)]
        done = subprocess.run(call, env=env, capture_output=True, text=True, timeout=240, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
    alone, first, second = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("alone", "0", "1"))
    assert first == second
    assert first[0] == pytest.approx(alone[0], abs=1e-5)
    assert first[1] == pytest.approx(alone[1], abs=1e-5)
