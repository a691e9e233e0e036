"""Images as files: a folder with one subfolder for each class, or a table with a column of paths."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray

__all__ = ["IMAGE_SUFFIXES", "PATH_COLUMNS", "class_folders", "open_images", "path_column"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
PATH_COLUMNS = ("path", "file_name", "image")
"""A column of one of these names, all of whose values end like an image file, says where the images are."""


def class_folders(folder: Path, *, label: str, where: str) -> pd.DataFrame:
    """A row for each image of `folder`/<class>/: its path below `folder` and, in the column `label`, its class.

    In the order of classes and names. Raises DataError for no subfolders, no images, and images outside of them.
    """
    import pandas as pd

    classes = sorted(entry.name for entry in folder.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = [entry.name for entry in folder.iterdir() if entry.suffix.lower() in IMAGE_SUFFIXES]
    if loose or not classes:
        raise DataError(
            f"{len(loose):,} images lie in no subfolder" if loose else "has no subfolders",
            where=where,
            hint="one subfolder for each class, or a metadata.csv with a column file_name",
        )
    rows = [
        (str(path.relative_to(folder)), name)
        for name in classes
        for path in sorted((folder / name).rglob("*"))
        if path.suffix.lower() in IMAGE_SUFFIXES
    ]
    if not rows:
        raise DataError("has no images in its subfolders", where=where, hint=f"endings: {', '.join(IMAGE_SUFFIXES)}")
    return pd.DataFrame(rows, columns=["path", label])


def path_column(frame: pd.DataFrame, named: Sequence[str] | None) -> str | None:
    """The column that holds the paths of images: the one of `named`, or one of `PATH_COLUMNS`; None where none does."""
    candidates = named if named is not None and len(named) == 1 else PATH_COLUMNS
    for name in candidates:
        if name in frame.columns and len(frame) and all(_is_image(value) for value in frame[name]):
            return name
    return None


def open_images(paths: Sequence[str], *, folder: Path, where: str) -> NDArray[np.uint8]:
    """(n, height, width) bytes of grey images, (n, channels, height, width) where any has colour.

    Raises DataError for a file that is not there, lies outside `folder`, is no image, is larger than Pillow's limit
    against decompression bombs, or has another size than the first one.
    """
    try:
        from PIL import Image
    except ImportError:
        raise DataError("images in files need Pillow", where=where, hint="pip install pillow, or save a .npy") from None
    import numpy as np

    root = folder.resolve()
    opened: list[NDArray[np.uint8]] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)  # half of what Pillow itself refuses
        for name in paths:
            full = (folder / name).resolve()
            if not full.is_relative_to(root):
                raise DataError(f"names {name!r}, which lies outside the folder", where=where, hint=f"it is {folder}")
            opened.append(_open(full, name, opener=Image, where=where))
            if opened[-1].shape[:2] != opened[0].shape[:2]:
                sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (opened[0], opened[-1]))
                message = f"{paths[0]!r} and {name!r} differ in size: {sizes}"
                raise DataError(message, where=where, hint="bring all images to one size first")
    if any(image.ndim == 3 for image in opened):
        coloured = [image if image.ndim == 3 else np.repeat(image[:, :, None], 3, axis=2) for image in opened]
        return np.moveaxis(np.stack(coloured), 3, 1)
    return np.stack(opened)


def _open(path: Path, name: str, *, opener: Any, where: str) -> NDArray[np.uint8]:
    import numpy as np

    try:
        with opener.open(path) as image:
            grey = image.mode in {"1", "L", "LA", "I;16", "I", "F"}
            if image.mode in {"I;16", "I", "F"}:
                raise DataError(f"{name!r} has more than 8 bits a pixel", where=where, hint="save the images as .npy")
            return np.asarray(image.convert("L" if grey else "RGB"))
    except FileNotFoundError:
        raise DataError(f"names {name!r}, and there is no such file", where=where) from None
    except (opener.DecompressionBombError, opener.DecompressionBombWarning):
        raise DataError(f"{name!r} is too large to be opened safely", where=where, hint="make it smaller") from None
    except (OSError, ValueError, SyntaxError) as error:
        said = " ".join(str(error).split())[:150]
        raise DataError(f"{name!r} is not an image that can be opened: {said}", where=where) from None


def _is_image(value: Any) -> bool:
    return isinstance(value, str) and value.lower().endswith(IMAGE_SUFFIXES)
