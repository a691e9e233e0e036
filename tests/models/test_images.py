"""Images in every form come out as the same pixels, in [0, 1], with their labels beside them."""

from __future__ import annotations

import gzip
import struct
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from steelyard.audit.errors import DataError
from steelyard.audit.plan import DataPart, TargetPart
from steelyard.audit.types import Modality, Task
from steelyard.models.data.fingerprint import fingerprint_inputs
from steelyard.models.data.images import as_images
from steelyard.models.data.load import Samples, load_samples

rng = np.random.default_rng(2)
BYTES = rng.integers(0, 256, (24, 5, 4), dtype=np.uint8)
LABELS = np.tile([0, 1, 2], 8).astype(np.uint8)
PIXELS = BYTES.astype(np.float32) / 255


def load(base: Path, seed: int = 0, **data: Any) -> Samples:
    return load_samples(DataPart(**data), target=TargetPart(kind="torch", path="m.pt2"), base=base, seed=seed)


def idx(path: Path, array: Any) -> Path:
    head = b"\0\0\x08" + bytes([array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    data = head + array.tobytes()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return path


def in_files(folder: Path, arrays: Any, *, classes: bool = True) -> list[str]:
    image = pytest.importorskip("PIL.Image")
    names = []
    for place, array in enumerate(arrays):
        below = folder / (f"class {LABELS[place]}" if classes else "all")
        below.mkdir(parents=True, exist_ok=True)
        image.fromarray(array).save(below / f"{place:02}.png")
        names.append(f"{below.name}/{place:02}.png")
    return names


# every form


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_idx_files_with_their_labels_beside_them(ending: str, tmp_path: Path) -> None:
    for name in ("train", "t10k"):
        idx(tmp_path / f"{name}-images-idx3-ubyte{ending}", BYTES)
        idx(tmp_path / f"{name}-labels-idx1-ubyte{ending}", LABELS)
    found = load(tmp_path, train=f"train-images-idx3-ubyte{ending}", test=f"t10k-images-idx3-ubyte{ending}")
    assert np.array_equal(found.test.inputs, PIXELS)
    assert found.test.inputs.dtype == np.float32
    assert found.test.modality is Modality.IMAGE
    assert found.test.task is Task.MULTICLASS
    assert found.test.classes == ("0", "1", "2")
    assert np.array_equal(np.asarray(found.test.labels), LABELS)
    assert found.train is not None
    assert any("the very rows of the test table" in note for note in found.test.notes)
    named = load(tmp_path, test=f"t10k-images-idx3-ubyte{ending}", labels=f"train-labels-idx1-ubyte{ending}")
    assert named.test.fingerprint == found.test.fingerprint


def test_arrays_and_named_arrays(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", BYTES)
    np.save(tmp_path / "y.npy", LABELS)
    sex = np.array(["f", "m"] * 12)
    np.savez(tmp_path / "a.npz", pictures=BYTES, digit=LABELS, sex=sex)
    np.savez(tmp_path / "two.npz", pictures=BYTES, masks=BYTES, digit=LABELS)
    plain = load(tmp_path, test="x.npy", labels="y.npy")
    named = load(tmp_path, test="a.npz", label="digit", groups=["sex"])
    assert np.array_equal(plain.test.inputs, PIXELS)
    assert np.array_equal(named.test.inputs, PIXELS)
    assert named.test.groups["sex"].levels == ("f", "m")
    assert np.array_equal(named.test.labels, plain.test.labels)
    assert load(tmp_path, test="two.npz", label="digit", features=["pictures"]).test.n == 24
    with pytest.raises(DataError, match=r"2 of its arrays are images: it holds pictures \(24, 5, 4\)"):
        load(tmp_path, test="two.npz", label="digit")


def test_a_folder_for_each_class(tmp_path: Path) -> None:
    in_files(tmp_path / "pictures", BYTES)
    found = load(tmp_path, test="pictures")
    order = np.argsort(LABELS, kind="stable")
    assert found.test.classes == ("class 0", "class 1", "class 2")
    assert np.array_equal(found.test.inputs, PIXELS[order])
    assert np.array_equal(np.asarray(found.test.labels), LABELS[order])


def test_a_table_with_paths_brings_groups_and_clusters(tmp_path: Path) -> None:
    names = in_files(tmp_path / "f", BYTES, classes=False)
    table = pd.DataFrame({"file_name": names, "kind": LABELS, "sex": ["f", "m"] * 12, "who": np.arange(24) // 2})
    table.loc[3, "kind"] = np.nan
    table.to_csv(tmp_path / "f" / "metadata.csv", index=False)
    table.rename(columns={"file_name": "shot"}).to_csv(tmp_path / "f" / "t.csv", index=False)
    given = {"label": "kind", "groups": ["sex"], "cluster": "who"}
    found = load(tmp_path, test="f", **given).test
    assert np.array_equal(found.inputs, np.delete(PIXELS, 3, axis=0))
    assert found.notes[0] == "1 rows of f have no 'kind' and are left out"
    assert found.clusters is not None
    assert len(found.clusters) == found.n == 23
    assert (found.groups["sex"].codes == np.delete(np.tile([0, 1], 12), 3)).all()
    assert load(tmp_path, test="f/t.csv", features=["shot"], **given).test.fingerprint == found.fingerprint


def test_colours_come_with_the_channels_first(tmp_path: Path) -> None:
    colours = rng.integers(0, 256, (24, 5, 4, 3), dtype=np.uint8)
    in_files(tmp_path / "c", colours)
    found = load(tmp_path, test="c").test.inputs
    assert found.shape == (24, 3, 5, 4)
    order = np.argsort(LABELS, kind="stable")
    assert np.array_equal(found, np.moveaxis(colours[order], 3, 1).astype(np.float32) / 255)
    in_files(tmp_path / "mixed", [colours[0], *BYTES[1:]])
    assert load(tmp_path, test="mixed").test.inputs.shape == (24, 3, 5, 4)
    assert np.array_equal(as_images(colours, where="x"), np.moveaxis(colours, 3, 1).astype(np.float32) / 255)


def test_digits_as_images() -> None:
    found = load(Path(), dataset="digits-images").test
    flat = load(Path(), dataset="digits").test
    assert found.inputs.shape == (flat.n, 8, 8)
    assert np.allclose(found.inputs.reshape(flat.n, 64) * 16, flat.inputs)
    assert found.modality is Modality.IMAGE
    assert found.fingerprint != flat.fingerprint


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (np.array([[[0, 65535]]], dtype=np.uint16), [[[0.0, 1.0]]]),
        (np.array([[[True, False]]]), [[[1.0, 0.0]]]),
        (np.array([[[0.25, 1.0]]]), [[[0.25, 1.0]]]),
    ],
)
def test_pixels_of_every_type_end_in_0_to_1(given: Any, expected: Any) -> None:
    assert np.allclose(as_images(given, where="x"), expected)


# real data


def test_mnist_is_read_and_split(shared_data: Path) -> None:
    started = time.process_time()
    found = load(shared_data, train="mnist/t10k-images-idx3-ubyte.gz", held_out=0.2, seed=7)
    assert time.process_time() - started < 10
    assert found.train is not None
    assert (found.train.n, found.test.n) == (8000, 2000)
    assert found.test.inputs.shape == (2000, 28, 28)
    counts = np.bincount(np.concatenate([found.train.labels, found.test.labels]))  # type: ignore[arg-type, list-item]
    assert counts.tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]  # of the published test set
    assert "2,000 of the 10,000 rows" in found.test.notes[0]


# the rows held out


def table(folder: Path, n: int = 200) -> None:
    y = rng.integers(0, 3, n)
    pd.DataFrame({"a": np.arange(n), "y": y, "who": rng.integers(0, 40, n)}).to_csv(folder / "t.csv", index=False)


def test_a_share_of_every_class_is_held_out_by_the_seed(tmp_path: Path) -> None:
    table(tmp_path)
    given = {"train": "t.csv", "label": "y", "task": "multiclass", "held_out": 0.25}
    one, same, other = (load(tmp_path, seed=seed, **given) for seed in (1, 1, 2))
    assert one.train is not None
    assert one.test.fingerprint == same.test.fingerprint != other.test.fingerprint
    apart = set(one.train.inputs["a"]), set(one.test.inputs["a"])
    assert not apart[0] & apart[1]
    assert apart[0] | apart[1] == set(range(200))
    whole = np.bincount(pd.read_csv(tmp_path / "t.csv")["y"])
    assert np.array_equal(np.bincount(np.asarray(one.test.labels)), np.round(whole * 0.25))


def test_clusters_are_held_out_whole(tmp_path: Path) -> None:
    table(tmp_path)
    found = load(tmp_path, train="t.csv", label="y", cluster="who", features=["a"], held_out=0.3)
    who = pd.read_csv(tmp_path / "t.csv")["who"]
    assert found.train is not None
    tested = set(who[found.test.inputs["a"]])
    assert not tested & set(who[found.train.inputs["a"]])
    assert 60 <= found.test.n <= 60 + who.value_counts().max()


def test_holding_out_everything_is_refused(tmp_path: Path) -> None:
    pd.DataFrame({"a": [1, 2], "y": [0, 1], "who": [1, 1]}).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(DataError, match="leaves one side without any"):
        load(tmp_path, train="t.csv", label="y", cluster="who", held_out=0.5)
    with pytest.raises(DataError, match=r"names no table; set data\.test"):
        load(tmp_path, train="t.csv", label="y")


# bad input


def cut(folder: Path) -> dict[str, Any]:
    path = idx(folder / "x-images-idx3-ubyte", BYTES)
    path.write_bytes(path.read_bytes()[:-1])
    idx(folder / "x-labels-idx1-ubyte", LABELS)
    return {"test": path.name}


def without_labels(folder: Path) -> dict[str, Any]:
    return {"test": idx(folder / "x-images-idx3-ubyte", BYTES).name}


def few_labels(folder: Path) -> dict[str, Any]:
    idx(folder / "l", LABELS[:7])
    return {"test": idx(folder / "x-images-idx3-ubyte", BYTES).name, "labels": "l"}


def array(values: Any, **given: Any) -> Any:
    def make(folder: Path) -> dict[str, Any]:
        np.save(folder / "x.npy", values)
        np.save(folder / "y.npy", LABELS)
        return {"test": "x.npy", "labels": "y.npy", **given}

    return make


def two_sizes(folder: Path) -> dict[str, Any]:
    in_files(folder / "f", [*BYTES[:23], np.zeros((9, 9), np.uint8)])
    return {"test": "f"}


def no_image(folder: Path) -> dict[str, Any]:
    pytest.importorskip("PIL")
    (folder / "f" / "a").mkdir(parents=True)
    (folder / "f" / "a" / "x.png").write_bytes(b"hello")
    return {"test": "f"}


def outside(folder: Path) -> dict[str, Any]:
    in_files(folder / "all", BYTES[:1], classes=False)
    (folder / "f").mkdir()
    (folder / "f" / "metadata.csv").write_text("file_name,y\n../all/all/00.png,1\n")
    return {"test": "f", "label": "y"}


def bomb(folder: Path) -> dict[str, Any]:
    image = pytest.importorskip("PIL.Image")
    (folder / "f" / "a").mkdir(parents=True)
    image.new("1", (10_000, 10_000)).save(folder / "f" / "a" / "x.png")
    return {"test": "f"}


def loose(folder: Path) -> dict[str, Any]:
    in_files(folder, BYTES[:2], classes=False)
    return {"test": "all"}


BAD = {
    "cut": (cut, r"does not hold what its head says: \(24, 5, 4\)"),
    "no labels": (without_labels, r"has no labels beside it; name their file in data\.labels"),
    "few labels": (few_labels, "has 7 values, and there are 24 images"),
    "range": (array(BYTES.astype(float)), r"its pixels run from \d to 255; scale them to \[0, 1\]"),
    "nan": (array(np.full((24, 2, 2), np.nan)), "its pixels run from nan to nan"),
    "shape": (array(np.zeros((24, 4))), "0 of its arrays are images"),
    "objects": (array(np.array([{}] * 24)), "holds Python objects"),
    "two sizes": (two_sizes, "differ in size: 4 x 5 and 9 x 9"),
    "no image": (no_image, "is not an image that can be opened"),
    "outside": (outside, "lies outside the folder"),
    "bomb": (bomb, "is too large to be opened safely"),
    "loose": (loose, "2 images lie in no subfolder"),
    "missing": (lambda _: {"test": "x.npy", "labels": "y.npy"}, "no such file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_images_are_one_line(case: str, tmp_path: Path) -> None:
    make, message = BAD[case]
    with pytest.raises(DataError, match=message) as caught:
        load(tmp_path, **make(tmp_path))
    assert "\n" not in str(caught.value)


def test_every_pixel_is_in_the_fingerprint() -> None:
    large = rng.random((3000, 28, 28)).astype(np.float32)  # more than one part
    first = fingerprint_inputs(large)
    assert fingerprint_inputs(large.astype(np.float64)) == first
    large[2999, 27, 27] += 0.5
    assert fingerprint_inputs(large) != first
    assert fingerprint_inputs(large.reshape(3000, 784)) != fingerprint_inputs(large)
