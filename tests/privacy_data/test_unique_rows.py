"""k-anonymity and l-diversity: hand cases, a brute force, and what a big table costs."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from steelyard.audit.canonical import canonical_json, generator
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.privacy.unique_rows import UniqueRows, equivalence_classes, label_diversity

# Machanavajjhala et al. print a table like this one: four rows each of three classes, one of them of one disease only.
WARD = pd.DataFrame(
    {
        "zip": ["130**"] * 4 + ["1485*"] * 4 + ["130**"] * 4,
        "age": ["<30"] * 4 + [">=40"] * 4 + ["3*"] * 4,
        "disease": ["heart", "heart", "viral", "viral", "cancer", "heart", "viral", "viral", *["cancer"] * 4],
    }
)


def rows(sample: Sample, **settings: object) -> dict[str, Finding]:
    target = wrap(lambda X: np.zeros((len(X), len(sample.classes))) + 1 / len(sample.classes), sample)
    found = UniqueRows(**settings).run(target, sample, References(), generator(0, "x"))
    return {row.metric.rpartition(".")[2]: row for row in found if isinstance(row, Finding)}


def test_the_worked_table() -> None:
    found = rows(sample_from_arrays(WARD[["zip", "age"]], WARD["disease"], None))
    values = {name: row.estimate.value for name, row in found.items()}
    assert values["k"] == 4
    assert values["unique"] == 0
    assert values["small-classes"] == 1.0  # every class has four rows, and k is 5
    assert values["mean-risk"] == pytest.approx(3 / 12)
    assert values["l-distinct"] == 1
    assert values["l-entropy"] == pytest.approx(1.0)
    assert values["homogeneous"] == pytest.approx(4 / 12)
    assert rows(sample_from_arrays(WARD[["zip", "age"]], WARD["disease"]), k=4)["small-classes"].estimate.value == 0


def test_entropy_diversity_by_hand() -> None:
    classes = equivalence_classes(pd.DataFrame({"a": [0, 0, 0, 0, 1, 1]}))
    distinct, entropy = label_diversity(classes, np.array([0, 0, 1, 1, 0, 1]), 2)
    assert distinct.tolist() == [2, 2]
    assert np.exp(entropy).tolist() == pytest.approx([2.0, 2.0])
    distinct, entropy = label_diversity(classes, np.array([0, 0, 0, 1, 1, 1]), 2)
    assert distinct.tolist() == [2, 1]
    assert entropy[0] == pytest.approx(-(0.75 * np.log(0.75) + 0.25 * np.log(0.25)))


cells = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["a", "b", None]), st.booleans()), min_size=1, max_size=60
)


@settings(max_examples=60, deadline=None)
@given(cells)
def test_classes_are_those_of_a_count(drawn: list[tuple[int, str | None, bool]]) -> None:
    frame = pd.DataFrame(drawn, columns=["x", "y", "z"])
    counts = Counter(drawn)
    assert equivalence_classes(frame).of_row.tolist() == [counts[row] for row in drawn]


@settings(max_examples=30, deadline=None)
@given(cells)
def test_a_further_column_never_makes_a_class_larger(drawn: list[tuple[int, str | None, bool]]) -> None:
    frame = pd.DataFrame(drawn, columns=["x", "y", "z"])
    assert (equivalence_classes(frame).of_row <= equivalence_classes(frame[["x", "y"]]).of_row).all()


def test_many_columns_do_not_overflow() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(rng.integers(0, 1000, (500, 40)))
    frame.iloc[250:] = frame.iloc[:250].to_numpy()
    assert (equivalence_classes(frame).of_row == 2).all()


def test_no_content_is_shown_and_the_columns_are_named() -> None:
    frame = WARD[["zip", "age"]].assign(name=[f"secret-{i}" for i in range(12)])
    sample = sample_from_arrays(frame, WARD["disease"], {"ward": ["north"] * 6 + ["south"] * 6})
    found = rows(sample, max_levels=10)
    assert found["k"].detail["columns"] == "ward, zip, age"
    assert "at most 10 values" in str(found["k"].detail["chosen_by"])
    text = canonical_json(list(found.values())) + b"".join(e.data for row in found.values() for e in row.evidence)
    assert b"secret" not in text
    assert b"1485" not in text
    assert rows(sample, columns=("name",))["k"].estimate.value == 1
    assert rows(sample, columns=("ward",))["k"].estimate.value == 6


def test_training_rows_are_read_too_and_faults_are_said() -> None:
    from dataclasses import replace

    sample = sample_from_arrays(WARD[["zip", "age"]], WARD["disease"])
    target = wrap(lambda X: np.full((len(X), 3), 1 / 3), sample)
    both = replace(sample, training=sample)
    found = list(UniqueRows().run(target, both, References(), generator(0, "x")))
    assert {row.where["split"] for row in found if isinstance(row, Finding)} == {"train", "test"}
    (fault,) = UniqueRows(columns=("no",)).run(target, sample, References(), generator(0, "x"))
    assert isinstance(fault, Failure)
    assert "no column is called 'no'" in fault.reason
    numbers = sample_from_arrays(np.random.default_rng(0).normal(size=(200, 2)), np.arange(200.0), task="regression")
    (fault,) = UniqueRows().run(wrap(lambda X: np.zeros(len(X)), numbers), numbers, References(), generator(0, "x"))
    assert isinstance(fault, Failure)
    rest = list(
        UniqueRows(max_levels=500).run(
            wrap(lambda X: np.zeros(len(X)), numbers), numbers, References(), generator(0, "x")
        )
    )
    assert isinstance(rest[-1], Inapplicable)


def test_adult_is_counted_within_a_second(shared_data: Path) -> None:
    parts = [
        pd.read_csv(shared_data / "adult_uci" / name, header=None, skipinitialspace=True, skiprows=skip)
        for name, skip in (("adult.data", 0), ("adult.test", 1))
    ]
    frame = pd.concat(parts, ignore_index=True).iloc[:, :14]
    started = time.process_time()
    classes = equivalence_classes(frame)
    assert time.process_time() - started < 1.0
    oracle = frame.assign(one=1).groupby(list(range(14)), dropna=False)["one"].transform("size")
    assert np.array_equal(classes.of_row, oracle.to_numpy())
