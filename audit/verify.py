"""Is every byte of a run folder what it was when the audit ended?

The manifest hashes every file; the record's digest covers what was found and judged. Someone who rewrites all of them
together leaves no trace here: keep the digest that `steelyard run` printed elsewhere and pass it as `digest`.
"""

from __future__ import annotations

import json
from pathlib import Path

from steelyard.audit.canonical import canonical_json, sha256
from steelyard.audit.errors import IntegrityError, SteelyardError, StorageError
from steelyard.audit.store import MANIFEST, MANIFEST_SCHEMA, files_of, read_record

__all__ = ["verify"]


def verify(folder: Path, digest: str | None = None) -> list[str]:
    """The problems found, one line each; an empty list means that nothing was changed."""
    if not folder.is_dir():
        raise StorageError("there is no such run folder", where=str(folder), hint="name a folder that `run` wrote")
    try:
        expected, stated = _manifest(folder)
    except IntegrityError as error:
        return [str(error)]
    problems = []
    present = set(files_of(folder))
    for name, want in sorted(expected.items()):
        if name not in present:
            problems.append(f"{name}: is missing")
        elif (folder / name).is_symlink():
            problems.append(f"{name}: was replaced by a link")
        elif sha256((folder / name).read_bytes()) != want:
            problems.append(f"{name}: was changed after the audit")
    problems += [f"{name}: was added after the audit" for name in sorted(present - set(expected))]
    try:
        record = read_record(folder)
    except SteelyardError as error:
        return [*problems, str(error)]
    if record.digest != stated:
        problems.append(f"{MANIFEST}: names another record than record.json")
    if digest is not None and record.digest != digest.strip().lower():
        problems.append(f"record.json: its digest is {record.digest}, not the {digest} you hold")
    for name in sorted(set(record.evidence.values())):
        if f"evidence/{name}" not in expected:
            problems.append(f"evidence/{name}: is named by the record but not in the manifest")
    return problems


def _manifest(folder: Path) -> tuple[dict[str, str], str]:
    path = folder / MANIFEST
    try:
        data = path.read_bytes()
    except OSError:
        raise IntegrityError("is missing: the run did not finish, or it was removed", where=MANIFEST) from None
    try:
        body = json.loads(data)
        if body["schema"] != MANIFEST_SCHEMA or canonical_json(body) + b"\n" != data:
            raise ValueError("it is not in canonical form")
        files = {str(k): str(v) for k, v in body["files"].items()}
        return files, str(body["record_digest"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise IntegrityError(f"was changed after the audit ({error})", where=MANIFEST) from None
