"""Finished blocks of a long search, kept in a folder so that an interrupted search goes on."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files

# Multiply-adds from which blocks are kept: about a minute on four cores.
RESUME_FROM = 4e12


def fingerprint(queries: list[bytes], references: list[bytes], k: int, exclude_self: bool) -> str:
    """Names a search by its content, so that blocks of another one are never taken for its own."""
    digest = hashlib.blake2b(f"1 {k} {exclude_self} ".encode(), digest_size=8)
    for part in (queries, references):
        digest.update(b"".join(part))
    return digest.hexdigest()


@dataclass(frozen=True)
class BlockStore:
    """Files `rows_<fingerprint>_<start>_<stop>.npy`, each `(2, rows, k)` float64: positions and distances."""

    folder: Path
    name: str

    @classmethod
    def for_search(cls, folder: Path, name: str, n: int, n_reference: int, features: int) -> BlockStore | None:
        """A store where the search is long enough to be worth it, else None."""
        if 1.0 * n * n_reference * features < RESUME_FROM:
            return None
        files.make_folder(folder)
        return cls(folder, name)

    def _stops(self) -> dict[int, int]:
        found = {}
        for path in self.folder.glob(f"rows_{self.name}_*.npy"):
            match = re.fullmatch(rf"rows_{self.name}_(\d+)_(\d+)\.npy", path.name)
            if match is not None:
                found[int(match[1])] = int(match[2])
        return found

    def next_start(self, start: int, stop: int) -> int:
        """Where a block from `start` has to end so as not to overlap one that is kept; at most `stop`."""
        return min([other for other in self._stops() if start < other < stop], default=stop)

    def load(self, start: int, stop: int) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """The kept block that begins at `start`, whatever its length."""
        end = self._stops().get(start)
        if end is None:
            return None
        kept = np.load(self._path(start, end), allow_pickle=False)
        return kept[0].astype(np.int64), kept[1]

    def save(self, start: int, positions: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Keeps a finished block, atomically."""
        target = self._path(start, start + len(positions))
        files.write_array(target, np.stack([positions.astype(np.float64), distances]))

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"rows_{self.name}_{start:09d}_{stop:09d}.npy"
