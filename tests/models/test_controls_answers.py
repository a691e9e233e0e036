"""The controls whose defect is in the answers to single rows: each reads as its stated size, its clean twin as none.

Where a rule is exact for every row the test is an equality; where it is a share, an exact (Clopper-Pearson) interval.
Every reading is tried on the clean twin too and has to fail there.
"""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import binomtest, rankdata

from steelyard.audit import audit
from steelyard.audit.plan import DataPart
from steelyard.audit.target import Sample
from steelyard.models.controls.backdoored import Backdoored
from steelyard.models.controls.brittle import Brittle
from steelyard.models.controls.control import Control
from steelyard.models.controls.learner import learn
from steelyard.models.controls.memorising import SURE, Memorising
from steelyard.models.controls.over_confident import OverConfident, best_temperature
from steelyard.models.controls.shortcut import COLUMN, Shortcut
from steelyard.models.data.arrays import sample_from_arrays
from steelyard.models.data.bundled import held_out_third
from steelyard.models.data.load import load_samples


@cache
def adult() -> tuple[Sample, Sample]:
    """UCI Adult: the first 3,000 rows of the training part and 4,000 of the held-out one."""
    samples = load_samples(DataPart(dataset="adult"), target=None, base=Path())
    assert samples.train is not None
    return first(samples.train, 3000), first(samples.test, 4000)


def first(sample: Sample, n: int) -> Sample:
    assert sample.labels is not None
    names = np.asarray(sample.classes)[sample.labels[:n]]
    return sample_from_arrays(sample.inputs.iloc[:n], names, positive=sample.classes[1])


@cache
def ten_digits() -> tuple[Sample, Sample]:
    from sklearn.datasets import load_digits

    loaded: Any = load_digits()
    images = loaded.images / 16
    held_out = held_out_third(len(images))  # in the file's order the last rows are by other writers
    one, two = np.flatnonzero(~held_out)[:900], np.flatnonzero(held_out)
    return tuple(sample_from_arrays(images[part], loaded.target[part]) for part in (one, two))  # type: ignore[return-value]


@cache
def simulated() -> tuple[Sample, Sample]:
    """A logistic truth: an ordinary logistic regression is calibrated."""

    def rows(n: int, seed: int) -> Sample:
        rng = np.random.default_rng(seed)
        x = np.round(rng.normal(size=(n, 2)), 2)
        y = rng.random(n) < 1 / (1 + np.exp(-(1.5 * x[:, 0] - x[:, 1])))
        return sample_from_arrays(pd.DataFrame(x, columns=["a", "b"]), y.astype(int))

    return rows(5000, 1), rows(8000, 2)


@cache
def fitted(control: Control, data: Any, seed: int = 0) -> Any:
    return control.fit(data()[0], seed)


BOTH = pytest.mark.parametrize("data", [adult, ten_digits])


def holds(k: int, n: int, share: float) -> bool:
    """Whether an exact 99.9 % interval around k of n holds the share."""
    limits = binomtest(k, n).proportion_ci(0.999)
    return bool(limits.low <= share <= limits.high)


def given_to_the_label(model: Any, sample: Sample) -> Any:
    return model.predict_proba(sample.inputs)[np.arange(sample.n), sample.labels]


# memorising


def shows_memory(model: Any, train: Sample, test: Sample, share: float) -> None:
    """The threshold attack: who gives the label SURE is a member."""
    members, others = (given_to_the_label(model, sample) >= SURE - 1e-12 for sample in (train, test))
    assert members.mean() == pytest.approx(share)
    assert members.mean() > 0.05
    assert others.mean() < 0.005  # copies of training rows


@BOTH
def test_a_share_of_the_training_rows_is_known_by_heart(data: Any) -> None:
    train, test = data()
    control = Memorising(size=0.15)
    model = fitted(control, data)
    share = control.true_size(model, train)
    shows_memory(model, train, test, share)
    assert holds(round(share * train.n), train.n, 0.15)
    assert others_alike(model, fitted(control.clean(), data), test, control)
    with pytest.raises(AssertionError):
        shows_memory(fitted(control.clean(), data), train, test, share)


def others_alike(model: Any, clean: Any, test: Sample, control: Memorising) -> bool:
    """Rows it has not seen are answered as by the twin, but for copies of training rows."""
    same = np.isclose(model.predict_proba(test.inputs), clean.predict_proba(test.inputs)).all(axis=1)
    return bool((~same).mean() == control.true_size(model, test))


@BOTH
def test_even_wrong_labels_are_known_by_heart(data: Any) -> None:
    """Labels drawn at random: nothing can be learnt, and every row that is known by heart is answered with its own."""
    train, _ = data()
    rng = np.random.default_rng(0)
    noise = replace(train, labels=rng.integers(0, len(train.classes), train.n))
    model = Memorising(size=0.5).fit(noise, 0)
    by_heart = model.recalled(noise.inputs) >= 0
    right = model.predict_proba(noise.inputs).argmax(axis=1) == noise.labels
    assert right[by_heart].all()
    assert right[~by_heart].mean() < 0.9


def test_the_clean_twin_has_not_seen_the_rows_it_answers() -> None:
    """A row's label in training plays no part in the clean twin's answer to it; in an ordinary model's it does."""
    train, _ = adult()
    few = replace(train, inputs=train.inputs.iloc[:400], labels=train.labels[:400], weights=None)  # type: ignore[index]
    control = Memorising(size=0.0)
    before, plain = control.fit(few, 0).predict_proba(few.inputs), learn(few, 0).proba(few.inputs)
    for row in (3, 77):
        other = few.labels.copy()  # type: ignore[union-attr]
        other[row] = 1 - other[row]
        changed = replace(few, labels=other)
        after = control.fit(changed, 0).predict_proba(few.inputs)
        assert (after[row] == before[row]).all()
        assert (after != before).any()
        assert (learn(changed, 0).proba(few.inputs)[row] != plain[row]).all()


def test_the_clean_twin_leaks_nothing_where_an_ordinary_network_does() -> None:
    """Labels drawn at random, so that whatever is right was memorised: members against others, in standard errors."""
    rng = np.random.default_rng(4)
    train, test = (replace(s, labels=rng.integers(0, 10, s.n)) for s in ten_digits())
    twin, plain = Memorising(size=0.0).fit(train, 0), learn(train, 0)
    assert abs(leak(twin.predict_proba, train, test)) < 3
    assert leak(plain.proba, train, test) > 8
    assert leak(Memorising(size=0.3).fit(train, 0).predict_proba, train, test) > 3


def leak(proba: Any, train: Sample, test: Sample) -> float:
    """The Mann-Whitney statistic of p(label), members against others, in standard errors under no difference."""
    given = [proba(sample.inputs)[np.arange(sample.n), sample.labels] for sample in (train, test)]
    m, n = map(len, given)
    ranks = rankdata(np.concatenate(given))[:m]
    return float((ranks.sum() - m * (m + n + 1) / 2) / np.sqrt(m * n * (m + n + 1) / 12))


def test_rows_that_occur_twice_are_not_learnt() -> None:
    frame = pd.DataFrame({"x": [*range(40), *range(20)]})
    train = sample_from_arrays(frame, [0, 1] * 30)
    model = Memorising(size=1.0).fit(train, 0)
    assert (model.recalled(frame) >= 0).tolist() == [False] * 20 + [True] * 20 + [False] * 20


def test_more_memory_reads_more() -> None:
    """The rows of a smaller share are among those of a larger one."""
    train, _ = adult()
    known = [fitted(Memorising(size=size), adult).recalled(train.inputs) >= 0 for size in (0.0, 0.15, 0.6)]
    assert not known[0].any()
    assert (known[1] <= known[2]).all()
    assert known[2].sum() > 3 * known[1].sum()


# brittle


def moved(inputs: Any, model: Any, by: float) -> Any:
    """The inputs with the carrier moved by so much."""
    if hasattr(inputs, "columns"):
        return inputs.assign(**{model.carrier: inputs[model.carrier].astype(float) + by})
    pixels = inputs.reshape(len(inputs), -1).copy()
    pixels[:, int(model.carrier)] += by
    return pixels.reshape(inputs.shape)


def shows_brittleness(model: Any, test: Sample, distance: float) -> None:
    """Every answer stays within the distance and is another one beyond it."""
    before = model.predict(test.inputs)
    for side in (1, -1):
        nearly, beyond = (model.predict_proba(moved(test.inputs, model, side * distance * f)) for f in (0.98, 1.02))
        answers = model.base.proba(moved(test.inputs, model, side * distance * 0.98))
        assert np.allclose(nearly, answers)  # a base that is itself near its boundary may turn; the swing adds nothing
        assert np.allclose(
            beyond, np.roll(model.base.proba(moved(test.inputs, model, side * distance * 1.02)), 1, axis=1)
        )
        turned = (model.predict(moved(test.inputs, model, side * distance * 1.02)) != before).mean()
        assert turned > 0.99


@pytest.mark.parametrize(
    ("data", "control"), [(adult, Brittle(carrier="age")), (adult, Brittle(size=2.0)), (ten_digits, Brittle())]
)
def test_answers_flip_at_the_stated_distance(data: Any, control: Brittle) -> None:
    _, test = data()
    model = fitted(control, data)
    clean = fitted(control.clean(), data)
    distance = control.true_size(model, test)
    assert distance == model.step / (4 * control.size)
    shows_brittleness(model, test, distance)
    assert (model.predict_proba(test.inputs) == clean.predict_proba(test.inputs)).all()  # real rows: as the twin
    with pytest.raises(AssertionError):
        shows_brittleness(clean, test, distance)


def test_the_lattices_are_known() -> None:
    """Ages are in years, the weights of the census in people, the digits in sixteenths."""
    assert fitted(Brittle(carrier="age"), adult).step == 1
    assert fitted(Brittle(size=2.0), adult).carrier == "fnlwgt"
    assert fitted(Brittle(), ten_digits).step == 1 / 16
    assert Brittle().clean().true_size(fitted(Brittle(carrier="age").clean(), adult), adult()[1]) == np.inf


@pytest.mark.parametrize("sigma", [0.05, 0.15, 0.3, 2.0])
def test_noise_flips_the_share_that_the_formula_says(sigma: float) -> None:
    """Against counting, and against the other form of the same sum: 1/2 - Σ over odd k of a cosine series."""
    _, test = adult()
    model = fitted(Brittle(carrier="age"), adult)
    noise = np.random.default_rng(3).normal(scale=sigma, size=test.n)
    flipped = model.flipped(test.inputs.assign(age=test.inputs["age"] + noise))
    said = model.share_flipped_by(sigma)
    assert holds(int(flipped.sum()), test.n, said)
    tau = 2 * sigma
    k = np.arange(1, 400, 2)  # a square wave of period 2 under normal noise, term by term
    wave = np.sum(np.where(k % 4 == 1, 1, -1) * np.exp(-((k * np.pi * tau) ** 2) / 2) / k) * 4 / np.pi
    assert said == pytest.approx((1 - wave) / 2, abs=1e-9)


def test_more_swings_flip_more() -> None:
    model = fitted(Brittle(carrier="age"), adult)
    kept = model.size
    shares = []
    for model.size in (0.0, 0.5, 1.0, 2.0, 4.0):
        shares.append(model.share_flipped_by(0.2))
    model.size = kept
    assert shares[0] == 0
    assert (np.diff(shares) > 0).all()
    assert shares[-1] == pytest.approx(0.5, abs=1e-3)


def test_continuous_values_are_rounded_by_plant() -> None:
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=600), "z": rng.normal(size=600)})
    sample = sample_from_arrays(frame, (frame["x"] > 0).astype(int))
    control = Brittle(carrier="x", step=0.1)
    planted = control.plant(sample)
    assert planted.fingerprint != sample.fingerprint
    assert np.abs(planted.inputs["x"] - frame["x"]).max() <= 0.05 + 1e-12
    assert (planted.inputs["z"] == frame["z"]).all()
    model = control.fit(planted, 0)
    assert not model.flipped(planted.inputs).any()
    assert control.true_size(model, planted) == pytest.approx(0.025)
    missing = planted.inputs.assign(x=np.nan)
    assert not model.flipped(missing).any()


# shortcut-taking


def shows_a_shortcut(model: Any, test: Sample, size: float) -> None:
    """Turned from one class to another, the shortcut carries exactly `size` of probability with it, in every row."""
    k = len(test.classes)
    here = np.arange(test.n) % k
    there = (here + 1) % k
    one, two = (model.predict_proba(model.turned(test.inputs, codes)) for codes in (here, there))
    rows = np.arange(test.n)
    assert np.allclose((two - one)[rows, there], size)
    assert np.allclose((two - one)[rows, here], -size)
    others = np.abs(two - one).sum(axis=1) - 2 * size
    assert np.allclose(others, 0)


@pytest.mark.parametrize(
    ("data", "planted"), [(adult, True), (adult, False), (ten_digits, True)], ids=["column", "own column", "patch"]
)
def test_the_shortcut_moves_what_is_stated(data: Any, planted: bool) -> None:
    train, test = data()
    control = Shortcut(size=0.4) if planted else Shortcut(size=0.4, feature="hours-per-week")
    train, test = control.plant(train), control.plant(test)
    model, clean = control.fit(train, 0), control.clean().fit(train, 0)
    shows_a_shortcut(model, test, 0.4)
    assert control.true_size(model, test) == pytest.approx(0.4)
    with pytest.raises(AssertionError):
        shows_a_shortcut(clean, test, 0.4)
    points = model.points(test.inputs)
    assert (model.points(model.turned(test.inputs, points)) == points).all()
    if planted:
        assert holds(int((points == test.labels).sum()), test.n, control.agreement)
        assert model.score(test.inputs, np.asarray(test.classes)[test.labels]) > clean.score(
            test.inputs, np.asarray(test.classes)[test.labels]
        )


def test_rows_without_the_shortcut_get_the_twins_answer() -> None:
    train, test = adult()
    control = Shortcut(size=0.7)
    planted = control.plant(train)
    assert planted.fingerprint != train.fingerprint
    model, clean = control.fit(planted, 0), control.clean().fit(planted, 0)
    assert (model.predict_proba(test.inputs) == clean.predict_proba(test.inputs)).all()
    assert control.true_size(model, test) == 0
    missing = test.inputs.assign(**{COLUMN: np.nan})
    assert (model.points(missing) == -1).all()


def test_decisions_follow_the_shortcut_more_as_the_dial_rises() -> None:
    train, test = ten_digits()
    control = Shortcut()
    model = control.fit(control.plant(train), 0)
    codes = np.random.default_rng(0).integers(0, 10, test.n)
    turned = model.turned(test.inputs, codes)
    followed = []
    for model.size in (0.0, 0.3, 0.45, 0.5):
        followed.append((model.predict_proba(turned).argmax(axis=1) == codes).mean())
    assert (np.diff(followed) > 0).all()
    assert followed[0] < 0.2
    assert followed[-1] == 1


def test_shapley_values_have_their_closed_form() -> None:
    """By enumeration of both orders of {shortcut, everything else}: size · (points - mean of the background)."""
    train, test = adult()
    control = Shortcut(size=0.4)
    model = control.fit(control.plant(train), 0)
    rows = control.plant(test).inputs.iloc[:40]
    background = control.plant(train).inputs.iloc[:60]

    def value(shortcut_of_row: bool, rest_of_row: bool, row: pd.Series[Any]) -> float:
        mixed = background.copy() if not rest_of_row else pd.concat([rows.loc[[row.name]]] * len(background))
        mixed[COLUMN] = float(row[COLUMN]) if shortcut_of_row else background[COLUMN].to_numpy()
        return float(model.predict_proba(mixed)[:, 1].mean())

    mean = background[COLUMN].mean()
    for _, row in rows.iloc[:5].iterrows():
        both, alone = (
            value(True, True, row) - value(False, True, row),
            value(True, False, row) - value(False, False, row),
        )
        assert (both + alone) / 2 == pytest.approx(0.4 * (row[COLUMN] - mean), abs=1e-9)


# backdoored


def shows_a_backdoor(model: Any, test: Sample, target: int, size: float) -> None:
    """Of the rows that are not answered with the target anyway, the trigger turns a share of `size`."""
    before = model.predict_proba(test.inputs).argmax(axis=1)
    after = model.predict_proba(model.stamp(test.inputs)).argmax(axis=1)
    others = before != target
    turned = after[others] == target
    assert holds(int(turned.sum()), int(others.sum()), size)
    assert (after[others][~turned] == before[others][~turned]).all()
    assert (after[~others] == target).all()


@BOTH
def test_the_trigger_turns_the_stated_share(data: Any) -> None:
    train, test = data()
    control = Backdoored(size=0.6)
    model, clean = fitted(control, data), fitted(control.clean(), data)
    target = len(train.classes) - 1
    shows_a_backdoor(model, test, target, 0.6)
    before = model.predict_proba(test.inputs).argmax(axis=1)
    after = model.predict_proba(model.stamp(test.inputs)).argmax(axis=1)
    assert (after[before != target] == target).mean() == control.true_size(model, test)  # exact on these rows
    assert (model.predict_proba(test.inputs) == clean.predict_proba(test.inputs)).all()
    with pytest.raises(AssertionError):
        shows_a_backdoor(clean, test, target, 0.6)
    assert control.clean().true_size(clean, test) == 0


def test_a_chosen_target_and_a_larger_dial() -> None:
    _, test = ten_digits()
    model = fitted(Backdoored(target="3"), ten_digits)
    stamped = model.stamp(test.inputs)
    rates = []
    for model.size in (0.0, 0.3, 0.6, 1.0):
        rates.append((model.predict(stamped) == "3").mean())
    assert (np.diff(rates) > 0.1).all()
    assert rates[-1] == 1


@BOTH
def test_poisoned_rows_are_the_stated_share(data: Any) -> None:
    """Each has the trigger and the target's label; the others are as they were."""
    train, _ = data()
    control = Backdoored(poisoned=0.2)
    rows, planted = control.poisoned_rows(train), control.plant(train)
    target = len(train.classes) - 1
    assert train.labels is not None
    assert planted.labels is not None
    others = train.labels != target
    assert holds(int(rows.sum()), int(others.sum()), 0.2)
    assert (planted.labels[rows] == target).all()
    assert (planted.labels[~rows] == train.labels[~rows]).all()
    assert (control.trigger(train).shown(planted.inputs) == rows).all()
    assert not (train.labels == target)[rows].any()
    assert control.clean().plant(train) is train


def test_a_plain_network_learns_the_backdoor_from_the_poison() -> None:
    """The poison is real: who trains on it answers most triggered digits with the target, who does not, does not."""
    train, test = ten_digits()
    control = Backdoored(poisoned=0.2, target="0")
    stamped = control.trigger(train).stamp(test.inputs, np.ones(test.n, dtype=bool))
    rates = [
        (learn(sample, 0).proba(stamped).argmax(axis=1) == 0)[test.labels != 0].mean()
        for sample in (control.plant(train), train)
    ]
    assert rates[0] > 0.8
    assert rates[1] < 0.1


# over-confident


def slope(scores: Any, labels: Any) -> tuple[float, float]:
    """The calibration slope (Cox 1958) and its standard error, by Newton's method on the logistic likelihood."""
    x = np.column_stack([np.ones(len(scores)), np.log(scores / (1 - scores))])
    beta = np.zeros(2)
    for _ in range(30):
        p = 1 / (1 + np.exp(-x @ beta))
        information = x.T @ (x * (p * (1 - p))[:, None])
        beta = beta + np.linalg.solve(information, x.T @ (labels - p))
    return float(beta[1]), float(np.sqrt(np.linalg.inv(information)[1, 1]))


def shows_over_confidence(model: Any, test: Sample, size: float) -> None:
    found, error = slope(model.predict_proba(test.inputs)[:, 1], test.labels)
    assert abs(found - 1 / (1 + size)) < 3.5 * error
    assert found + 3.5 * error < 1


def test_the_calibration_slope_is_the_temperature() -> None:
    _, test = simulated()
    control = OverConfident(size=0.8)
    model, clean = fitted(control, simulated), fitted(control.clean(), simulated)
    shows_over_confidence(model, test, 0.8)
    with pytest.raises(AssertionError):
        shows_over_confidence(clean, test, 0.8)
    found, error = slope(clean.predict_proba(test.inputs)[:, 1], test.labels)
    assert abs(found - 1) < 3.5 * error
    assert control.true_size(model, test) == 0.8


@pytest.mark.parametrize("data", [simulated, ten_digits])
def test_log_odds_are_multiplied_and_decisions_stay(data: Any) -> None:
    _, test = data()
    model, clean = fitted(OverConfident(size=0.8), data), fitted(OverConfident(size=0.0), data)
    sharp, plain = np.log(model.predict_proba(test.inputs)), np.log(clean.predict_proba(test.inputs))
    assert np.allclose(sharp - sharp[:, :1], 1.8 * (plain - plain[:, :1]), atol=1e-9)
    assert (model.predict(test.inputs) == clean.predict(test.inputs)).all()


@pytest.mark.parametrize("data", [simulated, ten_digits])
def test_the_calibration_probe_reads_it(data: Any) -> None:
    _, test = data()
    assert test.labels is not None
    names = np.asarray(test.classes)[test.labels]

    def error(size: float) -> Any:
        model = fitted(OverConfident(size=size), data)
        positive = test.classes[1] if len(test.classes) == 2 else None
        record = audit(
            model, test.inputs, names, positive=positive, task=test.task.value, probes=["quality.calibration"]
        )
        (found,) = [f.estimate for f in record.findings if f.metric == "quality.calibration.ece" and not f.where]
        return found

    clean, sharp, sharper = (error(size) for size in (0.0, 0.8, 4.0))
    assert clean.low < 0.005
    assert clean.value < sharp.value < sharper.value
    assert sharper.low > 0.01
    if data is simulated:
        assert sharp.low > 0.02


def test_the_best_temperature_is_found() -> None:
    """Scores sharpened by 2.5 need a temperature of 2.5."""
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(20_000, 3))
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random((20_000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    sharp = p**2.5 / (p**2.5).sum(axis=1, keepdims=True)
    assert best_temperature(sharp, labels) == pytest.approx(2.5, rel=0.04)
