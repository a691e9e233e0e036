"""Duplicates across train and test: what is planted is found, and none is invented."""

from __future__ import annotations

import gzip
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.canonical import generator
from steelyard.audit.errors import ProbeError
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Finding, Inapplicable, Modality
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.privacy.duplicates import Duplicates, twins
from steelyard.probes.privacy.duplicates_near import by_chance, thumbnails
from steelyard.probes.privacy.duplicates_texts import near_texts, shingles


def of(frame: pd.DataFrame | np.ndarray, modality: Modality = Modality.TABULAR) -> Sample:
    sample = sample_from_arrays(frame, np.arange(len(frame)) % 2)
    return replace(sample, modality=modality)


def table(rng: np.random.Generator, n: int) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "age": rng.integers(18, 90, n),
            "pay": rng.lognormal(10, 1, n),
            "hours": rng.normal(40, 8, n),
            "job": rng.choice(["a", "b", "c"], n),
        }
    )


def test_planted_copies_in_a_table_are_found_and_no_others() -> None:
    rng = np.random.default_rng(0)
    train, test = table(rng, 3000), table(rng, 1000)
    test.iloc[:40] = train.iloc[100:140].to_numpy()
    test = test.astype({"age": float, "pay": float, "hours": float})
    for name in ("pay", "hours"):
        jittered = train[name].iloc[200:240] * (1 + rng.uniform(-1, 1, 40) * 1e-4)
        test.loc[40:79, name] = jittered.to_numpy()
    test.loc[40:79, ["age", "job"]] = train[["age", "job"]].iloc[200:240].to_numpy()
    found = twins(of(train), of(test), Duplicates())
    assert found.near is not None
    assert found.exact[:40].all()
    assert not found.exact[40:].any()
    assert found.near[40:80].mean() > 0.9
    assert not found.near[:40].any()
    assert found.near[80:].sum() <= 1
    assert not found.repeated.any()


@pytest.mark.parametrize("columns", [1, 2, 6])
def test_none_is_invented_on_independent_numbers(columns: int) -> None:
    """However dense the rows: with one column of 20,000 numbers everybody is within .01 SD of somebody."""
    rng = np.random.default_rng(columns)
    train, test = rng.normal(size=(20_000, columns)), rng.normal(size=(4000, columns))
    found = twins(of(train), of(test), Duplicates())
    assert found.near is not None
    assert found.exact.sum() == 0
    assert found.near.sum() <= 3  # .4 are allowed on average


def test_the_ratio_keeps_its_rate_where_points_lie_evenly() -> None:
    rng = np.random.default_rng(3)
    for dimension in (1, 2, 4):
        volumes = rng.exponential(size=(100_000, 6)).cumsum(axis=1)  # of a Poisson process about the row
        near, _ = by_chance(volumes ** (1 / dimension), tolerance=1e9)
        assert not near.any()  # all six within the tolerance: it is no distance here
        near, ratio = by_chance(volumes ** (1 / dimension), tolerance=1e-3)
        assert near.mean() <= 3e-4, (dimension, ratio)


def test_several_copies_do_not_hide_each_other() -> None:
    rng = np.random.default_rng(5)
    train, test = rng.normal(size=(500, 3)), rng.normal(size=(200, 3))
    copies = np.repeat(test[:1], 3, axis=0) * (1 + rng.uniform(-1, 1, (3, 3)) * 1e-5)
    found = twins(of(np.concatenate([train, copies])), of(test), Duplicates())
    assert found.near is not None
    assert found.near.tolist() == [True] + [False] * 199


def test_missing_values_and_types_do_not_make_a_difference() -> None:
    train = pd.DataFrame({"a": [1.0, np.nan, 3.0], "b": ["x", None, "z"]})
    test = pd.DataFrame({"b": ["x", None], "a": [1, None]})
    assert twins(of(train), of(test), Duplicates()).exact.tolist() == [True, True]
    words = pd.DataFrame({"b": ["x", "y"]})
    found = list(
        Duplicates().run(
            wrap(lambda X: np.full((len(X), 2), 0.5), of(words)),
            replace(of(words), training=of(words)), References(), generator(0, "d"),
        )
    )  # fmt: skip
    assert isinstance(found[1], Inapplicable)
    with pytest.raises(ProbeError, match="no column in common"):
        twins(of(train), of(pd.DataFrame({"c": [1, 2]})), Duplicates())


def test_repeats_within_the_training_rows() -> None:
    rng = np.random.default_rng(1)
    train = table(rng, 100)
    train.iloc[90:] = train.iloc[:10].to_numpy()
    sample = replace(of(table(rng, 50)), training=of(train))
    rows = list(
        Duplicates().run(wrap(lambda X: np.full((len(X), 2), 0.5), sample), sample, References(), generator(0, "d"))
    )
    values = {row.metric.rpartition(".")[2]: row.estimate for row in rows if isinstance(row, Finding)}
    assert values["within-training"].value == pytest.approx(0.1)
    assert values["within-training"].n == 100
    assert values["exact"].value == 0
    assert values["exact"].high == pytest.approx(1 - 0.025 ** (1 / 50))


def test_images_but_for_brightness_and_noise(shared_data: Path) -> None:
    raw = gzip.decompress((shared_data / "mnist" / "t10k-images-idx3-ubyte.gz").read_bytes())
    images = np.frombuffer(raw, dtype=np.uint8, offset=16).reshape(-1, 28, 28)[:3000] / 255.0
    train, test = images[:2000], images[2000:].copy()
    rng = np.random.default_rng(0)
    test[:50] = train[:50]
    test[50:100] = np.clip(train[50:100] * 0.7 + 0.1 + rng.normal(0, 0.02, (50, 28, 28)), 0, 1)
    found = twins(of(train, Modality.IMAGE), of(test, Modality.IMAGE), Duplicates())
    assert found.near is not None
    assert found.exact[:50].all()
    assert not found.exact[50:].any()
    assert found.near[50:100].mean() > 0.9
    assert found.near[100:].sum() <= 1
    assert np.allclose(thumbnails(train[:5]), thumbnails(train[:5][:, None] * 0.5 + 0.2))
    assert not thumbnails(np.ones((1, 28, 28))).any()


def test_texts_are_matched_by_their_shingles(shared_data: Path) -> None:
    lines = (shared_data / "sst2" / "train.tsv").read_text(encoding="utf-8").splitlines()
    texts = [line.split("\t")[0] for line in lines if len(line.split()) > 15]
    train, test = texts[:1500], texts[1500:2000]
    known = [shingles(text) for text in train]
    truth = [max(len(own & other) / len(own | other) for other in known) for own in map(shingles, test[:60])]
    planted = [t.upper().replace(" ", "  ") + " !" for t in train[:30]] + [f"{t} indeed" for t in train[30:60]]
    found = near_texts(train, planted + test, 0.8)
    assert found[:60].mean() > 0.98
    assert found[60:120].tolist() == [value >= 0.8 for value in truth]
    assert found[60:].mean() < 0.01
    frame = pd.DataFrame({"text": planted + train[:5]})
    made = twins(of(pd.DataFrame({"text": train}), Modality.TEXT), of(frame, Modality.TEXT), Duplicates())
    assert made.near is not None
    assert made.exact.sum() == 5
    assert not (made.near & made.exact).any()
    assert near_texts(["", "a"], ["", "a", "b"], 0.8).tolist() == [False, True, False]
