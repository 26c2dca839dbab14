"""Which run needs which artifact: one note per run in the store, written when the run is planned.

gc reads them, so that run folders elsewhere and unfinished runs count; a run that frees its activations reads them,
so that it takes nothing away from another that is still at work.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from rra_cli.core import files
from rra_cli.core.artifact import StoreError
from rra_cli.core.reading import read_json
from rra_cli.core.runstate import Watcher

Whereabouts = Literal["there", "deleted", "unseen"]


@dataclass(frozen=True)
class Note:
    """What one run refers to: names `<stage>/<key>`; `released`: those that it needs no more and others may free.

    host: of the machine that wrote it. relative: the run folder as the store sees it, should both be moved together or
    have another path on another machine.
    """

    run_folder: Path
    artifacts: frozenset[str]
    released: frozenset[str] = frozenset()
    host: str = field(default="", compare=False)
    relative: str = field(default="", compare=False)

    @property
    def needed(self) -> frozenset[str]:
        """What must be kept for this run."""
        return self.artifacts - self.released

    def whereabouts(self, store: Path) -> Whereabouts:
        """Whether the run folder is there. store: the folder of the store that the note lies in.

        A folder that is missing was deleted where its place can be seen from here: in the outputs folder that the store
        lies in, too, or beside something else on the machine that wrote the note. Otherwise it may lie on another
        machine's disk, or on one that is not mounted now, and it is `unseen`.
        """
        if _exists(self.run_folder) or (self.relative and _exists(store / self.relative)):
            return "there"
        outputs, place = store.parent, Path(os.path.realpath(self.run_folder))
        if place.is_relative_to(outputs) and outputs != outputs.parent and not os.path.ismount(store):
            return "deleted"
        return "deleted" if self.host == socket.gethostname() and _exists(place.parent) else "unseen"


class References:
    """The notes of all runs, one file each. folder: `<store>/refs`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, tuple[tuple[int, int, int], Note]] = {}
        self._watcher = Watcher()

    def write(self, run_id: str, run_folder: Path, names: Iterable[str], released: Iterable[str] = ()) -> None:
        """Replaces the run's note."""
        path, relative = Path(run_folder).absolute(), os.path.relpath(os.path.realpath(run_folder), self.folder.parent)
        self._write(run_id, Note(path, frozenset(names), frozenset(released), socket.gethostname(), relative))

    def release(self, run_id: str, names: Iterable[str]) -> None:
        """Notes that the run needs these artifacts no more: one write, and none where it says so already."""
        note = self.read().get(run_id)
        given_up = frozenset() if note is None else note.needed.intersection(names)
        if note is not None and given_up:
            self._write(run_id, replace(note, released=note.released | given_up))

    def read(self) -> dict[str, Note]:
        """All notes by run. Raises `StoreError` for an unreadable one: ignoring it could cost its run's results."""
        found = {}
        for path in sorted(self.folder.glob("*.json")):
            if not path.name.startswith(files.LEFTOVER):
                try:
                    found[path.stem] = self._read(path)
                except FileNotFoundError:
                    continue  # removed meanwhile
        return found

    def forget(self, run_id: str) -> None:
        """Removes the note of a run that is gone; where its folder has come back meanwhile, the note stays."""
        path = self.folder / f"{check_run_id(run_id)}.json"
        aside = path.with_name(f"{files.LEFTOVER}gone-{path.name}")
        with suppress(FileNotFoundError), files.explained(path):
            files.boundary(f"forget {path.name}: begin")
            os.rename(path, aside)
            files.boundary(f"forget {path.name}: aside")
            if _exists(_parse(aside).run_folder):
                with suppress(FileExistsError):  # there is a newer one
                    os.link(aside, path)
            files.remove(aside)

    def needed_elsewhere(self, names: Iterable[str], *, besides: str) -> frozenset[str]:
        """Those of the names that a run other than `besides` needs which is at work, as far as `Watcher` can tell."""
        asked, found = frozenset(names), set[str]()
        for run_id, note in self.read().items():
            shared = frozenset() if run_id == besides else note.needed & asked
            if shared and self._watcher.look(note.run_folder).active:
                found |= shared
        return frozenset(found)

    def _write(self, run_id: str, note: Note) -> None:
        value = {
            "run_folder": str(note.run_folder),
            "artifacts": sorted(note.artifacts),
            "released": sorted(note.released),
            "host": note.host,
            "relative": note.relative,
        }
        files.write_json(self.folder / f"{check_run_id(run_id)}.json", value)

    def _read(self, path: Path) -> Note:
        # A store outlives many runs, and freeing asks for every artifact: read again only what changed.
        status = path.stat()
        signature = (status.st_mtime_ns, status.st_ino, status.st_size)
        known = self._known.get(path)
        if known is None or known[0] != signature:
            known = (signature, _parse(path))
            self._known[path] = known
        return known[1]


def check_run_id(run_id: str) -> str:
    """The run's id; ValueError where it could not be a file name."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.+=-]{0,199}", run_id):
        raise ValueError(f"a run id is letters, digits and _.+=-, got {run_id!r}")
    return run_id


def _parse(path: Path) -> Note:
    try:
        value = read_json(path)
        host, relative = str(value.get("host", "")), str(value.get("relative", ""))
        return Note(Path(value["run_folder"]), _names(value["artifacts"]), _names(value["released"]), host, relative)
    except FileNotFoundError:
        raise
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{path} is unreadable ({error})",
            "remove it if that run is of no interest any more: gc may then remove what only that run refers to",
        ) from error


def _exists(path: Path) -> bool:
    """False only where the path is certainly not there; one that may not be looked at counts as there."""
    try:
        os.stat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except (OSError, ValueError):
        return True
    return True


def _names(value: Any) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError("not a list of names")
    return frozenset(value)
