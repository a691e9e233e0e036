"""Changed images, tokens and texts: what is changed, how much, and by whose dice."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.errors import DataError, PlanError  # noqa: E402
from steelyard.models.training.augment import (  # noqa: E402
    IMAGE_WAYS,
    TEXT_WAYS,
    ImageAugment,
    TokenDropout,
    read_ways,
)
from steelyard.models.training.text_augment import TextAugment, read_synonyms  # noqa: E402


@pytest.fixture(autouse=True)
def _dice() -> object:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        yield


IMAGES = torch.rand(400, 2, 6, 5, generator=torch.Generator().manual_seed(1))


def test_flips_mirror_whole_images_at_their_rate() -> None:
    out = ImageAugment(flip=0.3)(IMAGES)
    mirrored = (out == IMAGES.flip(3)).flatten(1).all(1)
    kept = (out == IMAGES).flatten(1).all(1)
    assert bool((mirrored ^ kept).all())
    assert 0.2 < float(mirrored.float().mean()) < 0.4


def test_crops_are_shifts_with_black_coming_in() -> None:
    out = ImageAugment(crop=1)(IMAGES)
    wide = torch.nn.functional.pad(IMAGES, (1, 1, 1, 1))
    found = torch.zeros(3, 3)
    for row in range(400):
        places = [(y, x) for y in range(3) for x in range(3) if (wide[row, :, y : y + 6, x : x + 5] == out[row]).all()]
        assert len(places) == 1
        found[places[0]] += 1
    assert float(found.min()) > 20  # each of the nine shifts is as likely: 44 on average


def test_colours_keep_the_range_and_differ_from_image_to_image() -> None:
    out = ImageAugment(colour=0.5, noise=0.1)(IMAGES)
    assert float(out.min()) >= 0.0
    assert float(out.max()) <= 1.0
    grey = torch.full((300, 1, 4, 4), 0.5)
    bright = ImageAugment(colour=0.2)(grey).mean(dim=(1, 2, 3))
    assert float(bright.std()) == pytest.approx(0.1 / np.sqrt(3), rel=0.15)  # 0.5 · (1 ± 0.2), uniform
    assert float(bright.mean()) == pytest.approx(0.5, abs=0.01)
    noisy = ImageAugment(noise=0.05)(grey)
    assert float((noisy - grey).std()) == pytest.approx(0.05, rel=0.05)


def test_tokens_are_dropped_but_for_the_first_and_the_padding() -> None:
    ids = torch.randint(5, 50, (300, 12))
    ids[:, 9:] = 0
    out = TokenDropout(share=0.2, pad=0, unknown=1)(ids)
    assert (out[:, 0] == ids[:, 0]).all()
    assert (out[:, 9:] == 0).all()
    middle = out[:, 1:9] != ids[:, 1:9]
    assert (out[:, 1:9][middle] == 1).all()
    assert 0.15 < float(middle.float().mean()) < 0.25


def test_ways_are_read() -> None:
    assert read_ways("flip, crop=3,", IMAGE_WAYS, where="x") == {"flip": 0.5, "crop": 3.0}
    assert read_ways("", TEXT_WAYS, where="x") == {}
    for spec in ("crop=1.5", "flip=0", "noise=-1", "colour=much", "crop=nan"):
        with pytest.raises(PlanError, match=r"x: augment \w+ is '.*'; it is "):
            read_ways(spec, IMAGE_WAYS, where="x")


# texts


def edits(one: str, two: str) -> int:
    """The least number of letters left out, put in, replaced, or swapped with the next (Damerau)."""
    table = np.zeros((len(one) + 1, len(two) + 1), dtype=int)
    table[:, 0], table[0] = range(len(one) + 1), range(len(two) + 1)
    for i in range(1, len(one) + 1):
        for j in range(1, len(two) + 1):
            same = int(one[i - 1] != two[j - 1])
            table[i, j] = min(table[i - 1, j] + 1, table[i, j - 1] + 1, table[i - 1, j - 1] + same)
            if i > 1 and j > 1 and one[i - 1] == two[j - 2] and one[i - 2] == two[j - 1]:
                table[i, j] = min(table[i, j], table[i - 2, j - 2] + 1)
    return int(table[-1, -1])


def test_a_typing_error_is_one_edit_of_a_long_word() -> None:
    words = ["remarkable", "fine", "Zebra", "the", "a", "naïveté"]
    rng = np.random.default_rng(0)
    change = TextAugment(typos=1.0)
    for _ in range(100):
        (text,) = change([" ".join(words)], rng)
        found = text.split(" ")
        assert [edits(a, b) <= 1 for a, b in zip(words, found, strict=True)] == [True] * 6
        assert found[3:5] == ["the", "a"]
    rare = TextAugment(typos=0.1)(["remarkable " * 2000], np.random.default_rng(1))[0].split()
    assert 0.06 < np.mean([word != "remarkable" for word in rare]) < 0.13


def test_the_same_dice_give_the_same_texts() -> None:
    one, two = (TextAugment(typos=0.5)(["some longer words here"], np.random.default_rng(4)) for _ in range(2))
    assert one == two


def test_synonyms_keep_the_capital(tmp_path: Path) -> None:
    file = tmp_path / "words.csv"
    file.write_text("film,movie\nGood,fine,\n".replace("fine,", "fine"))
    table = read_synonyms(str(file))
    assert table == {"film": ["movie"], "good": ["fine"]}
    change = TextAugment(synonyms=1.0, table=table)
    assert change(["Film, good film: filmed!"], np.random.default_rng(0)) == ["Movie, fine movie: filmed!"]
    for text in ('{"a": "b"}', '{"a": []}', "[1", '["a"]'):
        (tmp_path / "bad.json").write_text(text)
        with pytest.raises(DataError, match=r"bad\.json: (is no table of synonyms|cannot be read)"):
            read_synonyms(str(tmp_path / "bad.json"))
    with pytest.raises(DataError, match="cannot be read"):
        read_synonyms(str(tmp_path / "nowhere.json"))
