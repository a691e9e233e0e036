"""Texts of like length go through a network together: each answer is its own, and in its place."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.types import Task  # noqa: E402
from steelyard.models.networks.architectures import build  # noqa: E402
from steelyard.models.networks.by_length import by_length  # noqa: E402
from steelyard.models.networks.determinism import seeded  # noqa: E402
from steelyard.models.networks.network import Network  # noqa: E402
from steelyard.models.networks.vocabulary import TextPrepare  # noqa: E402

WORDS = ["the", "cat", "and", "a", "dog", "sat", "down", "by", "some", "old", "wall"]
# 200 texts of 1 to 11 words, the lengths all mixed up, and one without any
TEXTS = ["", *(" ".join((WORDS * 2)[i % 7 : i % 7 + 1 + (i * 37) % 11]) for i in range(200))]


def made(name: str) -> Network:
    prepare = TextPrepare.fit(TEXTS, length=12, least=1, spelt=name == "causal")
    config = {"vocabulary": prepare.vocabulary, "length": 12, "width": 8, "heads": 2, "pad": 0}
    config |= {"classes": 3} if name == "encoder" else {}
    with seeded(3, "weights"):
        module = build(name, **config)
    return Network(
        architecture=name, config=config, module=module, prepare=prepare, task=Task.MULTICLASS, classes=("a", "b", "c")
    )


@pytest.mark.parametrize("name", ["encoder", "causal"])
def test_a_texts_answer_is_the_one_that_it_gets_alone(name: str) -> None:
    """More texts than go through at once, of all lengths and not in their order."""
    network = made(name)
    together = network.embed(TEXTS)
    assert together.std(axis=0).min() > 1e-3  # texts differ, so that a wrong order would be seen
    for i in range(0, len(TEXTS), 7):
        assert together[i] == pytest.approx(network.embed(TEXTS[i : i + 1])[0], abs=1e-5)
    if name == "encoder":
        logits = network.logits(TEXTS)
        assert logits[113] == pytest.approx(network.logits(TEXTS[113:114])[0], abs=1e-5)
        assert list(network.predict(TEXTS)) == [network.classes[k] for k in logits.argmax(axis=1)]


def test_each_batch_is_as_wide_as_its_longest_row() -> None:
    lengths = torch.tensor([9, 1, 5, 1, 9, 5, 1, 0])
    ids = (torch.arange(9)[None, :] < lengths[:, None]).long() * (torch.arange(8)[:, None] + 1)
    widths = []

    def ask(part: torch.Tensor) -> torch.Tensor:
        widths.append(part.shape[1])
        return part[:, 0]

    assert by_length(ids, ask, pad=0, batch=4).tolist() == [1, 2, 3, 4, 5, 6, 7, 0]
    assert widths == [1, 9]
    widths.clear()
    by_length(ids, ask, pad=0, batch=2)
    assert widths == [1, 1, 5, 9]


def test_padding_inside_a_text_does_not_end_it() -> None:
    """As where a tokenizer pads with the sign that also ends a sentence."""
    ids = torch.tensor([[7, 0, 5, 0], [1, 1, 0, 0]])
    assert by_length(ids, lambda part: part.sum(1), pad=0, batch=1).tolist() == [12, 2]
