"""What a long search keeps in a folder, so that it goes on where it was interrupted.

A state is one file of arrays, whole or absent, that ends with a checksum of its name and of all that it holds: what was
damaged on the disk, cut short or renamed is removed with a warning, and searched again.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rra_cli import __version__
from rra_cli.core import files

# Seconds of a search from which anything is kept; and between one state and the next.
EVERY = 30.0
SHARE = 0.05  # of the time may go into keeping states, however large they are
_DIGEST = 16  # bytes
_BLOCK = 1 << 20

log = logging.getLogger("rra_cli.neighbors")


def fingerprint(queries: NDArray[Any], references: NDArray[Any], *parameters: Any) -> str:
    """Names a search by its content, so that what another one kept is never taken for its own."""
    digest = hashlib.blake2b(repr((__version__, "3", *parameters)).encode(), digest_size=8)
    for part in (queries, references):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


def write_state(path: Path, arrays: Sequence[NDArray[Any]]) -> None:
    """Writes the arrays, one after the other as `.npy`, and their checksum."""
    with files.replacing(path) as temporary, open(temporary, "xb") as file:
        summed = _Summed(file, path)
        for array in arrays:
            np.save(summed, array, allow_pickle=False)  # it asks for no more than `write`
        file.write(summed.digest.digest())


def read_state(path: Path) -> list[NDArray[Any]] | None:
    """The arrays; None where there is no such file. A damaged one is removed, and counts as none."""
    try:
        with open(path, "rb") as file:
            end = _checked_end(file, path)
            arrays = []
            while file.tell() < end:
                arrays.append(np.load(file, allow_pickle=False))
            return arrays
    except FileNotFoundError:
        return None
    except Exception as error:  # whoever forged the checksum may have put anything into a header
        log.warning("%s is damaged (%s): it is removed, and what it held is searched again", path, error)
        files.remove(path)
        return None


def _checked_end(file: BinaryIO, path: Path) -> int:
    """Where the arrays end. Raises ValueError where they are not what was written under this name."""
    end = left = os.fstat(file.fileno()).st_size - _DIGEST
    digest = _digest(path)
    while left > 0 and (block := file.read(min(left, _BLOCK))):
        digest.update(block)
        left -= len(block)
    if left or file.read() != digest.digest():
        raise ValueError("its checksum differs")
    file.seek(0)
    return end


def _digest(path: Path) -> Any:
    return hashlib.blake2b(path.name.encode(), digest_size=_DIGEST)


class _Summed:
    """A file whose checksum is known when all is written."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self.file, self.digest = file, _digest(path)

    def write(self, data: bytes) -> int:
        self.digest.update(data)
        return self.file.write(data)


@dataclass
class Clock:
    """When it is time to keep a state: by the time that went by, whatever a step costs on this machine."""

    _began: float = field(default_factory=lambda: monotonic(), init=False)
    _last: float = field(default_factory=lambda: monotonic(), init=False)
    _cost: float = field(default=0.0, init=False)

    @property
    def lasting(self) -> bool:
        """Whether the search takes so long that its results are worth keeping."""
        return monotonic() - self._began >= EVERY

    @property
    def due(self) -> bool:
        """Whether it is time for the next state."""
        return monotonic() - self._last >= max(EVERY, self._cost / SHARE)

    def kept(self, began: float) -> None:
        """A state was kept, which took from `began` until now."""
        self._last = monotonic()
        self._cost = self._last - began


@dataclass(frozen=True)
class Snapshots:
    """The state of unfinished work, `<name>.state`; the next one takes the place of the one before."""

    folder: Path
    name: str
    clock: Clock = field(default_factory=Clock, compare=False)

    @property
    def due(self) -> bool:
        """Whether it is time to keep the state."""
        return self.clock.due

    @property
    def held(self) -> bool:
        """Whether a state is kept."""
        return self._path.exists()

    def keep(self, arrays: Sequence[NDArray[Any]]) -> None:
        """Keeps the state."""
        began = monotonic()
        write_state(self._path, arrays)
        self.clock.kept(began)

    def restore(self) -> list[NDArray[Any]] | None:
        """The last state; None without one."""
        return read_state(self._path)

    def drop(self) -> None:
        """Removes what was kept."""
        files.remove(self._path)

    @property
    def _path(self) -> Path:
        return self.folder / f"{self.name}.state"


@dataclass(frozen=True)
class BlockStore:
    """Finished blocks of rows of one search, `rows_<name>_<start>_<stop>.state`: positions and distances `(rows, k)`.

    name: the search's fingerprint. Nothing is written, and no folder made, before the search has taken `EVERY` seconds.
    """

    folder: Path
    name: str
    clock: Clock = field(default_factory=Clock, compare=False)

    def snapshots(self, what: str, start: int, stop: int, rows: NDArray[np.int64] | None = None) -> Snapshots:
        """Where the unfinished block start..stop is kept; rows: those of it that are searched, where not all are."""
        which = "" if rows is None else "_" + fingerprint(rows, rows[:0])
        return Snapshots(self.folder, f"{what}_{self.name}_{start:09d}_{stop:09d}{which}", self.clock)

    def load(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """The kept block that begins at `start`, whatever its length."""
        end = self._stops().get(start)
        kept = None if end is None else read_state(self._path(start, end))
        return None if kept is None else (kept[0], kept[1])

    def next_start(self, start: int, stop: int) -> int:
        """Where a block from `start` has to end so as not to overlap one that is kept; at most `stop`."""
        return min([other for other in self._stops() if start < other < stop], default=stop)

    def save(self, start: int, positions: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Keeps a finished block and drops its snapshots, once the search is one that lasts."""
        if self.clock.lasting:
            write_state(self._path(start, start + len(positions)), [positions, distances])
            self.drop_snapshots()

    def drop_snapshots(self) -> None:
        """Removes those of all blocks: another memory budget may have cut the rows into other blocks."""
        for what in ("lists", "sums", "found"):
            for path in self.folder.glob(f"{what}_{self.name}_*"):
                files.remove(path)

    def _stops(self) -> dict[int, int]:
        found = {}
        for path in self.folder.glob(f"rows_{self.name}_*.state"):
            match = re.fullmatch(rf"rows_{self.name}_(\d+)_(\d+)\.state", path.name)
            if match is not None:
                found[int(match[1])] = int(match[2])
        return found

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"rows_{self.name}_{start:09d}_{stop:09d}.state"
