"""Files of a published data set: where they lie, whether they are whole, and how they get there.

A file is read once, checked against its published checksum, and only those checked bytes are used: nothing can come
between the check and the use.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import http.client
import io
import os
import socket
import sys
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from rra_cli.core import files
from rra_cli.core.reading import read_bytes
from rra_cli.errors import UserError

ROOT_VARIABLE = "RRA_DATA"
# torchvision sets none: without one a network that swallows packets would hang a run for ever.
_TIMEOUT_SECONDS = 30.0
MOST_BYTES = 10**9  # of a file that is read at once: the largest has a sixth of that


@dataclass(frozen=True)
class OfficialFile:
    """path: below the root, with forward slashes. digest: the published hexadecimal checksum."""

    path: str
    algorithm: Literal["md5", "sha256"]
    digest: str


def data_root(root: str | None) -> Path:
    """The folder that data sets lie in: `root` if given, else RRA_DATA, else the user's cache folder."""
    if root is not None:
        return Path(root).expanduser()
    variable = os.environ.get(ROOT_VARIABLE)
    if variable:
        return Path(variable).expanduser()
    cache = os.environ.get("XDG_CACHE_HOME")
    return (Path(cache).expanduser() if cache else Path.home() / ".cache") / "rra" / "data"


def checksum(content: bytes, algorithm: Literal["md5", "sha256"]) -> str:
    """Hexadecimal digest; an md5 here says whether a file is the published one and protects no secret."""
    return hashlib.new(algorithm, content, usedforsecurity=False).hexdigest()


def missing_files(root: Path, wanted: Sequence[OfficialFile]) -> list[str]:
    """The paths (below root) that are not there."""
    return [file.path for file in wanted if not (root / file.path).is_file()]


def read_verified(root: Path, file: OfficialFile) -> bytes:
    """The file's bytes, equal to the published ones; a `UserError` if they cannot be read or differ."""
    path = root / file.path
    with _readable(path):
        try:
            content = read_bytes(path, MOST_BYTES)
        except ValueError as error:
            raise UserError(
                f"{path} is not the official file: {error}",
                "delete it and run again with dataset.download=true, or copy the official file there",
            ) from None
    _compare(path, file, checksum(content, file.algorithm), len(content))
    return content


@contextlib.contextmanager
def open_verified(root: Path, file: OfficialFile) -> Iterator[io.BufferedReader]:
    """A file too large to be read at once, open at its start, its content found to be the published one."""
    path = root / file.path
    with _readable(path):
        opened = open(path, "rb")  # noqa: SIM115  (closed below; only the opening is explained here)
    with opened:
        with _readable(path):
            found = _stream_checksum(opened, file.algorithm)
        _compare(path, file, found, opened.tell())
        opened.seek(0)
        yield opened


@contextlib.contextmanager
def open_verified_zip(root: Path, file: OfficialFile) -> Iterator[zipfile.ZipFile]:
    """The published zip archive; several threads may read its members."""
    with open_verified(root, file) as opened, zipfile.ZipFile(opened) as archive:
        yield archive


def unpacked(content: bytes, path: Path) -> bytes:
    """What a `.gz` file holds; `UserError` where it is broken off, which a wrong checksum list could let through."""
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} cannot be unpacked: {error}", "copy the official file there") from None


def checksums_of(root: Path, wanted: Sequence[OfficialFile]) -> dict[str, str]:
    """Path below root -> "md5:..." or "sha256:..." of the files that are there, computed now."""
    found = {}
    for file in wanted:
        if (root / file.path).is_file():
            with open(root / file.path, "rb") as opened:
                found[file.path] = f"{file.algorithm}:{_stream_checksum(opened, file.algorithm)}"
    return found


def _stream_checksum(opened: io.BufferedReader, algorithm: Literal["md5", "sha256"]) -> str:
    return hashlib.file_digest(opened, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()


@contextlib.contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}", "check the file and its permissions"
        ) from None


def _compare(path: Path, file: OfficialFile, found: str, n_bytes: int) -> None:
    if found != file.digest:
        raise UserError(
            f"{path} is damaged or not the official file: expected {file.algorithm} {file.digest}, "
            f"found {found} ({n_bytes:,} bytes)",
            "delete it and run again with dataset.download=true, or copy the official file there",
        )


def ensure_files(
    title: str,
    root: Path,
    needed: Sequence[OfficialFile],
    download: Callable[[Path], None] | None,
    published: Sequence[OfficialFile],
) -> None:
    """Have all `needed` files under root, fetching the published set if some are missing.

    download: fetches the whole set into a folder, in the layout of root; None where downloading is switched off.
    A failure leaves root as it was. Raises `UserError` naming what is missing and what to do.
    """
    missing = missing_files(root, needed)
    if not missing:
        return
    reason = "dataset.download is false"
    if download is not None:
        try:
            _fetch(root, published, download)
            return
        # What urllib, tarfile and torchvision raise without a network, on a full disk or for a broken archive.
        except (OSError, RuntimeError, EOFError, tarfile.TarError, http.client.HTTPException) as error:
            reason = f"the download failed ({' '.join(str(error).split()) or type(error).__name__})"
    raise UserError(
        f"{title} is not complete in {root}: missing {', '.join(missing)}; {reason}",
        f"put the files there, or name a folder that has them in torchvision's layout by {ROOT_VARIABLE}=FOLDER or "
        "dataset.root=FOLDER, or run once with dataset.download=true on a machine with a network connection",
    )


def _fetch(root: Path, published: Sequence[OfficialFile], download: Callable[[Path], None]) -> None:
    """Download beside the destination, check every file, then move in those that are missing, each at once."""
    with _folder(root), tempfile.TemporaryDirectory(prefix=files.LEFTOVER, dir=root) as temporary:
        with _socket_timeout(_TIMEOUT_SECONDS), _bars_only_on_a_terminal():
            download(Path(temporary))
        for file in published:
            with open_verified(Path(temporary), file):
                pass
        for file in published:
            target = root / file.path
            if not target.exists():  # a file of the user's own is never replaced
                target.parent.mkdir(parents=True, exist_ok=True)
                files.sync(Path(temporary) / file.path)
                files.boundary(f"data {file.path}: flushed")
                os.replace(Path(temporary) / file.path, target)
                files.boundary(f"data {file.path}: renamed")


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[None]:
    """The folder, made if need be; what was made is taken away again if the body fails."""
    made = [folder for folder in (path, *path.parents) if not folder.exists()]
    path.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except BaseException:
        for folder in made:
            with contextlib.suppress(OSError):  # not empty: somebody else uses it by now
                folder.rmdir()
        raise


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


@contextlib.contextmanager
def _bars_only_on_a_terminal() -> Iterator[None]:
    """torchvision draws its bars on standard error whether or not a person is watching."""
    if sys.stderr.isatty():
        yield
    else:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
