"""Every control can be named in a plan, for tables and for images, and reads there as what was planted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from sklearn.datasets import load_digits

from steelyard.audit.cli import main
from steelyard.audit.errors import TargetError
from steelyard.audit.plan import DataPart
from steelyard.audit.store import read_record
from steelyard.models.controls.catalogue import CONTROLS
from steelyard.models.controls.group_biased import GroupBiased
from steelyard.models.controls.planted_files import plant_files
from steelyard.models.controls.shortcut import Shortcut
from steelyard.models.controls.subgroup_biased import SubgroupBiased
from steelyard.models.data.load import load_samples

DATA = {"train": "digits.npz", "held_out": 0.5, "label": "y", "positive": "high", "groups": ["site", "device"]}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Digits, low or high, whose site and device are drawn at random: their pixels do not show them."""
    found, draw = load_digits(), np.random.default_rng(0)
    n = 1200
    np.savez(
        tmp_path / "digits.npz",
        images=(found.images[:n] * 15.9).astype(np.uint8),
        y=np.where(found.target[:n] > 4, "high", "low"),
        site=draw.choice(["north", "south", "west"], n, p=[0.5, 0.35, 0.15]),
        device=draw.choice(["old", "new"], n, p=[0.4, 0.6]),
    )
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(plan: dict[str, Any], name: str = "audit.yaml") -> str:
    Path(name).write_text(yaml.safe_dump(plan), encoding="utf-8")
    return name


def of(data: Any, references: list[Any]) -> dict[str, Any]:
    return {
        "target": {"kind": "recipe", "name": "logistic"},
        "data": data,
        "references": references,
        "probes": ["fairness.selection-rate"],
        "gates": [{"metric": "fairness.selection-rate.difference", "max": 0.5}],
    }


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_each_is_trained_from_a_plan_on_images(control: Any, folder: Path, capsys: Any) -> None:
    """Those that need no marks on the images as they are, the others on the files that hold their marks."""
    small = dict(DATA, train="small.npz")
    whole = np.load("digits.npz")
    np.savez("small.npz", **{name: whole[name][:240] for name in whole.files})
    marked = control.name in {"group-biased", "subgroup-biased", "explanation-hiding", "shortcut-taking"}
    entry: Any = {control.id: {"size": control.size or 1.0}}
    if marked:
        assert main(["-q", "train", write(of(small, [entry]))]) == 2
        assert "plant_files" in capsys.readouterr().err
        planted = plant_files(type(control)(size=0.1), DataPart(**small), folder / "planted")
        small, entry = dict(planted.data), dict(planted.reference)
    code = main(["-q", "train", write(of(small, [entry]))])
    said = capsys.readouterr()
    assert (code, said.err) == (0, "")
    assert f"control/{control.name}" in said.out


@pytest.mark.parametrize("control", CONTROLS, ids=lambda control: control.name)
def test_each_is_trained_from_a_plan_on_a_table(control: Any, folder: Path, capsys: Any) -> None:
    draw = np.random.default_rng(1)
    rows = [f"{draw.integers(18, 80)},{draw.normal():.3f},{'fm'[i % 2]},{'abc'[i % 3]}" for i in range(300)]
    said = [f"{row},{int(float(row.split(',')[1]) > 0)}" for row in rows]
    Path("people.csv").write_text("\n".join(["age,income,sex,race,y", *said]) + "\n", encoding="utf-8")
    data = {"train": "people.csv", "held_out": 0.3, "label": "y", "positive": 1, "groups": ["sex", "race"]}
    size = 0.05 if control.name == "subgroup-biased" else control.size or 1.0
    code = main(["-q", "train", write(of(data, [{control.id: {"size": size}}]))])
    told = capsys.readouterr()
    assert (code, told.err) == (0, "")
    assert f"control/{control.name}" in told.out


def gap(record: Any, target: str, where: dict[str, str]) -> Any:
    rows = [
        row.estimate
        for row in record.findings
        if (row.metric, row.target) == ("fairness.selection-rate.difference", target)
        and where.items() <= dict(row.where).items()
    ]
    return rows[0]


def test_a_bias_planted_in_image_files_is_read_in_a_run(folder: Path) -> None:
    planted = plant_files(GroupBiased(size=0.4), DataPart(**DATA), folder / "planted")
    assert planted.reference == {"control/group-biased": {"size": 0.4, "attribute": "site", "against": "south"}}
    twin = {"control/group-biased": {**planted.reference["control/group-biased"], "size": 0.0, "as": "twin"}}
    assert main(["-q", "run", write(of(dict(planted.data), [dict(planted.reference), twin])), "--out", "r"]) == 0
    record = read_record(Path("r"))
    samples = load_samples(DataPart(**planted.data), target=None, base=folder)
    assert samples.train is not None
    model = planted.control.fit(samples.train, 0)
    truth = planted.control.true_size(model, samples.test)
    assert truth == pytest.approx(0.4, abs=0.08)
    found = gap(record, "control/group-biased", {"attribute": "site"})
    assert found.low - 0.05 <= truth <= found.high + 0.05  # the others are three sites at once: their spread is above 0
    assert gap(record, "twin", {"attribute": "site"}).value < 0.2 < found.value
    assert gap(record, "control/group-biased", {"attribute": "device"}).value < 0.15  # it is about the site


def test_both_files_are_about_the_same_group(folder: Path) -> None:
    """In the test rows alone another site would come second; the mark is still that of the training rows."""
    whole = np.load("digits.npz")
    turned = {name: whole[name][600:] for name in whole.files}
    turned["site"] = np.where(turned["site"] == "south", "west", np.where(turned["site"] == "west", "south", "north"))
    np.savez("one.npz", **{name: whole[name][:600] for name in whole.files})
    np.savez("two.npz", **turned)
    data = DataPart(train="one.npz", test="two.npz", label="y", positive="high", groups=["site", "device"])
    planted = plant_files(GroupBiased(), data, folder / "planted")
    for name in ("train", "test"):
        kept = np.load(folder / "planted" / f"{name}.npz")
        corner = kept["images"][:, 0, 0] > 0.5
        np.testing.assert_array_equal(corner, kept["site"] == "south")
    crossed = plant_files(SubgroupBiased(), data, folder / "crossed").reference["control/subgroup-biased"]
    assert (crossed["first"], crossed["first_group"]) == ("site", "south")
    assert (crossed["second"], crossed["second_group"]) == ("device", "old")
    assert "label" not in planted.reference


def test_a_table_needs_no_files(folder: Path) -> None:
    table = {"dataset": "adult", "groups": ["sex"]}
    with pytest.raises(TargetError, match="a table needs no marks: its column shows the group"):
        plant_files(GroupBiased(), DataPart(**table), folder)
    with pytest.raises(TargetError, match="marks are planted in images"):
        plant_files(Shortcut(), DataPart(**table), folder)
    assert json.dumps(plant_files(GroupBiased(), DataPart(**DATA), folder / "p").data)
