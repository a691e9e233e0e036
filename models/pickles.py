"""Open a pickle that its owner trusts, and still refuse the calls that no model needs.

Two layers. `scan` reads the opcodes without running them (picklescan's verdicts) and covers what a plain reader
covers; it cannot see past the raw arrays that joblib writes between the opcodes, nor into a pickle inside an object
array. So `open_pickle` also listens, while the file is being opened, to Python's own audit event for every name that
any unpickler looks up, and stops before a dangerous one is resolved. This is a net, not a wall: a pickle is opened on
its owner's word.
"""

from __future__ import annotations

import bz2
import gzip
import importlib
import io
import logging
import lzma
import pickle
import sys
import threading
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from steelyard.audit.errors import UnsafeArtifact

__all__ = ["open_pickle", "scan"]

_NO_PROCESS = frozenset(
    {"os.system", "os.exec", "os.posix_spawn", "os.spawn", "pty.spawn", "subprocess.Popen", "socket.connect"}
)
_guarded = threading.local()


def scan(path: Path, where: str) -> None:
    """Raise UnsafeArtifact, naming them, where the file's opcodes name calls that picklescan holds dangerous."""
    found = _dangerous(_decompressed(path.read_bytes()))
    if found:
        raise _refusal(found, where)


def open_pickle(path: Path, where: str) -> Any:
    """The object in a .pkl, .pickle or .joblib file, with every name checked as it is looked up.

    Raises UnsafeArtifact at the first dangerous name, and whatever unpickling itself raises.
    """
    with _guard(where):
        if path.suffix.lower() == ".joblib":
            import joblib

            return joblib.load(path)
        with path.open("rb") as stream:
            return pickle.load(stream)  # noqa: S301 (trusted by its owner, scanned, and guarded)


def _dangerous(data: bytes) -> list[str]:
    """The dangerous globals of a pickle stream, read from its first byte as an unpickler would read it.

    picklescan's own entry point looks for a zip archive at the file's end first, and so would miss a pickle before one.
    """
    from picklescan.scanner import SafetyLevel, scan_pickle_bytes

    logging.getLogger("picklescan").addHandler(logging.NullHandler())  # its findings are in our one line
    result = scan_pickle_bytes(io.BytesIO(data), "model")
    return sorted({f"{g.module}.{g.name}" for g in result.globals if g.safety is SafetyLevel.Dangerous})


@cache
def _name_is_dangerous(module: str, name: str) -> bool:
    if "\n" in module + name:
        return True
    return bool(_dangerous(b"c" + module.encode() + b"\n" + name.encode() + b"\n."))


def _check_name(module: str, name: str, where: str) -> None:
    """Refuse a name that is dangerous as written, or that leads through a module to something that is."""
    if _name_is_dangerous(module, name):
        raise _refusal([f"{module}.{name}"], where)
    found: Any = importlib.import_module(module)
    for part in name.split("."):
        found = getattr(found, part, None)
        if isinstance(found, ModuleType):
            raise _refusal([f"{module}.{name}"], where)
    home, own = getattr(found, "__module__", None), getattr(found, "__qualname__", None)
    if isinstance(home, str) and isinstance(own, str) and _name_is_dangerous(home, own):
        raise _refusal([f"{home}.{own}"], where)


def _listen(event: str, arguments: tuple[Any, ...]) -> None:
    where = getattr(_guarded, "where", None)
    if where is None:
        return
    if event == "pickle.find_class":
        _guarded.where = None  # what checking itself imports is not the file's doing
        try:
            _check_name(str(arguments[0]), str(arguments[1]), where)
        finally:
            _guarded.where = where
    elif event in _NO_PROCESS:
        raise _refusal([event], where)


@cache
def _install() -> None:
    sys.addaudithook(_listen)  # a hook cannot be taken off again: outside `_guard` it does nothing


@contextmanager
def _guard(where: str) -> Iterator[None]:
    _install()
    _guarded.where = where
    try:
        yield
    finally:
        _guarded.where = None


def _refusal(names: list[str], where: str) -> UnsafeArtifact:
    return UnsafeArtifact(
        f"would run {', '.join(names)} when opened; it is refused, trusted or not",
        where=where,
        hint="do not open this file",
    )


def _decompressed(data: bytes) -> bytes:
    """The pickle stream in a file that joblib may have compressed; as it stands where it cannot be decompressed."""
    try:
        if data.startswith(b"\x78"):
            return zlib.decompress(data)
        if data.startswith(b"\x1f\x8b"):
            return gzip.decompress(data)
        if data.startswith(b"BZh"):
            return bz2.decompress(data)
        if data.startswith((b"\xfd7zXZ\x00", b"]\x00\x00")):
            return lzma.decompress(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError):
        return data
    return data
