"""Every recipe there is, variants and controls too, trains from a plan by `steelyard train` with a bar on a terminal.

It is kept, its card is in the report, and the report says what it gains and what it costs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
tokenizers = pytest.importorskip("tokenizers")
for library in ("accelerate", "safetensors", "opacus", "peft", "fairlearn"):
    pytest.importorskip(library)

from steelyard.audit.console import BarProgress  # noqa: E402
from steelyard.audit.plan import DataPart  # noqa: E402
from steelyard.audit.types import Modality, Task  # noqa: E402
from steelyard.models.controls.planted_files import plant_files  # noqa: E402
from steelyard.models.controls.shortcut import Shortcut  # noqa: E402
from steelyard.models.recipes.recipe import Recipe  # noqa: E402
from steelyard.models.recipes.registry import RECIPES  # noqa: E402

LITTLE = {
    "epochs": 1, "filters": 4, "hidden": 16, "width": 16, "heads": 2, "layers": 1, "steps": 2, "iterations": 20,
    "words": 300, "length": 24, "least_rows": 30, "max_iter": 50, "folds": 2, "again": 1,
}  # fmt: skip
"""What makes a recipe quick, by the names of the settings."""
LITTLE_CAUSAL = {"epochs": 1, "width": 16, "heads": 2, "layers": 1, "words": 300, "length": 24}


def entry(recipe: Recipe, base: str) -> dict[str, Any]:
    """The recipe as one line of `references`, in its smallest form."""
    mine = {field.name for field in fields(recipe)}
    settings: dict[str, Any] = {name: value for name, value in LITTLE.items() if name in mine}
    if "base" in getattr(recipe, "required", ()):
        settings["base"] = base
    elif "base" in mine and recipe.name not in {"early-stopping", "fine-tune"}:
        settings["base"] = "logistic"  # which trains in a tenth of the time of boosting
    if recipe.alias:
        return {recipe.name: {"variant": recipe.variant, "as": f"again/{recipe.name}", **settings}}
    return {recipe.id: settings}


def save_encoder(folder: Path, texts: list[str]) -> None:
    """A tiny BERT with a tokenizer of whole words, as one is saved from the hub."""
    words = sorted({word for text in texts for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    plain = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    plain.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    made = transformers.PreTrainedTokenizerFast(tokenizer_object=plain, pad_token="[PAD]", unk_token="[UNK]")
    made.save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary), hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=32,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(0)
        transformers.BertModel(config).save_pretrained(folder)


def data(kind: Modality, folder: Path, shared_data: Path) -> dict[str, Any]:
    """The plan's `data`, a few hundred real rows of a modality."""
    if kind is Modality.IMAGE:
        from sklearn.datasets import load_digits

        found = load_digits()
        images = (found.images[:400] / 16).astype(np.float32)
        np.savez(folder / "digits.npz", images=images, y=found.target[:400])
        plain = DataPart(train="digits.npz", held_out=0.4, label="y")
        return dict(plant_files(Shortcut(), plain, folder / "marked", base=folder).data)  # one control asks for marks
    if kind is Modality.TABULAR:
        from steelyard.models.data.bundled import load_bundled

        people = load_bundled("adult").frame.sample(500, random_state=0)
        people.to_csv(folder / "adult.csv", index=False)
        return {"train": "adult.csv", "held_out": 0.4, "label": "income", "positive": ">50K", "groups": ["sex", "race"]}
    lines = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()[:300]
    (folder / "films.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    save_encoder(folder / "encoder", [line.split("\t")[0] for line in lines])
    return {"train": "films.tsv", "held_out": 0.4, "text": "0", "label": "1", "positive": "1"}


KINDS = {
    "table": (Modality.TABULAR, Task.BINARY),
    "images": (Modality.IMAGE, Task.MULTICLASS),
    "texts": (Modality.TEXT, Task.BINARY),
    "language": (Modality.TEXT, Task.LANGUAGE),
}
"""The data that the recipes are driven on."""


def fitting(kind: str) -> list[Recipe]:
    modality, task = KINDS[kind]
    return [recipe for recipe in RECIPES if modality in recipe.modalities and task in recipe.tasks]


def test_no_recipe_is_left_out() -> None:
    driven = {recipe.id for kind in KINDS for recipe in fitting(kind)}
    assert driven == {recipe.id for recipe in RECIPES}


def language(folder: Path, shared_data: Path) -> dict[str, Any]:
    """The plan's `data`, sentences for a language model."""
    lines = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    for name, part in (("train", lines[:200]), ("test", lines[200:300])):
        (folder / f"{name}.txt").write_text("".join(line.split("\t")[0] + "\n" for line in part), encoding="utf-8")
    return {"train": "train.txt", "test": "test.txt", "task": "language"}


TARGETS = {"table": "logistic", "images": "logistic", "texts": "words", "language": "network/causal"}


class Bars:
    """What a terminal is shown: the real bar, and what it was told."""

    def __init__(self) -> None:
        self.totals: list[int | None] = []
        self.notes: list[str] = []
        self.shares: list[float] = []
        self._bar = BarProgress(color=False)

    def start(self, name: str, total: int | None) -> None:
        self.totals += [total] if name == "training references" else []
        self._bar.start(name, total)

    def advance(self, note: str = "") -> None:
        self.notes.append(note)
        self._bar.advance(note)

    def within(self, share: float, note: str) -> None:
        self.shares.append(share)
        self._bar.within(share, note)

    def done(self) -> None:
        self._bar.done()


@pytest.mark.parametrize("kind", KINDS)
def test_all_that_fit_train_are_kept_and_are_in_the_report(
    kind: str, tmp_path: Path, steelyard: Callable[..., Any], shared_data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEELYARD_CACHE", str(tmp_path / "cache"))
    shown = Bars()
    monkeypatch.setattr("steelyard.audit.console.Console.progress", lambda self: shown)
    recipes = fitting(kind)
    spoken = kind == "language"
    gate = (
        {"metric": "privacy.duplicates.within-training", "max": 1}
        if spoken
        else {"metric": "quality.accuracy", "min": 0.2}
    )
    plan = {
        "target": {"kind": "recipe", "name": TARGETS[kind], "settings": LITTLE_CAUSAL if spoken else {}},
        "data": language(tmp_path, shared_data) if spoken else data(KINDS[kind][0], tmp_path, shared_data),
        "references": [entry(recipe, str(tmp_path / "encoder")) for recipe in recipes],
        "probes": ["privacy.duplicates" if spoken else "quality.performance"],
        "gates": [gate],
    }
    first = steelyard("train", plan=plan)
    assert first.code == 0, first.err
    assert first.out.count("trained in") == len(recipes)
    names = [recipe.id if not recipe.alias else f"again/{recipe.name}" for recipe in recipes]
    assert shown.totals == [len(recipes)]
    assert shown.notes == names
    assert all(0 <= share <= 1 for share in shown.shares)
    assert len(shown.shares) >= sum(hasattr(recipe, "epochs") for recipe in recipes)
    again = steelyard("train")
    assert again.out.count("from the cache") == len(recipes)
    found = steelyard("run", "--out", "r")
    assert found.code == 0, found.out
    assert found.crashes == []
    assert found.record["environment"]["training"].keys() == {*names, "candidate"}
    page = (tmp_path / "r" / "report.html").read_text(encoding="utf-8")
    cards = page[page.index('id="references"') :]
    assert all(name in cards for name in names)
    table = (tmp_path / "r" / "report.md").read_text(encoding="utf-8")
    beside = table[table.index("## What each reference gains and what it costs") :]
    assert all(f"| {name} | candidate |" in beside for name in names)
