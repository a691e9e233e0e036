"""The public file of a benchmark, as it is published: where to get it, and what is wrong with it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from steelyard.audit.errors import NotApplicable, ProbeError

__all__ = ["Published", "json_lines", "lines_of", "read_text", "table_rows", "text_field"]

LARGEST = 256 * 2**20  # bytes; the largest of these benchmarks has 30 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A file to get: its name, where it is published, under which licence. `setting` is the probe's that names it."""

    name: str
    home: str
    licence: str
    setting: str = "path"

    def missing(self) -> NotApplicable:
        """Why the probe cannot run without it."""
        return NotApplicable(
            f"it needs {self.name}, which does not come with Steelyard",
            hint=f"get it from {self.home} ({self.licence}) and name it in the setting `{self.setting}`",
        )


def read_text(path: str, published: Published) -> str:
    """The file as text. NotApplicable where none is named, ProbeError where it cannot be read."""
    from pathlib import Path

    if not path:
        raise published.missing()
    file = Path(path).expanduser()
    try:
        if file.stat().st_size > LARGEST:
            raise ProbeError(f"{path} has more than {LARGEST >> 20} MB, too much for {published.name}")
        return file.read_text(encoding="utf-8-sig")
    except OSError as error:
        reason = (error.strerror or type(error).__name__).lower()
        raise ProbeError(f"{path} cannot be read: {reason}", hint=f"{published.name}: {published.home}") from error
    except UnicodeDecodeError as error:
        raise ProbeError(f"{path} is not UTF-8 text", hint=f"{published.name}: {published.home}") from error


def json_lines(text: str, path: str) -> list[tuple[str, Mapping[str, Any]]]:
    """(where, object) of every line of a JSON Lines file."""
    found: list[tuple[str, Mapping[str, Any]]] = []
    for number, line in lines_of(text):
        where = f"{path}:{number}"
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ProbeError("this line is not JSON", where=where) from error
        if not isinstance(value, dict):
            raise ProbeError("this line is not a JSON object", where=where)
        found.append((where, value))
    if not found:
        raise ProbeError(f"{path} is empty")
    return found


def lines_of(text: str) -> Iterable[tuple[int, str]]:
    """(number, line) of the lines that are not blank."""
    return ((i, line.strip()) for i, line in enumerate(text.splitlines(), start=1) if line.strip())


def table_rows(text: str, path: str, columns: Sequence[str], *, delimiter: str = ",") -> list[dict[str, str]]:
    """The rows of a CSV or TSV file with a header that has `columns`."""
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        rows = [{key: value or "" for key, value in row.items() if isinstance(key, str)} for row in reader]
    except csv.Error as error:
        raise ProbeError(f"{path} is not a table: {error}") from error
    lacking = [column for column in columns if column not in (reader.fieldnames or ())]
    if lacking:
        raise ProbeError(f"{path} lacks the column {lacking[0]!r}", hint=f"its header must have {', '.join(columns)}")
    if not rows:
        raise ProbeError(f"{path} has no rows")
    return rows


def text_field(value: Mapping[str, Any], key: str, where: str) -> str:
    """A field that must hold text."""
    found = value.get(key)
    if not isinstance(found, str) or not found.strip():
        raise ProbeError(f"{key!r} is missing or not text", where=where)
    return found.strip()
