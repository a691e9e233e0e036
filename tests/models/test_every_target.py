"""Over all kinds of targets: what a target lists it can do, it does; what it does not list, it says it cannot."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")
pytest.importorskip("onnxruntime")
onnx = pytest.importorskip("onnx")

import skops.io as sio  # noqa: E402
from sklearn.linear_model import LogisticRegression  # noqa: E402
from sklearn.tree import DecisionTreeClassifier  # noqa: E402

from steelyard.audit.errors import NotApplicable, TargetError  # noqa: E402
from steelyard.audit.plan import DataPart, TargetPart  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Capability, Task  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.data.load import load_samples  # noqa: E402
from steelyard.models.data.sample import build_sample  # noqa: E402
from steelyard.models.targets.load import load_target, wrap  # noqa: E402

rng = np.random.default_rng(11)
X = rng.normal(size=(80, 3)).astype(np.float32)
Y = (X[:, 0] + 0.3 * rng.normal(size=80) > 0).astype(int)
NUMBERS = sample_from_arrays(X, Y)
WORDS = ["good", "bad", "film", "the", "a"]
TEXTS = build_sample(
    pd.DataFrame({"text": ["the good film", "a bad film"] * 20, "y": [1, 0] * 20}), DataPart(text="text", label="y")
)
LANGUAGE = load_samples(DataPart(task="language"), target=None, base=Path()).test

CALLS: dict[Capability, Callable[[Any, Sample], Any]] = {
    Capability.PREDICT: lambda t, s: t.predict(s.inputs),
    Capability.PREDICT_PROBA: lambda t, s: t.predict_proba(s.inputs),
    Capability.QUERY: lambda t, s: t.predict(s.inputs[:2]) if s.task is not Task.LANGUAGE else t.tokenize(["a"]),
    Capability.LOGITS: lambda t, s: t.logits(s.inputs[:5]),
    Capability.GRADIENTS: lambda t, s: t.gradients(s.inputs[:5], np.zeros(min(s.n, 5), dtype=np.int64)),
    Capability.EMBED: lambda t, s: t.embed(s.inputs[:5] if s.n else np.array(["a film"], dtype=object)),
    Capability.LOGLIKELIHOOD: lambda t, s: (t.loglikelihood(["a film"]), t.tokenize(["a"]), t.scoring),
    Capability.GENERATE: lambda t, s: t.generate(["a film"], max_tokens=2),
    Capability.FIT_AGAIN: lambda t, s: t.fit_again(s, 3).predict(s.inputs),
}

FACTORY = """
import numpy as np
from sklearn.linear_model import LogisticRegression
def load(train, seed=0):
    return LogisticRegression(C=0.5).fit(train.inputs, train.labels)
def fixed():
    return lambda rows: (np.asarray(rows)[:, 0] > 0).astype(int)
"""
NET = """
from torch import nn
def load(): return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))
"""


def hugging_face(folder: Path, kind: str, config: Any) -> None:
    import tokenizers
    import transformers

    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        getattr(transformers, kind)(config).save_pretrained(folder)
    special = ["[PAD]", "[UNK]", "[MASK]"]
    known = {word: place for place, word in enumerate([*special, *WORDS])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "mask_token": "[MASK]"}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **named).save_pretrained(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import transformers
    from onnx import TensorProto, helper, numpy_helper

    base = tmp_path_factory.mktemp("all")
    sio.dump(LogisticRegression().fit(X, Y), base / "m.skops")
    (base / "f.py").write_text(FACTORY)
    (base / "net.py").write_text(NET)
    frame = pd.DataFrame(X, columns=list("abc")).assign(y=Y, p=1 / (1 + np.exp(-X[:, 0])))
    frame.to_csv(base / "t.csv", index=False)
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["n", k]) for n, k in (("x", 3), ("y", 2))]
    w = numpy_helper.from_array(rng.normal(size=(3, 2)).astype(np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "g", ends[:1], ends[1:], [w])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9), base / "m.onnx")
    sizes: dict[str, Any] = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    bert = {"vocab_size": 8, "intermediate_size": 8, "max_position_embeddings": 16, "pad_token_id": 0, **sizes}
    gpt2 = {"vocab_size": 8, "n_embd": 8, "n_layer": 1, "n_head": 1, "n_positions": 16}
    hugging_face(base / "classifier", "BertForSequenceClassification", transformers.BertConfig(**bert))
    hugging_face(base / "masked", "BertForMaskedLM", transformers.BertConfig(**bert))
    named = {"bos_token_id": 3, "eos_token_id": 4}
    hugging_face(base / "causal", "GPT2LMHeadModel", transformers.GPT2Config(**gpt2, **named))
    return base


TARGETS: dict[str, tuple[dict[str, Any], Sample]] = {
    "sklearn": ({"kind": "sklearn", "path": "m.skops"}, NUMBERS),
    "factory": ({"kind": "python", "path": "f.py:load"}, NUMBERS),
    "function": ({"kind": "python", "path": "f.py:fixed"}, NUMBERS),
    "recipe": ({"kind": "recipe", "name": "logistic"}, NUMBERS),
    "torch": ({"kind": "torch", "path": "net.py:load"}, NUMBERS),
    "onnx": ({"kind": "onnx", "path": "m.onnx"}, NUMBERS),
    "classifier": ({"kind": "transformers", "path": "classifier"}, TEXTS),
    "causal": ({"kind": "transformers", "path": "causal"}, LANGUAGE),
    "masked": ({"kind": "transformers", "path": "masked"}, LANGUAGE),
}


def loaded(name: str, folder: Path) -> tuple[Any, Sample]:
    given, sample = TARGETS[name]
    return load_target(TargetPart(**given), base=folder, sample=sample, train=sample), sample


@pytest.mark.parametrize("name", TARGETS)
def test_every_capability_is_there_or_is_refused_by_name(name: str, folder: Path) -> None:
    target, sample = loaded(name, folder)
    for capability, call in CALLS.items():
        if capability in target.capabilities:
            assert call(target, sample) is not None
        elif capability is not Capability.QUERY:
            with pytest.raises(NotApplicable):
                call(target, sample)


@pytest.mark.parametrize("name", TARGETS)
def test_without_its_model_a_target_drops_what_it_cannot_do(name: str, folder: Path) -> None:
    target, sample = loaded(name, folder)
    sent = pickle.loads(pickle.dumps(target))
    assert sent.capabilities == target.capabilities & {Capability.PREDICT, Capability.PREDICT_PROBA}
    assert (sent.name, sent.kind, sent.fingerprint) == (target.name, target.kind, target.fingerprint)
    for capability, call in CALLS.items():
        if capability not in sent.capabilities:
            with pytest.raises(NotApplicable):
                call(sent, sample)
    if Capability.PREDICT in sent.capabilities:
        assert (sent.predict(sample.inputs) == target.predict(sample.inputs)).all()


@pytest.mark.parametrize("name", TARGETS)
def test_the_same_file_has_the_same_fingerprint(name: str, folder: Path) -> None:
    assert loaded(name, folder)[0].fingerprint == loaded(name, folder)[0].fingerprint


@pytest.mark.parametrize("name", ["torch", "onnx", "classifier"])
def test_the_order_of_rows_does_not_matter(name: str, folder: Path) -> None:
    target, sample = loaded(name, folder)
    order = rng.permutation(sample.n)
    shuffled = target.predict_proba(sample.inputs[order])
    assert np.allclose(shuffled, target.predict_proba(sample.inputs)[order], atol=1e-6)


def test_rows_like_the_sample_s_are_told_apart_by_content(folder: Path) -> None:
    """A copy gets the kept answers; a change in the first row, or in the last, gets the model's own."""
    target, sample = loaded("torch", folder)
    copy = sample.inputs.copy()
    assert target.predict_proba(copy) is target.predict_proba(sample.inputs)
    for row in (0, -1):
        moved = sample.inputs.copy()
        moved[row] += 1.0
        found = target.predict_proba(moved)
        assert not np.allclose(found[row], target.predict_proba(sample.inputs)[row])


# training again


def test_a_clone_learns_from_other_rows_and_from_the_seed() -> None:
    words = np.where(Y == 1, "yes", "no")
    sample = sample_from_arrays(X, words, positive="yes")
    tree = wrap(DecisionTreeClassifier(max_depth=2, splitter="random", random_state=1).fit(X, Y), sample)
    flipped = sample_from_arrays(X, words[::-1], positive="yes")
    one, same = (tree.fit_again(flipped, seed=4).predict(X) for _ in range(2))
    assert (one == same).all()
    expected = DecisionTreeClassifier(max_depth=2, splitter="random", random_state=4).fit(X, Y[::-1])
    assert (one == expected.predict(X)).all()
    again = tree.fit_again(flipped, seed=4).fit_again(sample, seed=4)  # type: ignore[attr-defined]
    assert (again.predict(X) == Y).mean() > 0.7


def test_a_factory_is_called_with_the_new_rows(folder: Path) -> None:
    target, _ = loaded("factory", folder)
    flipped = sample_from_arrays(X, 1 - Y)
    expected = LogisticRegression(C=0.5).fit(X, 1 - Y).predict(X)
    assert (target.fit_again(flipped, 0).predict(X) == expected).all()


def test_what_cannot_be_cloned_is_not_trained_again() -> None:
    class Fitted:
        def fit(self, X: Any, y: Any) -> None:
            raise AssertionError

        def predict(self, X: Any) -> Any:
            return np.zeros(len(X), dtype=int)

    assert Capability.FIT_AGAIN not in wrap(Fitted(), NUMBERS).capabilities


def test_a_clone_that_cannot_be_trained_is_one_line() -> None:
    target = wrap(LogisticRegression().fit(X, Y), NUMBERS)
    with pytest.raises(TargetError, match=r"cannot be trained on these rows: .*NaN"):
        target.fit_again(sample_from_arrays(np.full((80, 3), np.nan), Y), 0)


def test_a_missing_library_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steelyard.models.targets.load.find_spec", lambda name: None)
    with pytest.raises(
        TargetError, match=r"needs onnxruntime, which is not installed; pip install 'steelyard\[onnx\]'"
    ):
        load_target(TargetPart(kind="onnx", path="m.onnx"), base=Path(), sample=NUMBERS)


def test_loading_a_plan_s_words_needs_no_heavy_library() -> None:
    heavy = "'torch', 'transformers', 'onnxruntime', 'PIL', 'pandas', 'sklearn'"
    code = "import steelyard.models.targets.load, steelyard.models.data.load, sys\n"
    code += f"print([m for m in ({heavy}) if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
