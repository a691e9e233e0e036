"""Shadow models of an encoder whose body is frozen: the body is asked once, and the heads are those of K fits."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Modality, Task  # noqa: E402
from steelyard.models.networks.pretrained import Pretrained  # noqa: E402
from steelyard.models.recipes.fine_tune import FineTune  # noqa: E402
from steelyard.models.training import heads, shadows  # noqa: E402
from steelyard.models.training.batches import Rows  # noqa: E402
from steelyard.models.training.shadows import train_shadows  # noqa: E402

K, N = 3, 90
WORDS = ["[PAD]", "[UNK]", *(f"w{i}" for i in range(30))]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder: Path = tmp_path_factory.mktemp("encoder")
    known = {word: place for place, word in enumerate(WORDS)}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(known, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    fast.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(WORDS), hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64,
        max_position_embeddings=20,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pool() -> Sample:
    """Texts of one to twelve words, with labels and weights at random."""
    draw = np.random.default_rng(0)
    texts = [" ".join(draw.choice(WORDS[2:], draw.integers(1, 13))) for _ in range(N)]
    return Sample(
        inputs=np.array(texts, dtype=object),
        labels=draw.integers(0, 2, N).astype(np.int64),
        weights=draw.uniform(0.5, 2.0, N),
        task=Task.BINARY,
        modality=Modality.TEXT,
        fingerprint="a pool",
        classes=("bad", "good"),
    )


MEMBERS = np.random.default_rng(1).random((K, N)) < 0.5


def recipe(folder: Path, *, epochs: int = 8, **more: Any) -> FineTune:
    return FineTune(base=str(folder), mode="frozen", epochs=epochs, lr=1e-2, **more)


@pytest.mark.parametrize("more", [{}, {"patience": 2, "validation": 0.3, "dropout": 0.0}, {"balance": True}])
def test_heads_are_those_of_separate_fits(encoder: Path, pool: Sample, more: dict[str, Any]) -> None:
    quick = train_shadows(recipe(encoder, **more), pool, MEMBERS, 0)
    slow = shadows._fitted(recipe(encoder, **more), pool, MEMBERS, 0, 1)
    assert (quick.way, slow.way) == ("heads", "fit")
    asked = np.array([*pool.inputs[:20], "w1 w2 w3"], dtype=object)
    for inputs in (pool.inputs, asked):
        np.testing.assert_allclose(quick.probabilities(inputs), slow.probabilities(inputs), atol=1e-5)
    found = quick.probabilities(pool.inputs)
    assert np.abs(found[0] - found[1]).max() > 0.01  # and they are K models, not one


def test_the_body_sees_each_row_once(encoder: Path, pool: Sample, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[int] = []
    honest = Pretrained.features

    def counted(self: Any, inputs: Any, embedded: Any = None) -> Any:
        rows.append(len(inputs))
        return honest(self, inputs, embedded)

    monkeypatch.setattr(Pretrained, "features", counted)
    found = train_shadows(recipe(encoder), pool, MEMBERS, 0)
    assert sum(rows) == N
    found.probabilities(pool.inputs)
    assert sum(rows) == N  # these are known
    found.probabilities(pool.inputs[:7])
    assert sum(rows) == N + 7  # once, and not once for each of the K


def test_heads_are_kept(encoder: Path, pool: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = train_shadows(recipe(encoder), pool, MEMBERS, 0, folder=tmp_path).probabilities(pool.inputs)
    monkeypatch.setattr(heads, "train_heads", None)
    again = train_shadows(recipe(encoder), pool, MEMBERS, 0, folder=tmp_path).probabilities(pool.inputs)
    np.testing.assert_array_equal(first, again)


def test_what_moves_the_body_or_the_texts_is_fitted(encoder: Path, pool: Sample) -> None:
    plain = replace(pool, weights=None)
    for other in (replace(recipe(encoder), mode="full", epochs=1), recipe(encoder, augment="typos", epochs=1)):
        assert train_shadows(other, plain, MEMBERS[:1], 0).way == "fit"


def test_features_do_not_depend_on_the_padding(encoder: Path, pool: Sample) -> None:
    network, rows = recipe(encoder).start(pool, 0)
    found = heads.fixed_features(network.module, rows)
    np.testing.assert_allclose(found.numpy(), network.embed(pool.inputs), atol=1e-5)
    (alone,) = heads.fixed_features(
        network.module, Rows(inputs=rows.inputs[4:5], labels=rows.labels[4:5], pad=rows.pad)
    )
    np.testing.assert_allclose(alone.numpy(), found[4].numpy(), atol=1e-5)
