"""Which files is a table made of, here or in object storage, and what are their bytes?"""

from __future__ import annotations

import hashlib
import re
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from steelyard.audit.errors import DataError
from steelyard.models.data.tables import resolve_path

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["Files", "find_table", "is_url", "read_remote"]

SUFFIXES = (".parquet", ".pq")
TEXT = (".csv", ".csv.gz")
BIG = "install steelyard[big]"
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")
_BLOCK = 1 << 22


def is_url(path: str) -> bool:
    """Whether `path` is an address such as `s3://bucket/table/*.parquet`, not a file of this machine."""
    return _URL.match(path) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """The parquet files of one table, or its CSV files (`csv`), in name order.

    `protocol` is empty for files of this machine; those of CSV always are.
    """

    names: tuple[str, ...]
    protocol: str = ""
    csv: bool = False

    def storage(self) -> Any:
        """The fsspec file system they lie in. Raises DataError where it needs a package that is not here."""
        try:
            import fsspec

            return fsspec.filesystem(self.protocol)
        except (ImportError, ValueError) as error:
            raise DataError(f"cannot be reached: {error}", where=f"{self.protocol}://", hint=BIG) from None

    def open(self, name: str) -> AbstractContextManager[Any]:
        """One of the files, for reading bytes."""
        if not self.protocol:
            return open(name, "rb")
        opened: AbstractContextManager[Any] = self.storage().open(name, "rb")
        return opened

    def digest(self) -> list[str]:
        """SHA-256 of each file's bytes."""
        found = []
        for name in self.names:
            state = hashlib.sha256()
            with self.open(name) as stream:
                while block := stream.read(_BLOCK):
                    state.update(block)
            found.append(state.hexdigest())
        return found


def find_table(pattern: str, *, base: Path) -> Files | None:
    """The parquet files or the CSV files that `pattern` names (a file, a glob, an address of parquet files), else None.

    Raises DataError where an address has no such file or cannot be reached.
    """
    scheme = _URL.match(pattern)
    if scheme is not None:
        return _remote(pattern, scheme.group(1).lower())
    full = resolve_path(pattern, base)
    if full.exists():
        names = [str(full)]
    else:
        import glob

        names = sorted(glob.glob(str(full), recursive=True))
    if not names or not all(Path(name).is_file() for name in names):
        return None
    for ends in (SUFFIXES, TEXT):
        if all(name.lower().endswith(ends) for name in names):
            return Files(names=tuple(names), csv=ends is TEXT)
    return None


def read_remote(pattern: str) -> pd.DataFrame:
    """The rows of every parquet file at an address, in name order. Raises DataError."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    files = _remote(pattern, _URL.match(pattern).group(1).lower())  # type: ignore[union-attr]  # the caller asked is_url
    frames = []
    for name in files.names:
        try:
            with files.open(name) as stream:
                frames.append(pq.ParquetFile(stream).read().to_pandas())
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"is not a parquet table: {error}", where=name) from None
    if any(set(frame.columns) != set(frames[0].columns) for frame in frames):
        raise DataError("its files have different columns", where=pattern, hint="one table needs the same columns")
    whole: pd.DataFrame = pd.concat(frames, ignore_index=True)
    return whole


def _remote(pattern: str, protocol: str) -> Files:
    storage = Files(names=(), protocol=protocol).storage()
    try:
        found = sorted(storage.glob(pattern))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot be read: {error}", where=pattern) from None
    if not found:
        raise DataError("fits no file", where=pattern, hint="name a parquet file, or a pattern such as …/*.parquet")
    odd = [name for name in found if not name.lower().endswith(SUFFIXES)]
    if odd:
        raise DataError(f"{odd[0]!r} is not parquet", where=pattern, hint="object storage is read as parquet only")
    return Files(names=tuple(storage.unstrip_protocol(name) for name in found), protocol=protocol)
