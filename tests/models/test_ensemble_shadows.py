"""Shadow models: each knows its own rows, whatever the recipe, and comes back from its folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

torch = pytest.importorskip("torch")

from steelyard.audit.errors import TargetError  # noqa: E402
from steelyard.audit.target import Sample  # noqa: E402
from steelyard.audit.types import Modality  # noqa: E402
from steelyard.models.data.arrays import sample_from_arrays  # noqa: E402
from steelyard.models.recipes.boosting import Boosting  # noqa: E402
from steelyard.models.recipes.cnn import CnnRecipe  # noqa: E402
from steelyard.models.recipes.logistic import Logistic  # noqa: E402
from steelyard.models.recipes.mlp import MlpRecipe  # noqa: E402
from steelyard.models.training import ensemble, shadows  # noqa: E402
from steelyard.models.training.shadows import nearest_recipe, train_shadows  # noqa: E402

K, N = 6, 240
MLP = MlpRecipe(epochs=60, lr=0.01, hidden=64, batch=32)


@pytest.fixture(scope="module")
def pool() -> Sample:
    """Labels that only memory can give: what a model knows of a row, it has from that row."""
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.normal(size=(N, 8)), columns=list("abcdefgh")).assign(
        word=rng.choice(["red", "green", "blue"], N)
    )
    return sample_from_arrays(frame, rng.integers(0, 2, N), groups=frame[["word"]])


@pytest.fixture(scope="module")
def members() -> Any:
    return np.random.default_rng(1).random((K, N)) < 0.5


def gain(found: Any, pool: Sample, members: Any) -> float:
    """How much surer the models are of their own rows' labels than of the others'."""
    given = found.scores(pool.inputs, np.asarray(pool.labels))
    return float(given[members].mean() - given[~members].mean())


def test_each_remembers_its_own_rows(pool: Sample, members: Any) -> None:
    found = train_shadows(MLP, pool, members, 0)
    assert found.way == "batched"
    assert len(found) == K
    chances = found.probabilities(pool.inputs)
    assert chances.shape == (K, N, 2)
    np.testing.assert_allclose(chances.sum(axis=2), 1.0)
    assert gain(found, pool, members) > 0.25
    assert abs(gain(found, pool, np.roll(members, 1, axis=0))) < 0.08  # of another model's rows they know nothing


@pytest.mark.parametrize("recipe", [Boosting(iterations=40, least_rows=2), replace(MLP, weight_decay=1e-6)])
def test_other_recipes_are_fitted_one_by_one(recipe: Any, pool: Sample, members: Any) -> None:
    found = train_shadows(recipe, pool, members[:2], 0)
    assert found.way == "fit"
    assert gain(found, pool, members[:2]) > 0.2


def test_a_class_that_a_model_never_saw_has_no_chance(pool: Sample) -> None:
    labels = np.array(["a"] * 100 + ["b"] * 100 + ["c"] * 40)
    sample = sample_from_arrays(pool.inputs[["a", "b"]], labels)
    members = np.stack([np.arange(N) < 200, np.arange(N) >= 100])
    found = train_shadows(Logistic(), sample, members, 0).probabilities(sample.inputs)
    assert found.shape == (2, N, 3)
    assert (found[0, :, 2] == 0).all()
    assert (found[1, :, 0] == 0).all()
    assert (found[0, :, :2] > 0).all()


def test_images_go_the_same_way() -> None:
    from sklearn.datasets import load_digits

    digits = load_digits()
    sample = sample_from_arrays(digits.data[:200], digits.target[:200])
    sample = replace(sample, inputs=(digits.images[:200] / 16).astype(np.float32), modality=Modality.IMAGE)
    members = np.random.default_rng(1).random((2, 200)) < 0.7
    found = train_shadows(
        CnnRecipe(epochs=12, batch=16, lr=0.01, filters=4, hidden=16, dropout=0.0), sample, members, 0
    )
    assert found.way == "batched"
    right = found.probabilities(sample.inputs).argmax(axis=2) == np.asarray(sample.labels)
    assert right.mean() > 0.6


def test_they_are_kept_and_a_broken_file_is_not_believed(
    pool: Sample, members: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(MLP, epochs=3)
    first = train_shadows(recipe, pool, members, 0, folder=tmp_path).probabilities(pool.inputs)
    (path,) = tmp_path.iterdir()
    trained: list[int] = []
    honest = ensemble.train_ensemble

    def counted(*rest: Any, **more: Any) -> Any:
        trained.append(1)
        return honest(*rest, **more)

    monkeypatch.setattr(ensemble, "train_ensemble", counted)
    again = train_shadows(recipe, pool, members, 0, folder=tmp_path).probabilities(pool.inputs)
    np.testing.assert_array_equal(first, again)
    assert not trained
    train_shadows(recipe, pool, members, 1, folder=tmp_path)
    train_shadows(recipe, pool, ~members, 0, folder=tmp_path)
    assert len(trained) == 2
    data = bytearray(path.read_bytes())
    data[-3] ^= 0xFF  # a byte of a weight
    path.write_bytes(bytes(data))
    mended = train_shadows(recipe, pool, members, 0, folder=tmp_path).probabilities(pool.inputs)
    assert len(trained) == 3
    np.testing.assert_array_equal(first, mended)


def test_the_part_of_a_pool_is_those_rows_alone(pool: Sample, members: Any) -> None:
    part = shadows._part(pool, members[0])
    assert part.n == members[0].sum()
    assert part.fingerprint not in {pool.fingerprint, shadows._part(pool, members[1]).fingerprint}
    np.testing.assert_array_equal(part.groups["word"].codes, pool.groups["word"].codes[members[0]])
    pd.testing.assert_frame_equal(part.inputs, pool.inputs[members[0]])


def test_bad_members_and_pools(pool: Sample, members: Any) -> None:
    with pytest.raises(TargetError, match="boolean"):
        train_shadows(MLP, pool, members[:, :5], 0)
    with pytest.raises(TargetError, match="boolean"):
        train_shadows(MLP, pool, members.astype(int), 0)
    with pytest.raises(TargetError, match="class label"):
        train_shadows(MLP, replace(pool, labels=None), members, 0)
    numbers = sample_from_arrays(pool.inputs, np.linspace(0, 1, N), task="regression")
    with pytest.raises(TargetError, match="class label"):
        train_shadows(MLP, numbers, members, 0)
    assert nearest_recipe(pool) == MlpRecipe()
    assert nearest_recipe(numbers) == Boosting()
    assert nearest_recipe(replace(pool, modality=Modality.TEXT)).id == "baseline/words"
