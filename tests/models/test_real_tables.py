"""Tables as people publish them, read as a plan would have it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.types import Capability
from steelyard.models.data.load import load_samples
from steelyard.models.targets.load import load_target


def test_compas_rates_as_published(shared_data: Path) -> None:
    """Oracle: ProPublica 2016, all 7,214 rows, Low against Medium and High."""
    folder = shared_data / "compas"
    if not folder.is_dir():
        pytest.skip("no compas among the real data")
    target = TargetPart(kind="predictions", path="compas-scores-two-years.csv", score="decile_score", threshold=5)
    data = DataPart(label="two_year_recid", positive=1, groups=["race", "sex"])
    sample = load_samples(data, target=target, base=folder).test
    decided = load_target(target, base=folder, sample=sample)
    assert decided.capabilities == {Capability.PREDICT}
    assert sample.n == 7_214
    assert sample.labels is not None
    race = sample.groups["race"]
    chosen = decided.predict(sample.inputs) == 1
    published = {"African-American": (0.4485, 0.2799), "Caucasian": (0.2345, 0.4772)}
    for level, (fpr, fnr) in published.items():
        here = race.codes == race.levels.index(level)
        assert chosen[here & (sample.labels == 0)].mean() == pytest.approx(fpr, abs=5e-5)
        assert (~chosen)[here & (sample.labels == 1)].mean() == pytest.approx(fnr, abs=5e-5)


def test_raw_adult_with_blanks_after_its_commas(shared_data: Path, tmp_path: Path) -> None:
    """UCI's own file has " >50K": the plan's ">50K" finds it, and the model still sees the cells as they stand."""
    raw = shared_data / "adult_uci" / "adult.data"
    if not raw.is_file():
        pytest.skip("no adult_uci among the real data")
    names = "age, workclass, fnlwgt, education, education-num, marital-status, occupation, relationship, race, sex, "
    names += "capital-gain, capital-loss, hours-per-week, native-country, income\n"
    (tmp_path / "adult.csv").write_text(names + "".join(raw.read_text().splitlines(keepends=True)[:2000]))
    data = DataPart(test="adult.csv", label="income", positive=">50K", groups=["sex"])
    sample = load_samples(data, target=None, base=tmp_path).test
    assert sample.classes == ("<=50K", ">50K")
    assert sample.groups["sex"].levels == ("Female", "Male")
    assert sample.inputs[" sex"].iloc[0] == " Male"
    assert np.isin(sample.labels, (0, 1)).all()
