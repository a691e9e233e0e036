"""Attribute inference: a model that has its rows by heart leaks, an honest one does not."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binom, ttest_ind
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier

from steelyard.audit.canonical import generator
from steelyard.audit.errors import NotApplicable
from steelyard.audit.target import References, Sample
from steelyard.audit.types import Failure, Finding, Inapplicable
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.targets.load import wrap
from steelyard.probes.privacy.attribute_inference import AttributeInference, mean_difference
from steelyard.probes.privacy.attribute_inference_rows import arrange, gains
from steelyard.probes.stats.linearised import Design


def people(rng: np.random.Generator, n: int) -> Sample:
    """sex moves the label a little, and shows a little in the other features."""
    sex = rng.integers(0, 2, n)
    X = pd.DataFrame({"sex": np.array(["f", "m"])[sex], "a": rng.normal(size=n) + 0.5 * sex, "b": rng.normal(size=n)})
    p = 1 / (1 + np.exp(-(0.8 * X["a"] - 0.5 * X["b"] + 0.6 * sex - 0.5)))
    return sample_from_arrays(X, (rng.random(n) < p).astype(int), {"sex": X["sex"]})


def encoder():
    return make_column_transformer((OneHotEncoder(), ["sex"]), (StandardScaler(), ["a", "b"]))


def split(seed: int, n: int) -> Sample:
    rng = np.random.default_rng(seed)
    return replace(people(rng, n), training=people(rng, n))


def leak(sample: Sample, model, **settings) -> Finding | Failure:
    target = wrap(model.fit(sample.training.inputs, sample.training.labels), sample)
    rows = list(AttributeInference(**settings).run(target, sample, References(), generator(1, "a")))
    return rows[-1]


def test_a_model_with_its_rows_by_heart_leaks_and_its_honest_twin_does_not() -> None:
    sample = split(0, 1200)
    by_heart = leak(sample, make_pipeline(encoder(), DecisionTreeClassifier(random_state=0)))
    honest = leak(sample, make_pipeline(encoder(), LogisticRegression()))
    assert by_heart.metric == honest.metric == "privacy.attribute-inference.member-advantage"
    assert by_heart.estimate.low > 0
    assert by_heart.reading == "attack"
    assert honest.estimate.low < 0
    assert by_heart.detail["control"] > by_heart.estimate.value


def test_the_null_over_many_models() -> None:
    """A model that never saw the training rows, and membership permuted: members are nobody special."""
    rng = np.random.default_rng(7)
    model = make_pipeline(encoder(), LogisticRegression())
    other = people(rng, 2000)
    model.fit(other.inputs, other.labels)
    alarms, runs = 0, 1200
    for seed in range(4):
        sample = replace(people(rng, 600), training=people(rng, 300))
        known = arrange(sample, "sex", generator(seed, "a"), learner="logistic", max_rows=4000, max_levels=10)
        arms = known.members, known.others
        pool = np.concatenate([gains(known, arm, model.predict_proba, 0.001) for arm in arms])
        for _ in range(runs // 4):
            mixed, m = rng.permutation(pool), arms[0].design.n
            drawn = mean_difference(mixed[:m], mixed[m:], arms[0].design, arms[1].design, level=0.9)
            alarms += drawn.estimate.low > 0
    assert binom.ppf(0.001, runs, 0.04) <= alarms <= binom.ppf(0.999, runs, 0.05), alarms


def test_the_difference_is_welchs() -> None:
    rng = np.random.default_rng(2)
    one, two = rng.choice([-1.0, 0, 1], 80, p=[0.1, 0.6, 0.3]), rng.choice([-1.0, 0, 1], 50)
    mine = mean_difference(one, two, Design(n=80), Design(n=50), level=0.95).estimate
    theirs = ttest_ind(one, two, equal_var=False).confidence_interval(0.95)
    assert (mine.low, mine.high) == pytest.approx((theirs.low, theirs.high))
    nothing = mean_difference(np.zeros(80), np.zeros(50), Design(n=80), Design(n=50), level=0.95).estimate
    assert nothing.value == 0
    assert nothing.low < 0 < nothing.high


def test_what_cannot_be_guessed_is_said() -> None:
    sample = split(3, 200)
    target = wrap(make_pipeline(encoder(), LogisticRegression()).fit(sample.inputs, sample.labels), sample)

    def rows(sample: Sample, **settings):
        return list(
            AttributeInference(learner="logistic", **settings).run(target, sample, References(), generator(1, "a"))
        )

    (row,) = rows(sample, attributes=("b",))
    assert isinstance(row, Failure)
    assert "200 values" in row.reason or "values; 2 to 10" in row.reason
    (row,) = rows(sample, attributes=("c",))
    assert isinstance(row, Failure)
    with pytest.raises(NotApplicable):
        rows(replace(sample, groups={}))
    (row,) = rows(replace(sample, groups={"age": sample.groups["sex"]}))
    assert isinstance(row, Inapplicable)
    # Where the other features tell the attribute, even rows by heart tell no more.
    told = [part.inputs.assign(twin=part.inputs["sex"]) for part in (sample, sample.training)]
    clear = replace(sample, inputs=told[0], training=replace(sample.training, inputs=told[1]))
    (row,) = rows(clear)
    assert isinstance(row, Failure)
    assert "by heart" in row.reason
