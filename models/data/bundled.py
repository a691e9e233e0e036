"""Data sets that need no network: UCI Adult, in this package, and scikit-learn's digits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["BUNDLED", "Bundled", "held_out_third", "load_bundled"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A bundled table with what its columns mean. `held_out` (n,) is True for the third that is tested on.

    `arrays`: the inputs are handed to models as a NumPy array, as scikit-learn does, not as a data frame. `image` is
    the (height, width) of inputs that are images; their values are divided by `brightest`.
    """

    name: str
    frame: pd.DataFrame
    held_out: NDArray[np.bool_]
    label: str
    positive: str | None
    task: Literal["binary", "multiclass"]
    groups: tuple[str, ...]
    licence: str
    source: str
    arrays: bool = False
    image: tuple[int, int] | None = None
    brightest: float = 1.0


def load_bundled(name: str) -> Bundled:
    """The bundled data set `name`; raises DataError naming those there are."""
    if name not in BUNDLED:
        raise DataError(f"{name!r} is not bundled", where="data.dataset", hint=f"there are {', '.join(BUNDLED)}")
    return BUNDLED[name]()


def held_out_third(n: int) -> NDArray[np.bool_]:
    """(n,) which rows are tested on: those whose row number, mixed by SplitMix64's finaliser, is 0 modulo 3.

    Plain integer arithmetic, so that the split is the same for ever, whatever the library versions.
    Steele, Lea, Flood 2014, DOI 10.1145/2660193.2660195.
    """
    import numpy as np

    z = (np.arange(1, n + 1, dtype=np.uint64)) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = z ^ (z >> np.uint64(31))
    held: NDArray[np.bool_] = mixed % np.uint64(3) == 0
    return held


def _adult() -> Bundled:
    import pandas as pd

    frame = pd.read_parquet(Path(__file__).with_name("adult.parquet"))
    return Bundled(
        name="adult",
        frame=frame,
        held_out=held_out_third(len(frame)),
        label="income",
        positive=">50K",
        task="binary",
        groups=("sex", "race"),
        licence="CC BY 4.0",
        source="UCI Adult (Becker and Kohavi 1996, DOI 10.24432/C5XW20), the 45,222 complete rows",
    )


def _digits() -> Bundled:
    from sklearn.datasets import load_digits

    loaded: Any = load_digits(as_frame=True)
    frame: pd.DataFrame = loaded.data.assign(digit=loaded.target)
    return Bundled(
        name="digits",
        frame=frame,
        held_out=held_out_third(len(frame)),
        label="digit",
        positive=None,
        task="multiclass",
        groups=(),
        licence="CC BY 4.0",
        source="Optical Recognition of Handwritten Digits (Alpaydin and Kaynak 1998, DOI 10.24432/C50P49), "
        "the 1,797 rows that scikit-learn ships",
        arrays=True,
    )


def _digit_images() -> Bundled:
    return replace(_digits(), name="digits-images", arrays=False, image=(8, 8), brightest=16.0)


BUNDLED: dict[str, Callable[[], Bundled]] = {"adult": _adult, "digits": _digits, "digits-images": _digit_images}
