"""What carries a defect in the inputs: a column of a table, or a mark on an image."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.canonical import FrozenMap
from steelyard.audit.errors import TargetError
from steelyard.audit.target import Sample

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = [
    "Corner",
    "are_images",
    "block_side",
    "busiest_number",
    "erase_corners",
    "flat",
    "has_mark",
    "members",
    "put_mark",
    "replanted",
    "row_lots",
    "table",
    "white",
]

_PLAINLY_BEYOND = 4.0

Corner = Literal["top-left", "top-right", "bottom-left", "bottom-right"]


def are_images(inputs: Any) -> bool:
    """Whether the inputs are images, (n, height, width) or (n, channels, height, width), and no table."""
    return not hasattr(inputs, "columns") and getattr(inputs, "ndim", 2) > 2


def table(inputs: Any) -> pd.DataFrame:
    """(n, d) inputs as a data frame; the columns of an array are called "0", "1" …"""
    import numpy as np
    import pandas as pd

    if isinstance(inputs, pd.DataFrame):
        return inputs.set_axis([str(name) for name in inputs.columns], axis=1)
    array = np.asarray(inputs)
    return pd.DataFrame(array, columns=[str(place) for place in range(array.shape[1])])


def flat(images: Any) -> NDArray[np.float64]:
    """(n, pixels) float64."""
    import numpy as np

    return np.asarray(images, dtype=np.float64).reshape(len(images), -1)


def row_lots(inputs: Any, seed: int, without: Sequence[str] = ()) -> NDArray[np.float64]:
    """(n,) numbers in [0, 1), each a hash of a row's (or an image's) own values and `seed`; equal rows share one.

    The columns `without` play no part. Over rows that differ the numbers are as good as uniform.
    """
    import numpy as np
    import pandas as pd

    from steelyard.models.recipes.randomised import lots

    if are_images(inputs):
        return lots(pd.DataFrame(flat(inputs)), seed)
    plain = {}
    for name, column in table(inputs).items():
        if name in without:
            continue
        if pd.api.types.is_numeric_dtype(column.dtype):
            plain[name] = column.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            codes, values = pd.factorize(column, use_na_sentinel=True)
            words = np.array([*(str(value).strip() for value in values), ""], dtype=object)  # the last one: missing
            plain[name] = words[codes]
    return lots(pd.DataFrame(plain, index=range(len(inputs))), seed)


def members(inputs: Any, attribute: str, level: str, corner: Corner) -> NDArray[np.bool_]:
    """(n,) who is in the group: by the column `attribute` of a table, by the mark in `corner` of an image.

    Raises TargetError where a table has no such column.
    """
    import numpy as np

    from steelyard.models.recipes.randomised import crossed_levels

    if are_images(inputs):
        return has_mark(inputs, corner)
    found: NDArray[np.bool_] = np.asarray(crossed_levels(table(inputs), (attribute,)) == level, dtype=np.bool_)
    return found


def busiest_number(frame: pd.DataFrame, where: str) -> str:
    """The numeric column with the most distinct values, the first of several. Raises TargetError without any."""
    import pandas as pd

    counts = {n: c.nunique() for n, c in frame.items() if pd.api.types.is_numeric_dtype(c.dtype) and c.nunique() > 1}
    if not counts:
        raise TargetError("needs a column of numbers to carry the defect", where=where, hint="see data.features")
    return str(max(counts, key=lambda name: counts[name]))


# marks on images


def white(images: Any) -> float:
    """The brightest value that the images' type allows: 255 for whole numbers, 1 for floats.

    Noise may lead a little beyond it. Raises TargetError for floats that are plainly on another scale.
    """
    import numpy as np

    array = np.asarray(images)
    if array.dtype.kind in "iu":
        return 255.0
    if array.size and array.max() > _PLAINLY_BEYOND:
        raise TargetError(
            f"the images hold values from {array.min():g} to {array.max():g}", hint="bring them to [0, 1], or to uint8"
        )
    return 1.0


def block_side(images: Any) -> int:
    """The side of a mark in pixels: an eighth of the image, at least one."""
    return max(1, int(min(images.shape[-2:])) // 8)


def _corner(images: Any, corner: Corner, side: int) -> tuple[Any, ...]:
    vertical, horizontal = corner.split("-")
    rows = slice(None, side) if vertical == "top" else slice(-side, None)
    columns = slice(None, side) if horizontal == "left" else slice(-side, None)
    return (..., rows, columns)


def has_mark(images: Any, corner: Corner) -> NDArray[np.bool_]:
    """(n,) whether the corner is white: brighter than half of white on average."""
    import numpy as np

    array = np.asarray(images)
    block = array[_corner(array, corner, block_side(array))].reshape(len(array), -1)
    found: NDArray[np.bool_] = block.mean(axis=1) > white(array) / 2
    return found


def put_mark(images: Any, corner: Corner, who: NDArray[np.bool_]) -> NDArray[Any]:
    """A copy of the images: the corner is white in those of `who` (n,) and black in all others."""
    import numpy as np

    marked = np.array(images)
    block = marked[_corner(marked, corner, block_side(marked))]
    block[...] = 0
    block[who] = white(images)
    return marked


def erase_corners(images: Any, corners: Sequence[Corner], side: int = 0) -> NDArray[Any]:
    """A copy of the images with these corners black, `side` pixels wide (by default a mark's width)."""
    import numpy as np

    erased = np.array(images)
    for corner in corners:
        erased[_corner(erased, corner, side or block_side(erased))] = 0
    return erased


def replanted(sample: Sample, inputs: Any, labels: Any = None) -> Sample:
    """The sample with other inputs (and labels), and the fingerprint that goes with them."""
    from dataclasses import replace

    from steelyard.models.data.outcome import Outcome
    from steelyard.models.data.sample import seal_sample

    outcome = Outcome(task=sample.task, classes=sample.classes, labels=sample.labels if labels is None else labels)
    sealed = seal_sample(
        inputs, outcome=outcome, groups=sample.groups, weights=sample.weights, clusters=sample.clusters,
        ids=sample.ids, modality=sample.modality, split=sample.split, min_n=sample.min_n, notes=(),
        answers=sample.answers,
    )  # fmt: skip
    return replace(sealed, notes=sample.notes, groups=FrozenMap(sample.groups), training=sample.training)
