"""A network and its file, what it makes of inputs, and what it says of texts."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")
safetensors = pytest.importorskip("safetensors.torch")

from steelyard.audit.errors import TargetError  # noqa: E402
from steelyard.audit.types import Task  # noqa: E402
from steelyard.models.networks.architectures import ARCHITECTURES, build  # noqa: E402
from steelyard.models.networks.determinism import seeded  # noqa: E402
from steelyard.models.networks.network import Network  # noqa: E402
from steelyard.models.networks.prepare import ImagePrepare, TablePrepare, prepare_from  # noqa: E402
from steelyard.models.networks.vocabulary import TextPrepare  # noqa: E402

IMAGE = {"channels": 2, "height": 9, "width": 8, "classes": 3}
CONFIGS: dict[str, dict[str, Any]] = {
    "mlp": {"inputs": 144, "classes": 3, "hidden": 5, "layers": 2, "dropout": 0.1},
    "cnn": {**IMAGE, "filters": 4, "hidden": 6},
    "cnn-strided": {**IMAGE, "filters": 4, "hidden": 6},
    "resnet": {**IMAGE, "filters": 4, "blocks": 2},
    "encoder": {"vocabulary": 30, "classes": 3, "length": 12, "width": 8, "heads": 2},
    "causal": {"vocabulary": 270, "length": 12, "width": 8, "heads": 2},
}
TEXTS = ["The cat sat.", "the dog sat, too", "A bird!", "the cat and the dog", ""]
rng = np.random.default_rng(0)
IMAGES = rng.random((7, 2, 9, 8), dtype=np.float32)


def made(name: str, **more: Any) -> Network:
    with seeded(3, "weights"):
        module = build(name, **CONFIGS[name])
    if name in {"encoder", "causal"}:
        prepare: Any = TextPrepare.fit(TEXTS, length=12, least=1, spelt=name == "causal")
        with seeded(3, "weights"):
            module = build(name, **{**CONFIGS[name], "vocabulary": prepare.vocabulary})
        config = {**CONFIGS[name], "vocabulary": prepare.vocabulary, "pad": 0}
    else:
        prepare, config = ImagePrepare.fit(IMAGES), CONFIGS[name]
    given = {"task": Task.MULTICLASS, "classes": ("a", "b", "c"), **more}
    return Network(architecture=name, config=config, module=module.eval(), prepare=prepare, **given)


def inputs_of(name: str) -> Any:
    return np.array(TEXTS, dtype=object) if name in {"encoder", "causal"} else IMAGES


def test_every_architecture_is_tested() -> None:
    elsewhere = {"pretrained", "quantised"}  # with fine-tuning, with compression
    assert set(CONFIGS) == set(ARCHITECTURES) - elsewhere


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - {"causal"}))
def test_a_network_answers_and_comes_back_from_its_file(name: str) -> None:
    network, inputs = made(name), inputs_of(name)
    logits = network.logits(inputs)
    assert logits.shape == (len(inputs), 3)
    chances = network.predict_proba(inputs)
    assert chances.sum(axis=1) == pytest.approx(1.0)
    assert np.log(chances) - logits == pytest.approx((np.log(chances) - logits)[:, :1].repeat(3, 1))  # a softmax
    assert (network.predict(inputs) == np.array(["a", "b", "c"])[logits.argmax(1)]).all()
    features = torch.from_numpy(network.embed(inputs)).float()
    assert network.module.head(features).detach().numpy() == pytest.approx(logits, abs=1e-5)
    data = network.to_bytes()
    again = Network.from_bytes(data)
    assert (again.logits(inputs) == logits).all()
    assert (again.classes, again.task, dict(again.config)) == (network.classes, network.task, dict(network.config))
    assert again.to_bytes() == data


@pytest.mark.parametrize("name", ["mlp", "cnn", "resnet", "encoder"])
def test_rows_stand_alone(name: str) -> None:
    network, inputs = made(name), inputs_of(name)
    one_by_one = np.concatenate([network.logits(inputs[i : i + 1]) for i in range(len(inputs))])
    assert network.logits(inputs) == pytest.approx(one_by_one, abs=1e-5)


def test_a_regression_answers_in_its_own_units() -> None:
    with seeded(0, "weights"):
        module = build("mlp", inputs=144, classes=1)
    parts = {"architecture": "mlp", "config": {"inputs": 144, "classes": 1}, "module": module.eval()}
    network = Network(**parts, prepare=ImagePrepare.fit(IMAGES), task=Task.REGRESSION, centre=100.0, spread=10.0)
    out = network.predict(IMAGES)
    assert out == pytest.approx(100.0 + 10.0 * network.logits(IMAGES)[:, 0])
    assert network.score(IMAGES, out) == pytest.approx(1.0)
    assert network.score(IMAGES, np.arange(7.0)) < 0
    assert not hasattr(network, "classes_")
    assert (Network.from_bytes(network.to_bytes()).predict(IMAGES) == out).all()


# gradients, against differences


@pytest.mark.parametrize("name", ["mlp", "cnn-strided", "resnet"])
def test_gradients_are_those_of_the_loss(name: str) -> None:
    labels = np.array([0, 1, 2, 0, 1, 2, 0])
    found = made(name).gradients(IMAGES, labels)
    assert found.shape == IMAGES.shape
    exact = made(name).module.double()

    def loss(moved: Any, row: int) -> float:
        with torch.no_grad():
            return -float(exact(torch.from_numpy(moved[row : row + 1])).log_softmax(1)[0, labels[row]])

    for place in [(0, 1, 4, 4), (3, 0, 2, 6), (6, 1, 8, 7)]:
        up, down = IMAGES.astype(np.float64), IMAGES.astype(np.float64)
        up[place] += 1e-6
        down[place] -= 1e-6
        difference = (loss(up, place[0]) - loss(down, place[0])) / 2e-6
        assert found[place] == pytest.approx(difference, abs=1e-4)


def test_gradients_of_a_table_are_in_its_own_units() -> None:
    table = rng.normal(size=(40, 3)) * [1.0, 100.0, 0.01] + [0, 5, 0]
    with seeded(0, "weights"):
        module = build("mlp", inputs=3, classes=2)
    parts = {"architecture": "mlp", "config": {"inputs": 3, "classes": 2}, "module": module.eval()}
    network = Network(**parts, prepare=TablePrepare.fit(table), task=Task.BINARY, classes=("n", "y"))
    found = network.gradients(table, np.zeros(40, dtype=np.int64))
    for column, scale in enumerate([1.0, 100.0, 0.01]):
        up, down = table.copy(), table.copy()
        up[:, column] += 1e-3 * scale
        down[:, column] -= 1e-3 * scale
        losses = [-np.log(network.predict_proba(moved)[:, 0]) for moved in (up, down)]
        differences = (losses[0] - losses[1]) / 2e-3
        near = np.abs(found[:, column] * scale - differences) < 2e-3
        assert near.mean() > 0.9  # but for the rows that lie on a kink of the network
        assert np.abs(differences).max() > 0.05
    assert not TablePrepare.fit(pd.DataFrame({"x": [1.0, 2.0], "w": ["a", "b"]})).differentiable


def test_gradients_of_words_are_refused() -> None:
    with pytest.raises(TargetError, match="gradients need inputs that are numbers alone"):
        made("encoder").gradients(inputs_of("encoder"), np.zeros(5, dtype=np.int64))


# files that are not ours, or damaged


def test_a_damaged_file_is_one_clear_line() -> None:
    data = made("mlp").to_bytes()
    for broken in (b"", data[:100], data[:-10], b"x" * 200, safetensors.save({"w": torch.zeros(1)})):
        with pytest.raises(TargetError, match="there: holds no network of Steelyard's"):
            Network.from_bytes(broken, where="there")


def changed(data: bytes, **parts: Any) -> bytes:
    size = int.from_bytes(data[:8], "little")
    plain = json.loads(json.loads(data[8 : 8 + size])["__metadata__"]["network"])
    tensors = safetensors.load(data)
    again: bytes = safetensors.save(tensors, metadata={"network": json.dumps({**plain, **parts})})
    return again


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"format": "steelyard network 9"}, "is written in the format"),
        ({"architecture": "os.system"}, "no architecture is called 'os.system'; there are mlp, cnn"),
        ({"config": {"inputs": 144, "classes": 3, "hidden": 6}}, "its weights do not fit its architecture"),
        ({"config": {"depth": 1}}, "mlp: the configuration does not fit"),
        ({"prepare": {"kind": "pickle"}}, "prepared in a way that is not known: 'pickle'"),
        ({"prepare": {"kind": "image"}}, "the preparation of the inputs is damaged"),
    ],
)
def test_a_file_that_does_not_fit_is_one_clear_line(parts: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        Network.from_bytes(changed(made("mlp").to_bytes(), **parts))


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("cnn", {**IMAGE, "height": 3}, "images of 3×8 are too small"),
        ("encoder", {"vocabulary": 9, "classes": 2, "width": 9, "heads": 2}, "width 9 is not a multiple of heads 2"),
    ],
)
def test_configurations_that_cannot_be(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(TargetError, match=message):
        build(name, **config)


def test_images_of_another_shape_are_refused() -> None:
    network = made("cnn")
    with pytest.raises(TargetError, match=r"was trained on images of \(2, 9, 8\), and was given \(2, 8, 9\)"):
        network.predict(IMAGES.transpose(0, 1, 3, 2))
    with pytest.raises(TargetError, match=r"images have the shape \(4, 5\)"):
        ImagePrepare.fit(np.zeros((4, 5)))


def test_bytes_are_pixels_of_255() -> None:
    pixels = np.array([[[0, 51], [255, 102]]], dtype=np.uint8)
    assert ImagePrepare.fit(pixels)(pixels).numpy().reshape(-1) == pytest.approx([0.0, 0.2, 1.0, 0.4])


# tables


def frame(n: int, seed: int) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    table = pd.DataFrame({"x": draw.normal(3, 5, n), "k": draw.integers(0, 9, n), "w": draw.choice(list("abc"), n)})
    table.loc[draw.random(n) < 0.2, "x"] = np.nan
    table.loc[draw.random(n) < 0.1, "w"] = None
    table["none"] = np.nan
    table["same"] = 7.0
    return table


def test_a_prepared_table_is_what_scikit_learn_makes() -> None:
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    train, test = frame(300, 0), frame(50, 1)
    prepare = TablePrepare.fit(train)
    out = prepare(test).numpy()
    scaler = StandardScaler().fit(train[["x", "k", "same"]])
    numbers = np.nan_to_num(scaler.transform(test[["x", "k", "same"]]))
    gap = test[["x"]].isna().to_numpy()
    hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(train[["w"]].fillna("~"))
    words = hot.transform(test[["w"]].fillna("~"))
    assert out == pytest.approx(np.concatenate([numbers, gap, words], axis=1), abs=1e-5)
    assert prepare.size == out.shape[1] == 3 + 1 + 4
    assert not prepare.differentiable


def test_a_table_takes_what_it_never_saw() -> None:
    train = frame(300, 0)
    odd = pd.DataFrame({"x": [np.inf], "k": ["word"], "w": ["new"], "none": [1.0], "same": [np.nan]})
    out = TablePrepare.fit(train)(odd).numpy()
    assert out.tolist() == [[0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]]


def test_rare_words_share_one_input() -> None:
    many = pd.DataFrame({"w": [f"w{i}" for i in range(150)] + [f"w{i}" for i in range(100)]})
    prepare = TablePrepare.fit(many)
    assert prepare.size == 101
    out = prepare(pd.DataFrame({"w": ["w3", "w120", "w149", "unseen"]})).numpy()
    assert out.sum(axis=1).tolist() == [1, 1, 1, 1]
    assert out.argmax(axis=1)[1:].tolist() == [100, 100, 100]


def test_preparations_come_back_from_their_state() -> None:
    train, test = frame(300, 0), frame(50, 1)
    for prepare, inputs in (
        (TablePrepare.fit(train), test),
        (ImagePrepare.fit(IMAGES), IMAGES),
        (ImagePrepare.fit(IMAGES[:, 0]), IMAGES[:, 0]),
        (TextPrepare.fit(TEXTS, length=9, spelt=True), TEXTS),
    ):
        state = json.loads(json.dumps(prepare.state()))
        again = prepare_from(state)
        assert again == prepare
        assert (again(inputs) == prepare(inputs)).all()


# texts


@given(st.text(max_size=60))
@settings(max_examples=150, deadline=None)
def test_spelt_texts_can_be_read_back(text: str) -> None:
    prepare = TextPrepare.fit(TEXTS, length=12, least=1, spelt=True)
    assert prepare.decode(prepare.encode(text)) == text
    assert all(2 <= i < prepare.vocabulary for i in prepare.encode(text))


def test_words_and_their_ids() -> None:
    prepare = TextPrepare.fit(TEXTS, length=4, least=2)
    assert prepare.pieces == ("the", "cat", "dog", "sat")  # by count, then by the alphabet
    assert prepare.encode("The unheard-of DOG!") == (2, 1, 1, 1, 4, 1)
    ids = prepare(["dog", "", "the the the the the"])
    assert ids.tolist() == [[4, 0, 0, 0], [0, 0, 0, 0], [2, 2, 2, 2]]
    with pytest.raises(TargetError, match="takes texts, and row 1 holds a float"):
        prepare(["a", float("nan")])


def test_padding_changes_nothing() -> None:
    network = made("encoder")
    ids = network.prepare(TEXTS[:1])
    wide = torch.nn.functional.pad(ids, (0, 12 - ids.shape[1]))
    with torch.no_grad():
        assert network.module(wide).numpy() == pytest.approx(network.module(ids).numpy(), abs=1e-6)


def test_embedded_tokens_can_be_given() -> None:
    network = made("encoder")
    ids = network.prepare(TEXTS)
    with torch.no_grad():
        given_ = network.module(ids, network.module.embed_tokens(ids))
        assert (given_ == network.module(ids)).all()


LANGUAGE: dict[str, Any] = {"task": Task.LANGUAGE, "classes": ()}


def by_hand(network: Network, ids: list[int], first: int) -> list[float]:
    """One token at a time, each from all before it."""
    found = []
    for at in range(first, len(ids)):
        with torch.no_grad():
            out = network.module(torch.tensor([ids[:at]]))[0, -1].double().log_softmax(-1)
        found.append(float(out[ids[at]]))
    return found


def test_loglikelihoods_are_one_token_after_the_other() -> None:
    network = made("causal", **LANGUAGE)
    prefixes = ["", "the", "", "A bird! ", "x"]
    texts = ["The cat", " dog", "", "the cat", " a b"]
    found = network.loglikelihood(texts, prefixes)
    for text, prefix, values in zip(texts, prefixes, found, strict=True):
        before, after = network.tokenize([prefix, text])
        assert len(values) == len(after)
        assert list(values) == pytest.approx(by_hand(network, [1, *before, *after], 1 + len(before)), abs=1e-5)


def test_long_texts_are_scored_in_windows() -> None:
    network = made("causal", **LANGUAGE)
    text = "the cat and the dog sat, too " * 6
    (ids,), (values,) = network.tokenize([text]), network.loglikelihood([text])
    assert len(ids) == len(values) > 36
    assert np.isfinite(values).all()
    whole = [1, *ids]
    for at in (5, 11, 12, 17, 18, 30):  # windows of 12 begin at 0, 6, 12 …; each token is scored in the first it is in
        begin = 0 if at < 12 else (at - 12) // 6 * 6 + 6
        with torch.no_grad():
            out = network.module(torch.tensor([whole[begin:at]]))[0, -1].double().log_softmax(-1)
        assert values[at - 1] == pytest.approx(float(out[whole[at]]), abs=1e-5)


def test_perplexity_is_the_mean_loss_raised() -> None:
    network = made("causal", **LANGUAGE)
    scores = np.concatenate(network.loglikelihood(TEXTS))
    assert network.perplexity(TEXTS) == pytest.approx(np.exp(-scores.mean()))
    with pytest.raises(TargetError, match="hold no token"):
        network.perplexity(["", ""])


def test_what_is_written_follows_the_seed() -> None:
    network = made("causal", **LANGUAGE)
    greedy = network.generate(["the cat", ""], max_tokens=4)
    assert greedy == network.generate(["the cat", ""], max_tokens=4, seed=7)
    drawn = [network.generate(["the cat"], max_tokens=12, temperature=1.5, seed=s)[0] for s in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
    (ids,) = network.tokenize(["the cat"])
    with torch.no_grad():
        logits = network.module(torch.tensor([[1, *ids]]))[0, -1]
    first = network.generate(["the cat"], max_tokens=1)[0]
    assert first == network.prepare.decode([2 + int(logits[2:].argmax())])  # type: ignore[attr-defined]
    with pytest.raises(TargetError, match="temperature is -1"):
        network.generate(["a"], temperature=-1)
    with pytest.raises(TargetError, match="'encoder' is no language model"):
        made("encoder").loglikelihood(["a"])


def test_a_language_models_embedding_is_the_mean_over_its_tokens() -> None:
    network = made("causal", **LANGUAGE)
    ids = network.prepare(TEXTS[:1])
    with torch.no_grad():
        mean = network.module.features(ids).mean(1).numpy()
    assert network.embed(TEXTS)[:1] == pytest.approx(mean, abs=1e-5)
