"""`meta.json` of an artifact, which says what it is and what its files must be: written, read, and compared."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from types import MappingProxyType
from typing import Any

from rra_cli import __version__
from rra_cli.core import files
from rra_cli.core.artifact import Artifact, FileRecord, StoreError
from rra_cli.core.reading import MOST_JSON, read_json
from rra_cli.core.resources import format_bytes
from rra_cli.core.spec import Spec, canonical_json, differences

META = "meta.json"
SUM = "sum"  # in meta.json: of all else in it; one without a sum was written by an earlier version
FORMAT = 1  # of meta.json; one without a number is of format 1


class Damage(Exception):
    """An artifact is not what was published; the text says which file and how."""


def seal(folder: Path, spec: Spec, entry: str | None, details: Mapping[str, Any]) -> None:
    """Writes `meta.json` with size and sha256 of every file. Raises ValueError where there is nothing, or a link."""
    files.remove_leftovers(folder)
    records = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        name = path.relative_to(folder).as_posix()
        if stat.S_ISDIR(mode) or name == META:
            continue
        if not stat.S_ISREG(mode):
            raise ValueError(f"{path} cannot be stored: it is not a regular file")
        records[name] = {"size": path.stat().st_size, "sha256": checksum(path)}
    if not records:
        raise ValueError(f"{folder} cannot be stored: it holds no file")
    meta = {
        "format": FORMAT,
        "spec": spec.as_json(),
        "entry": entry,
        "package": __version__,
        "details": dict(details),
        "files": records,
    }
    files.write_json(folder / META, {**meta, SUM: _sum(meta)})


def open_artifact(folder: Path, spec: Spec | None, entry: str | None) -> Artifact:
    """The artifact in `folder`, sizes of all its files checked.

    Raises FileNotFoundError where there is no such folder, `Damage` where it is not what was published, `StoreError`
    where it is the result of something else than `spec` (None: whatever it says it is).
    """
    try:
        if _regular_size(folder, META) > MOST_JSON:
            raise Damage(f"{META} has more than {format_bytes(MOST_JSON)}")
        raw = (folder / META).read_bytes()
    except FileNotFoundError:
        if not folder.exists():
            raise
        raise Damage(f"{META} is missing") from None
    try:
        meta = json.loads(raw)
        written, by = (meta.get("format", FORMAT), meta.get("package")) if isinstance(meta, dict) else (FORMAT, None)
        if written != FORMAT:
            raise StoreError(
                f"{folder} was written by rra {by} in format {written!r}; this rra reads format {FORMAT}",
                "use that version, or set store.root to another folder for this one; nothing was changed",
            )
        artifact = _parse(folder, meta)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Damage(f"{META} is unreadable ({error})") from error
    if spec is not None and (artifact.spec != spec or artifact.entry != entry):
        stored, asked = artifact.spec.as_json(), spec.as_json()
        found = list(differences({**stored, "entry": artifact.entry}, {**asked, "entry": entry}))
        raise StoreError(
            f"{folder} is the result of something else than its name says:\n  " + "\n  ".join(found),
            "somebody changed or moved it; remove that folder (it is built again), or set store.root to another",
        )
    for name, record in artifact.files.items():
        try:
            found_size = _regular_size(folder, name)
        except FileNotFoundError:
            if not folder.exists():
                raise
            raise Damage(f"{name} is missing") from None
        except OSError as error:
            if error.errno not in (errno.ENAMETOOLONG, errno.ENOTDIR):
                raise
            raise Damage(f"no file here can be called {_short(name)} ({error.strerror})") from None
        if found_size != record.size:
            raise Damage(f"{name} has {found_size} bytes instead of {record.size}")
    return artifact


def verify_files(artifact: Artifact, most: int | None = None) -> None:
    """Raises `Damage` where the sha256 of a file, or the sum of meta.json, is not the published one.

    most: files of more bytes are passed over (None: none is).
    """
    try:
        meta = read_json(artifact.path / META)
        intact = meta.get(SUM) in (None, _sum(meta))
    except (ValueError, TypeError, AttributeError, RecursionError):
        intact = False
    if not intact:
        raise Damage(f"{META} has other content than was published (its sum differs)")
    for name, record in artifact.files.items():
        if (most is None or record.size <= most) and checksum(artifact.path / name) != record.sha256:
            raise Damage(f"{name} has other content than was published (sha256 differs)")


def verify_contents(artifact: Artifact) -> None:
    """Raises `Damage` as `verify_files`, and where a file lies there that was not published."""
    verify_files(artifact)
    inside = [path for path in artifact.path.rglob("*") if path.is_symlink() or not path.is_dir()]
    present = {path.relative_to(artifact.path).as_posix() for path in inside}
    extra = sorted(present - set(artifact.files) - {META})
    if extra:
        raise Damage(f"{extra[0]} was not published with it")


def checksum(path: Path) -> str:
    """sha256 of a file, hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _parse(folder: Path, meta: Mapping[str, Any]) -> Artifact:
    stored = meta["spec"]
    spec = Spec(stored["stage"], stored["version"], stored["identity"], tuple(stored["upstream"]))
    records = {}
    for name, record in meta["files"].items():
        # A changed meta.json must not make us read elsewhere.
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts or os.path.normpath(name) != name:
            raise ValueError(f"{name!r} is not a file below the artifact")
        if name == "." or not name.isprintable():
            raise ValueError(f"{name!r} is not the name of a file")
        if isinstance(record["size"], bool) or not isinstance(record["size"], int) or len(record["sha256"]) != 64:
            raise ValueError(f"the record of {name!r} is not a size and a sha256")
        records[name] = FileRecord(record["size"], str(record["sha256"]))
    if not records:
        raise ValueError("it lists no file")
    if meta["entry"] is not None and not isinstance(meta["entry"], str):
        raise ValueError(f"its entry is {meta['entry']!r}")
    details = MappingProxyType(dict(meta["details"]))
    return Artifact(folder, spec, meta["entry"], MappingProxyType(records), details, str(meta["package"]))


def _sum(meta: Mapping[str, Any]) -> str:
    """sha256 of the canonical JSON of all but the sum itself."""
    rest = {key: value for key, value in meta.items() if key != SUM}
    return hashlib.sha256(canonical_json(rest).encode("ascii")).hexdigest()


def _short(name: str) -> str:
    return repr(name if len(name) < 60 else f"{name[:50]}...")


def _regular_size(folder: Path, name: str) -> int:
    """Size of a regular file reached without following any link below `folder`."""
    path = folder
    for part in PurePosixPath(name).parts:
        path = path / part
        status = path.lstat()
        if stat.S_ISLNK(status.st_mode):
            raise Damage(f"{name} is reached through a symbolic link")
    if not stat.S_ISREG(status.st_mode):
        raise Damage(f"{name} is not a regular file")
    return status.st_size
