"""A fingerprint follows the content and nothing else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.models.data.fingerprint import fingerprint_array, fingerprint_inputs
from steelyard.models.data.tables import read_table

words = st.lists(st.text("abcxyz ", min_size=1, max_size=4), min_size=2, max_size=12)
numbers = st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=2, max_size=12)


@given(words)
@settings(max_examples=60, deadline=None)
def test_text_category_and_object_are_one(values: list[str]) -> None:
    plain = pd.DataFrame({"w": pd.Series(values, dtype=object)})
    assert fingerprint_inputs(plain) == fingerprint_inputs(plain.astype("string"))
    assert fingerprint_inputs(plain) == fingerprint_inputs(plain.astype("category"))


@given(words, st.randoms(use_true_random=False))
@settings(max_examples=60, deadline=None)
def test_row_order_counts(values: list[str], random: object) -> None:
    shuffled = list(values)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, two = (fingerprint_inputs(pd.DataFrame({"w": v})) for v in (values, shuffled))
    assert (one == two) == (values == shuffled)


@given(numbers, st.integers(0, 11), st.floats(0.5, 3))
@settings(max_examples=60, deadline=None)
def test_every_value_counts(values: list[float], place: int, step: float) -> None:
    changed = list(values)
    changed[place % len(values)] += step
    assert fingerprint_array(np.array(values)) != fingerprint_array(np.array(changed))


def test_csv_and_parquet_of_the_same_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({"n": [1, 2, 3], "x": [0.5, np.nan, -0.0], "w": ["a", None, "b"], "b": [True, False, True]})
    frame.to_csv(tmp_path / "t.csv", index=False)
    frame.to_parquet(tmp_path / "t.parquet")
    one, two = (fingerprint_inputs(read_table(name, base=tmp_path)) for name in ("t.csv", "t.parquet"))
    assert one == two


def test_widths_are_one_and_kinds_are_not() -> None:
    ints = np.array([0, 1, 1])
    assert fingerprint_array(ints.astype("int8")) == fingerprint_array(ints.astype("int64"))
    digests = {fingerprint_array(ints.astype(kind)) for kind in ("int64", "float64", "bool", "str")}
    assert len(digests) == 4
    assert fingerprint_array(None) != fingerprint_array(np.array([]))


def test_names_order_and_missing_values_count() -> None:
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0]})
    others = [
        frame.rename(columns={"a": "c"}),
        frame[["b", "a"]],
        frame.assign(a=[1.0, np.nan]),
        frame.assign(a=["1.0", "2.0"]),
        frame.iloc[:1],
    ]
    assert len({fingerprint_inputs(f) for f in (frame, *others)}) == len(others) + 1


def test_the_digest_of_a_known_table_is_for_ever() -> None:
    """Golden: records made on another machine, or years ago, name the same data by the same digest."""
    frame = pd.DataFrame({"n": [1, 2], "x": [0.5, np.nan], "w": ["a", None]})
    assert fingerprint_inputs(frame) == "c78b942193f007cc694546b88b6d19201169def2034d86d07db90c6523594a0d"


def test_shape_counts() -> None:
    array = np.arange(6)
    assert fingerprint_array(array.reshape(2, 3)) != fingerprint_array(array.reshape(3, 2))
