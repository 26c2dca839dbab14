"""The folder in which a result is built before it is published."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rra_cli.core import files
from rra_cli.core.artifact import Artifact
from rra_cli.core.lease import Lease
from rra_cli.core.meta import META, seal
from rra_cli.core.spec import Spec, check_entry

if TYPE_CHECKING:
    from rra_cli.core.store import Store

_CONTENT = "content-"
_STAGING = ".publish-"


class Work:
    """A claimed spec. path: the folder to build in; it may hold what an earlier owner, killed or failed, left there.

    The folder's name belongs to this owner: a successor renames it first, so that one who comes back after a long
    suspension can no longer reach it.
    """

    def __init__(self, store: Store, spec: Spec, lease: Lease, folder: Path) -> None:
        self.spec = spec
        self._store, self._lease, self._folder = store, lease, folder
        assert lease.owner is not None
        self.path = folder / f"{_CONTENT}{lease.owner.id}"
        self._adopt()

    def check(self) -> None:
        """Raises `LeaseLostError` where another process took over; long work without `publish` may ask now and then."""
        self._lease.check()

    def publish(
        self,
        source: str | Iterable[str],
        entry: str | None = None,
        spec: Spec | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> Artifact:
        """Publishes a sub-folder of `path`, by name, or files of it, by name; they leave this folder by that.

        entry: published as `<key>/<entry>`. spec: what it is, where it is not the claimed spec itself (one forward
        pass builds many). details: plain JSON to keep beside it. Where an equal artifact was published already, that
        one is kept and returned. Raises `LeaseLostError`, `UserError` where the disk is full, ValueError for names
        outside of `path`, for links and for nothing to publish.
        """
        spec = self.spec if spec is None else spec
        if entry is not None:
            check_entry(entry)
        folder = self._below(source) if isinstance(source, str) else self._gather(list(source))
        if not folder.is_dir() or folder.is_symlink():
            raise ValueError(f"{folder} is not a folder that could be published")
        with files.explained(folder):
            seal(folder, spec, entry, {} if details is None else details)
        self._lease.check()
        return self._store.publish(folder, spec, entry)

    def is_empty(self) -> bool:
        """Whether there is nothing that a successor could go on with."""
        try:
            return not any(path.name for path in self.path.iterdir() if not path.name.startswith(files.LEFTOVER))
        except OSError:
            return False

    def close(self) -> None:
        """Ends the work: folder and lease vanish in one step. Does nothing where the lease was lost."""
        owner = self._lease.owner
        if owner is None or owner.pid != os.getpid():
            return
        if self.path.exists():  # our own name: it is gone if another took over
            self._store.place.discard(self._folder)
        self._lease.stop()

    def _adopt(self) -> None:
        """Takes over the content of the latest owner before us that left any, and puts it in order."""
        left = {path.name: path for path in self._folder.glob(f"{_CONTENT}*") if path != self.path}
        for name in [name for name, path in left.items() if path.is_symlink()]:
            files.remove(left.pop(name))  # nobody here makes links
        order = [f"{_CONTENT}{owner}" for owner in self._lease.predecessors]
        newest = next((name for name in order if name in left), None)
        with files.explained(self._folder):
            if newest is None:
                self.path.mkdir()
            else:
                files.boundary(f"work {self.spec.stage}: adopt")
                os.rename(left.pop(newest), self.path)
                files.boundary(f"work {self.spec.stage}: adopted")
                _remove_links(self.path)
            for path in left.values():
                files.remove(path)
            # A kill in the middle of publishing single files leaves them gathered: put them back.
            for staging in self.path.glob(f"{_STAGING}*"):
                files.remove(staging / META)
                for path in [path for path in staging.rglob("*") if not path.is_dir()]:
                    home = self.path / path.relative_to(staging)
                    files.make_folder(home.parent)
                    os.replace(path, home)
                files.remove(staging)
            files.remove_leftovers(self.path)

    def _below(self, name: str) -> Path:
        parts = PurePosixPath(name).parts
        if not parts or any(part == ".." or not re.fullmatch(r"[^/\0]+", part) for part in parts) or name[0] == "/":
            raise ValueError(f"{name!r} is not the name of something in the work folder")
        path = self.path
        for part in parts:
            path = path / part
            if path.is_symlink():
                raise ValueError(f"{path} is a symbolic link and cannot be published")
        return path

    def _gather(self, names: list[str]) -> Path:
        paths = [self._below(name) for name in names]
        staging = self.path / f"{_STAGING}{os.urandom(4).hex()}"
        with files.explained(staging):
            staging.mkdir()
            for name, path in zip(names, paths, strict=True):
                home = staging / name
                files.make_folder(home.parent)
                os.rename(path, home)
                files.boundary(f"work {self.spec.stage}: gathered {name}")
        return staging


def _remove_links(folder: Path) -> None:
    """What is written into a folder must stay in it, whoever put a link there."""
    for parent, folders, names in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *names)):
            if path.is_symlink():
                files.remove(path)
