"""The folder of a store: where things lie in it, and how they leave it.

`<root>/<stage>/<key>/[<entry>/]` are the artifacts, `<root>/<stage>/<key>.work/` what is being built. Beside the
stages: `refs/` (which run refers to what), `cache/` (content hashes), `damaged/` (what was found broken and moved
aside; removed by `rra gc` alone) and `trash/` (on its way out; may be removed at any time).
"""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.artifact import StoreError
from rra_cli.core.spec import Spec, check_entry
from rra_cli.errors import UserError

RESERVED = ("refs", "cache", "damaged", "trash")
WORK = ".work"
LEASE = "lease"


class StoreFolder:
    """Paths below the root of a store, none of which is reached through a link, and removing what lies there."""

    def __init__(self, root: Path) -> None:
        # The root itself may lie behind a link; below it none is followed.
        self.root = Path(os.path.realpath(root))
        self.refs = self.root / "refs"

    def of(self, spec: Spec, entry: str | None = None) -> Path:
        """Where the artifact lies or would lie."""
        if spec.stage in RESERVED:
            raise ValueError(f"a stage cannot be called {spec.stage!r}: the store keeps that folder for itself")
        folder = self.root / spec.stage / spec.key
        return folder if entry is None else folder / check_entry(entry)

    def of_work(self, spec: Spec) -> Path:
        """Where the artifact is built."""
        folder = self.of(spec)
        return folder.with_name(folder.name + WORK)

    def of_cache(self, name: str) -> Path:
        """A folder of what can be made again at any time. `StoreError` where it leads out of the store."""
        return self.checked(self.root / "cache" / name)

    def checked(self, path: Path) -> Path:
        """The path. Raises `StoreError` where a part of it below the root is a symbolic link."""
        part = self.root
        for name in path.relative_to(self.root).parts:
            part = part / name
            if part.is_symlink():
                raise StoreError(
                    f"{part} is a symbolic link; nothing in a store is reached through links",
                    "set store.root to the folder on the other disk instead of linking a part of it",
                )
        return path

    def discard(self, folder: Path) -> None:
        """Takes a folder of the store out of sight in one step, then removes it."""
        self.hide(folder)
        self.empty_trash()

    def hide(self, folder: Path) -> None:
        """Takes a file or folder of the store out of sight in one step; what is gone already is no fault."""
        target = self.checked(self.root / "trash") / secrets.token_hex(8)
        with files.explained(folder):
            files.make_folder(target.parent)
            files.boundary(f"discard {folder.name}: begin")
            with suppress(FileNotFoundError):
                os.rename(folder, target)
            files.boundary(f"discard {folder.name}: hidden")

    def empty_trash(self) -> None:
        """Removes all of it, so that what killed processes left there does not stay; several may do this at once."""
        with suppress(FileNotFoundError):
            for gone in self.checked(self.root / "trash").iterdir():
                files.remove(gone)

    def move_aside(self, folder: Path, name: str, damage: str) -> Path | None:
        """Moves a damaged artifact to `damaged/`: where it is now, or None where another process was faster.

        name: what it is called there. Raises `StoreError`, which names the damage, where it cannot be moved.
        """
        target = self.checked(self.root / "damaged") / f"{name}-{secrets.token_hex(4)}"
        try:
            files.make_folder(target.parent)
            files.boundary(f"damaged {name}: begin")
            os.rename(folder, target)
            files.boundary(f"damaged {name}: moved")
        except FileNotFoundError:
            return None
        except (OSError, UserError) as error:
            raise StoreError(
                f"{folder} is damaged: {damage}; it could not be moved aside ({error})",
                "remove that folder (it is built again), or set store.root to a folder that can be written",
            ) from error
        return target
