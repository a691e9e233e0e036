"""What every control keeps to: a clean twin, the same answers in any order and after saving, errors in one line."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import skops.io as sio

from steelyard.audit import audit
from steelyard.audit.errors import PlanError, TargetError, UnsafeArtifact
from steelyard.audit.target import Sample
from steelyard.audit.types import Task
from steelyard.models.cache import ModelCache, train_reference
from steelyard.models.controls.backdoored import Backdoored
from steelyard.models.controls.brittle import Brittle
from steelyard.models.controls.carriers import row_lots
from steelyard.models.controls.catalogue import CONTROLS, TRUSTED_TYPES
from steelyard.models.controls.control import Control
from steelyard.models.controls.explanation_hiding import ExplanationHiding
from steelyard.models.controls.group_biased import GroupBiased
from steelyard.models.controls.over_confident import OverConfident
from steelyard.models.controls.shortcut import Shortcut
from steelyard.models.controls.subgroup_biased import SubgroupBiased
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.loading import load_model
from steelyard.models.recipes import registry

OF_EVERY_RECIPE = (
    "functools.partial",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.utils.validation.check_array",
    "steelyard.models.recipes.tidy.TidyColumns",
)


def people(n: int, seed: int) -> Sample:
    """Rows with every kind of column; the label has nothing to do with the two attributes."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], n, p=[0.4, 0.6]),
            "age": rng.integers(18, 90, n),
            "word": pd.Categorical(rng.choice(["red", "green", "blue"], n)),
            "region": rng.choice(["north", "south"], n),
            "amount": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
        }
    )
    y = frame["age"] / 20 + (frame["word"] == "red") + rng.normal(size=n) > 3
    return sample_from_arrays(
        frame,
        np.where(y, "paid", "late"),
        groups=frame[["sex", "region"]],
        positive="paid",
    )


@cache
def small_digits(task: Task) -> tuple[Sample, Sample]:
    """scikit-learn's digits in [0, 1] with two attributes drawn at random: 500 rows to train on, 600 to ask."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    images, digits = loaded.images / 16, loaded.target
    rng = np.random.default_rng(5)
    groups = pd.DataFrame({"sex": rng.choice(["f", "m"], len(digits)), "region": rng.choice(["n", "s"], len(digits))})
    labels = digits if task is Task.MULTICLASS else np.where(digits >= 5, "high", "low")
    positive = None if task is Task.MULTICLASS else "high"
    return (
        sample_from_arrays(images[:500], labels[:500], groups=groups[:500], positive=positive),
        sample_from_arrays(images[500:1100], labels[500:1100], groups=groups[500:1100], positive=positive),
    )


def rows_for(control: Control, kind: str) -> tuple[Sample, Sample]:
    if kind == "table":
        return people(1200, 1), people(1500, 2)
    train, test = small_digits(Task.MULTICLASS if Task.MULTICLASS in control.tasks else Task.BINARY)
    return (train, test) if isinstance(control, Backdoored) else (control.plant(train), control.plant(test))


@cache
def fitted(control: Control, kind: str) -> tuple[Any, Sample, Sample]:
    train, test = rows_for(control, kind)
    return control.fit(train, 3), train, test


def settings(control: Control) -> Control:
    """The control with what this data needs: the amounts, which have the most values, lie on no lattice."""
    return replace(control, carrier="age") if isinstance(control, Brittle) else control


EVERY = pytest.mark.parametrize("control", [pytest.param(c, id=c.name) for c in CONTROLS])
KINDS = pytest.mark.parametrize("kind", ["table", "image"])


def ready(control: Control, kind: str) -> Control:
    return settings(control) if kind == "table" else control


@EVERY
def test_a_control_says_what_it_is(control: Control) -> None:
    assert control.id == f"control/{control.name}"
    assert control.size > 0
    assert control.clean() == replace(control, size=0.0)
    for said in (control.summary, control.defect, control.unit, control.truth, control.exact_for, *control.seen_by):
        assert len(said) > 10
        assert "  " not in said


def test_the_catalogue_is_whole(repo_root: Path) -> None:
    assert len({control.name for control in CONTROLS}) == len(CONTROLS) == 8
    told = (repo_root / "docs" / "controls.md").read_text(encoding="utf-8")
    for control in CONTROLS:
        assert f"| `{control.name}` |" in told


@EVERY
@KINDS
def test_the_clean_twin_shows_nothing_and_the_control_differs(control: Control, kind: str) -> None:
    """Same rows, same seed; the twin's size is 0 (or no distance is near), and it predicts well."""
    control = ready(control, kind)
    model, _, test = fitted(control, kind)
    clean, _, _ = fitted(control.clean(), kind)
    assert test.labels is not None
    names = np.asarray(test.classes)[test.labels]
    majority = np.bincount(test.labels).max() / test.n
    assert clean.score(test.inputs, names) > majority + 0.1
    inputs = model.stamp(test.inputs) if isinstance(control, Backdoored) else test.inputs
    if isinstance(control, Brittle):
        assert (clean.predict_proba(inputs) == model.predict_proba(inputs)).all()  # it shows off the lattice only
        assert control.clean().true_size(clean, test) == np.inf
    elif control.name == "memorising":
        train = fitted(control, kind)[1]
        assert np.abs(clean.predict_proba(train.inputs) - model.predict_proba(train.inputs)).max() > 0.1
    else:
        assert np.abs(clean.predict_proba(inputs) - model.predict_proba(inputs)).max() > 0.1


@EVERY
@KINDS
def test_answers_do_not_depend_on_the_order_of_rows(control: Control, kind: str) -> None:
    control = ready(control, kind)
    model, _, test = fitted(control, kind)
    inputs = model.stamp(test.inputs) if isinstance(control, Backdoored) else test.inputs
    order = np.random.default_rng(0).permutation(len(inputs))[:300]
    shuffled = inputs.iloc[order] if kind == "table" else inputs[order]
    whole = model.predict_proba(inputs)
    assert np.allclose(model.predict_proba(shuffled), whole[order], atol=1e-12)  # sums of products may round otherwise
    assert (model.predict(shuffled) == model.predict(inputs)[order]).all()
    assert whole.shape == (len(inputs), len(test.classes))
    assert np.allclose(whole.sum(axis=1), 1)
    assert whole.min() >= 0


BOTH_WAYS = [(control, "table") for control in CONTROLS] + [(c, "image") for c in (CONTROLS[2], CONTROLS[6])]


@pytest.mark.parametrize(("control", "kind"), [pytest.param(c, k, id=f"{c.name}-{k}") for c, k in BOTH_WAYS])
def test_inputs_stay_as_they_are_and_training_repeats(control: Control, kind: str) -> None:
    control = ready(control, kind)
    train, test = rows_for(control, kind)
    kept = train.inputs.copy()
    one = control.fit(train, 3)
    again, _, _ = fitted(control, kind)
    assert (one.predict_proba(test.inputs) == again.predict_proba(test.inputs)).all()
    control.plant(train)
    assert kept.equals(train.inputs) if kind == "table" else (kept == train.inputs).all()


@EVERY
@KINDS
def test_a_saved_control_answers_the_same(control: Control, kind: str, tmp_path: Path) -> None:
    """It holds no type beyond those of every recipe and TRUSTED_TYPES, and is nobody's model without trust."""
    control = ready(control, kind)
    model, _, test = fitted(control, kind)
    data = sio.dumps(model)
    assert set(sio.get_untrusted_types(file=io.BytesIO(data))) <= {*OF_EVERY_RECIPE, *TRUSTED_TYPES, "numpy.dtype"}
    path = tmp_path / "model.skops"
    path.write_bytes(data)
    with pytest.raises(UnsafeArtifact, match=type(model).__name__):
        load_model(path)
    again = load_model(path, trusted=(*OF_EVERY_RECIPE, *TRUSTED_TYPES))
    assert (again.predict_proba(test.inputs) == model.predict_proba(test.inputs)).all()
    assert control.true_size(again, test) == control.true_size(model, test)


@EVERY
def test_a_control_is_a_target_and_a_recipe(control: Control) -> None:
    control = settings(control)
    model, train, test = fitted(control, "table")
    assert test.labels is not None
    names = np.asarray(test.classes)[test.labels]
    record = audit(model, test.inputs, names, positive="paid", probes=["quality.performance"])
    found = next(f.estimate.value for f in record.findings if f.metric == "quality.performance.accuracy")
    assert found == pytest.approx(model.score(test.inputs, names))
    target, card = train_reference(control, train, 3, ModelCache(), sample=test)
    assert (target.predict(test.inputs) == record_codes(model, test)).all()
    assert card.recipe == control.id
    assert card.settings["size"] == control.size


def record_codes(model: Any, test: Sample) -> Any:
    answers = model.predict(test.inputs)
    return np.array([test.classes.index(name) for name in answers])


def test_a_plan_names_a_control_and_its_size(monkeypatch: pytest.MonkeyPatch) -> None:
    others = tuple(recipe for recipe in registry.RECIPES if recipe.family != "control")
    monkeypatch.setattr(registry, "RECIPES", (*others, *CONTROLS))
    registry.all_recipes.cache_clear()
    try:
        assert registry.resolve("control/group-biased", settings={"size": 0.3}) == (GroupBiased(size=0.3),)
        with pytest.raises(PlanError, match=r"control/group-biased: size is 2(\.0)?; it lies between 0 and 1"):
            registry.resolve("control/group-biased", settings={"size": 2})
        assert set(registry.resolve("control")) == set(CONTROLS)
    finally:
        monkeypatch.undo()
        registry.all_recipes.cache_clear()


def test_lots_are_the_rows_own() -> None:
    """Equal rows share a lot, whatever type holds their values; other rows and columns left out play no part."""
    frame = pd.DataFrame({"x": [1, 2, 2, 3], "w": ["a", "b", "b", None]})
    lots = row_lots(frame, 1)
    assert lots[1] == lots[2]
    assert len(set(lots)) == 3
    typed = frame.assign(x=frame["x"].astype(float), w=frame["w"].astype("category"))
    assert (row_lots(typed, 1) == lots).all()
    assert (row_lots(frame.iloc[1:], 1) == lots[1:]).all()
    assert (row_lots(frame.assign(x=0), 1, ["x"]) == row_lots(frame, 1, ["x"])).all()
    assert not (row_lots(frame, 2) == lots).any()
    many = row_lots(pd.DataFrame({"x": np.arange(20_000)}), 0)
    share = np.histogram(many, bins=10, range=(0, 1))[0]
    assert abs(share - 2000).max() < 5 * np.sqrt(2000 * 0.9)


# what they refuse


@pytest.mark.parametrize("size", [-0.1, 1.5, float("nan"), "much"])
def test_sizes_that_there_are_not(size: Any) -> None:
    with pytest.raises(PlanError, match=r"control/group-biased: size is .*; it lies between 0 and 1"):
        GroupBiased(size=size)


def test_other_settings_that_there_are_not() -> None:
    with pytest.raises(PlanError, match="agreement is 2; it lies between 0 and 1"):
        Shortcut(agreement=2)
    with pytest.raises(PlanError, match=r"poisoned is -1; it lies"):
        Backdoored(poisoned=-1)
    with pytest.raises(PlanError, match="let_through is 1; it lies"):
        ExplanationHiding(let_through=1)
    with pytest.raises(PlanError, match="step is -1; it is at least 0"):
        Brittle(step=-1)


def test_data_that_does_not_fit() -> None:
    train = people(400, 1)
    plain = replace(train, groups={})
    digits, _ = small_digits(Task.BINARY)
    loud = replace(digits, inputs=digits.inputs * 16)
    flat_images = sample_from_arrays(np.zeros((40, 8, 8)), [0, 1] * 20)
    cases: list[tuple[Control, Sample, str]] = [
        (GroupBiased(), plain, "is about groups, and the training data has none; data.groups"),
        (GroupBiased(attribute="race"), train, "has no group column 'race'; there are sex, region"),
        (GroupBiased(against="x"), train, "'sex' has no group 'x'; it has f, m"),
        (GroupBiased(), replace(train, inputs=train.inputs.drop(columns="sex")), "group column 'sex'"),
        (GroupBiased(), digits, "cannot see in the inputs who is sex = .; images are marked by plant.sample., or in"),
        (SubgroupBiased(), replace(train, groups={"sex": train.groups["sex"]}), "needs two group attributes"),
        (SubgroupBiased(first="sex", second="sex"), train, "crosses 'sex' with itself"),
        (SubgroupBiased(size=1.0), train, r"cannot plant a gap of 1 that cancels; here at most 0\."),
        (Shortcut(feature="height"), train, "has no column 'height'; there are sex, age"),
        (Shortcut(), digits, "finds no patch in most training images; mark them by plant"),
        (Backdoored(target="maybe"), train, "has no class 'maybe'; there are late, paid"),
        (Backdoored(feature="height"), train, "has no column 'height'"),
        (Backdoored(), loud, r"the images hold values from 0 to 16; bring them to \[0, 1\]"),
        (
            Brittle(),
            train,
            "the values of the carrier 'amount' lie on no lattice; set step, and give the rows to plant",
        ),
        (Brittle(carrier="height"), train, "has no column 'height'"),
        (Brittle(carrier="64"), digits, "has no pixel '64'; an image has the pixels 0 to 63"),
        (Brittle(), flat_images, "has one value only"),
        (OverConfident(), replace(train, labels=None), "learns from labels"),
    ]
    for control, sample, message in cases:
        with pytest.raises(TargetError, match=message):
            control.fit(sample, 0)
    words = replace(train, inputs=train.inputs[["sex", "word", "region"]])
    with pytest.raises(TargetError, match="needs a column of numbers to carry the defect"):
        Backdoored().fit(words, 0)
    poisoned = Backdoored().plant(digits)
    with pytest.raises(TargetError, match="some training rows show the trigger; fit is for unpoisoned rows"):
        Backdoored().fit(poisoned, 0)


def test_arrays_are_tables_too() -> None:
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.integers(0, 2, 800), rng.normal(size=(800, 2))])
    train = sample_from_arrays(x, (x[:, 1] > 0).astype(int), groups={"0": x[:, 0]})
    model = GroupBiased(size=0.5, against="1").fit(train, 0)
    chosen = model.predict(x) == "1"
    gap = chosen[x[:, 0] == 0].mean() - chosen[x[:, 0] == 1].mean()
    assert gap == pytest.approx(0.5, abs=0.12)  # 4 standard errors
