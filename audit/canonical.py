"""One byte string for one value: canonical JSON, digests, and generators named after what they feed.

Canonical JSON here is RFC 8785 in spirit: keys sorted, no white space, UTF-8, shortest round-trip floats. NaN is
refused; an infinite limit of an interval is written as the string "inf" or "-inf", which JSON can carry.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from collections.abc import Mapping
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["FrozenMap", "canonical_json", "digest", "generator", "sha256", "to_plain"]


class FrozenMap(Mapping[str, Any]):
    """A mapping that cannot change, keeps its order, and is equal to any mapping of the same content."""

    __slots__ = ("_items",)

    def __init__(self, items: Mapping[str, Any] | None = None) -> None:
        self._items: dict[str, Any] = dict(items or {})

    def __getitem__(self, key: str) -> Any:
        return self._items[key]

    def __iter__(self) -> Any:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return hash(tuple(sorted(self._items.items())))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self._items == dict(other)

    def __repr__(self) -> str:
        return f"FrozenMap({self._items!r})"

    def __reduce__(self) -> tuple[object, ...]:
        return FrozenMap, (self._items,)


def to_plain(value: Any) -> Any:
    """Turn a noun into dicts, lists, strings and numbers; NaN raises ValueError."""
    kind: Any = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is float:  # most of a record are floats
        return _number(value)
    names = _names(kind)
    if names is not None:
        given = ((name, getattr(value, name), unless) for name, unless in names)
        return {name: to_plain(item) for name, item, unless in given if unless is _ALWAYS or item != unless}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (bool, int, str)):
        return value
    if isinstance(value, float):
        return _number(value)
    if isinstance(value, Mapping):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_plain(v) for v in value]
    if isinstance(value, (set, frozenset)):
        return sorted(to_plain(v) for v in value)
    if hasattr(value, "item"):  # a NumPy scalar
        return to_plain(value.item())
    raise TypeError(f"a {kind.__name__} cannot be written into a record")


_AS_IT_IS = frozenset({str, int, bool, type(None)})
_ALWAYS = object()


@cache
def _names(kind: type) -> tuple[tuple[str, Any], ...] | None:
    """The fields of a noun that are written, each with the value at which it is left out.

    A field with `plain` "unless default" came later than the noun: records without it keep their digest.
    """
    if not dataclasses.is_dataclass(kind):
        return None
    said = ((f, f.metadata.get("plain", True)) for f in dataclasses.fields(kind))
    return tuple((f.name, f.default if plain == "unless default" else _ALWAYS) for f, plain in said if plain)


def _number(value: float) -> float | str:
    if math.isnan(value):
        raise ValueError("NaN cannot be written into a record")
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    return int(value) if value.is_integer() and abs(value) < 2**53 else value  # as RFC 8785: 1.0 is 1


def canonical_json(value: Any) -> bytes:
    """The canonical bytes of `value` (any noun, or plain data)."""
    text = json.dumps(to_plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def sha256(data: bytes) -> str:
    """Hexadecimal SHA-256 of bytes."""
    return hashlib.sha256(data).hexdigest()


def digest(value: Any) -> str:
    """Hexadecimal SHA-256 of the canonical JSON of `value`."""
    return sha256(canonical_json(value))


def generator(seed: int, name: str) -> Generator:
    """The random generator called `name` under the plan's one seed.

    `SeedSequence(seed, spawn_key=SHA-256(name) as eight 32-bit words)`: streams with different names are
    independent, and the same name gives the same stream whatever ran before it.
    """
    import numpy as np

    words = tuple(int(word) for word in np.frombuffer(hashlib.sha256(name.encode()).digest(), dtype="<u4"))
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=words))
