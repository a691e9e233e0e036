"""Rows taken, pooled and made into numbers, and the model that remembers them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.errors import ProbeError
from steelyard.audit.types import Modality
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.probes.privacy.memoriser import Memoriser, believed, control
from steelyard.probes.privacy.rows import Encoder, inside_and_outside, pooled, take
from steelyard.probes.privacy.telling import tell


@pytest.fixture
def tables():
    first = pd.DataFrame({"x": [1.0, 2.0, np.nan, 5.0], "w": ["a", "b", "a", None]})
    second = pd.DataFrame({"x": [9.0, 2.0], "w": ["c", "a"]})
    a = sample_from_arrays(first, [0, 1, 0, 1], {"sex": ["f", "m", "f", "m"], "only": ["u", "v", "u", "v"]})
    b = sample_from_arrays(second, [1, 0], {"sex": ["m", None]})
    return a, b


def test_pooled_rows_keep_their_words_and_groups(tables):
    a, b = tables
    both = pooled(a, b)
    assert both.inputs["w"].tolist()[4:] == ["c", "a"]
    assert both.labels.tolist() == [0, 1, 0, 1, 1, 0]
    assert list(both.groups) == ["sex"]
    sex = both.groups["sex"]
    assert [sex.levels[code] for code in sex.codes] == ["f", "m", "f", "m", "m", "unknown"]
    assert sex.levels[sex.unknown] == "unknown"
    assert both.fingerprint not in {a.fingerprint, b.fingerprint}
    with pytest.raises(ProbeError, match="classes"):
        pooled(a, replace(b, classes=("no", "yes")))


def test_taken_rows_are_a_sample_of_their_own(tables):
    a, _ = tables
    some = take(a, np.array([3, 0]))
    assert some.inputs["x"].tolist() == [5.0, 1.0]
    assert some.inputs.index.tolist() == [0, 1]
    assert some.labels.tolist() == [1, 0]
    assert some.fingerprint != take(a, np.array([0, 3])).fingerprint


def test_members_without_ids_are_called_by_their_rows(world):
    inside, outside = inside_and_outside(world.sample, np.random.default_rng(0), 50)
    assert len(inside.inputs) == len(outside.inputs) == 50
    training = world.sample.training
    for row, k in enumerate(inside.ids[:5]):
        assert training.inputs["a"].iloc[k] == inside.inputs["a"].iloc[row]
    with pytest.raises(ProbeError, match="training rows"):
        inside_and_outside(training, np.random.default_rng(0), 50)


def test_inputs_become_numbers_in_the_way_of_the_rows_they_were_fitted_on(tables):
    a, b = tables
    encoder = Encoder.fit(a)
    matrix = encoder(a.inputs)
    assert matrix[:, 0].tolist() == pytest.approx([(v - 8 / 3) / np.std([1, 2, 5]) for v in (1.0, 2.0, 8 / 3, 5.0)])
    unseen = encoder(b.inputs)[0]
    assert (unseen[1:] == 0).all()  # the word "c" was not there
    images = replace(a, inputs=np.arange(16.0).reshape(4, 2, 2), modality=Modality.IMAGE)
    assert Encoder.fit(images)(images.inputs).shape == (4, 4)
    texts = replace(a, inputs=np.array(["one two", "two", "three", ""], dtype=object), modality=Modality.TEXT)
    assert Encoder.fit(texts)(texts.inputs).any(axis=1).tolist() == [True, True, True, False]
    constant = replace(a, inputs=pd.DataFrame({"x": [1.0] * 4}))
    with pytest.raises(ProbeError, match="nothing of a row can be remembered"):
        Encoder.fit(constant)(constant.inputs)


def test_a_memoriser_is_sure_of_the_rows_it_knows_and_of_no_others(world):
    sample = world.sample
    planted = control(sample, np.random.default_rng(1))
    proba = planted.model.predict_proba(planted.sample.inputs)
    own = proba[np.arange(len(proba)), planted.labels]
    assert (own[planted.member] > 0.98).all()
    assert own[~planted.member].max() < 0.98
    assert proba.sum(axis=1) == pytest.approx(1.0)
    assert believed(planted, own, "it", level=0.95) > 0.9
    with pytest.raises(ProbeError, match="would mean nothing"):
        believed(planted, np.random.default_rng(2).random(len(own)), "it", level=0.95)
    with pytest.raises(ProbeError, match="fails its positive control"):
        believed(planted, np.ones(len(own)), "it", level=0.95)
    with pytest.raises(ProbeError, match="59 rows are too few"):
        control(take(sample, np.arange(59)), np.random.default_rng(1))
    twin = Memoriser.of(planted.model.encoder, planted.sample, planted.labels)
    assert (twin.predict(planted.sample.inputs) == planted.labels).all()


def test_clusters_of_the_two_tables_are_kept_apart(world):
    sample = world.sample
    inside = replace(sample.training, clusters=np.arange(world.n) // 2)
    told = tell(inside, sample, np.arange(2.0 * world.n))
    assert told.design.units == world.n // 2 + world.n
    assert told.member.sum() == world.n
