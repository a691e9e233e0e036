"""From a plan file to a verdict: networks on images and tables, a classifier and a language model on texts."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from steelyard.audit.cli import main  # noqa: E402

rng = np.random.default_rng(0)
NET = """
from torch import nn

def load():
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 2))
"""


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **plan: Any) -> tuple[int, dict[str, Any]]:
    """The exit code and the record of a run of the plan."""
    monkeypatch.chdir(folder)
    Path("audit.yaml").write_text(yaml.safe_dump({"audit": {"seed": 3}, **plan}))
    code = main(["run", "-q", "--out", "r"])
    return code, json.loads((folder / "r" / "record.json").read_bytes())


def value(record: dict[str, Any], metric: str) -> float:
    return next(row["estimate"]["value"] for row in record["findings"] if row["metric"] == metric)


def test_a_network_on_images_with_a_held_out_share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Bright images are 1; the network sums the pixels, and is right but for the flipped tenth."""
    (tmp_path / "net.py").write_text(NET)
    weight = torch.cat([torch.zeros(1, 16), torch.ones(1, 16)])
    safetensors.save_file({"1.weight": weight, "1.bias": torch.tensor([0.0, -8.0])}, tmp_path / "w.safetensors")
    images = rng.random((600, 4, 4)).astype(np.float32)
    truth = (images.sum(axis=(1, 2)) > 8.0).astype(int)
    flipped = np.arange(600) % 10 == 0
    sex = np.array(["f", "m"])[rng.integers(0, 2, 600)]
    np.savez(tmp_path / "d.npz", images=images, y=np.where(flipped, 1 - truth, truth), sex=sex)
    code, record = run(
        tmp_path,
        monkeypatch,
        target={"kind": "torch", "path": "net.py", "factory": "load", "weights": "w.safetensors"},
        data={"train": "d.npz", "held_out": 0.5, "label": "y", "groups": ["sex"]},
        probes=["quality.performance", "fairness.selection-rate", "fairness.error-rates"],
        gates=[{"metric": "quality.accuracy", "min": 0.8}],
    )
    assert code == 0
    assert record["failures"] == []
    assert 0.84 < value(record, "quality.performance.accuracy") < 0.96
    assert "held out by the seed" in json.dumps(record)


def test_an_onnx_model_on_a_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    ends = [helper.make_tensor_value_info(name, kind, ["n", size]) for name, size in (("x", 2), ("y", 1))]
    weight = onnx.numpy_helper.from_array(np.array([[3.0], [0.0]], dtype=np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [weight])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), tmp_path / "m.onnx")
    frame = pd.DataFrame(rng.normal(size=(400, 2)), columns=["a", "b"])
    frame.assign(y=(frame["a"] > 0).astype(int)).to_csv(tmp_path / "t.csv", index=False)
    code, record = run(
        tmp_path,
        monkeypatch,
        target={"kind": "onnx", "path": "m.onnx"},
        data={"test": "t.csv", "label": "y"},
        probes=["quality.performance"],
        gates=[{"metric": "quality.accuracy", "min": 0.95}],
    )
    assert code == 0
    assert value(record, "quality.performance.accuracy") == 1.0


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """A tiny decoder with its tokenizer, saved as a classifier and as a language model."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    transformers.utils.logging.disable_progress_bar()
    config = transformers.GPT2Config(
        vocab_size=6, n_embd=8, n_layer=1, n_head=1, n_positions=16, pad_token_id=0, bos_token_id=1, eos_token_id=1
    )
    words = {word: place for place, word in enumerate(["[PAD]", "[BOS]", "[UNK]", "good", "bad", "film"])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(words, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    named = {"pad_token": "[PAD]", "bos_token": "[BOS]", "unk_token": "[UNK]"}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for folder, kind in (("classifier", "GPT2ForSequenceClassification"), ("causal", "GPT2LMHeadModel")):
            getattr(transformers, kind)(config).save_pretrained(tmp_path / folder)
            transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **named).save_pretrained(tmp_path / folder)
    return tmp_path


def test_a_classifier_on_texts(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = np.array(["good film", "bad film"])[rng.integers(0, 2, 300)]
    frame = pd.DataFrame({"text": texts, "y": (texts == "good film").astype(int), "who": rng.choice(["f", "m"], 300)})
    frame.to_json(model / "t.jsonl", orient="records", lines=True)
    code, record = run(
        model,
        monkeypatch,
        target={"kind": "transformers", "path": "classifier"},
        data={"test": "t.jsonl", "text": "text", "label": "y", "groups": ["who"]},
        probes=["quality.performance", "fairness.selection-rate"],
        gates=[{"metric": "quality.accuracy", "min": 0.0}],
    )
    assert code == 0
    assert record["failures"] == []
    assert "GPT2ForSequenceClassification" in json.dumps(record["targets"])


def test_a_language_model_without_data(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No probe of decisions fits it: each is named as inapplicable, and nothing measured is no pass."""
    code, record = run(
        model,
        monkeypatch,
        target={"kind": "transformers", "path": "causal", "head": "causal"},
        data={},
        probes=["quality.performance"],
        gates=[{"metric": "quality.accuracy", "min": 0.5}],
    )
    assert code == 4
    assert "this one is language" in record["inapplicable"][0]["reason"]
    assert record["verdicts"][0]["status"] == "not_measured"
