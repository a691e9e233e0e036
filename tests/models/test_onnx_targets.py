"""ONNX models: outputs, labels and columns are read as the same model in numpy gives them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")

from onnx import TensorProto, helper, numpy_helper  # noqa: E402

from steelyard.audit.errors import NotApplicable, TargetError  # noqa: E402
from steelyard.audit.plan import TargetPart  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Capability  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.targets.load import load_target  # noqa: E402

rng = np.random.default_rng(5)
X = rng.normal(size=(60, 4)).astype(np.float32)
W = rng.normal(size=(4, 3)).astype(np.float32)
Z = X @ W
THREE = sample_from_arrays(X, np.array(["b", "a", "c"])[rng.integers(0, 3, 60)])
TWO = sample_from_arrays(X, rng.integers(0, 2, 60))
FLOAT, INT, TEXT = TensorProto.FLOAT, TensorProto.INT64, TensorProto.STRING


def value(name: str, kind: int, *shape: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def save(path: Path, nodes: Any, inputs: Any, outputs: Any, weights: dict[str, Any], ml: bool = False) -> Path:
    graph = helper.make_graph(
        nodes, "g", inputs, outputs, [numpy_helper.from_array(array, name) for name, array in weights.items()]
    )
    opsets = [helper.make_opsetid("", 17), *([helper.make_opsetid("ai.onnx.ml", 3)] if ml else [])]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), path)
    return path


def linear(path: Path, w: Any = W, *, batch: Any = "n", last: str = "") -> Path:
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y" if not last else "h"])]
    nodes += [helper.make_node(last, ["h"], ["y"])] if last else []
    out = value("y", FLOAT, batch, w.shape[1])
    return save(path, nodes, [value("x", FLOAT, batch, 4)], [out], {"w": w})


def load(path: Path, sample: Sample, **given: Any) -> Any:
    return load_target(TargetPart(kind="onnx", path=path.name, **given), base=path.parent, sample=sample)


def soft(z: Any) -> Any:
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def estimator(path: Path, *, zipmap: bool, labels: tuple[str, ...] = ("c", "a", "b")) -> Path:
    """As skl2onnx writes a classifier: a label, and probabilities as a tensor or as maps by class."""
    w = [float(v) for v in W.T.ravel()]
    nodes = [
        helper.make_node(
            "LinearClassifier", ["x"], ["label", "raw"], domain="ai.onnx.ml", coefficients=w,
            intercepts=[0.0, 0.0, 0.0], classlabels_strings=list(labels), post_transform="SOFTMAX",
        )
    ]  # fmt: skip
    outputs = [value("label", TEXT, "n")]
    if zipmap:
        nodes.append(
            helper.make_node("ZipMap", ["raw"], ["maps"], domain="ai.onnx.ml", classlabels_strings=list(labels))
        )
        kind = helper.make_map_type_proto(TEXT, helper.make_tensor_type_proto(FLOAT, []))
        outputs.append(helper.make_value_info("maps", helper.make_sequence_type_proto(kind)))
    else:
        outputs.append(value("raw", FLOAT, "n", 3))
    return save(path, nodes, [value("x", FLOAT, "n", 4)], outputs, {}, ml=True)


@pytest.mark.parametrize("batch", ["n", 7, 1])
def test_logits_in_any_batch(batch: Any, tmp_path: Path) -> None:
    target = load(linear(tmp_path / "m.onnx", batch=batch), THREE)
    assert np.allclose(target.logits(X), Z, atol=1e-5)
    assert np.allclose(target.predict_proba(X[:10]), soft(Z[:10]), atol=1e-6)
    assert (target.predict(X) == Z.argmax(axis=1)).all()
    assert target.capabilities == {Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY, Capability.LOGITS}
    for call in (lambda: target.gradients(X, THREE.labels), lambda: target.embed(X)):
        with pytest.raises(NotApplicable):
            call()


def test_probabilities_and_single_outputs(tmp_path: Path) -> None:
    target = load(linear(tmp_path / "p.onnx", last="Softmax"), THREE)
    assert np.allclose(target.predict_proba(X), soft(Z), atol=1e-6)
    assert Capability.LOGITS not in target.capabilities
    single = load(linear(tmp_path / "s.onnx", W[:, :1], last="Sigmoid"), TWO)
    assert np.allclose(single.predict_proba(X)[:, 1], 1 / (1 + np.exp(-Z[:, 0])), atol=1e-6)
    line = sample_from_arrays(X, Z[:, 0], task="regression")
    assert np.allclose(load(linear(tmp_path / "r.onnx", W[:, :1]), line).predict(X), Z[:, 0], atol=1e-5)


@pytest.mark.parametrize("zipmap", [True, False])
def test_an_estimator_s_labels_name_the_columns(zipmap: bool, tmp_path: Path) -> None:
    target = load(estimator(tmp_path / "e.onnx", zipmap=zipmap), THREE)
    p = soft(Z)[:, [1, 2, 0]]  # a, b, c
    assert np.allclose(target.predict_proba(X), p, atol=1e-6)
    assert (target.predict(X) == p.argmax(axis=1)).all()
    assert target.capabilities == {Capability.PREDICT, Capability.PREDICT_PROBA, Capability.QUERY}


def test_labels_alone_decide(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("ArgMax", ["h"], ["y"], axis=1, keepdims=0),
    ]
    path = save(tmp_path / "d.onnx", nodes, [value("x", FLOAT, "n", 4)], [value("y", INT, "n")], {"w": W[:, :2]})
    target = load(path, TWO)
    assert (target.predict(X) == Z[:, :2].argmax(axis=1)).all()
    assert target.capabilities == {Capability.PREDICT, Capability.QUERY}


def test_columns_are_inputs_by_their_names(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Concat", ["a", "b"], ["x"], axis=1),
        helper.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    path = save(
        tmp_path / "c.onnx", nodes, [value("a", FLOAT, "n", 1), value("b", FLOAT, "n", 1)],
        [value("y", FLOAT, "n", 3)], {"w": W[:2]},
    )  # fmt: skip
    frame = pd.DataFrame({"b": X[:, 1], "a": X[:, 0], "more": "text"})
    sample = sample_from_arrays(frame, np.asarray(THREE.labels))
    assert np.allclose(load(path, sample).logits(frame), X[:, :2] @ W[:2], atol=1e-5)
    with pytest.raises(TargetError, match="takes 2 inputs, and the data has no column 'b'"):
        load(path, sample_from_arrays(frame[["a"]], THREE.labels))


def test_images_with_a_channel(tmp_path: Path) -> None:
    w = rng.normal(size=(9, 3)).astype(np.float32)
    nodes = [helper.make_node("Flatten", ["x"], ["h"]), helper.make_node("MatMul", ["h", "w"], ["y"])]
    given = [value("x", FLOAT, "n", 1, 3, 3)]
    path = save(tmp_path / "i.onnx", nodes, given, [value("y", FLOAT, "n", 3)], {"w": w})
    images = rng.random((20, 3, 3)).astype(np.float32)
    target = load(path, sample_from_arrays(images, rng.integers(0, 3, 20)))
    assert np.allclose(target.logits(images), images.reshape(20, 9) @ w, atol=1e-5)
    odd = sample_from_arrays(rng.random((20, 4, 4)), rng.integers(0, 3, 20))
    with pytest.raises(TargetError, match=r"takes inputs of the shape \(n, 1, 3, 3\), and the data has \(n, 1, 4, 4\)"):
        load(path, odd)


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    good = linear(tmp_path / "m.onnx")
    (tmp_path / "cut.onnx").write_bytes(good.read_bytes()[:40])
    custom = [helper.make_node("Mine", ["x"], ["y"], domain="my.own")]
    graph = helper.make_graph(custom, "g", [value("x", FLOAT, "n", 4)], [value("y", FLOAT, "n", 3)])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("my.own", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=9), tmp_path / "mine.onnx")
    cases = [
        ("cut.onnx", THREE, {}, "cannot be loaded"),
        ("mine.onnx", THREE, {}, r"cannot be loaded: .*my\.own.*; custom operators are not loaded"),
        ("gone.onnx", THREE, {}, r"no such \.onnx file"),
        ("m.onnx", TWO, {}, "gives 3 outputs, and the data has 2 classes"),
        ("m.onnx", sample_from_arrays(X[:, :3], THREE.labels), {}, r"takes inputs of the shape \(n, 4\)"),
        ("m.onnx", sample_from_arrays(pd.DataFrame(X).assign(w="u"), THREE.labels), {}, "these columns hold none: 'w'"),
        ("m.onnx", THREE, {"settings": {"outputs": "odds"}}, "it is logits or probabilities"),
    ]
    for name, sample, given, message in cases:
        with pytest.raises(Exception, match=message) as caught:
            load(tmp_path / name, sample, **given)
        assert "\n" not in str(caught.value)


def test_the_fingerprint_is_that_of_the_file(tmp_path: Path) -> None:
    first = load(linear(tmp_path / "m.onnx"), THREE).fingerprint
    assert load(tmp_path / "m.onnx", THREE).fingerprint == first
    assert load(linear(tmp_path / "m.onnx", W + 1), THREE).fingerprint != first
