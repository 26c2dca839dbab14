"""What a long search keeps in a folder, so that it goes on where it was interrupted."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files

# Multiply-adds from which anything is kept: about a minute on four cores; and between one snapshot and the next.
RESUME_FROM = 2e13
SNAPSHOT_EVERY = 1e13


def fingerprint(queries: NDArray[Any], references: NDArray[Any], *parameters: Any) -> str:
    """Names a search by its content, so that what another one kept is never taken for its own."""
    digest = hashlib.blake2b(repr(("2", *parameters)).encode(), digest_size=8)
    for part in (queries, references):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()


@dataclass
class Snapshots:
    """The state of unfinished work: arrays `<name>_<step>_<i>.npy`, made valid by `<name>.json` that names the step."""

    folder: Path
    name: str
    _since: float = field(default=0.0, init=False)

    def due(self, work: float) -> bool:
        """Whether, after this much more work (multiply-adds), it is time to keep the state."""
        self._since += work
        return self._since >= SNAPSHOT_EVERY

    def keep(self, arrays: Sequence[NDArray[Any]], step: int) -> None:
        """Keeps the state after `step` steps and drops the one before."""
        self._since = 0.0
        for i, array in enumerate(arrays):
            files.write_array(self._path(step, i), array)
        files.write_json(self.folder / f"{self.name}.json", {"step": step, "arrays": len(arrays)})
        for path in self.folder.glob(f"{self.name}_*_*.npy"):
            if not path.name.startswith(f"{self.name}_{step}_"):
                files.remove(path)

    def restore(self) -> tuple[int, list[NDArray[Any]]] | None:
        """The last state that was kept whole: (steps done, arrays); None without one."""
        try:
            found = json.loads((self.folder / f"{self.name}.json").read_text())
            step, count = int(found["step"]), int(found["arrays"])
            return step, [np.load(self._path(step, i), allow_pickle=False) for i in range(count)]
        except (OSError, EOFError, ValueError, KeyError, TypeError):
            return None

    def drop(self) -> None:
        """Removes what was kept."""
        for path in self.folder.glob(f"{self.name}[._]*"):
            files.remove(path)

    def _path(self, step: int, i: int) -> Path:
        return self.folder / f"{self.name}_{step}_{i}.npy"


@dataclass(frozen=True)
class BlockStore:
    """Finished blocks of rows: files `rows_<name>_<start>_<stop>.npy`, each `(2, rows, k)`: positions and distances."""

    folder: Path
    name: str

    @classmethod
    def for_search(cls, folder: Path, name: str, n: int, n_reference: int, features: int) -> BlockStore | None:
        """A store where the search is long enough to be worth it, else None."""
        if 1.0 * n * n_reference * features < RESUME_FROM:
            return None
        files.make_folder(folder)
        return cls(folder, name)

    def snapshots(self, what: str, start: int, stop: int) -> Snapshots:
        """Where the unfinished block start..stop is kept."""
        return Snapshots(self.folder, f"{what}_{self.name}_{start:09d}_{stop:09d}")

    def load(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
        """The kept block that begins at `start`, whatever its length."""
        end = self._stops().get(start)
        if end is None:
            return None
        try:
            kept = np.load(self._path(start, end), allow_pickle=False)
        except (OSError, EOFError, ValueError):  # damaged: searched again
            files.remove(self._path(start, end))
            return None
        return kept[0].astype(np.int64), kept[1]

    def next_start(self, start: int, stop: int) -> int:
        """Where a block from `start` has to end so as not to overlap one that is kept; at most `stop`."""
        return min([other for other in self._stops() if start < other < stop], default=stop)

    def save(self, start: int, positions: NDArray[np.int64], distances: NDArray[np.float64]) -> None:
        """Keeps a finished block, atomically, and drops its snapshots."""
        stop = start + len(positions)
        files.write_array(self._path(start, stop), np.stack([positions.astype(np.float64), distances]))
        self.drop_snapshots()

    def drop_snapshots(self) -> None:
        """Removes those of all blocks: another memory budget may have cut the rows into other blocks."""
        for what in ("lists", "sums"):
            for path in self.folder.glob(f"{what}_{self.name}_*"):
                files.remove(path)

    def _stops(self) -> dict[int, int]:
        found = {}
        for path in self.folder.glob(f"rows_{self.name}_*.npy"):
            match = re.fullmatch(rf"rows_{self.name}_(\d+)_(\d+)\.npy", path.name)
            if match is not None:
                found[int(match[1])] = int(match[2])
        return found

    def _path(self, start: int, stop: int) -> Path:
        return self.folder / f"rows_{self.name}_{start:09d}_{stop:09d}.npy"
