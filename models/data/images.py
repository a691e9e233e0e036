"""Images as arrays: IDX files (as MNIST comes), .npy and .npz, brought to float32 in [0, 1]."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["ARRAY_SUFFIXES", "as_images", "is_idx", "read_array", "read_idx"]

ARRAY_SUFFIXES = (".npy", ".npz")
_CHANNELS = (1, 3, 4)
# The third byte of an IDX file is the type of its numbers, big-endian (http://yann.lecun.com/exdb/mnist).
_IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_BYTES = 8 << 30
"""A compressed file that unpacks to more than this is refused: 8 GiB of images do not fit beside a model anyway."""


def as_images(values: NDArray[Any], *, where: str) -> NDArray[np.float32]:
    """(n, height, width) or (n, channels, height, width) float32 in [0, 1].

    Integers are divided by the greatest value of their type (255 for bytes); floats must lie in [0, 1] already. The
    channels of (n, height, width, channels), with 1, 3 or 4 of them, are moved forward. Raises DataError for another
    shape, another range and NaN.
    """
    import numpy as np

    array = np.asarray(values)
    if array.ndim not in (3, 4) or 0 in array.shape:
        raise DataError(
            f"holds an array of the shape {array.shape}, which is not images",
            where=where,
            hint="images are (n, height, width) or (n, channels, height, width)",
        )
    if array.ndim == 4 and array.shape[3] in _CHANNELS and array.shape[1] not in _CHANNELS:
        array = np.moveaxis(array, 3, 1)
    if array.dtype.kind == "u":
        scaled = array.astype(np.float32) / np.float32(np.iinfo(array.dtype).max)
    elif array.dtype.kind == "b":
        scaled = array.astype(np.float32)
    elif array.dtype.kind in "fi":
        low, high = float(array.min()), float(array.max())
        if not (low >= 0.0 and high <= 1.0):  # NaN fails both
            raise DataError(
                f"its pixels run from {low:g} to {high:g}",
                where=where,
                hint="scale them to [0, 1], or save them as bytes (uint8)",
            )
        scaled = array.astype(np.float32)
    else:
        raise DataError(f"holds {array.dtype} values, which are not pixels", where=where)
    return np.ascontiguousarray(scaled)


def is_idx(path: Path) -> bool:
    """Whether a file's first bytes (unpacked, where it is a .gz) are those of an IDX file."""
    try:
        with _opened(path) as stream:
            head = stream.read(4)
    except (OSError, EOFError, zlib.error):
        return False
    return len(head) == 4 and head[:2] == b"\0\0" and head[2] in _IDX_TYPES and 1 <= head[3] <= 4


def read_idx(path: Path, *, where: str) -> NDArray[Any]:
    """The array in an IDX file (.gz or not). Raises DataError where it is none, is cut short, or is too large."""
    import numpy as np

    try:
        with _opened(path) as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _IDX_TYPES or not 1 <= head[3] <= 4:
                raise DataError("is not an IDX file", where=where, hint="it begins with two zero bytes, type and rank")
            shape = tuple(int(size) for size in np.frombuffer(stream.read(4 * head[3]), dtype=">u4"))
            dtype = np.dtype(_IDX_TYPES[head[2]])
            wanted = dtype.itemsize * int(np.prod(shape, dtype=object))
            if wanted > _MOST_BYTES:
                raise DataError(f"says it holds {shape}, {wanted >> 30} GiB", where=where, hint="is it whole?")
            data = stream.read(wanted + 1)
    except FileNotFoundError:
        raise DataError("no such file", where=where, hint="paths are relative to the plan file's folder") from None
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"cannot be read: {error}", where=where) from None
    if len(shape) != head[3] or len(data) != wanted:
        raise DataError(f"does not hold what its head says: {shape}", where=where, hint="is it whole?")
    return np.frombuffer(data, dtype=dtype).reshape(shape).astype(dtype.newbyteorder("="))


def read_array(path: Path, *, where: str) -> dict[str, NDArray[Any]]:
    """The arrays of a .npz by name, or that of a .npy as "images". Raises DataError; objects are never unpickled."""
    import zipfile

    import numpy as np

    try:
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return {name: archive[name] for name in archive.files}
        return {"images": np.load(path, allow_pickle=False, mmap_mode="r")}
    except FileNotFoundError:
        raise DataError("no such file", where=where, hint="paths are relative to the plan file's folder") from None
    except (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        said = " ".join(str(error).split())[:200]
        if "allow_pickle" in said or "Python objects" in said:
            raise DataError("holds Python objects", where=where, hint="save numbers or text") from None
        raise DataError(f"is not an array file: {said}", where=where, hint="is it whole?") from None


def _opened(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix.lower() == ".gz" else path.open("rb")
