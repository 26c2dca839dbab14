"""What lies in a store, how much of the disk it takes, and what of it nobody refers to."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from rra_cli.core.files import LEFTOVER
from rra_cli.core.lease import Lease
from rra_cli.core.progress import Progress, silent
from rra_cli.core.references import Note, Whereabouts
from rra_cli.core.store_folder import LEASE, RESERVED, WORK
from rra_cli.errors import UserError

if TYPE_CHECKING:
    from rra_cli.core.store import Store

# referred: a run needs it. fresh: younger than was asked for. in use: somebody works on it.
Verdict = Literal["remove", "referred", "fresh", "in use"]

# Seconds that a file which a killed write may have left, and drawn plots, stay at least: they may be at work.
AT_WORK = 3600.0
_STAGE, _KEY = re.compile(r"[a-z][a-z0-9_]{0,40}"), re.compile(r"[0-9a-f]{64}")
_ASIDE, _TRASH = re.compile(r"[a-z][a-z0-9_]*-[0-9a-f]{12}-[0-9a-f]{8}"), re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Item:
    """Something that may be removed as a whole.

    kind: the stage, or what it is instead ("unfinished work", "damaged", "trash", "plots", "leftovers"). name: of an
    artifact or the work on it, as runs refer to it ("" for the rest). size: bytes on disk. age: seconds since it
    changed, negative where its time lies in the future.
    """

    kind: str
    path: Path
    name: str
    size: int
    age: float
    verdict: Verdict


@dataclass(frozen=True)
class Survey:
    """items: all that may be removed. runs: where the folder of each run that left a note is."""

    items: tuple[Item, ...]
    runs: Mapping[str, Whereabouts]

    def count(self, whereabouts: Whereabouts) -> int:
        """How many runs' folders are there, were deleted, or are unseen."""
        return sum(found == whereabouts for found in self.runs.values())


def referred(notes: Mapping[str, Note], runs: Mapping[str, Whereabouts], *, forget_unseen: bool) -> frozenset[str]:
    """The names that must be kept. forget_unseen: runs whose folders are not seen from here count as deleted."""
    gone = ("deleted", "unseen") if forget_unseen else ("deleted",)
    return frozenset().union(*(note.needed for run_id, note in notes.items() if runs[run_id] not in gone))


def survey(
    store: Store, *, older_than: float = 0.0, forget_unseen: bool = False, progress: Progress = silent
) -> Survey:
    """Looks at everything in the store; changes nothing. older_than: seconds that what nobody refers to is kept.

    Nothing is followed through links, and what has no name of ours is never listed. Raises `StoreError` where a note
    is unreadable, `UserError` where the folder is no store.
    """
    if not (store.root / "refs").is_dir():
        raise UserError(
            f"{store.root} is no store that a run has used: it has no folder `refs`, which says what is needed",
            "give the folder that was store.root; by default store in the outputs folder",
        )
    notes = store.references()
    runs = {run_id: note.whereabouts(store.root) for run_id, note in notes.items()}
    needed = referred(notes, runs, forget_unseen=forget_unseen)
    found, now = list(_everything(store.root)), time.time()
    items = []
    for done, (kind, path, name) in enumerate(found):
        progress(done, len(found), kind)
        size, changed = measure(path)
        age = now - changed
        least = max(older_than, AT_WORK) if kind in ("plots", "leftovers") else older_than
        verdict: Verdict = "fresh" if age < least else "remove"
        if kind == "trash":
            verdict = "remove"
        elif name in needed:
            verdict = "referred"
        elif name and not _is_idle(store.root / f"{name}{WORK}", age):
            verdict = "in use"
        items.append(Item(kind, path, name, size, age, verdict))
    progress(len(found), len(found), "")
    return Survey(tuple(items), runs)


def measure(path: Path) -> tuple[int, float]:
    """Bytes on disk of a file or a folder tree, and when something in it changed last; links are not followed."""
    status = os.lstat(path) if os.path.lexists(path) else None
    if status is None:
        return 0, 0.0
    size, changed = status.st_blocks * 512, status.st_mtime
    for parent, folders, names in os.walk(path):
        for name in (*folders, *names):
            try:
                status = os.lstat(os.path.join(parent, name))
            except OSError:
                continue  # whoever works there may move it
            size, changed = size + status.st_blocks * 512, max(changed, status.st_mtime)
    return size, changed


def _everything(root: Path) -> Iterator[tuple[str, Path, str]]:
    """Kind, path and name."""
    for stage in _folders(root):
        if stage.name in RESERVED or not _STAGE.fullmatch(stage.name):
            continue
        for path in _folders(stage):
            key = path.name.removesuffix(WORK)
            if _KEY.fullmatch(key):
                yield (stage.name if key == path.name else "unfinished work"), path, f"{stage.name}/{key}"
    yield from (("damaged", path, "") for path in _folders(root / "damaged") if _ASIDE.fullmatch(path.name))
    yield from (("trash", path, "") for path in _children(root / "trash") if _TRASH.fullmatch(path.name))
    yield from (("plots", path, "") for path in _folders(root / "cache" / "plots") if _KEY.fullmatch(path.name))
    for folder in (root / "refs", *_folders(root / "cache")):
        yield from (("leftovers", path, "") for path in _children(folder) if path.name.startswith(LEFTOVER))


def _is_idle(work: Path, age: float) -> bool:
    """Whether nobody builds there; of an owner on another machine a long silence tells."""
    try:
        owner = Lease(work / LEASE).look()
    except UserError:
        return False  # whoever wrote that may be at work
    return owner is None or owner.is_dead() or (not owner.is_alive() and age > AT_WORK)


def _folders(folder: Path) -> list[Path]:
    return [path for path in _children(folder) if path.is_dir() and not path.is_symlink()]


def _children(folder: Path) -> list[Path]:
    if folder.is_symlink():
        return []
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []  # what cannot be looked into is not removed
