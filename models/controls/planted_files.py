"""Images with a control's marks in them, as files that a plan can name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import TargetError
from steelyard.audit.plan import DataPart
from steelyard.audit.target import Sample
from steelyard.models.controls.carriers import are_images
from steelyard.models.controls.control import Control, accused_group
from steelyard.models.controls.subgroup_biased import SubgroupBiased

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["PlantedFiles", "plant_files"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlantedFiles:
    """`data` is what a plan says of the files, `reference` how it names the control that fits them.

    `control` is that one, for `control.true_size(model, sample)`.
    """

    data: Mapping[str, Any]
    reference: Mapping[str, Mapping[str, Any]]
    control: Control


def plant_files(control: Control, data: DataPart, folder: Path, *, base: Path = Path(), seed: int = 0) -> PlantedFiles:
    """Write the images that `data` describes with the marks of `control`, as `folder`/train.npz and test.npz.

    A file holds the images, the label and the groups, and nothing else of the data. The group that a mark stands for
    is settled by the training rows, so that it is the same one in both files. `base` is the folder of the plan that
    `data` is from, `seed` its seed.
    Raises TargetError for data that are no images, or have no training rows; see the control for more.
    """
    import numpy as np

    from steelyard.models.data.load import load_samples

    samples = load_samples(data, target=None, base=base, seed=seed)
    train, test = samples.train, samples.test
    if train is None or not are_images(train.inputs):
        hint = "a table needs no marks: its column shows the group"
        raise TargetError("marks are planted in images, for training and for testing", where=control.id, hint=hint)
    settled = _settled(control, train)
    folder.mkdir(parents=True, exist_ok=True)
    label = data.label or "label"
    for name, sample in (("train", train), ("test", test)):
        arrays: dict[str, Any] = _arrays(settled.plant(sample), label)
        np.savez_compressed(folder / f"{name}.npz", **arrays)
    found = {f.name: getattr(settled, f.name) for f in fields(settled)}
    own = {name: value for name, value in found.items() if value != ""}
    part: dict[str, Any] = {"train": str(folder / "train.npz"), "test": str(folder / "test.npz"), "label": label}
    part |= {"positive": train.classes[1]} if len(train.classes) == 2 else {}
    part |= {"groups": list(train.groups)} if train.groups else {}
    return PlantedFiles(data=part, reference={settled.id: own}, control=settled)


def _settled(control: Control, train: Sample) -> Control:
    """The control with the groups that it is about by name."""
    if isinstance(control, SubgroupBiased):
        (first, one), (second, two) = control.about(train)
        return replace(control, first=first, first_group=one, second=second, second_group=two)
    if not hasattr(control, "against"):
        return control
    plain: Any = control
    attribute, level = accused_group(control, train, plain.attribute, plain.against)
    settled: Control = replace(plain, attribute=attribute, against=level)
    return settled


def _arrays(sample: Sample, label: str) -> dict[str, NDArray[Any]]:
    import numpy as np

    if sample.labels is None:
        raise TargetError("the rows have no labels", where="data.label")
    groups: dict[str, NDArray[np.str_]] = {
        name: np.asarray([str(level) for level in group.levels])[group.codes] for name, group in sample.groups.items()
    }
    return {"images": np.asarray(sample.inputs), label: np.asarray(sample.classes)[sample.labels], **groups}
