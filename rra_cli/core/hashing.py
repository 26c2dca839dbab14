"""What is in a user's file, as a hash; remembered while the file shows no sign of change."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from rra_cli.core import files
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError

# A file that changed this recently may change again without a new time stamp: its hash is not remembered.
SETTLED_NS = 2_000_000_000


def file_hash(path: Path, progress: Callable[[int], None] | None = None) -> str:
    """ "sha256:<hex>" of the content. progress: told the bytes read so far.

    Raises `UserError` where the file cannot be read or changes while it is being read.
    """
    path = Path(path)
    try:
        with open(path, "rb", buffering=0) as file:
            before = _signature(os.fstat(file.fileno()))
            digest, block, done = hashlib.sha256(), memoryview(bytearray(1 << 22)), 0
            while count := file.readinto(block):
                digest.update(block[:count])
                done += count
                if progress is not None:
                    progress(done)
            after = _signature(os.fstat(file.fileno()))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
    if before != after:
        raise UserError(f"{path} changed while it was being read", "wait until whatever writes it has finished")
    return f"sha256:{digest.hexdigest()}"


class HashCache:
    """Content hashes kept in a folder (`<store>/cache/hashes`), one small file per hashed file.

    A remembered hash counts only while real path, size, times of change, inode and device are all the same.
    read_only: nothing new is remembered.
    """

    def __init__(self, folder: Path, *, read_only: bool = False) -> None:
        self.folder, self.read_only = Path(folder), read_only

    def hash(self, path: Path, progress: Callable[[int], None] | None = None) -> str:
        """`file_hash`, from the cache where the file shows no sign of change. A failed write to it is no fault."""
        real = Path(os.path.realpath(path))
        try:
            signature = _signature(os.stat(real))
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}", "check the path and its permissions") from error
        note = self.folder / f"{hashlib.sha256(os.fsencode(real)).hexdigest()}.json"
        remembered = _read(note)
        wanted = {"path": str(real), "signature": signature}
        if remembered is not None and remembered.items() >= wanted.items():
            known = remembered.get("hash")
            if isinstance(known, str) and known.startswith("sha256:") and len(known) == 71:
                return known
        now = time.time_ns()
        found = file_hash(real, progress)
        inside = not (self.folder.is_symlink() or self.folder.parent.is_symlink())  # else it leads out of the store
        if inside and not self.read_only and now - max(signature["mtime_ns"], signature["ctime_ns"]) > SETTLED_NS:
            with suppress(OSError, UserError):
                files.write_json(note, {**wanted, "hash": found})
        return found


def _signature(status: os.stat_result) -> dict[str, int]:
    return {
        "size": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "ctime_ns": status.st_ctime_ns,
        "inode": status.st_ino,
        "device": status.st_dev,
    }


def _read(note: Path) -> dict[str, Any] | None:
    try:
        value = read_json(note)
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None
