"""Open a saved scikit-learn model without running what a stranger put into the file.

`.skops` files are rebuilt from a list of types, each of which is known or named as trusted; they run no code. A pickle
(`.pkl`, `.pickle`, `.joblib`) runs whatever it says: it is opened only with explicit trust, and not even then when a
scan finds a call that no model needs.
"""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from steelyard.audit.errors import TargetError, UnsafeArtifact
from steelyard.models.pickles import open_pickle, scan

__all__ = ["KNOWN_TYPES", "MODEL_SUFFIXES", "PICKLES", "load_model"]

# A description of an array's element, which most encoders hold; the rest is skops' own list. Trees are not on either:
# their node tables are read without bounds checks, so a forest from a stranger needs its owner's word.
KNOWN_TYPES = ("numpy.dtype",)
PICKLES = (".pkl", ".pickle", ".joblib")
MODEL_SUFFIXES = (".skops", *PICKLES)


def load_model(path: Path, *, trusted: Sequence[str] = (), trust_pickle: bool = False, where: str = "") -> Any:
    """The object saved in `path`.

    `trusted` are types, by their full names, that a .skops file may hold beyond scikit-learn's own. Raises
    UnsafeArtifact where trust is lacking or the scan finds a dangerous call, TargetError where the file is not a model.
    """
    where = where or str(path)
    _check_file(path, where)
    if path.suffix.lower() == ".skops":
        return _load_skops(path, trusted, where)
    if not trust_pickle:
        raise UnsafeArtifact(
            f"is a pickle ({path.suffix}), which can run any code when it is opened",
            where=where,
            hint="save it as .skops, or say trust_pickle: true (--trust-pickle) if you made the file yourself",
        )
    return _load_pickle(path, where)


def _check_file(path: Path, where: str) -> None:
    try:
        if not path.exists():
            names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            near = difflib.get_close_matches(path.name, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "paths are relative to the plan file's folder"
            raise TargetError("no such model file", where=where, hint=hint)
        if path.is_dir():
            raise TargetError(
                "is a folder, not a model file", where=where, hint=f"allowed are {', '.join(MODEL_SUFFIXES)}"
            )
        if path.suffix.lower() not in MODEL_SUFFIXES:
            raise TargetError(
                f"has the ending {path.suffix!r}", where=where, hint=f"a model file is {', '.join(MODEL_SUFFIXES)}"
            )
        if path.stat().st_size == 0:
            raise TargetError("is empty (0 bytes), not a model", where=where)
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror or error}", where=where) from None


def _load_skops(path: Path, trusted: Sequence[str], where: str) -> Any:
    import skops.io as sio
    from skops.io.exceptions import UntrustedTypesFoundException

    if not zipfile.is_zipfile(path):
        raise TargetError("is not a .skops file (it is no zip archive)", where=where, hint="save it with skops.io.dump")
    allowed = [*KNOWN_TYPES, *trusted]
    try:
        unknown = sorted(set(sio.get_untrusted_types(file=path)) - set(allowed))
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror or error}", where=where) from None
    except Exception as error:  # noqa: BLE001 (a damaged archive can raise anything)
        raise TargetError(f"is damaged: {_reason(error)}", where=where, hint="save it again") from None
    if unknown:
        raise UnsafeArtifact(
            f"holds types that are not trusted: {', '.join(unknown)}",
            where=where,
            hint=f"if you know where the file is from, set target.trusted: [{', '.join(unknown)}]",
        )
    try:
        return sio.load(path, trusted=allowed)
    except UntrustedTypesFoundException as error:
        raise UnsafeArtifact(_reason(error), where=where) from None
    except Exception as error:  # noqa: BLE001 (a damaged archive can raise anything)
        raise TargetError(f"cannot be loaded: {_reason(error)}", where=where, hint=_VERSIONS) from None


_VERSIONS = "is it whole, and saved with this version of scikit-learn?"


def _load_pickle(path: Path, where: str) -> Any:
    try:
        scan(path, where)
        return open_pickle(path, where)
    except UnsafeArtifact:
        raise
    except ImportError as error:
        raise TargetError(f"needs a module that is not here: {_reason(error)}", where=where) from None
    except Exception as error:  # noqa: BLE001 (a damaged pickle can raise anything)
        raise TargetError(f"cannot be loaded: {_reason(error)}", where=where, hint=_VERSIONS) from None


def _reason(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:200]}" if text else type(error).__name__
