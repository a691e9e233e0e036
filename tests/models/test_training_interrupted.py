"""`steelyard train` when something goes wrong on the way: one clear line, and nothing lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from steelyard.audit.cli import main  # noqa: E402
from steelyard.models.training import objective  # noqa: E402

EPOCHS = 300


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(240, 3))
    rows = "".join(f"{a},{b},{c},{int(a + b > 0)}\n" for a, b, c in x.round(3))
    (tmp_path / "train.csv").write_text("a,b,c,y\n" + rows, encoding="utf-8")
    return tmp_path


def plan(folder: Path, name: str, **settings: Any) -> str:
    path = folder / "audit.yaml"
    text = {
        "target": {"kind": "recipe", "name": "logistic"},
        "data": {"train": "train.csv", "held_out": 0.2, "label": "y", "positive": 1},
        "references": [{name: settings}],
        "probes": ["quality.performance"],
        "gates": [{"metric": "quality.accuracy", "min": 0.5}],
    }
    path.write_text(json.dumps(text), encoding="utf-8")  # JSON is YAML, too
    return str(path)


def models(cache: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (cache / "models").glob("*.safetensors")}


def journal(cache: Path) -> list[dict[str, float]]:
    found = list((cache / "models" / "journals").glob("*/metrics.jsonl"))
    return [json.loads(line) for path in found for line in path.read_text().splitlines()]


def test_ctrl_c_in_a_real_process_and_then_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    written = plan(folder, "mlp", epochs=EPOCHS, hidden=16, dropout=0.2)
    cache, other = folder / "cache", folder / "other"
    env = os.environ | {"STEELYARD_CACHE": str(cache), "OMP_NUM_THREADS": "1"}
    call = [sys.executable, "-m", "steelyard.audit", "-q", "train", written]
    with subprocess.Popen(call, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        ends = time.monotonic() + 180
        while not journal(cache) and process.poll() is None and time.monotonic() < ends:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert said == ("", "steelyard: error: interrupted\n")
    assert 1 <= len(journal(cache)) < EPOCHS
    assert len(list((cache / "models" / "partial").glob("*/*.safetensors"))) == 1
    assert models(cache) == {}

    monkeypatch.setenv("STEELYARD_CACHE", str(cache))
    assert main(["-q", "train", written]) == 0
    assert [line["epoch"] for line in journal(cache)] == list(range(1, EPOCHS + 1))
    assert not list((cache / "models" / "partial").glob("*"))
    monkeypatch.setenv("STEELYARD_CACHE", str(other))
    assert main(["-q", "train", written]) == 0
    assert models(cache) == models(other)  # as if nothing had been, in every byte
    assert len(models(cache)) == 1
    assert journal(cache) == journal(other)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("name", "settings", "line"),
    [
        ("mlp", {"lr": 1e6, "optimizer": "sgd", "batch": 8}, "in the first epoch; nothing was learnt; a smaller lr"),
        (
            "private/mlp",
            {"lr": 1e6, "weight_decay": 1.0, "batch": 16, "delta": 1e-3, "epochs": 2},
            "the weights are no longer numbers in the first epoch; nothing was learnt; a smaller lr",
        ),
        ("private/mlp", {"epsilon": 1e-4, "epochs": 1}, "ε = 0.0001 at δ = 1e-05 cannot be reached"),
    ],
)
def test_what_cannot_be_trained_is_one_line(
    name: str, settings: dict[str, Any], line: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    if name.startswith("private"):
        pytest.importorskip("opacus")
    monkeypatch.setenv("STEELYARD_CACHE", str(folder / "cache"))
    assert main(["-q", "train", plan(folder, name, **settings)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert line in said.err
    assert said.err.startswith("steelyard: error: ")
    assert said.err.count("\n") == 1
    assert models(folder / "cache") == {}


def test_a_device_without_memory_halves_the_batch_and_the_card_says_so(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    honest = objective.cross_entropy

    def short(module: Any, batch: Any) -> Any:
        if len(batch) > 20:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return honest(module, batch)

    monkeypatch.setenv("STEELYARD_CACHE", str(folder / "cache"))
    monkeypatch.setattr(objective, "cross_entropy", short)
    assert main(["-q", "train", plan(folder, "mlp", epochs=2)]) == 0
    (card,) = (json.loads(path.read_text()) for path in (folder / "cache" / "models").glob("*.json"))
    assert card["notes"] == [
        "out of memory with 64 rows at once: 32 from then on, with as many to a step",
        "out of memory with 32 rows at once: 16 from then on, with as many to a step",
    ]
    assert capsys.readouterr().err == ""
