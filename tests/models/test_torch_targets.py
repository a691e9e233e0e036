"""Networks in torch: each form of file answers as the module does, and what does not fit is one line."""

from __future__ import annotations

import json
import pickle
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from steelyard.audit.errors import PlanError, TargetError, UnsafeArtifact  # noqa: E402
from steelyard.audit.plan import TargetPart  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Capability  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.targets.archives import check_export, check_script, held_in  # noqa: E402
from steelyard.models.targets.load import load_target  # noqa: E402

nn = torch.nn
rng = np.random.default_rng(3)
X = rng.normal(size=(70, 4)).astype(np.float32)
THREE = sample_from_arrays(X, rng.integers(0, 3, 70))
TWO = sample_from_arrays(X, rng.integers(0, 2, 70))
NUMBERS = sample_from_arrays(X, rng.normal(size=70), task="regression")
PICTURES = sample_from_arrays(rng.random((40, 6, 6)).astype(np.float32), rng.integers(0, 3, 40))

NETS = """
import torch
from torch import nn

def three(): return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3))
def one(): return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 1))
def sigmoid(): return nn.Sequential(nn.Linear(4, 1), nn.Sigmoid())
def softmax(): return nn.Sequential(nn.Linear(4, 3), nn.Softmax(dim=1))
def picture(): return nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
def flat(): return nn.Sequential(nn.Linear(36, 3))
def double(): return three().double()
def noisy(): return Noisy()
def broken(): return nn.Sequential(nn.Linear(4, 3), Broken())
def number(): return 3

class Noisy(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = nn.Linear(4, 3)
    def forward(self, x):
        return nn.functional.dropout(self.inner(x), 0.5, training=True)

class Broken(nn.Module):
    def forward(self, x):
        return torch.where(x.sum(1, keepdim=True) > 0, x, float("nan"))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(NETS)
    return tmp_path


def module(name: str, seed: int = 0) -> Any:
    scope: dict[str, Any] = {}
    exec(NETS, scope)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return scope[name]().eval()


def saved(folder: Path, name: str, kind: str = "safetensors") -> TargetPart:
    net = module(name)
    if kind == "safetensors":
        safetensors.save_file(net.state_dict(), folder / f"{name}.safetensors")
        return part(path="nets.py", factory=name, weights=f"{name}.safetensors")
    if kind == "pth":
        torch.save(net.state_dict(), folder / f"{name}.pth")
        return part(path=f"nets.py:{name}", weights=f"{name}.pth")
    example = torch.zeros((2, 1, 6, 6) if name == "picture" else (2, 4))
    if kind == "pt2":
        batch = torch.export.Dim("batch")
        torch.export.save(torch.export.export(net, (example,), dynamic_shapes=({0: batch},)), folder / f"{name}.pt2")
        return part(path=f"{name}.pt2")
    if kind == "fixed":
        torch.export.save(torch.export.export(net, (torch.zeros(7, 4),)), folder / f"{name}-fixed.pt2")
        return part(path=f"{name}-fixed.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # TorchScript is deprecated; old files are what is tested
        torch.jit.trace(net, example).save(folder / f"{name}.pt")
    return part(path=f"{name}.pt")


def part(**given: Any) -> TargetPart:
    return TargetPart(kind="torch", **given)


def load(folder: Path, given: TargetPart, sample: Sample) -> Any:
    return load_target(given, base=folder, sample=sample)


def own(name: str, inputs: Any) -> Any:
    with torch.no_grad():
        return module(name)(torch.tensor(inputs)).double().numpy()


# each form answers as the module does


@pytest.mark.parametrize("kind", ["safetensors", "pth", "pt2", "fixed", "script"])
def test_every_file_answers_as_the_module(kind: str, folder: Path) -> None:
    before = torch.get_rng_state(), torch.get_num_threads()
    target = load(folder, saved(folder, "three", kind), THREE)
    z = own("three", X)
    assert np.allclose(target.logits(X), z, atol=1e-6)
    assert np.allclose(target.predict_proba(X), np.exp(z) / np.exp(z).sum(axis=1, keepdims=True), atol=1e-6)
    assert (target.predict(X) == z.argmax(axis=1)).all()
    assert np.allclose(target.logits(X[:33] + 1), own("three", X[:33] + 1), atol=1e-6)
    assert (Capability.EMBED in target.capabilities) == (kind in {"safetensors", "pth"})
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1] == torch.get_num_threads()


@pytest.mark.parametrize("kind", ["safetensors", "pt2", "fixed", "script"])
def test_gradients_are_those_of_finite_differences(kind: str, folder: Path) -> None:
    target = load(folder, saved(folder, "three", kind), THREE)
    labels = THREE.labels
    assert labels is not None
    found = target.gradients(X[:9], labels[:9])
    assert found.shape == (9, 4)

    def loss(inputs: Any) -> Any:
        p = target.predict_proba(inputs.astype(np.float32))
        return -np.log(p[np.arange(9), labels[:9]])

    for column in range(4):
        step = np.zeros((9, 4))
        step[:, column] = 1e-2
        slope = (loss(X[:9] + step) - loss(X[:9] - step)) / 2e-2
        assert np.allclose(found[:, column], slope, atol=2e-3)


def test_embeddings_are_what_the_last_linear_layer_sees(folder: Path) -> None:
    target = load(folder, saved(folder, "three"), THREE)
    net = module("three")
    with torch.no_grad():
        hidden = net[1](net[0](torch.tensor(X))).numpy()
    assert np.allclose(target.embed(X), hidden, atol=1e-6)


@pytest.mark.parametrize("name", ["one", "sigmoid"])
def test_one_output_is_the_positive_class(name: str, folder: Path) -> None:
    target = load(folder, saved(folder, name), TWO)
    raw = own(name, X)[:, 0]
    p = raw if name == "sigmoid" else 1 / (1 + np.exp(-raw))
    assert np.allclose(target.predict_proba(X)[:, 1], p, atol=1e-6)
    assert (target.predict(X) == (p >= 0.5)).all()
    assert (Capability.LOGITS in target.capabilities) == (name == "one")
    if name == "one":
        assert np.allclose(target.logits(X), np.column_stack([np.zeros(70), raw]), atol=1e-6)
    slope = target.gradients(X, np.ones(70, dtype=np.int64))
    step = np.float32(1e-2) * np.eye(4, dtype=np.float32)[0]
    low, high = (np.log(target.predict_proba(X + sign * step)[:, 1]) for sign in (-1, 1))
    assert np.allclose(slope[:, 0], -(high - low) / 2e-2, atol=2e-3)


def test_probabilities_regression_and_doubles(folder: Path) -> None:
    soft = load(folder, saved(folder, "softmax"), THREE)
    assert np.allclose(soft.predict_proba(X), own("softmax", X), atol=1e-6)
    assert Capability.LOGITS not in soft.capabilities
    line = load(folder, saved(folder, "one"), NUMBERS)
    assert np.allclose(line.predict(X), own("one", X)[:, 0], atol=1e-6)
    assert line.capabilities == {Capability.PREDICT, Capability.QUERY, Capability.EMBED}
    double = load(folder, saved(folder, "double"), THREE)
    assert np.allclose(double.logits(X), own("double", X.astype(np.float64)), atol=1e-12)
    logits = load(folder, saved(folder, "softmax").model_copy(update={"settings": {"outputs": "logits"}}), THREE)
    assert Capability.LOGITS in logits.capabilities


def test_named_outputs_are_mapped_to_the_classes(folder: Path) -> None:
    words = np.array(["b", "c", "a"])[np.asarray(THREE.labels)]
    sample = sample_from_arrays(X, words)
    given = saved(folder, "three")
    named = given.model_copy(update={"settings": {"classes": ["c", "a", "b"]}})
    plain, target = load(folder, given, sample), load(folder, named, sample)
    assert np.allclose(target.predict_proba(X)[:, [2, 0, 1]], plain.predict_proba(X))
    assert np.allclose(target.logits(X)[:, [2, 0, 1]], plain.logits(X))
    codes = np.array([2, 0, 1])[np.asarray(THREE.labels)]
    assert np.allclose(target.gradients(X, codes), plain.gradients(X, np.asarray(THREE.labels)))
    assert plain.fingerprint != target.fingerprint
    wrong = given.model_copy(update={"settings": {"classes": ["x", "y", "z"]}})
    with pytest.raises(TargetError, match="its classes are 'x', 'y', 'z', those of the data 'a', 'b', 'c'"):
        load(folder, wrong, sample)


@pytest.mark.parametrize(("name", "form"), [("picture", "with a channel axis"), ("flat", "flattened")])
def test_images_are_given_as_the_network_takes_them(name: str, form: str, folder: Path) -> None:
    target = load(folder, saved(folder, name), PICTURES)
    given = PICTURES.inputs[:, None] if name == "picture" else PICTURES.inputs.reshape(40, 36)
    assert np.allclose(target.logits(PICTURES.inputs), own(name, given), atol=1e-6)
    assert target.gradients(PICTURES.inputs, np.asarray(PICTURES.labels)).shape == (40, 6, 6)
    assert f"given {form}" in target.description


def test_a_frame_of_numbers_is_an_array(folder: Path) -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    target = load(folder, saved(folder, "three"), sample_from_arrays(frame, THREE.labels))
    assert np.allclose(target.logits(frame), own("three", X), atol=1e-6)
    assert target.gradients(frame, np.asarray(THREE.labels)).shape == (70, 4)
    words = frame.assign(w="u")
    with pytest.raises(TargetError, match="takes numbers, and these columns hold none: 'w'"):
        load(folder, saved(folder, "three"), sample_from_arrays(words, THREE.labels))


def test_the_fingerprint_is_that_of_the_weights(folder: Path) -> None:
    given = saved(folder, "three")
    first = load(folder, given, THREE).fingerprint
    assert load(folder, given, THREE).fingerprint == first
    safetensors.save_file(module("three", seed=1).state_dict(), folder / "three.safetensors")
    assert load(folder, given, THREE).fingerprint != first


# what does not fit is one line


def smaller(folder: Path) -> TargetPart:
    state = {**module("three").state_dict(), "2.weight": torch.zeros(5, 8), "extra": torch.zeros(1)}
    safetensors.save_file(state, folder / "w.safetensors")
    return part(path="nets.py:three", weights="w.safetensors")


def whole_module(folder: Path) -> TargetPart:
    torch.save(torch.nn.Linear(4, 3), folder / "whole.pth")
    return part(path="nets.py:three", weights="whole.pth")


def written(name: str, data: bytes, **given: Any) -> Callable[[Path], TargetPart]:
    def make(folder: Path) -> TargetPart:
        (folder / name).write_bytes(data)
        return part(**(given or {"path": name}))

    return make


BAD: dict[str, tuple[Callable[[Path], TargetPart], Sample, str]] = {
    "checkpoint": (smaller, THREE, r"2\.weight is \(5, 8\) in the file and \(3, 8\) .*; extra is not in the network"),
    "pickled module": (whole_module, THREE, r"is a pickle of more than tensors.* not opened"),
    "classes": (lambda f: saved(f, "three"), TWO, "gives 3 outputs, and the data has 2 classes"),
    "regression": (lambda f: saved(f, "three"), NUMBERS, "gives 3 outputs, and a regressor gives one"),
    "image size": (
        lambda f: saved(f, "picture"),
        sample_from_arrays(rng.random((40, 5, 5)).astype(np.float32), np.asarray(PICTURES.labels)),
        r"does not take inputs of the shape \(n, 1, 5, 5\): RuntimeError",
    ),
    "columns": (
        lambda f: saved(f, "three"),
        sample_from_arrays(X[:, :3], THREE.labels),
        r"does not take inputs of the shape \(n, 3\)",
    ),
    "nan": (lambda f: saved(f, "broken"), THREE, r"its outputs are NaN or infinite in \d+ of 70 rows"),
    "dropout": (lambda f: part(path="nets.py:noisy"), THREE, "gives other answers when it is asked twice"),
    "no module": (lambda f: part(path="nets.py:number"), THREE, r"returned a int, not a torch\.nn\.Module"),
    "weights alone": (lambda f: part(path="w.safetensors"), THREE, "holds weights without an architecture"),
    "state dict": (
        lambda f: saved(f, "three", "pth").model_copy(update={"path": "three.pth", "weights": None}),
        THREE,
        "holds weights .* without an architecture",
    ),
    "ending": (lambda f: part(path="m.h5"), THREE, r"has the ending '\.h5'"),
    "missing": (lambda f: part(path="m.pt2"), THREE, "no such model file"),
    "no archive": (written("m.pt2", b"hello"), THREE, "is not an archive that torch saves"),
    "weights missing": (lambda f: part(path="nets.py:three", weights="w.safetensors"), THREE, "no such file"),
    "no safetensors": (
        written("w.safetensors", b"hello", path="nets.py:three", weights="w.safetensors"),
        THREE,
        "is not a safetensors file",
    ),
    "no weights": (
        written("w.pth", b"hello", path="nets.py:three", weights="w.pth"),
        THREE,
        "is a pickle of more than tensors|cannot be read as weights",
    ),
    "threshold": (
        lambda f: saved(f, "three").model_copy(update={"threshold": 0.3}),
        THREE,
        "a threshold needs a binary task",
    ),
    "setting": (lambda f: part(path="nets.py:three", settings={"bach": 3}), THREE, "did you mean 'batch'"),
    "value": (lambda f: part(path="nets.py:three", settings={"batch": 0}), THREE, "batch is 0; it is a whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line(case: str, folder: Path) -> None:
    make, sample, message = BAD[case]
    with pytest.raises((TargetError, PlanError), match=message) as caught:
        load(folder, make(folder), sample)
    assert "\n" not in str(caught.value)


def test_cuda_where_there_is_none(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    with pytest.raises(TargetError, match="there is no CUDA device here"):
        load(folder, part(path="nets.py:three", settings={"device": "cuda"}), THREE)


# archives that hold more than a network


def changed(
    source: Path, to: Path, change: Callable[[str, bytes], bytes], extra: dict[str, bytes] | None = None
) -> Path:
    """The archive with each entry changed, and more entries."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
        for name, data in (extra or {}).items():
            new.writestr(name, data)
    return to


def graph(change: Callable[[dict[str, Any]], None]) -> Callable[[str, bytes], bytes]:
    def edit(name: str, data: bytes) -> bytes:
        if not name.endswith("models/model.json"):
            return data
        plain = json.loads(data)
        change(plain)
        return json.dumps(plain).encode()

    return edit


def call(plain: dict[str, Any], target: str) -> None:
    plain["graph_module"]["graph"]["nodes"][0]["target"] = target


def size(plain: dict[str, Any], text: str) -> None:
    plain["graph_module"]["graph"]["tensor_values"]["linear"]["sizes"][0] = {
        "as_expr": {"expr_str": text, "hint": {"as_int": 2}}
    }


def pickled_weight(name: str, data: bytes) -> bytes:
    return data.replace(b'"use_pickle": false', b'"use_pickle": true', 1) if name.endswith("_config.json") else data


EXPORTS = {
    "a call": (graph(lambda p: call(p, "torch.os.system")), {}, r"its graph calls 'torch\.os\.system'"),
    "a file": (
        graph(lambda p: call(p, "torch.ops.aten.from_file.default")),
        {},
        "calls 'torch.ops.aten.from",
    ),
    "a guard": (
        graph(lambda p: p["guards_code"].append("__import__('os').system('true') == 0")),
        {},
        "holds the expression",
    ),
    "a size": (graph(lambda p: size(p, "__import__('os').system('true')")), {}, "holds the expression"),
    "an attribute": (graph(lambda p: size(p, "Integer.__class__")), {}, "holds the expression"),
    "a name": (
        graph(lambda p: p["graph_module"]["graph"]["nodes"][0].update(name="x = 1; import os")),
        {},
        "holds the name 'x = 1; import os'",
    ),
    "a pickled weight": (pickled_weight, {}, "holds the pickle 'weight_0'"),
    "a library": (lambda _, data: data, {"three/data/aotinductor/model/m.so": b"x"}, "holds 'data/aotinductor"),
    "a pickled input": (
        lambda name, data: pickle.dumps(print) if "sample_inputs" in name else data,
        {},
        "is more than tensors",
    ),
    "two archives": (lambda _, data: data, {"other/models/model.json": b"{}"}, "not those of one archive"),
}


@pytest.mark.parametrize("case", EXPORTS)
def test_an_export_with_more_than_a_graph_is_refused(case: str, folder: Path) -> None:
    change, extra, message = EXPORTS[case]
    source = folder / str(saved(folder, "three", "pt2").path)
    check_export(source, "three.pt2")
    path = changed(source, folder / "odd.pt2", change, extra)
    with pytest.raises(UnsafeArtifact, match=message) as caught:
        load(folder, part(path=path.name), THREE)
    assert "\n" not in str(caught.value)


def test_the_planted_guard_does_run_when_it_is_opened_plainly(folder: Path) -> None:
    """The refusals above can fail: torch itself runs what stands in an exported program's guards."""
    mark = folder / "mark"
    text = f"__import__('pathlib').Path('{mark}').write_text('x') > 0"
    source = folder / str(saved(folder, "three", "pt2").path)
    path = changed(source, folder / "odd.pt2", graph(lambda p: p["guards_code"].append(text)))
    module = torch.export.load(path).module()
    module(torch.zeros(3, 4))
    assert mark.exists()


@pytest.mark.parametrize(
    "code",
    ["    torch.save(x, 'f')\n", "    _0 = ops.aten.from_file('f')\n", "    _0 = ops.mine.run(x)\n",
     "    _0 = __torch__.torch.classes.mine.Thing\n"],
)  # fmt: skip
def test_a_script_that_names_files_or_foreign_operators_is_refused(code: str, folder: Path) -> None:
    source = folder / str(saved(folder, "three", "script").path)
    check_script(source, "three.pt")
    path = changed(source, folder / "odd.pt", lambda n, data: data + code.encode() if "container" in n else data)
    with pytest.raises(UnsafeArtifact, match=r"its code in .* names"):
        load(folder, part(path=path.name), THREE)


def test_what_an_archive_holds(folder: Path) -> None:
    found = {k: held_in(folder / str(saved(folder, "three", k).path), k) for k in ("pt2", "script")}
    assert found == {"pt2": "export", "script": "script"}
    saved(folder, "three", "pth")
    assert held_in(folder / "three.pth", "x") == "weights"
    with zipfile.ZipFile(folder / "other.pt", "w") as archive:
        archive.writestr("a/b.txt", "x")
    with pytest.raises(TargetError, match="none that torch saves"):
        held_in(folder / "other.pt", "other.pt")
