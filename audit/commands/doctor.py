"""`steelyard doctor`: can Steelyard work here?"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from steelyard.audit.commands.options import add_format
from steelyard.audit.console import Console

HELP = "check Python, libraries, memory and folders"

# distribution: the module it is imported as
CORE = {
    "numpy": "numpy",
    "scipy": "scipy",
    "pandas": "pandas",
    "pyarrow": "pyarrow",
    "scikit-learn": "sklearn",
    "joblib": "joblib",
    "pydantic": "pydantic",
    "PyYAML": "yaml",
    "jinja2": "jinja2",
    "rich": "rich",
    "skops": "skops.io",
    "picklescan": "picklescan",
}
EXTRAS = {
    "torch": ("torch", "safetensors", "accelerate"),
    "text": ("transformers", "tokenizers", "peft"),
    "onnx": ("onnxruntime",),
    "image": ("PIL",),
    "pii": ("presidio_analyzer",),
    "search": ("optuna",),
    "explain": ("shap", "captum"),
    "private": ("opacus",),
    "big": ("duckdb", "fsspec"),
    "fair": ("fairlearn",),
}
_SOLD_AS = {"PIL": "pillow"}  # where a package is imported by another name
MIN_PYTHON = (3, 11)
MIN_MEMORY_GB = 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing looked at. `state` is ok, missing (it must be mended) or optional (only an extra needs it)."""

    name: str
    state: str
    found: str


def configure(parser: argparse.ArgumentParser) -> None:
    """The arguments of `doctor`."""
    add_format(parser)


def execute(args: argparse.Namespace, console: Console) -> int:
    """Look at everything an audit needs; 2 where something that is needed is missing."""
    checks = [_python(), *_core(), *_extras(), _cores(), *_memory(), *_folders()]
    sound = all(check.state != "missing" for check in checks)
    if args.format == "json":
        console.json({"ok": sound, "checks": [asdict(check) for check in checks]})
    else:
        console.table(("checked", "state", "found"), [(c.name, c.state, c.found) for c in checks])
        console.out("ready" if sound else "not ready: mend what is missing")
    return 0 if sound else 2


def _python() -> Check:
    good = sys.version_info[:2] >= MIN_PYTHON
    return Check(name="python", state="ok" if good else "missing", found=sys.version.split()[0])


def _core() -> Iterator[Check]:
    for distribution, module in CORE.items():
        try:
            importlib.import_module(module)
            yield Check(name=distribution, state="ok", found=version(distribution))
        except (ImportError, OSError, PackageNotFoundError) as error:
            yield Check(name=distribution, state="missing", found=f"does not import: {error}")


def _extras() -> Iterator[Check]:
    for extra, modules in EXTRAS.items():
        absent = [module for module in modules if find_spec(module) is None]
        found = ", ".join(f"{name} {version(_SOLD_AS.get(name, name))}" for name in modules if name not in absent)
        lacking = f"pip install 'steelyard[{extra}]' adds {', '.join(absent)}" if absent else ""
        text = "; ".join(part for part in (found, lacking) if part)
        yield Check(name=f"extra {extra}", state="optional" if absent else "ok", found=text)


def _cores() -> Check:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Check(name="cores", state="ok", found=str(usable))


def _memory() -> Iterator[Check]:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    except (AttributeError, ValueError, OSError):
        return
    state = "ok" if total >= MIN_MEMORY_GB else "optional"
    small = "" if state == "ok" else f"; an audit of 50,000 rows takes up to {MIN_MEMORY_GB} GB"
    yield Check(name="memory", state=state, found=f"{total:.1f} GB{small}")


def _folders() -> Iterator[Check]:
    from steelyard.models.cache import default_cache

    for name, folder in (("cache folder", default_cache().folder), ("working folder", Path.cwd())):
        if folder is None:
            yield Check(name=name, state="optional", found="none: references are trained anew each time")
            continue
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                yield Check(name=name, state="ok", found=str(folder))
        except OSError as error:  # both can be elsewhere: STEELYARD_CACHE, --out
            yield Check(name=name, state="optional", found=f"{folder}: cannot be written: {error.strerror}")
