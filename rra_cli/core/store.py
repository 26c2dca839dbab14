"""The store of results: `<root>/<stage>/<key>/[<entry>/]`, each published whole, once, and never changed."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.core import files
from rra_cli.core.announcement import Announcement
from rra_cli.core.artifact import Artifact, StoreError
from rra_cli.core.lease import Lease, LeaseHeldError
from rra_cli.core.meta import META, Damage, open_artifact, verify_files
from rra_cli.core.progress import Progress, silent
from rra_cli.core.references import Note, References
from rra_cli.core.spec import Spec
from rra_cli.core.store_folder import LEASE, WORK, StoreFolder
from rra_cli.core.work import Work

if TYPE_CHECKING:
    from rra_cli.core.verify import StoreReport

SMALL = 1 << 16  # bytes: files up to this size are always compared with their checksums

Reference = str | Spec | Artifact


class Store:
    """Published results by spec. root: its folder, made when first written to. stale_after: seconds without a sign of
    life after which another process takes over what was being built. warn: told about damage that was moved aside.
    """

    def __init__(self, root: Path, *, stale_after: float = 30.0, warn: Callable[[str], None] | None = None) -> None:
        self.place = StoreFolder(root)
        self.root, self.stale_after = self.place.root, stale_after
        self._notes = References(self.place.refs)
        self._compared: dict[Path, bool] = {}  # artifacts that were looked at -> whether in full
        self._warn = logging.getLogger("rra_cli.store").warning if warn is None else warn

    def folder(self, spec: Spec, entry: str | None = None) -> Path:
        """Where the artifact lies or would lie."""
        return self.place.of(spec, entry)

    def find(self, spec: Spec, entry: str | None = None, *, in_full: bool = False) -> Artifact | None:
        """The artifact, None where it is missing.

        Its meta.json must equal `spec` (otherwise `StoreError` with the difference), all its files must have their
        published sizes and, at the first look, the small ones and meta.json their checksums. A damaged artifact is
        moved to `damaged/` with a warning and counts as missing: it is built again, and nothing is lost. `StoreError`
        where it can be neither read nor moved. in_full: every byte is compared, once: for what is not too large,
        where another artifact is made from it.
        """
        folder = self.place.checked(self.folder(spec, entry))
        try:
            artifact = open_artifact(folder, spec, entry)
            if folder not in self._compared or (in_full and not self._compared[folder]):
                verify_files(artifact, None if in_full else SMALL)
                self._compared[folder] = in_full
            return artifact
        except FileNotFoundError:
            return None
        except Damage as damage:
            if entry is None and not _holds_files(folder):
                return None  # a folder of entries, which is no artifact itself; or moved aside by another meanwhile
            target = self.place.move_aside(folder, f"{spec.stage}-{spec.key[:12]}", str(damage))
            if target is not None:
                self._warn(f"{folder} is damaged: {damage}; moved to {target}, it is built again")
            return None
        except OSError as error:
            raise StoreError(
                f"cannot read {error.filename or folder}: {error.strerror}",
                "make it readable, or set store.root to another folder",
            ) from error

    def entries(self, spec: Spec) -> list[str]:
        """Names of the published entries below the spec's folder, sorted."""
        folder = self.place.checked(self.folder(spec))
        with suppress(FileNotFoundError, NotADirectoryError):
            return sorted(child.name for child in folder.iterdir() if (child / META).is_file())
        return []

    @contextmanager
    def claim(self, spec: Spec, *, on_wait: Callable[[str], None] | None = None, wait: bool = True) -> Iterator[Work]:
        """Waits until this process is the only one that builds `spec`, then gives the folder to build it in.

        Look with `find` again inside: another process may have built it while this one waited. Leaving normally
        removes the folder; leaving by an exception keeps it for whoever claims the spec next, as a kill does.
        wait=False: raises `LeaseHeldError` once another owner is known to live, instead of waiting for its end.
        """
        self.place.checked(self.folder(spec))
        folder = self.place.of_work(spec)
        self.place.checked(folder / LEASE)
        lease = Lease(folder / LEASE, stale_after=self.stale_after)
        title = f"{spec.stage} {spec.key[:12]}"
        lease.acquire(None if on_wait is None else lambda message: on_wait(f"{title}: {message}"), wait=wait)
        work = None
        try:
            work = Work(self, spec, lease, folder)
            with files.no_room_explained(folder):  # whatever wrote there
                yield work
        except BaseException:
            if work is not None and work.is_empty():
                work.close()  # nothing to go on with, as after bad input
            lease.release()
            raise
        work.close()

    def busy(self, spec: Spec) -> bool:
        """Whether somebody holds the claim on `spec` who is not known to be dead; never waits."""
        return self.is_claimed(_reference(spec))

    def is_claimed(self, name: str) -> bool:
        """As `busy`, of `<stage>/<key>`."""
        owner = Lease(self.root / f"{name}{WORK}" / LEASE).look()
        return owner is not None and not owner.is_dead()

    def tidy(self, specs: Iterable[Spec]) -> None:
        """Removes what killed processes left of work on these specs, all of which is published by now.

        A process killed between publishing and clearing up leaves a work folder that nobody claims again. One that a
        living process owns is left alone.
        """
        for spec in specs:
            folder = self.place.of_work(spec)
            if not folder.is_dir() or folder.is_symlink():
                continue
            lease = Lease(folder / LEASE, stale_after=self.stale_after)
            with suppress(LeaseHeldError):
                lease.acquire(wait=False)
                Work(self, spec, lease, folder).close()

    def free(self, spec: Spec, entry: str | None = None) -> None:
        """Removes an artifact that no planned stage needs any more; a missing one is no fault.

        It vanishes at once for those who look for it; whoever has a file of it open or mapped keeps that.
        """
        self.place.discard(self.place.checked(self.folder(spec, entry)))

    def free_all(self, specs: Iterable[Spec], *, run_id: str) -> list[Spec]:
        """Removes the artifacts that this run needs no more. Gives those that stay: another run at work, as its note
        says, needs them, and the last of the runs removes them. Where nothing is left to free, nothing is written.
        """
        wanted = {_reference(spec): spec for spec in specs}
        # First our own word, then the others': of two that free at once at least one sees both.
        references = self._references()
        references.release(run_id, wanted)
        there = {name: spec for name, spec in wanted.items() if os.path.lexists(self.folder(spec))}
        kept = references.needed_elsewhere(there, besides=run_id) if there else frozenset()
        for name, spec in there.items():
            if name not in kept:
                self.free(spec)
        return [spec for name, spec in there.items() if name in kept]

    def look_at_others(self, specs: Iterable[Spec], *, run_id: str) -> None:
        """A first look at the runs that need these artifacts, too, so that `free_all` can tell later, without waiting,
        which of those on other machines have died.
        """
        self._references().needed_elsewhere(map(_reference, specs), besides=run_id)

    def held(self, spec: Spec) -> int:
        """Bytes on disk of unfinished work on that spec, which building it goes on with or gives back."""
        total = 0
        for parent, _, names in os.walk(self.place.of_work(spec)):
            for name in names:
                with suppress(OSError):  # whoever works there may move it
                    # What is allocated: the file of a layer has its full length from the start.
                    total += os.lstat(os.path.join(parent, name)).st_blocks * 512
        return total

    def cache(self, name: str) -> Path:
        """A folder of what can be made again at any time. `StoreError` where it leads out of the store."""
        return self.place.of_cache(name)

    def refer(
        self, run_id: str, run_folder: Path, keys: Iterable[Reference], *, released: Iterable[Reference] = ()
    ) -> None:
        """Notes in the store what a run refers to, at plan time, so that gc never removes what an unfinished run or
        one elsewhere needs. run_id: a file name. keys: `<stage>/<key>` (as text, or a spec or artifact). released:
        those of them that others may free from the start. Replaces an earlier note of that run. Where gc is about to
        remove something of it, waits until that is done: look only afterwards at what is there.
        """
        names = frozenset(map(_reference, keys))
        self._references().write(run_id, run_folder, names, map(_reference, released))
        self.removals().wait_for(names)

    def removals(self) -> Announcement:
        """What gc is about to remove."""
        return Announcement(self.place.checked(self.place.refs), stale_after=self.stale_after)

    def forget(self, run_id: str) -> None:
        """Removes the note of a run whose folder is gone."""
        self._references().forget(run_id)

    def references(self) -> dict[str, Note]:
        """What every run refers to, by run id. `StoreError` where a note is unreadable."""
        return self._references().read()

    def _references(self) -> References:
        self.place.checked(self.place.refs)
        return self._notes

    def publish(self, source: Path, spec: Spec, entry: str | None) -> Artifact:
        """Puts a sealed folder in place. Where an equal artifact lies there already, that one stays."""
        target = self.place.checked(self.folder(spec, entry))
        for _ in range(3):
            existing = self.find(spec, entry)
            if existing is not None:
                files.remove(source)
                return existing
            # Someone else may publish between the look and the rename: then look again.
            with suppress(FileExistsError):
                files.publish_folder(source, target)
                return open_artifact(target, spec, entry)
        raise StoreError(
            f"{target} holds something that is not an artifact of this store", "move it away and run the command again"
        )

    def verify(self, progress: Progress = silent) -> StoreReport:
        """Checks the sha256 of every file of every artifact and lists what lies about; changes nothing."""
        from rra_cli.core.verify import verify_store

        return verify_store(self, progress)


def _holds_files(folder: Path) -> bool:
    with suppress(FileNotFoundError):
        return any(child.is_file() for child in folder.iterdir())
    return False


def _reference(key: Reference) -> str:
    if isinstance(key, Spec):
        return f"{key.stage}/{key.key}"
    if isinstance(key, Artifact):
        return _reference(key.spec)
    return key
