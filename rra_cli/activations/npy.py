"""The .npy format: written row by row, read without trusting what a file says about itself."""

from __future__ import annotations

import io
import math
import os
import stat
import struct
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import DTypeLike, NDArray

# numpy's own limit on the text of a header; checked before the text is read, so that a lying length costs no memory.
MAX_HEADER = 10_000
_LENGTH_FIELD = {(1, 0): "<H", (2, 0): "<I"}


class NpyError(ValueError):
    """The file is not an array that can be opened; the message completes the sentence "the file ..."."""


@dataclass(frozen=True)
class Header:
    """What a .npy file says of itself, checked against its size. offset: bytes before the numbers."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran_order: bool
    offset: int


def read_header(path: Path) -> Header:
    """The header of a .npy file whose size agrees with it. Reads at most `MAX_HEADER` bytes and runs nothing.

    Raises NpyError where the file is not a readable .npy of plain values, OSError where it cannot be opened.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise NpyError("is not a regular file")
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size == 0:
            raise NpyError("is empty (0 bytes)")
        try:
            version = np.lib.format.read_magic(file)
        except ValueError:
            raise NpyError("is not in .npy format") from None
        if version not in _LENGTH_FIELD:
            raise NpyError(f"has the .npy version {version[0]}.{version[1]}, which no array of numbers needs")
        form = _LENGTH_FIELD[version]
        field = file.read(struct.calcsize(form))
        if len(field) < struct.calcsize(form) or struct.unpack(form, field)[0] > MAX_HEADER:
            raise NpyError("has a damaged .npy header")
        length = int(struct.unpack(form, field)[0])
        text = file.read(length)
        if len(text) < length:
            raise NpyError("ends within its .npy header (a copy that was cut off?)")
        shape, fortran_order, dtype = _parse(version, field + text)
        offset = file.tell()
    if dtype.hasobject:
        raise NpyError("holds Python objects, which are never opened because that could run code")
    if dtype.subdtype is not None:  # numpy writes its sides into the shape, and its readers disagree about such a file
        raise NpyError(f"has a damaged .npy header (the type {dtype} is itself an array)")
    if any(isinstance(side, bool) or side < 0 for side in shape):
        raise NpyError(f"has a damaged .npy header (shape {shape})")
    if math.prod(max(1, side) for side in shape) * dtype.itemsize > sys.maxsize:
        raise NpyError(f"has a damaged .npy header (shape {shape})")  # empty by one side, and yet too big for numpy
    expected = offset + math.prod(shape) * dtype.itemsize
    if size != expected:
        problem = "a copy that was cut off?" if size < expected else "more than one array in a file?"
        raise NpyError(f"is damaged: {shape} {dtype} takes {expected:,} bytes, the file has {size:,} ({problem})")
    return Header(shape, dtype, fortran_order, offset)


def open_map(path: Path, header: Header) -> NDArray[Any]:
    """The array as a read-only memory map."""
    order: Literal["C", "F"] = "F" if header.fortran_order else "C"
    return np.memmap(path, dtype=header.dtype, mode="r", offset=header.offset, shape=header.shape, order=order)


def header_bytes(shape: tuple[int, ...], dtype: DTypeLike) -> bytes:
    """The header of a C-ordered array; its length does not depend on the number of rows."""
    buffer = io.BytesIO()
    description = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(buffer, description)
    return buffer.getvalue()


def create(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """A new .npy of that shape and full size, whose rows are still to be written."""
    header = header_bytes(shape, dtype)
    with path.open("wb", buffering=0) as file:
        file.write(header)
        file.truncate(len(header) + math.prod(shape) * np.dtype(dtype).itemsize)


def write_rows(path: Path, start: int, rows: NDArray[Any]) -> None:
    """Writes C-contiguous `rows` from row `start` on into a file made by `create` (or `header_bytes`).

    Plain writes rather than a memory map: what was written does not count as this process's memory, and a full disk is
    an OSError rather than a SIGBUS.
    """
    rest = np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data
    offset = len(header_bytes((0, *rows.shape[1:]), rows.dtype))
    with path.open("r+b", buffering=0) as file:
        file.seek(offset + start * math.prod(rows.shape[1:]) * rows.dtype.itemsize)
        while rest:
            rest = rest[file.write(rest) :]


def finish(path: Path, shape: tuple[int, ...], dtype: DTypeLike) -> None:
    """Writes the final header over the first one, whose number of rows was not known yet."""
    with path.open("r+b", buffering=0) as file:
        file.write(header_bytes(shape, dtype))


def _parse(version: tuple[int, int], block: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    try:
        with warnings.catch_warnings():
            # numpy parses the header as a Python literal (never as code); what it thinks of its style is no concern.
            warnings.simplefilter("ignore")
            return read(io.BytesIO(block), max_header_size=MAX_HEADER)
    except (
        Exception
    ):  # parsers meet garbage with a dozen different exceptions (tokenize.TokenError, RecursionError ...)
        raise NpyError("has a damaged .npy header") from None
