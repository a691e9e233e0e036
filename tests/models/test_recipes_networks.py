"""The recipes for networks and texts: each learns, is kept, and does what its target says it can."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
pytest.importorskip("safetensors")

from steelyard.audit.errors import DataError, NotApplicable, PlanError, TargetError, UnsafeArtifact  # noqa: E402
from steelyard.audit.target import LanguageTarget, NetworkTarget, Sample, TrainableTarget  # noqa: E402
from steelyard.audit.types import Capability, Modality, Task  # noqa: E402
from steelyard.models.cache import ModelCache, train_reference  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.recipes.causal import CausalRecipe  # noqa: E402
from steelyard.models.recipes.cnn import CnnRecipe  # noqa: E402
from steelyard.models.recipes.encoder import EncoderRecipe  # noqa: E402
from steelyard.models.recipes.fine_tune import RATES, FineTune  # noqa: E402
from steelyard.models.recipes.mlp import MlpRecipe  # noqa: E402
from steelyard.models.recipes.recipe import Recipe  # noqa: E402
from steelyard.models.recipes.registry import NETWORKS, resolve  # noqa: E402
from steelyard.models.recipes.resnet import ResNetRecipe  # noqa: E402
from steelyard.models.recipes.words import Words  # noqa: E402
from steelyard.models.targets.memoised import freeze  # noqa: E402
from steelyard.models.training.watch import Advance, watching  # noqa: E402

OFF = ModelCache()


def table(n: int, seed: int, task: Task = Task.BINARY) -> Sample:
    draw = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": draw.normal(size=n), "word": draw.choice(["red", "green", "blue"], n)})
    signal = frame["x"] + 1.5 * (frame["word"] == "red") + draw.normal(scale=0.3, size=n)
    frame.loc[draw.random(n) < 0.05, "x"] = np.nan
    if task is Task.REGRESSION:
        return sample_from_arrays(frame, 50 + 10 * signal, task="regression")
    if task is Task.BINARY:
        return sample_from_arrays(frame, np.where(signal > 0.5, "in", "out"), positive="in")
    return sample_from_arrays(frame, np.array(["low", "mid", "top"])[np.digitize(signal, [0.0, 1.0])])


def digits(begin: int, end: int) -> Sample:
    from sklearn.datasets import load_digits

    found = load_digits()
    return sample_from_arrays((found.images[begin:end] / 16).astype(np.float32), found.target[begin:end])


def sample_of_texts(texts: list[str], labels: Any, task: Task = Task.BINARY) -> Sample:
    classes = () if labels is None else ("bad", "good")
    return Sample(
        inputs=np.array(texts, dtype=object),
        labels=labels,
        task=task,
        modality=Modality.TEXT,
        fingerprint=f"{hash(tuple(texts))}",
        classes=classes,
    )


def reviews(n: int, seed: int) -> Sample:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    words = [["awful", "dull", "poor", "weak"], ["great", "fine", "bright", "warm"]]
    filler = ["the", "film", "was", "a", "plot", "and", "of", "it"]
    texts = [" ".join([*draw.choice(filler, 5), draw.choice(words[y]), *draw.choice(filler, 3)]) for y in labels]
    return sample_of_texts(texts, labels.astype(np.int64))


def accuracy(target: Any, test: Sample) -> float:
    return float((target.predict(test.inputs) == test.labels).mean())


def majority(test: Sample) -> float:
    assert test.labels is not None
    return float(np.bincount(test.labels).max() / test.n)


# each learns


@pytest.mark.parametrize("task", [Task.BINARY, Task.MULTICLASS, Task.REGRESSION])
def test_the_mlp_learns_tables(task: Task) -> None:
    train, test = table(500, 1, task), table(400, 2, task)
    target, card = train_reference(MlpRecipe(epochs=15, lr=5e-3), train, 0, OFF)
    assert test.labels is not None
    if task is Task.REGRESSION:
        explained = 1 - ((target.predict(test.inputs) - test.labels) ** 2).mean() / test.labels.var()
        assert explained > 0.75
        assert card.metrics["r2"] > 0.8
    else:
        assert accuracy(target, test) > majority(test) + 0.2
    assert len(card.curves) == 15
    assert card.curves[-1]["loss"] < card.curves[0]["loss"]


@pytest.mark.parametrize(
    ("recipe", "least"),
    [
        (MlpRecipe(epochs=12, lr=5e-3), 0.75),
        (CnnRecipe(epochs=10, filters=8, hidden=64, lr=5e-3, dropout=0.1), 0.75),
        (ResNetRecipe(epochs=5, filters=8, lr=5e-3), 0.7),
    ],
    ids=lambda given: getattr(given, "id", ""),
)
def test_networks_learn_images(recipe: Recipe, least: float) -> None:
    test = digits(1400, 1797)
    target, _ = train_reference(recipe, digits(0, 500), 0, OFF)
    assert accuracy(target, test) > least  # the largest class has 10 %


@pytest.mark.parametrize("name", ["logistic", "boosting"])
def test_baselines_take_images_as_columns(name: str) -> None:
    (recipe,) = resolve(name, settings={"iterations": 60} if name == "boosting" else None, modality=Modality.IMAGE)
    target, _ = train_reference(recipe, digits(0, 300), 0, OFF)
    assert accuracy(target, digits(1400, 1797)) > 0.7


@pytest.mark.parametrize(
    "recipe", [EncoderRecipe(epochs=6, lr=3e-3, width=32, layers=1, batch=32), Words()], ids=lambda r: r.id
)
def test_texts_are_learnt(recipe: Recipe) -> None:
    train, test = reviews(400, 1), reviews(300, 2)
    target, card = train_reference(recipe, train, 0, OFF)
    assert accuracy(target, test) > 0.9
    assert card.notes == ()


CAUSAL = CausalRecipe(epochs=16, lr=1e-2, dropout=0.0, width=32, layers=1, heads=2, length=16)


def test_a_language_model_learns_what_follows_what() -> None:
    draw = np.random.default_rng(0)
    lines = [" ".join(draw.permutation(["red", "green", "blue"])) + " end of the line" for _ in range(200)]
    target, card = train_reference(CAUSAL, sample_of_texts(lines, None, Task.LANGUAGE), 0, OFF)
    assert isinstance(target, LanguageTarget)
    # three colours in six orders, then nothing that is open: exp(log 6 / 7 pieces) = 1.29 is the least there can be
    assert 1.28 < card.metrics["perplexity"] < 1.6
    (told,) = target.loglikelihood([" line"], [lines[0].removesuffix(" line")])
    assert told.sum() > np.log(0.8)
    assert target.generate([lines[0].removesuffix(" of the line")], max_tokens=3) == [" of the line"]
    (odd,) = target.loglikelihood(["Ünknown ☃"])
    assert np.isfinite(odd).all()
    with pytest.raises(NotApplicable, match="decides nothing"):
        target.predict(lines)
    assert target.embed(np.array(lines[:3], dtype=object)).shape == (3, 32)


# fine-tuning, of an encoder made on the spot


@pytest.fixture(scope="module")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    folder: Path = tmp_path_factory.mktemp("encoder")
    words = sorted({w for text in reviews(300, 5).inputs for w in text.split()})
    vocabulary = {w: i for i, w in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=40,
    )
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.mark.parametrize(("mode", "lr", "least"), [("full", 3e-3, 0.9), ("lora", 1e-2, 0.9), ("frozen", 3e-2, 0.7)])
def test_fine_tuning_learns_in_each_mode(
    encoder_folder: Path, mode: str, lr: float, least: float, tmp_path: Path
) -> None:
    if mode == "lora":
        pytest.importorskip("peft")
    train, test = reviews(300, 1), reviews(200, 2)
    recipe = FineTune(base=str(encoder_folder), mode=mode, lr=lr, epochs=8, length=64)
    kept = ModelCache(folder=tmp_path)
    target, card = train_reference(recipe, train, 0, kept)
    assert accuracy(target, test) > least
    assert card.settings["base_digest"]
    again, second = train_reference(recipe, train, 0, kept)
    assert second.cached
    assert (again.predict_proba(test.inputs) == target.predict_proba(test.inputs)).all()
    assert all(p.requires_grad for p in target.model.module.parameters())


def test_a_frozen_body_stays_as_it_was(encoder_folder: Path) -> None:
    from safetensors.torch import load_file

    recipe = FineTune(base=str(encoder_folder), mode="frozen", epochs=1)
    network = recipe.fit(reviews(60, 1), 0)
    before = load_file(encoder_folder / "model.safetensors")
    after = network.module.body.state_dict()
    assert all((after[name.removeprefix("bert.")] == value).all() for name, value in before.items())
    full = replace(recipe, mode="full").fit(reviews(60, 1), 0)
    assert not (
        full.module.body.state_dict()["embeddings.word_embeddings.weight"]
        == before["embeddings.word_embeddings.weight"]
    ).all()


@pytest.mark.parametrize("mode", ["full", "frozen", "lora"])
def test_each_mode_has_its_rate_and_a_rate_that_is_written_holds(mode: str, encoder_folder: Path) -> None:
    base = {"base": str(encoder_folder), "mode": mode}
    (recipe,) = resolve("fine-tune", settings=base)
    assert isinstance(recipe, FineTune)
    assert recipe.settings["lr"] == recipe.training.lr == recipe.rate == RATES[mode]
    assert len(set(RATES.values())) == 3
    (written,) = resolve("fine-tune", settings={**base, "lr": "3e-4"})
    assert written.settings["lr"] == written.training.lr == 3e-4  # type: ignore[attr-defined]
    turned = replace(recipe, mode="lora")  # a search does this
    assert turned.settings["lr"] == RATES["lora"]


def test_the_card_says_the_rate_that_was_used(encoder_folder: Path) -> None:
    recipe = FineTune(base=str(encoder_folder), mode="frozen", epochs=1, schedule="constant", warmup=0.0)
    _, card = train_reference(recipe, reviews(40, 1), 0, OFF)
    assert card.settings["lr"] == card.curves[-1]["rate"] == RATES["frozen"]
    _, other = train_reference(replace(recipe, lr=2e-5), reviews(40, 1), 0, OFF)
    assert other.settings["lr"] == other.curves[-1]["rate"] == 2e-5
    assert other.fingerprint != card.fingerprint


def test_a_head_is_trained_before_the_body_moves(encoder_folder: Path, tmp_path: Path) -> None:
    """At a rate of next to nothing only the first part can teach it anything, and the body stays where it was."""
    train, test = reviews(300, 1), reviews(200, 2)
    still = FineTune(base=str(encoder_folder), epochs=2, lr=1e-12)
    probed = replace(still, probe_epochs=25)
    told: list[Advance] = []
    with watching(told.append):
        target, card = train_reference(probed, train, 0, OFF)
    random, _ = train_reference(still, train, 0, OFF)
    assert accuracy(target, test) > 0.7
    assert accuracy(random, test) < 0.65
    assert len(card.curves) == 2
    assert card.curves[0]["loss"] < 0.65  # the body meets a head that is no longer at random
    assert card.notes[0].startswith("the head alone was trained first, to a loss of 0.")
    assert card.settings["probe_epochs"] == 25
    shares = [advance.share for advance in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert {advance.epochs for advance in told} == {27}

    def watch(advance: Advance) -> None:
        if (advance.epoch, advance.step) == (26, 3):
            raise KeyboardInterrupt

    kept = ModelCache(folder=tmp_path)
    with watching(watch), pytest.raises(KeyboardInterrupt):
        train_reference(probed, train, 0, kept)
    told.clear()
    with watching(told.append):
        again, _ = train_reference(probed, train, 0, kept)
    assert (told[0].epoch, told[0].step) == (26, 4)  # the first part is not done again
    assert (again.predict_proba(test.inputs) == target.predict_proba(test.inputs)).all()


def test_a_frozen_body_takes_changed_texts(encoder_folder: Path) -> None:
    recipe = FineTune(base=str(encoder_folder), mode="frozen", epochs=1, augment="typos=0.5", copies=2)
    assert len(recipe.fit(reviews(30, 1), 0).curves.epochs) == 1
    with pytest.raises(PlanError, match="the mode frozen cannot drop tokens anew at each step"):
        replace(recipe, augment="tokens")
    with pytest.raises(PlanError, match="the mode frozen trains the head alone, and has no probe_epochs"):
        replace(recipe, probe_epochs=1)
    with pytest.raises(PlanError, match="probe_epochs is -1; it is a whole number, at least 0"):
        FineTune(base=str(encoder_folder), probe_epochs=-1)


def test_encoders_that_cannot_be_had(encoder_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(PlanError, match=r"network/fine-tune has no base; write fine-tune: \{base: …\}"):
        resolve("fine-tune")
    assert [r.id for r in resolve("network", modality=Modality.TEXT, task=Task.BINARY)] == ["network/encoder"]
    with pytest.raises(TargetError, match="pin the hub's model to a commit of 40 hexadecimal digits"):
        FineTune(base="some/model", revision="main").fit(reviews(20, 1), 0)
    with pytest.raises(TargetError, match="cannot be loaded"):
        FineTune(base=str(tmp_path)).fit(reviews(20, 1), 0)
    with pytest.raises(PlanError, match="mode is 'half'; it is one of full, frozen, lora"):
        FineTune(mode="half")


@pytest.mark.parametrize(
    ("change", "error", "said"),
    [
        (lambda f: (f / "model.safetensors").rename(f / "pytorch_model.bin"), UnsafeArtifact, "weights as a pickle"),
        (lambda f: (f / "adapter_config.json").write_text("{}"), TargetError, "has an adapter beside the model"),
        (lambda f: (f / "model.safetensors").unlink(), TargetError, "has no safetensors file; is it a saved model"),
        (lambda f: (f / "model.safetensors").write_bytes(b"x"), TargetError, "cannot be loaded: .*; is it whole"),
    ],
    ids=["pickle", "adapter", "no weights", "cut"],
)
def test_an_encoder_is_refused_with_the_line_that_a_target_gets(
    change: Any, error: type[Exception], said: str, encoder_folder: Path, tmp_path: Path
) -> None:
    for file in encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    change(tmp_path)
    with pytest.raises(error, match=said) as caught:
        FineTune(base=str(tmp_path)).fit(reviews(20, 1), 0)
    assert "\n" not in str(caught.value)


def test_a_base_that_the_hub_does_not_have_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = pytest.importorskip("huggingface_hub")
    errors = pytest.importorskip("huggingface_hub.errors")
    files: Any = None

    def listed(self: Any, name: str, revision: str) -> list[str]:
        if isinstance(files, list):
            return files
        raise files.__new__(files)  # its constructor wants a response, which is another library's

    monkeypatch.setattr(hub.HfApi, "list_repo_files", listed)
    recipe = FineTune(base="some/model", revision="0" * 40)
    for files, error, said in (  # noqa: B007 `listed` reads it
        (errors.RepositoryNotFoundError, TargetError, "the hub shows no such model"),
        (errors.RevisionNotFoundError, TargetError, f"the hub has no commit {'0' * 40} of it"),
        (["pytorch_model.bin"], UnsafeArtifact, "weights as a pickle"),
    ):
        with pytest.raises(error, match=said):
            recipe.fit(reviews(20, 1), 0)


def test_whether_a_training_is_tracked_does_not_make_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = ModuleType("mlflow")
    for name in ("start_run", "log_metrics", "end_run"):
        setattr(mlflow, name, lambda *_, **__: None)
    mlflow.__spec__ = ModuleSpec("mlflow", None)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    kept, train = ModelCache(folder=tmp_path), table(60, 1)
    first, card = train_reference(MlpRecipe(epochs=1), train, 0, kept)
    again, other = train_reference(MlpRecipe(epochs=1, track="mlflow"), train, 0, kept)
    assert not card.cached
    assert other.cached
    assert first.fingerprint == again.fingerprint
    assert "track" not in other.settings
    assert not train_reference(MlpRecipe(epochs=1, lr=0.1, track="mlflow"), train, 0, kept)[1].cached


def test_another_tokenizer_than_the_weights_is_refused(encoder_folder: Path, tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers")
    for file in encoder_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    many = {f"w{i}": i for i in range(200)} | {"[PAD]": 200, "[UNK]": 201}
    tokenizers.Tokenizer(tokenizers.models.WordLevel(many, unk_token="[UNK]")).save(str(tmp_path / "tokenizer.json"))
    with pytest.raises(
        TargetError, match=r"its tokenizer has 202 tokens, its weights .* they belong to different models"
    ):
        FineTune(base=str(tmp_path)).fit(reviews(20, 1), 0)


# what a target says it can, it can


def small(name: str) -> tuple[Any, Sample]:
    match name:
        case "table":
            train = table(120, 1)
            return MlpRecipe(epochs=1), train
        case "numbers":
            draw = np.random.default_rng(0).normal(size=(90, 4))
            return MlpRecipe(epochs=1), sample_from_arrays(draw, (draw[:, 0] > 0).astype(int))
        case "regression":
            return MlpRecipe(epochs=1), table(120, 1, Task.REGRESSION)
        case "images":
            return CnnRecipe(epochs=1, filters=4, hidden=8), digits(0, 80)
        case "texts":
            return EncoderRecipe(epochs=1, width=16, layers=1), reviews(60, 1)
    raise AssertionError(name)


@pytest.mark.parametrize("name", ["table", "numbers", "regression", "images", "texts"])
def test_capabilities_are_what_it_can(name: str) -> None:
    recipe, train = small(name)
    target, _ = train_reference(recipe, train, 0, OFF)
    assert isinstance(target, TrainableTarget)
    assert isinstance(target, NetworkTarget)
    zeros = np.zeros(train.n, dtype=np.int64)
    asked = {
        Capability.PREDICT: lambda: target.predict(train.inputs),
        Capability.PREDICT_PROBA: lambda: target.predict_proba(train.inputs),
        Capability.LOGITS: lambda: target.logits(train.inputs),
        Capability.EMBED: lambda: target.embed(train.inputs),
        Capability.GRADIENTS: lambda: target.gradients(train.inputs, zeros),
        Capability.FIT_AGAIN: lambda: target.fit_again(train, 1).predict(train.inputs),
    }
    for capability, ask in asked.items():
        if capability in target.capabilities:
            assert len(ask()) == train.n
        else:
            with pytest.raises(NotApplicable):
                ask()
    lacking = {"table": {"gradients"}, "texts": {"gradients"}, "regression": {"gradients", "logits", "predict_proba"}}
    assert {c.value for c in asked if c not in target.capabilities} == lacking.get(name, set())
    if Capability.GRADIENTS in target.capabilities:
        assert target.gradients(train.inputs, zeros).shape == train.inputs.shape
    assert target.recipe == recipe  # type: ignore[attr-defined]


def test_logits_and_gradients_are_in_the_samples_order() -> None:
    """The same network asked for a sample whose classes are the other way round."""
    recipe, train = small("numbers")
    swapped = replace(train, classes=train.classes[::-1], labels=1 - train.labels)
    target, _ = train_reference(recipe, train, 0, OFF)
    other, _ = train_reference(recipe, train, 0, OFF, sample=swapped)
    inputs = train.inputs
    assert (other.logits(inputs) == target.logits(inputs)[:, ::-1]).all()  # type: ignore[union-attr]
    assert (other.predict(inputs) == 1 - target.predict(inputs)).all()
    ones = np.ones(train.n, dtype=np.int64)
    assert (other.gradients(inputs, ones) == target.gradients(inputs, 0 * ones)).all()  # type: ignore[union-attr]


def test_gradients_need_the_columns_of_training_in_their_order() -> None:
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(draw.normal(size=(80, 3)), columns=["a", "b", "c"])
    train = sample_from_arrays(frame, (frame["a"] > 0).astype(int))
    turned = replace(train, inputs=frame[["c", "a", "b"]])
    target, _ = train_reference(MlpRecipe(epochs=1), train, 0, OFF)
    other, _ = train_reference(MlpRecipe(epochs=1), train, 0, OFF, sample=turned)
    assert Capability.GRADIENTS in target.capabilities
    assert Capability.GRADIENTS not in other.capabilities
    assert (other.predict_proba(turned.inputs) == target.predict_proba(frame)).all()  # the rest finds them by name


def test_training_again_is_another_reference_on_the_same_recipe() -> None:
    recipe, train = small("numbers")
    target, _ = train_reference(recipe, train, 0, OFF)
    same, other = target.fit_again(train, 0), target.fit_again(replace(train, fingerprint="other"), 0)
    assert same.fingerprint == target.fingerprint
    assert (same.predict_proba(train.inputs) == target.predict_proba(train.inputs)).all()
    assert other.fingerprint != target.fingerprint


def test_one_pass_gives_decisions_and_probabilities() -> None:
    recipe, train = small("images")
    target, _ = train_reference(recipe, train, 0, OFF)
    frozen = freeze(target, train)
    assert frozen.scores is not None
    assert (frozen.decisions == target.predict(train.inputs)).all()
    assert (frozen.scores == target.predict_proba(train.inputs)).all()


# the cache and the card


@pytest.mark.parametrize("name", ["table", "images", "texts"])
def test_a_network_is_kept_as_safetensors_with_its_card(name: str, tmp_path: Path) -> None:
    recipe, train = small(name)
    kept = ModelCache(folder=tmp_path)
    fresh, first = train_reference(recipe, train, 0, kept)
    again, second = train_reference(recipe, train, 0, kept)
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.is_file()) == [".json", ".safetensors"]
    assert (again.predict_proba(train.inputs) == fresh.predict_proba(train.inputs)).all()
    assert second == replace(first, cached=True)
    assert first.data == train.fingerprint
    assert first.environment["torch"] == torch.__version__
    assert first.environment["device"] in {"cpu", "cuda", "cuda:0"}
    assert first.cost["seconds"] == first.seconds > 0
    assert first.cost["peak_memory"] > 10
    journal = (tmp_path / "journals" / first.fingerprint / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["loss"] for line in journal] == [epoch["loss"] for epoch in first.curves]


def test_a_damaged_network_is_trained_again(tmp_path: Path) -> None:
    recipe, train = small("table")
    kept = ModelCache(folder=tmp_path)
    fresh, card = train_reference(recipe, train, 0, kept)
    file = tmp_path / f"{card.fingerprint}.safetensors"
    file.write_bytes(file.read_bytes()[:-8] + bytes(8))
    again, second = train_reference(recipe, train, 0, kept)
    assert not second.cached
    assert (again.predict_proba(train.inputs) == fresh.predict_proba(train.inputs)).all()


def test_an_interrupted_reference_is_taken_up(tmp_path: Path) -> None:
    recipe, train = MlpRecipe(epochs=4, dropout=0.3), table(200, 1)
    whole, _ = train_reference(recipe, train, 0, OFF)

    def watch(advance: Advance) -> None:
        if (advance.epoch, advance.step) == (3, 2):
            raise KeyboardInterrupt

    kept = ModelCache(folder=tmp_path)
    with watching(watch), pytest.raises(KeyboardInterrupt):
        train_reference(recipe, train, 0, kept)
    assert len(list(tmp_path.glob("partial/*/*.safetensors"))) == 1
    told: list[Advance] = []
    with watching(told.append):
        again, card = train_reference(recipe, train, 0, kept)
    assert (told[0].epoch, told[0].step) == (3, 3)
    assert (again.predict_proba(train.inputs) == whole.predict_proba(train.inputs)).all()
    assert len(card.curves) == 4
    assert not list(tmp_path.glob("partial/*"))


def test_a_setting_makes_another_reference() -> None:
    train = table(60, 1)
    prints = {
        train_reference(MlpRecipe(epochs=1, **m), train, 0, OFF)[1].fingerprint for m in ({}, {"lr": 2e-3}, {"l1": 0.1})
    }
    assert len(prints) == 3


# plans' mistakes


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("mlp", {"lr": "quick"}, "network/mlp: lr is 'quick', not a number"),
        ("mlp", {"epochs": 2.5}, "epochs is 2.5, not a whole number"),
        ("mlp", {"epochs": 0}, "network/mlp: epochs is 0; it is at least 1"),
        ("mlp", {"hidden": 0}, "network/mlp: hidden is 0; it is a whole number, at least 1"),
        ("mlp", {"balance": 1}, "balance is 1, not true or false"),
        ("mlp", {"optimiser": "adam"}, "has no setting 'optimiser'; did you mean 'optimizer'"),
        ("cnn", {"augment": "twirl"}, "network/cnn: augment 'twirl' is not known; it takes flip, crop, colour, noise"),
        ("cnn", {"augment": "flip=2"}, "augment flip is '2'; it is above 0, at most 1"),
        ("encoder", {"augment": "synonyms"}, "the augmentation synonyms is half there"),
        ("mlp", {"track": "mlflow"}, "track: mlflow is not installed; pip install mlflow"),
    ],
)
def test_settings_of_a_plan_are_checked_at_once(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message.replace(".", r"\.")):
        resolve(name, settings=settings)


def test_numbers_as_yaml_writes_them() -> None:
    (recipe,) = resolve("mlp", settings={"lr": "2e-5", "weight_decay": 0})
    assert recipe == MlpRecipe(lr=2e-5, weight_decay=0.0)
    assert isinstance(recipe.settings["weight_decay"], float)


def test_data_that_a_recipe_is_not_for() -> None:
    with pytest.raises(TargetError, match="network/cnn: is for image data, and this is tabular"):
        train_reference(CnnRecipe(), table(40, 1), 0, OFF)
    with pytest.raises(TargetError, match="baseline/words: is for text data, and this is tabular"):
        train_reference(Words(), table(40, 1), 0, OFF)
    with pytest.raises(PlanError, match="augment is for images"):
        MlpRecipe(augment="flip").fit(table(40, 1), 0)
    with pytest.raises(TargetError, match="learns from labels"):
        train_reference(MlpRecipe(), replace(table(40, 1), labels=None), 0, OFF)
    with pytest.raises(TargetError, match="the training texts are empty"):
        CausalRecipe().fit(sample_of_texts(["", ""], None, Task.LANGUAGE), 0)


def test_recipes_say_what_they_are() -> None:
    assert len({recipe.id for recipe in NETWORKS}) == len(NETWORKS) == 6
    for recipe in NETWORKS:
        assert recipe.family == "network"
        assert recipe.summary
        assert recipe.modalities <= {Modality.TABULAR, Modality.IMAGE, Modality.TEXT}
        assert set(recipe.settings) >= {"epochs", "batch", "lr"}


# texts that are changed


def test_synonyms_and_typing_errors_add_rows(tmp_path: Path) -> None:
    file = tmp_path / "words.json"
    file.write_text(json.dumps({"film": ["movie"], "great": ["grand", "superb"]}))
    recipe = EncoderRecipe(epochs=1, augment="synonyms=1.0, tokens", synonyms=str(file), copies=2, width=16, layers=1)
    train = sample_of_texts(["The film was great", "Film was dull"], np.array([1, 0]))
    changed = recipe.changed(train)
    assert len(changed) == 4
    assert {t for t in changed if t.startswith("The")} <= {"The movie was grand", "The movie was superb"}
    assert changed[1] == changed[3] == "Movie was dull"
    _, rows = recipe.start(train, 0)
    assert len(rows) == 6
    assert rows.labels.tolist() == [1, 0] * 3
    assert recipe.settings["synonyms_digest"]
    assert (recipe.fit(train, 0).logits(train.inputs) == recipe.fit(train, 0).logits(train.inputs)).all()
    file.write_text("[]")
    with pytest.raises(DataError, match="is no table of synonyms"):
        recipe.fit(train, 0)


def test_a_translator_is_called_once_and_checked(tmp_path: Path) -> None:
    file = tmp_path / "there_and_back.py"
    file.write_text(
        "def back(texts):\n    return [t.upper() for t in texts]\n\ndef short(texts):\n    return texts[:1]\n"
    )
    recipe = EncoderRecipe(epochs=1, augment="translate", translate=f"{file}:back")
    train = sample_of_texts(["a film", "a plot"], np.array([1, 0]))
    assert recipe.changed(train) == ["A FILM", "A PLOT"]
    with pytest.raises(DataError, match="the back-translation of 2 texts gave no list of 2 texts"):
        replace(recipe, translate=f"{file}:short").changed(train)
    with pytest.raises(PlanError, match="does not load: AttributeError"):
        replace(recipe, translate=f"{file}:missing").changed(train)
    with pytest.raises(PlanError, match=r"it is file\.py:function"):
        replace(recipe, translate="nowhere.py:f").changed(train)
