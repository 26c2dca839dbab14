"""Files that are whole or absent: everything that is written goes through here.

A file is written beside its target, flushed to disk and renamed; a folder is flushed and renamed. A process killed at
any point leaves the old content, the new content, or nothing, and at most a leftover whose name starts with `.tmp-`.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rra_cli.core.resources import format_bytes, free_disk
from rra_cli.errors import UserError

LEFTOVER = ".tmp-"
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS)
_ELSEWHERE = "set store.root, hydra.run.dir or RRA_OUTPUTS to a folder"

# Called with the name of every point at which a kill would leave something new on disk. Tests add to it, and who asks
# whether anything was kept that the next start goes on with.
observers: list[Callable[[str], None]] = []


def boundary(name: str) -> None:
    """Marks a point between two changes of the disk; tests kill the process there."""
    for observer in observers:
        observer(name)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Gives a path beside `path` (same suffix) to write to; on leaving it is flushed and becomes `path`.

    Where the body raises, `path` stays as it was. Raises `UserError` where the disk is full or not writable.
    """
    path = Path(path)
    temporary = path.with_name(f"{LEFTOVER}{secrets.token_hex(4)}-{path.name}")
    with explained(path):
        make_folder(path.parent)
        boundary(f"write {path.name}: begin")
        try:
            yield temporary
            boundary(f"write {path.name}: written")
            sync(temporary)
            boundary(f"write {path.name}: flushed")
            os.replace(temporary, path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        boundary(f"write {path.name}: renamed")
        sync(path.parent)


def write_bytes(path: Path, data: bytes) -> None:
    """Writes the whole file or nothing."""
    with replacing(path) as temporary, open(temporary, "xb") as file:
        file.write(data)


def write_text(path: Path, text: str) -> None:
    """Writes the whole file (UTF-8, newlines as given) or nothing."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Writes readable JSON, keys in their order. NaN and infinity are refused (ValueError): they are not JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def write_passing(path: Path, value: Any) -> None:
    """Writes JSON that will soon be written again: whole or not at all for a reader, but not flushed to disk.

    For signs of life. No `boundary`, since nothing is lost with it; an `OSError` is raised as it is.
    """
    temporary = path.with_name(f"{LEFTOVER}{secrets.token_hex(4)}-{path.name}")
    try:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def write_array(path: Path, array: Any) -> None:
    """Writes a numpy array as `.npy`, never pickled."""
    import numpy as np

    with replacing(path) as temporary, open(temporary, "xb") as file:
        np.save(file, array, allow_pickle=False)


def write_stacked(path: Path, parts: Iterable[Any], rows: int, columns: int, dtype: Any) -> None:
    """Writes blocks of rows, one below the other, as one `.npy` of `(rows, columns)`, one block in memory at a time.

    The bytes are those that `write_array` gives for the whole array. Raises ValueError where the blocks do not fit.
    """
    import numpy as np

    written = 0
    with replacing(path) as temporary, open(temporary, "xb") as file:
        header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False}
        np.lib.format.write_array_header_1_0(file, {**header, "shape": (rows, columns)})
        for part in parts:
            if part.dtype != dtype or part.shape[1:] != (columns,):
                raise ValueError(f"{path.name}: expected rows of {columns} {dtype}, got {part.shape} of {part.dtype}")
            np.ascontiguousarray(part).tofile(file)
            written += len(part)
        if written != rows:
            raise ValueError(f"{path.name}: expected {rows} rows, got {written}")


def publish_folder(source: Path, target: Path) -> None:
    """Flushes everything under `source` and renames it to `target`, whole or not at all.

    Raises FileExistsError where `target` exists already and is not an empty folder, `UserError` where the disk is
    full or not writable.
    """
    source, target = Path(source), Path(target)
    with explained(target):
        for folder, _, names in os.walk(source):
            for name in names:
                sync(Path(folder, name))
            sync(Path(folder))
        make_folder(target.parent)
        boundary(f"publish {target.name}: flushed")
        move_new(source, target)
        boundary(f"publish {target.name}: renamed")
        sync(target.parent)
        sync(source.parent)


def make_folder(path: Path) -> Path:
    """Creates the folder and its parents; `UserError` where that is not possible."""
    with explained(path):
        try:
            path.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", str(path)) from error
        except OSError as error:
            if explanation(error, path) is not None:
                raise
            # A name too long, a loop of links, a folder of the kernel: whatever it is, the place was the user's choice.
            raise UserError(f"cannot create the folder {path}: {error.strerror}", f"{_ELSEWHERE} elsewhere") from error
        except ValueError as error:  # a zero byte, or half of a character
            raise UserError(f"no folder can be called {str(path)!r}: {error}", f"{_ELSEWHERE} elsewhere") from error
    return path


def move_new(source: Path, target: Path) -> None:
    """Renames a folder that holds something; FileExistsError where `target` exists already and is not empty.

    The rename of a folder never replaces a folder that holds something, on any POSIX file system, NFS included:
    among several processes exactly one wins.
    """
    try:
        os.rename(source, target)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
            raise FileExistsError(error.errno, "exists already", str(target)) from error
        raise


def sync(path: Path) -> None:
    """Flushes a file or the entries of a folder to disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network and FUSE file systems do not know how to flush a folder; its files are flushed all the same.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Removes what killed writes left under `folder`; only its sole owner may call this."""
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            if name.startswith(LEFTOVER):
                remove(Path(parent, name))


def remove(path: Path) -> None:
    """Removes a file or a folder tree that nobody looks for any more; what is gone already is no fault."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


@contextmanager
def explained(path: Path, needed: int | None = None) -> Iterator[None]:
    """Turns "disk full", "quota", "read-only" and "permission denied" inside into a `UserError` that names `path`."""
    try:
        yield
    except OSError as error:
        fault = explanation(error, path, needed)
        if fault is None:
            raise
        raise fault from error


@contextmanager
def no_room_explained(path: Path) -> Iterator[None]:
    """As `explained`, of faults that only a write can have: inside, other files are read, too."""
    try:
        yield
    except OSError as error:
        fault = explanation(error, path) if error.errno in _NO_ROOM else None
        if fault is None:
            raise
        raise fault from error


def explanation(error: OSError, path: Path, needed: int | None = None) -> UserError | None:
    """What to tell the user about a failed write, None where it is not something that a user can mend."""
    where = _ELSEWHERE
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        what = "disk full" if error.errno == errno.ENOSPC else "disk quota used up"
        needs = "" if needed is None else f"{format_bytes(needed)} needed, "
        return UserError(
            f"{what}: could not write {path} ({needs}{_free(path)} free there)",
            f"free something, or {where} on a disk with more room; the same command then goes on where it stopped",
        )
    if error.errno == errno.EFBIG:
        needs = "" if needed is None else f" ({format_bytes(needed)})"
        return UserError(
            f"file too large: could not write {path}{needs}; the file system or `ulimit -f` allows no more",
            f"raise that limit, or {where} on another file system; the same command then goes on where it stopped",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        what = "the file system is read-only" if error.errno == errno.EROFS else "permission denied"
        return UserError(f"cannot write {path}: {what}", f"make it writable, or {where} that is")
    if error.errno == errno.ENOTDIR:
        return UserError(f"cannot write {path}: a file lies where a folder is needed", f"move it away, or {where}")
    return None


def _free(path: Path) -> str:
    try:
        return format_bytes(free_disk(path))
    except OSError:
        return "an unknown amount"
