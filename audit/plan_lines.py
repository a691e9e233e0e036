"""From the text of a plan to plain data, with the line on which every value stands.

YAML is read by PyYAML's safe composer, which keeps the position of every node; TOML by `tomllib`, whose positions
are found again by a search for the key. Nothing here knows what a plan means: `audit/plan_file.py` does.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from steelyard.audit.errors import PlanError

__all__ = ["Loc", "PlanText", "read_toml", "read_yaml"]

Loc = tuple[str | int, ...]

MAX_ALIASES = 100
MAX_NODES = 50_000  # after aliases are written out: what stops "a billion laughs"
MAX_DEPTH = 40

_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "timestamp")}
_MAP, _SEQ = "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanText:
    """Plain data and the line (from 1) of each value; `faults` are what is wrong with the text as such."""

    data: Mapping[str, Any]
    lines: Mapping[Loc, int]
    faults: tuple[PlanError, ...] = ()


class _Loader(yaml.SafeLoader):
    """The safe loader, with a limit on how often one node may be referred to."""

    aliases = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            self.aliases += 1
            if self.aliases > MAX_ALIASES:
                mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]  # the stubs lack it
                raise yaml.composer.ComposerError(None, None, f"more than {MAX_ALIASES} aliases", mark)
        node: yaml.Node | None = super().compose_node(parent, index)
        return node


def read_yaml(text: str, name: str) -> PlanText:
    """Read one YAML mapping. Raises PlanError where the text is not YAML at all."""
    try:
        loader = _Loader(text)
        try:
            root = loader.get_single_node()
            if root is None:
                raise PlanError("is empty", where=name, hint="'steelyard init DATA' writes a plan to begin with")
            if not isinstance(root, yaml.MappingNode):
                kind = "a list" if isinstance(root, yaml.SequenceNode) else "a single value"
                where = f"{name}:{root.start_mark.line + 1}"
                raise PlanError(f"holds {kind}", where=where, hint="a plan is a mapping with the keys target, data, …")
            walk = _Walk(loader=loader, name=name)
            data = walk.value(root, (), 0)
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise _syntax_error(error, name) from None
    except RecursionError:
        raise PlanError("is nested too deeply to be a plan", where=name) from None
    return PlanText(data=data, lines=walk.lines, faults=tuple(walk.faults))


@dataclass(slots=True, kw_only=True)
class _Walk:
    """The walk over the nodes: data out, lines and faults gathered on the way."""

    loader: _Loader
    name: str
    lines: dict[Loc, int] = field(default_factory=dict)
    faults: list[PlanError] = field(default_factory=list)
    nodes: int = 0

    def value(self, node: yaml.Node, loc: Loc, depth: int) -> Any:
        self.nodes += 1
        if self.nodes > MAX_NODES or depth > MAX_DEPTH:
            raise PlanError("is larger or deeper than any plan, once its aliases are written out", where=self.name)
        self.lines.setdefault(loc, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag == _MAP:
            return self._mapping(node, loc, depth)
        if isinstance(node, yaml.SequenceNode) and node.tag == _SEQ:
            return [self.value(item, (*loc, i), depth + 1) for i, item in enumerate(node.value)]
        if node.tag not in _PLAIN_TAGS or not isinstance(node, yaml.ScalarNode):
            tag = node.tag.replace("tag:yaml.org,2002:", "!!")
            self._fault(node, f"the tag {tag!r} is not allowed in a plan", "write text, numbers, lists and mappings")
            return None
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, loc: Loc, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._fault(key_node, "a key must be plain text", "")
                continue
            key = key_node.value
            if key in found:
                first = self.lines[(*loc, key)]
                self._fault(key_node, f"the key {key!r} is given twice (first on line {first})", "keep one of them")
                continue
            self.lines[(*loc, key)] = key_node.start_mark.line + 1
            found[key] = self.value(value_node, (*loc, key), depth + 1)
        return found

    def _scalar(self, node: yaml.ScalarNode) -> Any:
        try:
            return self.loader.construct_object(node)
        except (ValueError, KeyError, TypeError, yaml.constructor.ConstructorError):
            kind = "date" if node.tag.endswith("timestamp") else node.tag.rpartition(":")[2]
            self._fault(node, f"{node.value[:40]!r} is not a valid {kind}", "put it in quotes if it is meant as text")
            return None

    def _fault(self, node: yaml.Node, message: str, hint: str) -> None:
        self.faults.append(PlanError(message, where=f"{self.name}:{node.start_mark.line + 1}", hint=hint))


def _syntax_error(error: yaml.YAMLError, name: str) -> PlanError:
    mark = getattr(error, "problem_mark", None)
    where = f"{name}:{mark.line + 1}" if mark is not None else name
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    hint = ""
    if "'\\t'" in problem:
        problem, hint = "a tab is used for indentation", "YAML takes spaces only"
    elif "expected a single document" in (getattr(error, "context", None) or ""):
        return PlanError("holds more than one YAML document", where=where, hint="one file is one plan")
    elif "cannot start any token" in problem or "block scalar" in str(error):
        hint = "put a value that begins with a sign such as > % @ or ` in quotes"
    return PlanError(f"is not valid YAML: {problem}", where=where, hint=hint)


def read_toml(text: str, name: str) -> PlanText:
    """Read `[tool.steelyard]` of a pyproject.toml. Raises PlanError where there is none or the text is not TOML."""
    try:
        whole = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        at = re.search(r"line (\d+)", str(error))
        where = f"{name}:{at.group(1)}" if at else name
        raise PlanError(f"is not valid TOML: {error}", where=where) from None
    except RecursionError:
        raise PlanError("is nested too deeply to be a plan", where=name) from None
    tool = whole.get("tool")
    table = tool.get("steelyard") if isinstance(tool, dict) else None
    if not isinstance(table, dict):
        raise PlanError("has no table [tool.steelyard]", where=name, hint="put the plan there, or name a YAML file")
    return PlanText(data=table, lines=dict(_toml_lines(text)))


_HEADER = re.compile(r"^\s*(\[\[?)\s*tool\.steelyard((?:\s*\.\s*[\w-]+)*)\s*\]\]?\s*(?:#.*)?$")
_OTHER_HEADER = re.compile(r"^\s*\[\[?[^\[\]{}=,]+\]\]?\s*(?:#.*)?$")
_KEY = re.compile(r"^\s*((?:[\w-]+)(?:\s*\.\s*[\w-]+)*)\s*=")


def _toml_lines(text: str) -> Iterator[tuple[Loc, int]]:
    """The lines of headers and keys; a value inside a longer array falls back on the line of its key."""
    prefix: Loc | None = None
    counts: dict[Loc, int] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if header := _HEADER.match(line):
            parts = tuple(part.strip() for part in header.group(2).split(".") if part.strip())
            if header.group(1) == "[[":
                counts[parts] = counts.get(parts, -1) + 1
                yield parts, number
                prefix = (*parts, counts[parts])
            else:
                prefix = parts
            yield prefix, number
        elif _OTHER_HEADER.match(line):
            prefix = None
        elif prefix is not None and (key := _KEY.match(line)):
            yield (*prefix, *(part.strip() for part in key.group(1).split("."))), number
