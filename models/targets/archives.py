"""What is in an archive that torch saved, and is it data alone? Asked before torch opens it.

None of torch's formats is safe by itself. A torch.export archive (.pt2) may hold pickles and compiled libraries, names
of Python functions to call, and expressions that are given to `eval`; TorchScript runs a language of its own, which
knows no Python but can read and write files. `check_export` and `check_script` let through what a saved network needs
and refuse the rest by name. They are a list of what is known to be harmless, not a proof: a file whose origin is
not known is better audited through its predictions.
"""

from __future__ import annotations

import ast
import io
import json
import re
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from steelyard.audit.errors import TargetError, UnsafeArtifact

__all__ = ["Held", "check_export", "check_script", "held_in"]

Held = Literal["export", "script", "weights"]

_NAME = re.compile(r"[\w.]*\Z")
_OPERATORS = (
    re.compile(r"torch\.ops\.(aten|prims|higher_order|quantized_decomposed)\.\w+(\.\w+)?\Z"),
    re.compile(r"_operator\.(add|sub|mul|truediv|floordiv|mod|pow|neg|pos|abs|eq|ne|lt|le|gt|ge|and_|or_|getitem)\Z"),
    re.compile(r"math\.(ceil|floor|trunc|sqrt|log2)\Z"),
    re.compile(r"torch\.sym_(int|float|max|min|not|ite|sum|fresh_size)\Z|torch\._sym_sqrt\Z"),
)
_FILE_OPERATORS = ("from_file", "save", "load")
_IN_EXPORT = re.compile(
    r"(data/(weights|constants|sample_inputs)/[^/]+|models/\w+\.json|archive_format|archive_version|byteorder|version"
    r"|\.data/\w+|\.format_version|\.storage_alignment|extra/[^/]+)\Z"
)
_SYMBOLIC_NAMES = (
    "Symbol Integer Float Rational Add Mul Pow Max Min Mod Abs Eq Ne Equality Unequality Lt Le Gt Ge StrictLessThan "
    "LessThan StrictGreaterThan GreaterThan Not And Or FloorDiv CeilDiv PythonMod CleanDiv ModularIndexing Where "
    "IntTrueDiv FloatTrueDiv FloatPow PowByNatural ToFloat RoundToInt TruncToInt CeilToInt FloorToInt TruncToFloat "
    "CeilToFloat FloorToFloat RoundDecimal Identity LShift RShift ceiling floor OpaqueUnaryFn_sqrt"
)
_SYMBOLIC = frozenset(_SYMBOLIC_NAMES.split())
_ASKED_OF_TENSORS = frozenset({"size", "stride", "storage_offset", "dim", "numel"})
_GRAMMAR = (
    ast.Expression, ast.Constant, ast.Name, ast.Load, ast.Call, ast.keyword, ast.BinOp, ast.UnaryOp, ast.BoolOp,
    ast.Compare, ast.Subscript, ast.Attribute, ast.operator, ast.unaryop, ast.boolop, ast.cmpop,
)  # fmt: skip
_FOREIGN_SCRIPT = re.compile(r"\bops\.(?!prim\b|aten\b|quantized\b)(\w+\.\w+)|(__torch__\.torch\.classes[\w.]*)")
_SCRIPT_FILES = re.compile(rf"\b(?:torch|ops\.aten)\.({'|'.join(_FILE_OPERATORS)})\b")


def held_in(path: Path, where: str) -> Held:
    """Whether an archive is a torch.export file, TorchScript, or weights alone; raises TargetError where it is none."""
    names = {name for name, _ in _entries(path, where)}
    if any(name.startswith("models/") and name.endswith(".json") for name in names):
        return "export"
    if any(name.startswith("code/") for name in names):
        return "script"
    if "data.pkl" in names:
        return "weights"
    raise TargetError("is a zip archive, but none that torch saves", where=where, hint="save it by torch.export.save")


def check_export(path: Path, where: str) -> None:
    """Raise UnsafeArtifact, with what it is, where a torch.export archive holds more than a graph and its tensors."""
    for name, content in _entries(path, where, wanted=(".json", ".pt")):
        if not _IN_EXPORT.match(name):
            raise _refusal(f"holds {name!r}", where)
        if name.startswith("models/"):
            for key, text in _strings(_json(content, name, where)):
                _check_graph_string(key, text, where)
        elif name.endswith("_config.json"):
            for entry in _json(content, name, where).get("config", {}).values():
                if entry.get("use_pickle") or not re.match(r"(weight|tensor)_\d+\Z", str(entry.get("path_name"))):
                    raise _refusal(f"holds the pickle {entry.get('path_name')!r}", where)
        elif name.endswith(".pt"):
            _check_weights(content, name, where)


def check_script(path: Path, where: str) -> None:
    """Raise UnsafeArtifact where TorchScript code names files, operators or classes from outside of torch's own."""
    for name, content in _entries(path, where, wanted=(".py",)):
        if name.startswith("code/") and name.endswith(".py"):
            code = content.decode("utf-8", "replace")
            found = _FOREIGN_SCRIPT.search(code) or _SCRIPT_FILES.search(code)
            if found:
                raise _refusal(f"its code in {name} names {found.group(0)}", where)


def _check_graph_string(key: str, text: str, where: str) -> None:
    if key in {"as_string", "torch_version"}:  # written into the graph quoted, by repr
        return
    if key == "target":
        if not any(known.match(text) for known in _OPERATORS) or text.split(".")[-1] in _FILE_OPERATORS:
            raise _refusal(f"its graph calls {text[:80]!r}", where)
        if any(part in _FILE_OPERATORS for part in text.split(".")):
            raise _refusal(f"its graph calls {text[:80]!r}", where)
    elif key in {"in_spec", "out_spec"}:
        for kind, value in _strings(json.loads(text)):
            if kind == "type" and not re.match(r"(builtins|collections)\.\w+\Z|torch\.[\w.]+\Z", value):
                raise _refusal(f"its inputs are of the type {value[:80]!r}", where)
    elif key in {"expr_str", "guards_code"}:
        if not _is_arithmetic(text):
            raise _refusal(f"holds the expression {text[:80]!r}", where)
    elif not _NAME.match(text):
        raise _refusal(f"holds the name {text[:80]!r}", where)


def _is_arithmetic(text: str) -> bool:
    """Whether an expression has nothing but numbers, symbols, sizes of tensors and the functions of symbolic shapes."""
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    called = set()
    for node in ast.walk(tree):
        if not isinstance(node, _GRAMMAR):
            return False
        if isinstance(node, ast.Call):
            called.add(node.func)
            if isinstance(node.func, ast.Name) and node.func.id not in _SYMBOLIC:
                return False
        if isinstance(node, ast.Attribute) and (node not in called or node.attr not in _ASKED_OF_TENSORS):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and not _NAME.match(node.value):
            return False
        if isinstance(node, ast.Constant) and isinstance(node.value, bytes):
            return False
    return all(isinstance(function, (ast.Name, ast.Attribute)) for function in called)


def _strings(value: Any, key: str = "name") -> Iterator[tuple[str, str]]:
    """Every string in a JSON value with the key that it stands under; keys are names. Notes for people are not read."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "metadata":
                continue
            yield "name", name
            yield from _strings(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from _strings(inner, key)
    elif isinstance(value, str):
        yield key, value


def _check_weights(content: bytes, name: str, where: str) -> None:
    import pickle

    import torch

    if not content:
        return
    try:
        with warnings.catch_warnings():
            # An odd protocol is no fault by itself: what the pickle holds is checked either way.
            warnings.filterwarnings("ignore", message="Detected pickle protocol", category=UserWarning)
            torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, KeyError, ValueError) as error:
        raise _refusal(f"{name} is more than tensors ({type(error).__name__})", where) from None


def _entries(path: Path, where: str, wanted: tuple[str, ...] = ()) -> Iterator[tuple[str, bytes]]:
    """Each file by its name below the one folder that torch makes, with its bytes where its ending is `wanted`."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if len({name.split("/", 1)[0] for name in names}) != 1 or len(set(names)) != len(names):
                raise _refusal("its entries are not those of one archive", where)
            for name in names:
                yield name.partition("/")[2], archive.read(name) if name.endswith(wanted or ("\0",)) else b""
    except (zipfile.BadZipFile, OSError, EOFError, NotImplementedError) as error:
        raise TargetError(f"is not an archive that torch saves: {error}", where=where, hint="is it whole?") from None


def _json(content: bytes, name: str, where: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        raise TargetError(f"{name} is not JSON", where=where, hint="is it whole?") from None
    if not isinstance(found, dict):
        raise TargetError(f"{name} is not a record", where=where, hint="is it whole?")
    return found


def _refusal(said: str, where: str) -> UnsafeArtifact:
    hint = "save plain weights as safetensors, and name file.py and target.factory"
    return UnsafeArtifact(f"{said}, which a saved network does not need; it is not opened", where=where, hint=hint)
