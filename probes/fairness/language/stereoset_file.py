"""StereoSet's two shapes: the authors' dev.json, and JSON Lines with the three sentences side by side."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from steelyard.audit.errors import ProbeError
from steelyard.probes.fairness.language.benchmark_file import Published, json_lines, text_field

__all__ = ["FILE", "LABELS", "SPLITS", "Example", "read_examples"]

FILE = Published(
    name="StereoSet's dev.json", home="https://github.com/moinnadeem/StereoSet/tree/master/data",
    licence="CC BY-SA 4.0",
)  # fmt: skip
LABELS = ("stereotype", "anti-stereotype", "unrelated")
SPLITS = ("intrasentence", "intersentence")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A context and three ways on, in the order of `LABELS`; `term` is the target word, `category` its domain."""

    split: str
    term: str
    category: str
    context: str
    texts: tuple[str, str, str]


def read_examples(text: str, path: str) -> list[Example]:
    """The examples of a StereoSet file of either shape. Raises ProbeError, naming the place that is wrong."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        return [_flat(row, where) for where, row in json_lines(text, path)]
    if isinstance(whole, dict) and isinstance(whole.get("data"), dict):
        found = [
            _nested(entry, split, f"{path}: {split}[{i}]")
            for split in SPLITS
            for i, entry in enumerate(whole["data"].get(split, ()))
        ]
        if found:
            return found
    elif isinstance(whole, dict):  # one line
        return [_flat(whole, path)]
    raise ProbeError(f"{path} has no intrasentence or intersentence examples", hint=f"{FILE.name}: {FILE.home}")


def _flat(row: Mapping[str, Any], where: str) -> Example:
    split = text_field(row, "type", where)
    if split not in SPLITS:
        raise ProbeError(f"type is {split!r}; it is intrasentence or intersentence", where=where)
    first, second, third = (text_field(row, label, where) for label in LABELS)
    return Example(
        split=split, term=text_field(row, "target", where), category=text_field(row, "bias_type", where),
        context=text_field(row, "context", where), texts=(first, second, third),
    )  # fmt: skip


def _nested(entry: Any, split: str, where: str) -> Example:
    sentences = entry.get("sentences") if isinstance(entry, dict) else None
    if not isinstance(sentences, list) or not all(isinstance(one, dict) for one in sentences):
        raise ProbeError("an example without a list of sentences", where=where)
    labelled = {str(one.get("gold_label")): one for one in sentences}
    if set(labelled) != set(LABELS) or len(sentences) != len(LABELS):
        raise ProbeError(f"an example needs one sentence for each of {', '.join(LABELS)}", where=where)
    flat = {label: labelled[label].get("sentence") for label in LABELS}
    return _flat({**entry, **flat, "type": split}, where)
