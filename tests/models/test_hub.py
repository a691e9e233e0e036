"""Models by their hub id: read at the pinned commit and from there alone; what is not pinned or not safe is refused.

A server on this machine speaks as much of the hub's language as its client needs.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import yaml

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
pytest.importorskip("accelerate")
safetensors = pytest.importorskip("safetensors.torch")

COMMIT, OTHER = "1234567890" * 4, "f" * 40
ASK = """
import contextlib, io, json, sys, time
import huggingface_hub.utils._http as http
from steelyard.audit.cli import main
class Hasty:
    sleep = staticmethod(lambda seconds: None)
    __getattr__ = lambda self, name: getattr(time, name)
http.time = Hasty()
found = {}
for name, words in json.loads(sys.argv[1]).items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(words)
    found[name] = {"code": code, "out": out.getvalue(), "err": err.getvalue()}
print(json.dumps(found))
"""
"""Many commands in one fresh interpreter, since the hub's address is read when its client is imported.

The client's pauses between its tries are left out."""


class Hub(ThreadingHTTPServer):
    """Folders served as `org/name` at one commit; `broken` names answer 500 to everything."""

    def __init__(self, repositories: dict[str, Path], broken: str) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.repositories, self.broken = repositories, broken
        self.asked: list[str] = []


class Answer(BaseHTTPRequestHandler):
    """GET and HEAD of `/org/name/resolve/commit/file`, and the two pages of the API that the client reads."""

    server: Hub

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _answer(self, *, body: bool) -> None:
        self.server.asked.append(f"{self.command} {self.path}")
        parts = self.path.split("?")[0].strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        parts = parts[2:] if api else parts
        name = "/".join(parts[:2])
        folder = self.server.repositories.get(name)
        if name == self.server.broken:
            return self._send(500, b"out of order", body)
        if folder is None:
            return self._send(404, b"", body, {"X-Error-Code": "RepoNotFound"})
        if len(parts) < 4 or parts[3] != COMMIT:
            return self._send(404, b"", body, {"X-Error-Code": "RevisionNotFound"})
        if api:
            files = [{"type": "file", "path": f.name, "rfilename": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                     for f in sorted(folder.iterdir())]  # fmt: skip
            if parts[2] == "tree":
                missing = len(parts) > 4  # there are no folders
                return self._send(404, b"", body, {"X-Error-Code": "EntryNotFound"}) if missing else self._json(files)
            return self._json({"id": name, "sha": COMMIT, "siblings": files, "tags": [], "private": False})
        file = folder / parts[4]
        if not file.is_file():
            return self._send(404, b"", body, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        data = file.read_bytes()
        tag = hashlib.sha256(data).hexdigest()
        return self._send(200, data, body, {"ETag": f'"{tag}"', "X-Repo-Commit": COMMIT})

    def _json(self, value: Any) -> None:
        self._send(200, json.dumps(value).encode(), True, {"Content-Type": "application/json"})

    def _send(self, code: int, data: bytes, body: bool, headers: dict[str, str] | None = None) -> None:
        self.send_response(code)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "good", "bad", "film", "the", "a", "is"]


def save_model(folder: Path, kind: str) -> None:
    """A tiny BERT with a tokenizer of whole words; as a classifier it says class 1 to everything."""
    plain = tokenizers.Tokenizer(
        tokenizers.models.WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]")
    )
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]", model_max_length=16
    ).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=16, num_labels=2, pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = (transformers.BertForSequenceClassification if kind == "classifier" else transformers.BertModel)(config)
    if kind == "classifier":
        with torch.no_grad():
            model.classifier.weight.zero_()
            model.classifier.bias.copy_(torch.tensor([0.0, 3.0]))
    model.save_pretrained(folder)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    base = tmp_path_factory.mktemp("hub")
    for name, kind in (
        ("says-one", "classifier"),
        ("body", "encoder"),
        ("bin-only", "classifier"),
        ("adapted", "classifier"),
    ):
        save_model(base / name, kind)
    weights = base / "bin-only" / "model.safetensors"
    torch.save(safetensors.load_file(weights), base / "bin-only" / "pytorch_model.bin")
    weights.unlink()
    (base / "adapted" / "adapter_config.json").write_text('{"base_model_name_or_path": "org/unpinned"}')
    server = Hub({f"org/{path.name}": path for path in base.iterdir()}, "org/broken")
    Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def plan(target: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {
        "audit": {"seed": 1},
        "target": target,
        "data": {"train": "train.csv", "test": "test.csv", "text": "text", "label": "y", "positive": "1"},
        "probes": ["quality.performance"],
        "gates": [{"metric": "quality.accuracy", "min": 0.1}],
        **more,
    }


def from_hub(name: str, **settings: Any) -> dict[str, Any]:
    return {"kind": "transformers", "path": f"org/{name}", **({"revision": COMMIT} | settings)}


def tuned(name: str, **settings: Any) -> dict[str, Any]:
    given = {"base": f"org/{name}", "revision": COMMIT, "epochs": 1, "length": 8} | settings
    return {"kind": "recipe", "name": "network/fine-tune", "settings": given}


PLANS = {
    "classifier": plan(from_hub("says-one")),
    "tuned": plan(tuned("body"), references=[{"network/fine-tune": tuned("body")["settings"]}]),
    "absent": plan(from_hub("nobody")),
    "another commit": plan(from_hub("says-one", revision=OTHER)),
    "broken": plan(from_hub("broken")),
    "pickled": plan(from_hub("bin-only")),
    "adapter": plan(from_hub("adapted")),
    "absent base": plan(tuned("nobody")),
    "broken base": plan(tuned("broken")),
    "pickled base": plan(tuned("bin-only")),
    "unpinned": plan({"kind": "transformers", "path": "org/unpinned"}),
    "a branch": plan(from_hub("unpinned", revision="main")),
    "unpinned base": plan(tuned("unpinned", revision="")),
    "base on a branch": plan(tuned("unpinned", revision="main")),
}


@pytest.fixture(scope="module")
def told(hub: Hub, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the command said to each plan, with the folder it ran in."""
    folder = tmp_path_factory.mktemp("audit")
    rows = "".join(f"the film is {'good' if i % 2 else 'bad'},{i % 2}\n" for i in range(40))
    for name in ("train", "test"):
        (folder / f"{name}.csv").write_text(f"text,y\n{rows}", encoding="utf-8")
    commands = {}
    for i, (name, each) in enumerate(PLANS.items()):
        (folder / f"{i}.yaml").write_text(yaml.safe_dump(each), encoding="utf-8")
        commands[name] = ["run", f"{i}.yaml", "--out", f"r{i}", "-q"]
    commands["train"] = ["train", "1.yaml", "-q"]
    home = {
        "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_address[1]}", "HF_HOME": str(folder / "hf"),
        "HF_HUB_DISABLE_TELEMETRY": "1", "STEELYARD_CACHE": str(folder / "cache"), "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", ASK, json.dumps(commands)], cwd=folder, env={**os.environ, **home},
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    for i, name in enumerate(PLANS):
        record = folder / f"r{i}" / "record.json"
        found[name]["record"] = json.loads(record.read_bytes()) if record.exists() else None
    return found


def test_a_classifier_is_audited_with_the_weights_of_the_pinned_commit(told: dict[str, Any], hub: Hub) -> None:
    found = told["classifier"]
    assert found["code"] == 0, found["err"]
    accuracy = next(f for f in found["record"]["findings"] if f["metric"] == "quality.performance.accuracy")
    assert accuracy["estimate"]["value"] == 0.5  # it says 1 to everything, and half of the rows are
    assert COMMIT in json.dumps(found["record"]["targets"])
    assert f"GET /org/says-one/resolve/{COMMIT}/model.safetensors" in hub.asked


def test_an_encoder_is_fine_tuned_from_the_pinned_commit(told: dict[str, Any], hub: Hub) -> None:
    assert told["tuned"]["code"] == 0, told["tuned"]["err"]
    assert told["train"]["code"] == 0, told["train"]["err"]
    assert f"GET /org/body/resolve/{COMMIT}/model.safetensors" in hub.asked
    weights = [line for line in hub.asked if line.startswith("GET") and "/org/body/" in line and "safetensors" in line]
    assert len(weights) == 1  # the second time they are at hand


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("absent", "org/nobody: the hub shows no such model"),
        ("another commit", f"org/says-one: the hub has no commit {OTHER}"),
        ("broken", "org/broken"),
        ("pickled", "org/bin-only: has its weights as a pickle"),
        ("adapter", "org/adapted: has an adapter beside the model"),
        ("absent base", "org/nobody: the hub shows no such model"),
        ("broken base", "org/broken"),
        ("pickled base", "org/bin-only: has its weights as a pickle"),
        ("unpinned", "40 hexadecimal digits"),
        ("a branch", "40 hexadecimal digits"),
        ("unpinned base", "40 hexadecimal digits"),
        ("base on a branch", "40 hexadecimal digits"),
    ],
)
def test_what_cannot_be_had_is_one_line(case: str, said: str, told: dict[str, Any]) -> None:
    found = told[case]
    assert found["code"] == 2, found
    assert found["err"].startswith("steelyard: error: ")
    assert found["err"].count("\n") == 1, found["err"]
    assert said in found["err"]
    assert found["record"] is None


def test_what_is_not_pinned_is_never_asked_for(told: dict[str, Any], hub: Hub) -> None:
    assert told["unpinned"]["code"] == 2
    assert not [line for line in hub.asked if "unpinned" in line]


def test_pickled_weights_are_never_downloaded(told: dict[str, Any], hub: Hub) -> None:
    assert told["pickled"]["code"] == 2
    assert not [line for line in hub.asked if line.startswith("GET") and line.endswith(".bin")]


def test_nothing_is_asked_of_another_commit(told: dict[str, Any], hub: Hub) -> None:
    resolved = [line.split("/resolve/")[1].split("/")[0] for line in hub.asked if "/resolve/" in line]
    assert told["classifier"]["code"] == 0
    assert set(resolved) <= {COMMIT, OTHER}
