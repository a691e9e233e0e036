"""The run folder: written so that a killed run resumes where it stopped, and a changed byte is found.

    plan.yaml       the resolved plan
    units/          one finished probe of one target each, written whole or not at all
    evidence/       the bytes behind findings, named by their SHA-256
    record.json     the record; written last but for
    manifest.json   the SHA-256 of every other file, in canonical JSON

Every file is written beside its place, flushed to the disk and renamed onto it.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from steelyard.audit.canonical import canonical_json, sha256
from steelyard.audit.errors import IntegrityError, StorageError
from steelyard.audit.record import Record
from steelyard.audit.types import Evidence, Failure, Finding, Inapplicable

__all__ = ["UnitResult", "read_evidence", "read_record", "read_unit", "storage", "write_atomic", "write_manifest"]

MANIFEST = "manifest.json"
MANIFEST_SCHEMA = "steelyard.manifest/1"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitResult:
    """What one probe of one target gave. `key` is a digest of all that it depends on."""

    key: str
    probe: str
    target: str
    findings: tuple[Finding, ...]
    failures: tuple[Failure, ...]
    inapplicable: tuple[Inapplicable, ...]
    seconds: float = 0.0
    tracebacks: tuple[str, ...] = ()


@contextlib.contextmanager
def storage(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into one line about `path`."""
    try:
        yield
    except OSError as error:
        reasons = {
            errno.ENOSPC: (
                "the disk is full",
                "free some space and run again with --resume: what was measured is kept",
            ),
            errno.EDQUOT: ("the disk quota is used up", "free some space and run again with --resume"),
            errno.EACCES: ("no permission to write here", "choose another folder with --out"),
            errno.EPERM: ("no permission to write here", "choose another folder with --out"),
            errno.EROFS: ("the file system is read-only", "choose another folder with --out"),
            errno.ENOTDIR: ("a part of this path is a file, not a folder", "choose another folder with --out"),
            errno.EEXIST: ("a file of this name is in the way", "choose another folder with --out"),
        }
        what, hint = reasons.get(error.errno or 0, (f"cannot be written: {error.strerror or error}", ""))
        raise StorageError(what, where=str(path), hint=hint) from error


def write_atomic(path: Path, data: bytes) -> None:
    """Write `data` to `path` whole or not at all, also when the process is killed or the disk is full."""
    with storage(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}.tmp")
        try:
            with draft.open("wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                draft.unlink()
            raise


def write_evidence(folder: Path, evidence: Iterable[Evidence]) -> dict[str, str]:
    """Store evidence by content; returns digest -> file name."""
    names = {}
    for item in evidence:
        name = f"{item.digest}.{item.kind}"
        path = folder / "evidence" / name
        if not path.exists() or sha256(path.read_bytes()) != item.digest:
            write_atomic(path, item.data)
        names[item.digest] = name
    return names


def read_evidence(folder: Path, digest: str) -> bytes:
    """The evidence with this digest. Raises IntegrityError where it is missing or changed."""
    found = sorted((folder / "evidence").glob(f"{digest}.*"))
    if not found:
        raise IntegrityError(f"evidence {digest[:12]}… is missing", where=str(folder / "evidence"))
    data = found[0].read_bytes()
    if sha256(data) != digest:
        raise IntegrityError("was changed after the audit", where=str(found[0]))
    return data


def write_unit(folder: Path, unit: UnitResult) -> None:
    """Store a finished unit, after its evidence, so that a unit on disk is always complete."""
    for finding in unit.findings:
        write_evidence(folder, finding.evidence)
    body = canonical_json(unit)
    write_atomic(unit_path(folder, unit.key), sha256(body).encode() + b"\n" + body + b"\n")


def unit_path(folder: Path, key: str) -> Path:
    """Where the unit with this key lies."""
    return folder / "units" / f"{key[:32]}.json"


def read_unit(folder: Path, key: str) -> UnitResult | None:
    """A finished unit, or None where it is absent, torn or damaged (it is then measured again)."""
    try:
        head, _, body = unit_path(folder, key).read_bytes().partition(b"\n")
    except OSError:
        return None
    body = body.rstrip(b"\n")
    if head.decode("ascii", "replace") != sha256(body):
        return None
    from pydantic import TypeAdapter

    unit: UnitResult = TypeAdapter(UnitResult).validate_python(json.loads(body))
    try:
        for finding in unit.findings:
            for item in finding.evidence:
                read_evidence(folder, item.digest)
    except IntegrityError:
        return None
    return unit if unit.key == key else None


def files_of(folder: Path) -> list[str]:
    """Every file of a run but the manifest, as sorted POSIX paths."""
    found = (p for p in folder.rglob("*") if p.is_file() or p.is_symlink())
    return sorted(n for n in (p.relative_to(folder).as_posix() for p in found) if n != MANIFEST)


def write_manifest(folder: Path, record: Record) -> None:
    """Hash every file of the run, after clearing the drafts that a killed process left."""
    with storage(folder):
        for draft in folder.rglob(".*.tmp"):
            draft.unlink()
        hashes = {name: sha256((folder / name).read_bytes()) for name in files_of(folder)}
    body: dict[str, Any] = {"schema": MANIFEST_SCHEMA, "record_digest": record.digest, "files": hashes}
    write_atomic(folder / MANIFEST, canonical_json(body) + b"\n")


def read_record(folder: Path) -> Record:
    """The record of a run folder (or of a path to a record.json)."""
    path = folder / "record.json" if folder.is_dir() else folder
    try:
        data = path.read_bytes()
    except OSError:
        hint = "name the folder that `steelyard run` wrote"
        if path.parent.is_dir() and (path.parent / "units").is_dir():
            hint = f"the run did not finish: steelyard run --resume {path.parent}"
        raise StorageError("there is no record here", where=str(path), hint=hint) from None
    return Record.from_bytes(data, where=str(path))
