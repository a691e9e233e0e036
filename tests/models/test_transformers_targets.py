"""Text classifiers and language models: batches answer as single texts do, and what was never trained is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")

from steelyard.audit.errors import NotApplicable, TargetError, UnsafeArtifact  # noqa: E402
from steelyard.audit.plan import DataPart, TargetPart  # noqa: E402
from steelyard.audit.target import LanguageTarget, Sample  # noqa: E402
from steelyard.audit.types import Capability  # noqa: E402
from steelyard.models.data.load import load_samples  # noqa: E402
from steelyard.models.targets.load import load_target  # noqa: E402
from steelyard.models.targets.tokens import Around  # noqa: E402
from steelyard.models.targets.windows import causal_windows, masked_windows  # noqa: E402

VOCABULARY = "the a cat dog sat ran on under mat tree and slept then it was good bad very not null"
WORDS = VOCABULARY.split()
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[BOS]"]
TEXTS = ["the cat sat on the mat", "a dog ran", "the", "it was not very good and then the dog slept under a tree"]
SIZES: dict[str, Any] = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}


def write_tokenizer(folder: Path, *, around: bool = False, start: bool = False, more: int = 0) -> None:
    vocabulary = {word: place for place, word in enumerate([*SPECIAL, *WORDS, *(f"w{i}" for i in range(more))])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    if around:
        plain.post_processor = tokenizers.processors.TemplateProcessing(
            single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
        )
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]"} | ({"bos_token": "[BOS]"} if start else {})
    named |= {"cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"} if around else {}
    transformers.PreTrainedTokenizerFast(tokenizer_object=plain, **named).save_pretrained(folder)


def save(folder: Path, kind: str, config: Any, **tokenizer: Any) -> Path:
    transformers.utils.logging.disable_progress_bar()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        config.initializer_range = 0.5  # answers that differ from text to text
        getattr(transformers, kind)(config).save_pretrained(folder)
    write_tokenizer(folder, **tokenizer)
    return folder


def bert(**given: Any) -> Any:
    return transformers.BertConfig(vocab_size=26, max_position_embeddings=24, **SIZES, **given)


def gpt2(**given: Any) -> Any:
    sizes = {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 24}
    return transformers.GPT2Config(vocab_size=26, bos_token_id=5, eos_token_id=0, **sizes, **given)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    base = tmp_path_factory.mktemp("hf")
    names = {0: "bad", 1: "good"}
    return {
        "classifier": save(base / "classifier", "BertForSequenceClassification", bert(id2label=names), around=True),
        "decoder": save(base / "decoder", "GPT2ForSequenceClassification", gpt2(num_labels=2)),
        "causal": save(base / "causal", "GPT2LMHeadModel", gpt2(), start=True),
        "no start": save(base / "nostart", "GPT2LMHeadModel", gpt2()),
        "masked": save(base / "masked", "BertForMaskedLM", bert(), around=True),
        "body": save(base / "body", "BertModel", bert(), around=True),
    }


def texts_sample(
    labels: Any = ("good", "bad", "good", "bad"), positive: str | None = "good", repeat: int = 3
) -> Sample:
    from steelyard.models.data.sample import build_sample

    frame = pd.DataFrame({"text": TEXTS * 3, "label": list(labels) * 3})
    return build_sample(frame, DataPart(text="text", label="label", positive=positive))


LANGUAGE = load_samples(DataPart(task="language"), target=None, base=Path()).test


def load(folder: Path, sample: Sample, **given: Any) -> Any:
    return load_target(TargetPart(kind="transformers", path=folder.name, **given), base=folder.parent, sample=sample)


def ids_of(text: str) -> list[int]:
    known = [*SPECIAL, *WORDS]
    return [known.index(word) for word in text.split()]


def reference(folder: Path, auto: str) -> Any:
    return getattr(transformers, auto).from_pretrained(folder).eval()


# classifiers


@pytest.mark.parametrize("kind", ["classifier", "decoder"])
def test_a_classifier_answers_as_text_by_text(kind: str, folders: dict[str, Path]) -> None:
    sample = texts_sample() if kind == "classifier" else texts_sample(labels=(1, 0, 1, 0), positive=None)
    target = load(folders[kind], sample)
    model = reference(folders[kind], "AutoModelForSequenceClassification")
    with torch.no_grad():
        around = [[2], [3]] if kind == "classifier" else [[], []]
        alone = [model(torch.tensor([around[0] + ids_of(t) + around[1]])).logits[0].numpy() for t in TEXTS]
    z = np.array(alone * 3)
    assert np.allclose(target.logits(sample.inputs), z, atol=1e-5)
    assert (target.predict(sample.inputs) == z.argmax(axis=1)).all()
    assert len(np.unique(z.round(3), axis=0)) == 4  # four texts, four answers
    hidden = target.embed(sample.inputs)
    last = model.classifier if kind == "classifier" else model.score
    with torch.no_grad():
        assert np.allclose(last(torch.tensor(hidden, dtype=torch.float32)).numpy(), z, atol=1e-5)
    assert Capability.GRADIENTS not in target.capabilities
    with pytest.raises(NotApplicable, match="has not the capability gradients"):
        target.gradients(sample.inputs, sample.labels)


def test_class_names_are_mapped_once(folders: dict[str, Path]) -> None:
    one, other = (load(folders["classifier"], texts_sample(positive=p)) for p in ("good", "bad"))
    assert np.allclose(one.predict_proba(np.array(TEXTS)), other.predict_proba(np.array(TEXTS))[:, ::-1])
    with pytest.raises(TargetError, match=r"its classes are 'bad', 'good', .* 'no', 'yes'; say in target\.settings"):
        load(folders["classifier"], texts_sample(labels=("no", "yes", "no", "yes"), positive="yes"))
    said = {"classes": ["no", "yes"]}
    named = load(folders["classifier"], texts_sample(("no", "yes", "no", "yes"), "yes"), settings=said)
    assert np.allclose(named.predict_proba(np.array(TEXTS)), one.predict_proba(np.array(TEXTS)))
    unnamed = load(folders["decoder"], texts_sample(labels=(1, 0, 1, 0), positive=None))
    assert "in the order 0, 1" in unnamed.description


def test_texts_come_in_any_form_and_long_ones_are_cut(folders: dict[str, Path]) -> None:
    target = load(folders["classifier"], texts_sample())
    expected = target.predict_proba(np.array(TEXTS, dtype=object))
    for form in (pd.Series(TEXTS), pd.DataFrame({"t": TEXTS, "n": range(4)}), np.array(TEXTS)):
        assert np.allclose(target.predict_proba(form), expected)
    with pytest.raises(TargetError, match="takes texts, and 1 of 2 inputs are none"):
        target.predict(np.array(["a", None], dtype=object))
    long = texts_sample()
    long.inputs[0] = "the cat " * 40
    cut = load(folders["classifier"], long)
    assert "1 of 12 texts are longer than 24 tokens, and are cut" in cut.description


# language models


def alone_causal(model: Any, prefix: list[int], body: list[int]) -> Any:
    with torch.no_grad():
        scores = torch.log_softmax(model(torch.tensor([[*prefix, *body]])).logits[0].double(), dim=1)
    return np.array([scores[len(prefix) + i - 1, token].item() for i, token in enumerate(body)])


def test_causal_scores_in_batches_are_those_one_by_one(folders: dict[str, Path]) -> None:
    target = load(folders["causal"], LANGUAGE)
    assert isinstance(target, LanguageTarget)
    assert target.scoring == "causal"
    model = reference(folders["causal"], "AutoModelForCausalLM")
    assert target.tokenize(TEXTS) == [tuple(ids_of(text)) for text in TEXTS]
    for text, found in zip(TEXTS, target.loglikelihood(TEXTS), strict=True):
        assert np.allclose(found, alone_causal(model, [5], ids_of(text)), atol=1e-4)
    prefixes = ["a dog", "", "the cat and", "it was"]
    for text, prefix, found in zip(TEXTS, prefixes, target.loglikelihood(TEXTS, prefixes), strict=True):
        assert np.allclose(found, alone_causal(model, ids_of(prefix) or [5], ids_of(text)), atol=1e-4)
    assert [len(found) for found in target.loglikelihood(["", "a"])] == [0, 1]


def test_without_a_start_token_the_first_token_has_no_score(folders: dict[str, Path]) -> None:
    target = load(folders["no start"], LANGUAGE)
    model = reference(folders["no start"], "AutoModelForCausalLM")
    (found,) = target.loglikelihood([TEXTS[0]])
    assert np.isnan(found[0])
    assert np.allclose(found[1:], alone_causal(model, ids_of("the"), ids_of(TEXTS[0])[1:]), atol=1e-4)
    with pytest.raises(TargetError, match="the model no start token"):
        target.generate([""])


def test_masked_scores_are_those_of_one_mask_at_a_time(folders: dict[str, Path]) -> None:
    target = load(folders["masked"], LANGUAGE)
    model = reference(folders["masked"], "AutoModelForMaskedLM")
    prefixes = ["a dog", "", "", ""]
    for text, prefix, found in zip(TEXTS, prefixes, target.loglikelihood(TEXTS, prefixes), strict=True):
        before, body = ids_of(prefix), ids_of(text)
        for i, token in enumerate(body):
            ids = [2, *before, *body, 3]
            ids[1 + len(before) + i] = 4
            with torch.no_grad():
                z = model(torch.tensor([ids])).logits[0, 1 + len(before) + i].double()
            assert found[i] == pytest.approx(torch.log_softmax(z, 0)[token].item(), abs=1e-4)
    with pytest.raises(NotApplicable, match="has not the capability generate"):
        target.generate(["a"])


def test_long_texts_are_read_in_windows(folders: dict[str, Path]) -> None:
    """40 words in a context of 24: sliding by 6, every token is scored as in the window that it is last seen in."""
    text = " ".join(WORDS[i % 20] for i in range(40))
    target = load(folders["causal"], LANGUAGE, settings={"window": 12, "stride": 6})
    model = reference(folders["causal"], "AutoModelForCausalLM")
    (found,) = target.loglikelihood([text])
    whole = [5, *ids_of(text)]
    for place in range(1, 41):
        end = 12 if place < 12 else 12 + 6 * ((place - 12) // 6 + 1)
        begin = max(0, min(end, 41) - 12)
        expected = alone_causal(model, whole[begin:place], whole[place : place + 1])[0]
        assert found[place - 1] == pytest.approx(expected, abs=1e-4)
    assert "windows of 12 tokens that move by 6" in target.description
    (masked,) = load(folders["masked"], LANGUAGE).loglikelihood([text])
    assert np.isfinite(masked).all()
    assert len(masked) == 40


@pytest.mark.parametrize("n", [1, 5, 11, 12, 13, 30])
@pytest.mark.parametrize("window", [4, 7, 12])
def test_windows_score_each_token_once(n: int, window: int) -> None:
    frame = Around(left=(2,), right=(3,), start=5)
    body = tuple(range(100, 100 + n))
    for stride in (1, 3, window - 1):
        jobs = list(causal_windows(0, (9,), body, frame=frame, window=window, stride=stride))
        assert [token for job in jobs for token in job.wanted] == list(body)
        for job in jobs:
            assert len(job) <= window
            assert tuple(job.ids()[job.at + 1 : job.at + 1 + len(job.wanted)]) == job.wanted
            assert job.first == body.index(job.wanted[0])
            assert job.begin == 0 or job.at + 1 >= window - stride
    for job in masked_windows(0, (9,), body, frame=frame, mask=4, window=window):
        ids = job.ids()
        assert len(ids) == len(job) <= window
        assert ids[job.at] == 4
        ids[job.at] = job.wanted[0]
        assert ids[1:-1] == list(job.whole[job.begin : job.end])


def test_generation_is_greedy_or_drawn_by_the_seed(folders: dict[str, Path]) -> None:
    before = torch.get_rng_state()
    target = load(folders["causal"], LANGUAGE)
    model = reference(folders["causal"], "AutoModelForCausalLM")
    prompts = ["the cat", "a dog ran", "the cat", "it was not", ""]
    greedy = target.generate(prompts, max_tokens=6)
    for prompt, text in zip(prompts, greedy, strict=True):
        ids = ids_of(prompt) or [5]
        for word in text.split():
            with torch.no_grad():
                token = model(torch.tensor([ids])).logits[0, -1].argmax().item()
            assert [*SPECIAL, *WORDS][token] == word
            ids.append(token)
    assert greedy[0] == greedy[2]
    drawn = target.generate(prompts, max_tokens=6, temperature=1.0, seed=3)
    assert drawn == target.generate(prompts, max_tokens=6, temperature=1.0, seed=3)
    assert drawn != target.generate(prompts, max_tokens=6, temperature=1.0, seed=4)
    assert drawn[0] != drawn[2]  # the second time a prompt comes it gets another draw
    again = target.generate(prompts[::-1], max_tokens=6, temperature=1.0, seed=3)
    assert sorted(again) == sorted(drawn)
    assert torch.equal(before, torch.get_rng_state())
    assert len(target.generate(["the cat " * 20], max_tokens=4)[0].split()) <= 4


def test_drawn_tokens_follow_the_model_s_distribution(folders: dict[str, Path]) -> None:
    target = load(folders["causal"], LANGUAGE)
    model = reference(folders["causal"], "AutoModelForCausalLM")
    with torch.no_grad():
        p = torch.softmax(model(torch.tensor([ids_of("the cat")])).logits[0, -1].double() / 2.0, 0).numpy()
    drawn = target.generate(["the cat"] * 2000, max_tokens=1, temperature=2.0, seed=1)
    top = int(p[len(SPECIAL) :].argmax()) + len(SPECIAL)
    share = np.mean([text == [*SPECIAL, *WORDS][top] for text in drawn])
    assert abs(share - p[top]) < 4 * np.sqrt(p[top] * (1 - p[top]) / 2000)


@pytest.mark.parametrize("kind", ["causal", "masked"])
def test_embeddings_are_means_over_the_tokens(kind: str, folders: dict[str, Path]) -> None:
    target = load(folders[kind], LANGUAGE)
    model = reference(folders[kind], "AutoModel")
    found = target.embed(np.array(TEXTS, dtype=object))
    for text, row in zip(TEXTS, found, strict=True):
        ids = ids_of(text) if kind == "causal" else [2, *ids_of(text), 3]
        with torch.no_grad():
            assert np.allclose(row, model(torch.tensor([ids])).last_hidden_state[0].mean(0).numpy(), atol=1e-5)


# what is refused


def test_a_head_that_was_never_trained_is_refused(folders: dict[str, Path]) -> None:
    for head, sample in (("masked", LANGUAGE), ("classifier", texts_sample())):
        with pytest.raises(TargetError, match=rf"lacks weights of the {head} head.*answers at random") as caught:
            load(folders["body"], sample, head=head)
        assert "\n" not in str(caught.value)
    with pytest.raises(TargetError, match=r"its config says BertModel; set target\.head"):
        load(folders["body"], LANGUAGE)


def test_heads_and_tasks_that_do_not_go_together(folders: dict[str, Path]) -> None:
    with pytest.raises(TargetError, match="decides nothing, and the task is binary"):
        load(folders["causal"], texts_sample())
    with pytest.raises(TargetError, match="decides, and the task is language"):
        load(folders["classifier"], LANGUAGE)


def copied(source: Path, to: Path, **config: Any) -> Path:
    to.mkdir()
    for path in source.iterdir():
        (to / path.name).write_bytes(path.read_bytes())
    plain = json.loads((to / "config.json").read_bytes())
    (to / "config.json").write_text(json.dumps({**plain, **config}))
    return to


def as_pickle(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def without_tokenizer(folder: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).unlink(missing_ok=True)


BAD: dict[str, tuple[dict[str, Any], Any, str]] = {
    "sizes": ({"intermediate_size": 30}, None, r"does not fit config\.json: .* is .* and should be .* more"),
    "pickle": ({}, as_pickle, "has its weights as a pickle"),
    "no weights": ({}, lambda f: (f / "model.safetensors").unlink(), "has no safetensors file"),
    "cut": ({}, lambda f: (f / "model.safetensors").write_bytes(b"x"), "cannot be loaded"),
    "no config": ({}, lambda f: (f / "config.json").unlink(), r"has no config\.json"),
    "odd config": ({}, lambda f: (f / "config.json").write_text("{"), r"config\.json cannot be read"),
    "adapter": ({}, lambda f: (f / "adapter_config.json").write_text("{}"), "has an adapter beside the model"),
    "own code": (
        {"auto_map": {"AutoConfig": "c.C"}, "model_type": "mine"},
        None,
        "needs the Python code in its",
    ),
    "no tokenizer": ({}, without_tokenizer, "its tokenizer cannot be loaded|its tokenizer knows no words"),
    "tokenizer": ({}, lambda f: write_tokenizer(f, around=True, more=9), "has 35 tokens and the model 26 embeddings"),
    "several labels": ({"problem_type": "multi_label_classification"}, None, "gives several labels at once"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_does_not_fit_is_one_line(case: str, folders: dict[str, Path], tmp_path: Path) -> None:
    config, change, message = BAD[case]
    folder = copied(folders["classifier"], tmp_path / "m", **config)
    if change is not None:
        change(folder)
    with pytest.raises(TargetError, match=message) as caught:
        load(folder, texts_sample())
    assert "\n" not in str(caught.value)
    if case in {"pickle", "own code"}:
        assert isinstance(caught.value, UnsafeArtifact)


def test_a_hub_id_needs_its_commit(tmp_path: Path) -> None:
    for given, message in (
        ({"path": "openai/gpt2"}, "as a hub id it needs the commit; set target.revision to the 40"),
        ({"path": "openai/gpt2", "revision": "main"}, "needs the commit"),
        ({"path": "../gone/model"}, "is no folder, and no hub id"),
    ):
        with pytest.raises(TargetError, match=message):
            load_target(TargetPart(kind="transformers", **given), base=tmp_path, sample=LANGUAGE)


def test_numbers_are_no_texts(folders: dict[str, Path]) -> None:
    from steelyard.models.data.arrays import sample_from_arrays

    with pytest.raises(TargetError, match="takes texts, and"):
        load(folders["classifier"], sample_from_arrays(np.zeros((4, 2)), ["good", "bad"] * 2, positive="good"))
