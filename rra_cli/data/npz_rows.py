"""Rows of an array inside of a `.npz` file, streamed: a few of many gigabytes, without unpacking or unpickling any."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from rra_cli.errors import UserError

_BLOCK = 1 << 22  # bytes read at a time
_CLOSEST = "copy the official file there"


@dataclass(frozen=True)
class Member:
    """An array as the archive's directory lists it: unpacked bytes, and the CRC-32 of all of them."""

    array: str
    n_bytes: int
    crc: int


def members(path: Path, arrays: tuple[str, ...]) -> dict[str, Member]:
    """The directory's entries of these arrays, without reading them. `UserError` where it is no whole archive or lacks
    one.
    """
    with _opened(path) as archive:
        known = {info.filename: info for info in archive.infolist()}
    missing = [array for array in arrays if f"{array}.npy" not in known]
    if missing:
        names = ", ".join(name.removesuffix(".npy") for name in sorted(known)[:10]) or "nothing"
        raise UserError(f"{path} has no {' and no '.join(missing)}: it holds {names}", _CLOSEST)
    return {array: Member(array, known[f"{array}.npy"].file_size, known[f"{array}.npy"].CRC) for array in arrays}


def read_integers(path: Path, array: str, most: int) -> NDArray[np.int64]:
    """A one-dimensional array of at most so many integers. `UserError` for anything else, and for a damaged file."""
    with _opened(path) as archive, _unpacking(path), archive.open(f"{array}.npy") as file:
        shape, dtype, _ = _header(file, path, array)
        if len(shape) != 1 or dtype.kind not in "iu" or shape[0] > most:
            raise _strange(path, array, f"one integer an image, at most {most:,}", shape, dtype)
        values = np.frombuffer(_exactly(file, shape[0] * dtype.itemsize, path, array), dtype)
        _to_the_end(file, path, array)
        return values.astype(np.int64)


def read_rows(
    path: Path,
    array: str,
    n_rows: int,
    n_columns: int,
    rows: NDArray[np.int64],
    out: NDArray[np.uint8],
    watch: Callable[[int], None] = lambda n: None,
) -> None:
    """The rows of an array `(n_rows, n_columns)` uint8 at ascending positions, into out `(len(rows), n_columns)`.

    watch: told how many rows were read since the last time. The whole member is read, so that its CRC-32 is compared.
    Raises `UserError` for an array of another shape or type, and for a damaged file.
    """
    with _opened(path) as archive, _unpacking(path), archive.open(f"{array}.npy") as file:
        shape, dtype, fortran = _header(file, path, array)
        if shape != (n_rows, n_columns) or dtype != np.uint8 or fortran:
            raise _strange(path, array, f"({n_rows}, {n_columns}) uint8 in C order", shape, dtype)
        step = max(1, _BLOCK // n_columns)
        for start in range(0, n_rows, step):
            stop = min(n_rows, start + step)
            first, last = np.searchsorted(rows, (start, stop))
            content = _exactly(file, (stop - start) * n_columns, path, array)
            block = np.frombuffer(content, np.uint8).reshape(stop - start, n_columns)
            out[first:last] = block[rows[first:last] - start]
            watch(stop - start)
        _to_the_end(file, path, array)


@contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, ValueError) as error:
        raise UserError(
            f"{path} is no whole .npz file: {error} ({path.stat().st_size:,} bytes)", f"delete it and {_CLOSEST}"
        ) from None
    except OSError as error:
        raise UserError(
            f"{path} cannot be read: {error.strerror or error}", "check the file and its permissions"
        ) from None
    with archive:
        yield archive


@contextmanager
def _unpacking(path: Path) -> Iterator[None]:
    try:
        yield
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"{path} is damaged: {' '.join(str(error).split()) or 'it breaks off'}", f"delete it and {_CLOSEST}"
        ) from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}", "check the disk it lies on") from None


def _header(file: IO[bytes], path: Path, array: str) -> tuple[tuple[int, ...], np.dtype[np.generic], bool]:
    """Shape, type and whether columns come first. Objects, which numpy would unpickle, are never looked at."""
    try:
        version = npy.read_magic(file)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[version]
        shape, fortran, dtype = read(file)
    except (ValueError, KeyError, SyntaxError, RecursionError) as error:
        raise UserError(
            f"{array} in {path} has no header that is understood: {' '.join(str(error).split())}", _CLOSEST
        ) from None
    if dtype.hasobject:
        raise UserError(f"{array} in {path} holds Python objects (a pickle), which are never loaded", _CLOSEST)
    return shape, dtype, fortran


def _exactly(file: IO[bytes], n_bytes: int, path: Path, array: str) -> bytes:
    content = file.read(n_bytes)
    if len(content) < n_bytes:
        raise UserError(f"{array} in {path} breaks off before its end", f"delete the file and {_CLOSEST}")
    return content


def _to_the_end(file: IO[bytes], path: Path, array: str) -> None:
    """The CRC-32 is compared once nothing is left."""
    if file.read(1):
        raise UserError(f"{array} in {path} goes on after its end", f"delete the file and {_CLOSEST}")


def _strange(path: Path, array: str, expected: str, shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> UserError:
    return UserError(f"{array} in {path} is {shape} {dtype}; expected {expected}", _CLOSEST)
