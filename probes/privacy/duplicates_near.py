"""Which of some rows nearly repeat one of others: a distance far below what the neighbourhood makes likely."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["by_chance", "near_images", "near_table", "thumbnails"]

FALSE_RATE = 1e-4  # how many independent rows may pass for a near twin, where the density about them is locally even
NEIGHBOURS = 6
MOST_RATIO = 0.4
SIDE = 8  # of a thumbnail, in blocks


def by_chance(distances: NDArray[np.float64], tolerance: float) -> tuple[NDArray[np.bool_], float]:
    """(n,) whether the nearest of each row is too near for chance, and the ratio that was asked for.

    `distances` (n, k) to the k nearest distinct other rows, rising. Where points lie evenly about a row in D dimensions
    the ratio of its two nearest distances has (d1 / d2)^D uniform on (0, 1), whatever their density; so d1 <= r d2 with
    r = FALSE_RATE^(1 / D) happens by chance at that rate. D = ln 2 / ln(median of d2 / d1), which twins in fewer than
    half of the rows do not move much: Facco et al. 2017, DOI 10.1038/s41598-017-11873-y. A nearest row must also lie
    within `tolerance`, and d2 is the nearest one beyond it, so that several copies of one row do not hide each other.
    """
    import numpy as np

    first, second = distances[:, 0], distances[:, 1]
    usable = (first > 0) & np.isfinite(second)
    middle = float(np.median(second[usable] / first[usable])) if usable.any() else math.inf
    dimension = math.log(2) / math.log(middle) if middle > 1 else math.inf
    ratio = min(FALSE_RATE ** (1 / dimension) if dimension > 0 else 0.0, MOST_RATIO)
    beyond = np.where(distances > tolerance, distances, np.inf).min(axis=1)
    crowded = distances[:, -1] <= tolerance  # all within it: the tolerance is no distance between rows here
    return (first <= tolerance) & (first <= ratio * beyond) & ~crowded, ratio


def near_table(
    train: pd.DataFrame, test: pd.DataFrame, numbers: tuple[str, ...], tolerance: float
) -> tuple[NDArray[np.bool_], float]:
    """(n test,) whether a row has a training row with the same words whose numbers all differ by little; and the ratio.

    Distances are the largest difference over the columns `numbers`, in standard deviations of the training rows. Rows
    that differ in a word, or in which numbers are missing, are at least 1 apart. One k-d tree: the combination of the
    other columns is a coordinate of its own, so that no pair is compared across combinations.
    """
    import numpy as np
    import pandas as pd
    from scipy.spatial import cKDTree

    from steelyard.probes.privacy.unique_rows import equivalence_classes

    both = pd.concat([train, test], ignore_index=True)
    values = both[list(numbers)].to_numpy(dtype=np.float64, na_value=np.nan)
    missing = ~np.isfinite(values)
    values = np.where(missing, 0.0, values)
    spread = values[: len(train)].std(axis=0)
    values = values / np.where(spread > 0, spread, 1.0)
    words = both.drop(columns=list(numbers))
    marks = pd.DataFrame({f"missing {j}": missing[:, j] for j in range(missing.shape[1])})
    block = equivalence_classes(
        pd.concat([words.set_axis([f"word {j}" for j in range(words.shape[1])], axis=1), marks], axis=1)
    )
    points = np.column_stack([values, block.code.astype(np.float64)])
    known = np.unique(points[: len(train)], axis=0)
    found, _ = cKDTree(known).query(points[len(train) :], k=min(NEIGHBOURS, len(known)), p=np.inf)
    distances = np.asarray(found, dtype=np.float64).reshape(len(test), -1)
    return by_chance(_padded(distances), tolerance)


def _padded(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """At least two columns, the missing ones infinitely far."""
    import numpy as np

    lacking = max(NEIGHBOURS - distances.shape[1], 0)
    return np.pad(distances, ((0, 0), (0, lacking)), constant_values=np.inf)


def thumbnails(images: Any) -> NDArray[np.float64]:
    """(n, 64): block means over an 8 × 8 grid and over channels, mean 0 and norm 1: brightness and contrast are gone.

    `images` are (n, height, width) or (n, channels, height, width). A blank image is all zeros.
    """
    import numpy as np

    array = np.asarray(images, dtype=np.float64)
    grey = array.mean(axis=1) if array.ndim == 4 else array
    for axis in (1, 2):
        parts = np.array_split(np.arange(grey.shape[axis]), min(SIDE, grey.shape[axis]))
        grey = np.stack([grey.take(part, axis=axis).mean(axis=axis) for part in parts], axis=axis)
    flat = grey.reshape(len(grey), -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(np.where(norm > 1e-9, flat / np.maximum(norm, 1e-9), 0.0))


def near_images(train: Any, test: Any, tolerance: float) -> tuple[NDArray[np.bool_], float]:
    """(n test,) whether an image is a training image but for brightness, contrast, noise or size; and the ratio asked.

    Euclidean distances of `thumbnails`, in blocks of rows, never a full n × m matrix. Blank images have no twin.
    """
    import numpy as np

    known, asked = np.unique(np.round(thumbnails(train), 12), axis=0), thumbnails(test)
    known = known[np.abs(known).sum(axis=1) > 0]
    k = min(NEIGHBOURS, len(known))
    found = np.full((len(asked), NEIGHBOURS), np.inf)
    if k:
        for start in range(0, len(asked), 512):
            part = asked[start : start + 512]
            squares = np.maximum(2.0 - 2.0 * part @ known.T, 0.0)
            found[start : start + 512, :k] = np.sqrt(np.sort(np.partition(squares, k - 1, axis=1)[:, :k], axis=1))
    blank = np.abs(asked).sum(axis=1) == 0
    near, ratio = by_chance(found, tolerance)
    return near & ~blank, ratio
