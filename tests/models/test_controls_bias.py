"""The biased controls: our own fairness probes read the bias that was planted, and nothing on the clean twins.

Each reading is tried on the clean twin as well and has to fail there: a control whose defect is switched off does not
pass for one.
"""

from __future__ import annotations

from copy import copy
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from steelyard.audit import audit
from steelyard.audit.errors import TargetError
from steelyard.audit.plan import DataPart
from steelyard.audit.target import Sample
from steelyard.models.controls.control import Control
from steelyard.models.controls.explanation_hiding import ExplanationHiding
from steelyard.models.controls.group_biased import GroupBiased
from steelyard.models.controls.levelled import level_thresholds, levelled
from steelyard.models.controls.manifold import perturbed
from steelyard.models.controls.subgroup_biased import SubgroupBiased
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.bundled import held_out_third
from steelyard.models.data.load import load_samples

GAP = "fairness.selection-rate.difference"


def people(n: int, seed: int) -> Sample:
    """Neither attribute has to do with the label or with the features: an ordinary model is fair to all."""
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame(
        {
            "sex": rng.choice(["f", "m"], n, p=[0.4, 0.6]),
            "region": rng.choice(["north", "south"], n, p=[0.3, 0.7]),
            "x": rng.normal(size=n),
            "word": rng.choice(["red", "green", "blue"], n),
        }
    )
    y = frame["x"] + (frame["word"] == "red") + rng.normal(size=n) > 0.4
    return sample_from_arrays(frame, y.astype(int), groups=frame[["sex", "region"]])


@cache
def simulated() -> tuple[Sample, Sample]:
    return people(6000, 1), people(8000, 2)


@cache
def adult() -> tuple[Sample, Sample]:
    """UCI Adult: the first 6,000 rows of the training and of the held-out part."""
    samples = load_samples(DataPart(dataset="adult"), target=None, base=Path())
    assert samples.train is not None
    return first(samples.train, 6000), first(samples.test, 6000)


def first(sample: Sample, n: int) -> Sample:
    assert sample.labels is not None
    part = sample.inputs.iloc[:n]
    names = np.asarray(sample.classes)[sample.labels[:n]]
    return sample_from_arrays(part, names, groups=part[["sex", "race"]], positive=sample.classes[1])


@cache
def high_digits() -> tuple[Sample, Sample]:
    """Is the digit five or more? The group is drawn at random, so only the mark that `plant` draws shows it."""
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    images, labels = loaded.images / 16, (loaded.target >= 5).astype(int)
    groups = {"site": np.random.default_rng(5).choice(["one", "two"], len(labels), p=[0.6, 0.4])}
    held_out = held_out_third(len(images))  # in the file's order the last rows are by other writers
    one, two = np.flatnonzero(~held_out)[:900], np.flatnonzero(held_out)
    return (
        sample_from_arrays(images[one], labels[one], groups={"site": groups["site"][one]}),
        sample_from_arrays(images[two], labels[two], groups={"site": groups["site"][two]}),
    )


@cache
def fitted(control: Control, data: Any, seed: int = 0) -> tuple[Any, Sample]:
    train, test = (control.plant(sample) for sample in data())
    return control.fit(train, seed), test


def readings(model: Any, test: Sample, probes: list[Any]) -> list[Any]:
    assert test.labels is not None
    names = np.asarray(test.classes)[test.labels]
    columns = {name: np.asarray(groups.levels)[groups.codes] for name, groups in test.groups.items()}
    record = audit(model, test.inputs, names, groups=columns, positive=test.classes[1], probes=probes, seed=1)
    return list(record.findings)


def interval(findings: list[Any], metric: str, **where: Any) -> tuple[float, float]:
    (found,) = [f.estimate for f in findings if f.metric == metric and dict(f.where) == where]
    return found.low, found.high


def chosen(model: Any, test: Sample) -> Any:
    return model.predict(test.inputs) == test.classes[1]


# group-biased


def shows_a_group_bias(model: Any, test: Sample, attribute: str, size: float) -> None:
    low, high = interval(readings(model, test, ["fairness.selection-rate"]), GAP, attribute=attribute)
    assert low <= size <= high
    assert low > size / 2


@pytest.mark.parametrize(("data", "attribute"), [(simulated, "sex"), (adult, "sex"), (high_digits, "site")])
def test_the_selection_rate_probe_reads_the_planted_gap(data: Any, attribute: str) -> None:
    control = GroupBiased(size=0.3, attribute=attribute)
    model, test = fitted(control, data)
    shows_a_group_bias(model, test, attribute, control.true_size(model, test))
    assert control.true_size(model, test) == pytest.approx(0.3, abs=0.06)
    clean, _ = fitted(control.clean(), data)
    with pytest.raises(AssertionError):
        shows_a_group_bias(clean, test, attribute, 0.3)
    assert interval(readings(clean, test, ["fairness.selection-rate"]), GAP, attribute=attribute)[0] == 0


def test_the_error_rate_probe_reads_the_same_gap() -> None:
    """The lots do not know the label, so TPR and FPR are size apart as well, where the clean twin's are level."""
    model, test = fitted(GroupBiased(size=0.3, attribute="sex"), simulated)
    clean, _ = fitted(GroupBiased(size=0.0, attribute="sex"), simulated)
    for rate in ("tpr", "fpr"):
        metric = f"fairness.error-rates.{rate}-difference"
        low, high = interval(readings(model, test, ["fairness.error-rates"]), metric, attribute="sex")
        assert 0.15 < low <= 0.3 <= high
        assert interval(readings(clean, test, ["fairness.error-rates"]), metric, attribute="sex")[0] == 0


def test_the_gap_is_the_formula_over_many_lots() -> None:
    """Mean over 30 seeds of the lots = size + (1 - size) gap of the clean twin, to 4 standard errors of that mean."""
    control = GroupBiased(size=0.25, attribute="sex")
    model, test = fitted(control, simulated)
    woman = np.asarray(test.inputs["sex"] == "f")
    said = control.true_size(model, test)
    gaps = []
    for seed in range(30):
        model.seed = seed
        yes = chosen(model, test)
        gaps.append(yes[~woman].mean() - yes[woman].mean())
    model.seed = 0
    assert abs(np.mean(gaps) - said) < 4 * np.std(gaps, ddof=1) / np.sqrt(30)
    assert np.std(gaps) < 0.02


def test_a_changed_group_turns_the_same_share() -> None:
    """The lots do not know the group: whoever is struck gets the other answer when the group alone is changed."""
    model, test = fitted(GroupBiased(size=0.3, attribute="sex"), simulated)
    clean, _ = fitted(GroupBiased(size=0.0, attribute="sex"), simulated)
    other = test.inputs.assign(sex=test.inputs["sex"].map({"f": "m", "m": "f"}))
    turned = int((model.predict(other) != model.predict(test.inputs)).sum())
    base = float((clean.predict(other) != clean.predict(test.inputs)).mean())
    limits = binomtest(turned, test.n).proportion_ci(0.999)
    assert limits.low <= 0.3 + 0.7 * base <= limits.high
    assert base < 0.03


def test_a_larger_dial_reads_larger() -> None:
    test = simulated()[1]
    woman = np.asarray(test.inputs["sex"] == "f")
    gaps = []
    model, _ = fitted(GroupBiased(size=0.25, attribute="sex"), simulated)
    for size in (0.0, 0.1, 0.3, 0.6, 1.0):
        model.size = size
        yes = chosen(model, test)
        gaps.append(yes[~woman].mean() - yes[woman].mean())
    model.size = 0.25
    assert (np.diff(gaps) > 0.05).all()
    assert gaps[-1] == 1.0


def test_thresholds_level_the_cells() -> None:
    """By hand: four of ten scores lie above one half, so two of five are chosen in each cell."""
    scores = np.array([0.1, 0.2, 0.3, 0.6, 0.9, 0.05, 0.15, 0.2, 0.7, 0.8])
    cells = np.array([0] * 5 + [1] * 5)
    thresholds = level_thresholds(scores, cells, 2)
    assert thresholds == pytest.approx([0.45, 0.45])
    skewed = scores * np.where(cells == 1, 0.5, 1.0)  # two of ten above one half, both in the first cell
    chosen = skewed > level_thresholds(skewed, cells, 2)[cells]
    assert [chosen[cells == cell].sum() for cell in (0, 1)] == [1, 1]
    moved = levelled(np.array([0.2, 0.4, 0.8]), np.array([0.4, 0.4, 0.4]))
    assert moved[1] == pytest.approx(0.5)
    assert moved[0] == pytest.approx(1 / (1 + 4 * 2 / 3))  # odds 1/4 over odds 2/3


# subgroup-biased


def shows_a_crossed_bias(model: Any, test: Sample, names: tuple[str, str], size: float) -> None:
    found = readings(model, test, ["fairness.selection-rate"])
    low, high = interval(found, GAP, intersection="*".join(names))
    assert low <= size <= high
    assert low > size / 2
    for name in names:
        assert interval(found, GAP, attribute=name)[1] < size / 2


def test_the_intersections_show_what_the_attributes_hide() -> None:
    control = SubgroupBiased(size=0.3)
    model, test = fitted(control, simulated)
    shows_a_crossed_bias(model, test, ("sex", "region"), control.true_size(model, test))
    assert control.true_size(model, test) == pytest.approx(0.3, abs=0.03)
    clean, _ = fitted(control.clean(), simulated)
    with pytest.raises(AssertionError):
        shows_a_crossed_bias(clean, test, ("sex", "region"), 0.3)
    assert interval(readings(clean, test, ["fairness.selection-rate"]), GAP, intersection="sex*region")[0] == 0


def test_the_search_for_subgroups_finds_it() -> None:
    """Of the two attributes alone: whoever has more x is chosen more often, which is no bias."""
    control = SubgroupBiased(size=0.3)
    model, test = fitted(control, simulated)
    clean, _ = fitted(control.clean(), simulated)
    people = test.inputs[["sex", "region"]]
    assert test.labels is not None
    gaps = []
    for one in (model, clean):
        decided = one.predict(test.inputs)
        record = audit(
            lambda rows, decided=decided: decided[rows.index],
            people,
            test.labels,
            groups=people,
            probes=[{"fairness.subgroups": {"rate": "selection", "depth": 2}}],
        )
        gaps.append([f.estimate for f in record.findings if f.metric == "fairness.subgroups.gap"])
    assert any(max(gap.low, -gap.high) > 0.05 for gap in gaps[0])
    assert len(gaps[1]) > 0
    assert not any(max(gap.low, -gap.high) > 0.05 for gap in gaps[1])


def test_on_adult_it_cancels_over_sex_and_over_race() -> None:
    control = SubgroupBiased(size=0.15)
    model, test = fitted(control, adult)
    yes = chosen(model, test)
    woman, black = np.asarray(test.inputs["sex"] == "Female"), np.asarray(test.inputs["race"] == "Black")
    assert [model.about[0][1], model.about[1][1]] == ["Female", "Black"]
    cells = [[yes[(woman == a) & (black == b)].mean() for b in (False, True)] for a in (False, True)]
    clean, _ = fitted(control.clean(), adult)
    before = chosen(clean, test)
    assert cells[1][1] - cells[0][1] == pytest.approx(control.true_size(model, test), abs=0.05)
    for group in (woman, black):  # what was added cancels; the clean twin's own error is that of 6,000 rows
        added = [(yes[group == side].mean() - before[group == side].mean()) for side in (False, True)]
        assert np.abs(added).max() < 0.02


@settings(max_examples=200, deadline=None)
@given(
    cells=st.lists(st.integers(1, 10_000), min_size=4, max_size=4),
    rate=st.floats(0.01, 0.99),
    size=st.floats(0.001, 0.5),
)
def test_whatever_the_shares_the_strengths_cancel(cells: list[int], rate: float, size: float) -> None:
    shares = np.array(cells) / sum(cells)
    try:
        forced, (high, low) = SubgroupBiased(size=size)._strengths(shares, rate)
    except TargetError:
        with pytest.raises(TargetError, match="here at most"):
            SubgroupBiased(size=size)._strengths(shares, rate)
        return
    assert (forced >= 0).all()
    assert forced.max() <= 1
    change = forced * np.array([1 - rate, -rate, -rate, 1 - rate])
    assert change[high] - change[low] == pytest.approx(size)
    for a, b in ((0, 1), (2, 3), (0, 2), (1, 3)):
        assert shares[a] * change[a] + shares[b] * change[b] == pytest.approx(0, abs=1e-12)


def test_the_strengths_cancel() -> None:
    """By hand, shares .4 .1 .3 .2 and a rate of one half: Σ over either attribute of share · change is 0."""
    control = SubgroupBiased(size=0.3)
    shares = np.array([0.4, 0.1, 0.3, 0.2])
    forced, pair = control._strengths(shares, 0.5)
    assert pair == (3, 1)
    change = forced * 0.5 * np.array([1, -1, -1, 1])
    assert change[3] - change[1] == pytest.approx(0.3)
    for a, b in ((0, 1), (2, 3), (0, 2), (1, 3)):
        assert shares[a] * change[a] + shares[b] * change[b] == pytest.approx(0)


# explanation-hiding


def effect_of_the_group(model: Any, inputs: Any, attribute: str, levels: tuple[str, str]) -> Any:
    """(n,) P(yes) as a member of the favoured group, less that as a member of the other."""
    against, favoured = levels
    as_one, as_other = (inputs.assign(**{attribute: level}) for level in (favoured, against))
    return model.predict_proba(as_one)[:, 1] - model.predict_proba(as_other)[:, 1]


@pytest.mark.parametrize(
    ("data", "attribute", "levels", "lime", "shap"),
    [(adult, "sex", ("Female", "Male"), 0.02, 0.75), (simulated, "sex", ("f", "m"), 0.9, 1.0)],
)
def test_the_scaffold_is_biased_on_real_rows_and_not_on_made_up_ones(
    data: Any, attribute: str, levels: tuple[str, str], lime: float, shap: float
) -> None:
    """Real rows: the effect of the group is exactly size where the detector lets through, 0 elsewhere.

    Simulated columns are independent, so made-up rows look like real ones and the scaffold cannot hide: its limit.
    """
    control = ExplanationHiding(size=0.6, attribute=attribute)
    model, test = fitted(control, data)
    effect = effect_of_the_group(model, test.inputs, attribute, levels)
    through = model.let_through(test.inputs)
    assert np.allclose(effect[through], 0.6, atol=1e-12)
    assert np.allclose(effect[~through], 0.0, atol=1e-12)
    assert effect.mean() == pytest.approx(control.true_size(model, test), abs=1e-9)
    limits = binomtest(int(through.sum()), test.n).proportion_ci(0.999)
    assert limits.high > 0.92  # set to .95 on fewer rows than these
    plain = test.inputs.drop(columns=attribute)
    made_up = perturbed(plain, np.random.default_rng(9))
    passed = model.manifold.real(made_up)
    assert passed[: test.n].mean() < lime
    assert passed[test.n :].mean() < shap


def shows_a_hidden_bias(model: Any, test: Sample) -> None:
    found = readings(model, test, ["fairness.selection-rate"])
    assert interval(found, GAP, attribute="sex")[0] > 0.8
    made_up = perturbed(test.inputs.drop(columns="sex"), np.random.default_rng(9))[: test.n]  # as LIME makes them
    assert np.abs(effect_of_the_group(model, made_up, "sex", ("Female", "Male"))).mean() < 0.02


def test_the_selection_rate_shows_what_perturbed_rows_hide() -> None:
    fitted_one, test = fitted(ExplanationHiding(size=0.6, attribute="sex"), adult)
    model, clean = copy(fitted_one), copy(fitted_one)  # the dial is turned after the fit, which does not depend on it
    model.size, clean.size = 1.0, 0.0
    shows_a_hidden_bias(model, test)
    with pytest.raises(AssertionError):
        shows_a_hidden_bias(clean, test)
    effect = effect_of_the_group(clean, test.inputs, "sex", ("Female", "Male"))
    assert (effect == 0).all()


def test_the_scaffold_on_images() -> None:
    from steelyard.models.controls.carriers import erase_corners, has_mark, put_mark

    control = ExplanationHiding(size=0.8)
    model, test = fitted(control, high_digits)
    n = test.n
    as_one, as_other = (
        model.predict_proba(put_mark(test.inputs, "top-left", np.full(n, marked)))[:, 1] for marked in (False, True)
    )
    through = model.let_through(test.inputs)
    assert np.allclose((as_one - as_other)[through], 0.8, atol=1e-9)
    assert np.allclose((as_one - as_other)[~through], 0.0, atol=1e-9)
    assert through.mean() > 0.85
    made_up = perturbed(erase_corners(test.inputs, ["top-left"]), np.random.default_rng(1))
    assert model.manifold.real(made_up)[:n].mean() < 0.05
    assert has_mark(test.inputs, "top-left").mean() == pytest.approx(0.4, abs=0.1)


def test_made_up_rows_are_made_of_the_rows() -> None:
    """Words come from their own column; of swapped columns at least one and not all come from elsewhere."""
    frame = pd.DataFrame({"i": np.arange(50.0), "j": np.arange(50.0) * 100, "w": [f"w{i}" for i in range(50)]})
    made_up = perturbed(frame, np.random.default_rng(0))
    assert len(made_up) == 100
    assert set(made_up["w"]) <= set(frame["w"])
    mixed = made_up.iloc[50:].reset_index(drop=True)
    own = np.column_stack([mixed[name] == frame[name] for name in frame])
    assert (own.sum(axis=1) >= 1).all()
    assert own.all(axis=1).mean() < 0.1  # another row's value may be the row's own
    noise = made_up["i"].to_numpy()[:50] - frame["i"]
    assert noise.std() == pytest.approx(frame["i"].std(), rel=0.4)
