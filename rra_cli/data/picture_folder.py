"""Folders of pictures in the layout of torchvision's ImageFolder: which pictures there are, and what is in them.

Loose pictures have no published checksum: they enter by their content. Hashes are remembered in
`<data folder>/hashes`, a file per folder, while a picture shows no sign of change; and what is decoded later must have
the hash that was found.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.hashing import SETTLED_NS
from rra_cli.core.reading import read_bytes, read_json
from rra_cli.core.spec import canonical_json
from rra_cli.data.decoded import WORTH_SECONDS
from rra_cli.data.official_files import data_root
from rra_cli.data.picture_opening import MOST_BYTES
from rra_cli.data.pictures import threads
from rra_cli.errors import UserError

MOST_NOTE = 2 * 10**9  # bytes of a note: of ten million pictures
# torchvision's list (a test compares them).
EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")


def class_folders(folder: Path) -> list[str]:
    """The names of the folders in it, sorted; hidden ones are left out. `UserError` where it cannot be read."""
    try:
        return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise _unreadable(folder, error) from None


def pictures_below(folder: Path) -> list[str]:
    """Paths below the folder, with forward slashes, of all pictures in it and its folders, by their extensions.

    Sorted by folder, then by name, as torchvision does; hidden files and folders are left out, links are followed.
    """
    found: list[tuple[str, list[str]]] = []
    seen: set[str] = set()

    def fail(error: OSError) -> None:
        raise _unreadable(Path(error.filename or folder), error) from None

    for parent, folders, names in os.walk(folder, followlinks=True, onerror=fail):
        real = os.path.realpath(parent)
        if real in seen:  # a link back to a folder above
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        pictures = [n for n in names if n.lower().endswith(EXTENSIONS) and not n.startswith(".")]
        found.append((parent, sorted(pictures)))
    return [Path(parent, name).relative_to(folder).as_posix() for parent, names in sorted(found) for name in names]


def folder_hashes(folder: Path, names: Sequence[str]) -> tuple[str, ...]:
    """sha256 (hex) of the content of each file, named below the folder. `UserError` where one cannot be read."""
    real = Path(os.path.realpath(folder))
    note = data_root(None) / "hashes" / f"{hashlib.sha256(os.fsencode(real)).hexdigest()}.json"
    known = _read_note(note, real)
    began, now = time.monotonic(), time.time_ns()

    def look(name: str) -> tuple[list[int], str]:
        path = real / name
        try:
            status = os.stat(path)
            signature = [status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino, status.st_dev]
            remembered = known.get(name)
            if remembered is not None and remembered[:-1] == signature:
                return signature, str(remembered[-1])
            return signature, hashlib.sha256(read_bytes(path, MOST_BYTES)).hexdigest()
        except (OSError, ValueError) as error:
            raise _unreadable(folder / name, error) from None

    with ThreadPoolExecutor(threads()) as pool:
        looked = dict(zip(names, pool.map(look, names), strict=True))
    if time.monotonic() - began >= WORTH_SECONDS:
        # A file that changed just now may change again without a new time stamp.
        settled = {name: [*s, digest] for name, (s, digest) in looked.items() if now - max(s[1], s[2]) > SETTLED_NS}
        if settled != known:
            with suppress(OSError, UserError):
                files.write_text(note, json.dumps({"folder": str(real), "files": settled}))
    return tuple(digest for _, digest in looked.values())


def content_hash(names: Sequence[str], digests: Sequence[str]) -> str:
    """ "sha256:<hex>" of all names and contents, in order."""
    listed = canonical_json([list(pair) for pair in zip(names, digests, strict=True)])
    return f"sha256:{hashlib.sha256(listed.encode()).hexdigest()}"


@contextmanager
def folder_reader(folder: Path, names: Sequence[str], digests: Sequence[str]) -> Iterator[Callable[[int], bytes]]:
    """Reads pictures, each of which must still have the content that was hashed."""

    def read(position: int) -> bytes:
        path = folder / names[position]
        try:
            content = read_bytes(path, MOST_BYTES)
        except (OSError, ValueError) as error:
            raise _unreadable(path, error) from None
        if hashlib.sha256(content).hexdigest() != digests[position]:
            raise UserError(
                f"{path} changed while this run was reading the pictures",
                "wait until whatever writes them has finished, and run again",
            )
        return content

    yield read


def _read_note(note: Path, real: Path) -> dict[str, list[int | str]]:
    try:
        value = read_json(note, MOST_NOTE)
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict) or value.get("folder") != str(real) or not isinstance(value.get("files"), dict):
        return {}
    return {name: entry for name, entry in value["files"].items() if isinstance(entry, list) and len(entry) == 6}


def _unreadable(path: Path, error: OSError | ValueError) -> UserError:
    if isinstance(error, OSError):
        return UserError(f"{path} cannot be read: {error.strerror or error}", "check the path and its permissions")
    return UserError(f"{path} is not read: {error}", "remove or replace it, and run again")
