"""A model behind a Python file: `file.py:factory`, run with the user's own modules beside it importable."""

from __future__ import annotations

import hashlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from steelyard.audit.errors import TargetError
from steelyard.audit.plan import TargetPart
from steelyard.audit.target import Sample

__all__ = ["call_factory", "importable", "takes_train"]


def call_factory(
    part: TargetPart, *, base: Path, train: Sample | None, seed: int | None = None
) -> tuple[Any, str, Path]:
    """What the factory returns, the SHA-256 of its file with the factory's name, and the folder of the file.

    The file is `part.path` (or `part.path` is "file.py:factory"). A factory takes nothing, or `train`: the training
    `Sample`, with `inputs`, `labels` (codes into `classes`) and `groups`; with it, it may take a `seed`. Raises
    TargetError with one line for a file or a function that is not there, and for whatever the user's code raises.
    """
    path, factory = _split(part)
    full = base / Path(path).expanduser()
    where = f"{path}:{factory}"
    if full.suffix != ".py" or not full.is_file():
        said = "is not a Python file" if full.exists() else "no such file"
        raise TargetError(said, where=path, hint="target.path names a .py file, relative to the plan file's folder")
    source = full.read_bytes()
    fingerprint = hashlib.sha256(source + b"\0" + factory.encode()).hexdigest()
    folder = full.parent.resolve()
    with importable(folder):
        module = _import(full, f"_steelyard_target_{fingerprint[:12]}", where)
        function = getattr(module, factory, None)
        if not callable(function):
            names = [name for name, value in vars(module).items() if inspect.isfunction(value) and name[0] != "_"]
            raise TargetError(f"has no function {factory!r}", where=path, hint=f"it has {', '.join(names) or 'none'}")
        return _call(function, train, seed, full, where), fingerprint, folder


def takes_train(part: TargetPart, *, base: Path) -> bool:
    """Whether the factory, which has been called before, takes the training rows."""
    path, factory = _split(part)
    full = base / Path(path).expanduser()
    fingerprint = hashlib.sha256(full.read_bytes() + b"\0" + factory.encode()).hexdigest()
    function = getattr(sys.modules.get(f"_steelyard_target_{fingerprint[:12]}"), factory, None)
    try:
        return function is not None and "train" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def _split(part: TargetPart) -> tuple[str, str]:
    if part.path is None:
        raise TargetError("names no file", where="target.path", hint="write file.py, and target.factory")
    path, colon, named = part.path.rpartition(":")
    if not (colon and path.endswith(".py")):
        path, named = part.path, ""
    factory = part.factory or named
    if not factory:
        raise TargetError(
            "names no function", where="target.factory", hint=f"write path: {part.path}:load, for instance"
        )
    return path, factory


def _import(full: Path, name: str, where: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, full)
    if spec is None or spec.loader is None:
        raise TargetError("cannot be imported", where=where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses and pickles look their module up there
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise _their_fault(error, full, where) from error
    return module


def _call(function: Callable[..., Any], train: Sample | None, seed: int | None, full: Path, where: str) -> Any:
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        parameters = {}  # type: ignore[assignment]  # a built-in without a signature takes nothing
    needed = [
        p.name
        for p in parameters.values()
        if p.default is p.empty and p.kind not in {p.VAR_POSITIONAL, p.VAR_KEYWORD} and p.name not in {"train", "seed"}
    ]
    if needed:
        raise TargetError(f"asks for {', '.join(needed)}", where=where, hint="a factory takes nothing, or `train`")
    if "train" in parameters and train is None and parameters["train"].default is inspect.Parameter.empty:
        raise TargetError("asks for the training data", where=where, hint="name data.train")
    try:
        given: dict[str, Any] = {"train": train} if "train" in parameters and train is not None else {}
        if "seed" in parameters and (seed is not None or parameters["seed"].default is inspect.Parameter.empty):
            given["seed"] = seed or 0
        return function(**given)
    except (Exception, SystemExit) as error:
        raise _their_fault(error, full, where) from error


def _their_fault(error: BaseException, full: Path, where: str) -> TargetError:
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == full]
    line = error.lineno if isinstance(error, SyntaxError) else (frames[-1].lineno if frames else None)
    place = f" (line {line} of {full.name})" if line else ""
    text = " ".join(str(error).split())[:300]
    return TargetError(f"failed with {type(error).__name__}: {text}{place}", where=where)


@contextmanager
def importable(folder: Path) -> Iterator[None]:
    """`folder` first on sys.path, and no module of the same name from elsewhere in the way of those in it.

    What was set aside is put back afterwards, so that the host's own `models` or `utils` is untouched.
    """
    own = {entry.stem for entry in folder.glob("*.py")} | {entry.name for entry in folder.iterdir() if entry.is_dir()}
    own -= sys.stdlib_module_names
    aside = {
        name: module
        for name, module in list(sys.modules.items())
        if (top := name.partition(".")[0]) in own and not _lies_in(sys.modules.get(top), folder)
    }
    for name in aside:
        del sys.modules[name]
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if str(folder) in sys.path:
            sys.path.remove(str(folder))
        sys.modules.update(aside)


def _lies_in(module: ModuleType | None, folder: Path) -> bool:
    """Whether a module comes from `folder`. Only a `.py` or a package of the same name there would take its place."""
    places = [getattr(module, "__file__", None) or "", *list(getattr(module, "__path__", []))]
    return any(Path(place).resolve().is_relative_to(folder) for place in places if place)
