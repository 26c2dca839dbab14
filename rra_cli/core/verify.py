"""Checking a whole store: every byte of every artifact, and what lies about that nobody will come back to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.core.lease import Lease
from rra_cli.core.meta import META, Damage, open_artifact, verify_contents
from rra_cli.core.progress import Progress, silent
from rra_cli.core.resources import format_bytes
from rra_cli.core.store_folder import LEASE, RESERVED, WORK
from rra_cli.errors import UserError

if TYPE_CHECKING:
    from rra_cli.core.store import Store


@dataclass(frozen=True)
class StoreReport:
    """What a check of the store found.

    n_artifacts, n_bytes: checked. corrupt: (folder, what is wrong). orphaned: work folders that no process owns (the
    next run of the same experiment goes on with them). owned: (work folder, its owner as recorded: alive, or on
    another machine from where it cannot be told). damaged: folders moved aside earlier. trash: folders that a killed
    process was about to remove.
    """

    n_artifacts: int
    n_bytes: int
    corrupt: tuple[tuple[Path, str], ...]
    orphaned: tuple[Path, ...]
    owned: tuple[tuple[Path, str], ...]
    damaged: tuple[Path, ...]
    trash: tuple[Path, ...]

    @property
    def ok(self) -> bool:
        """Whether every artifact is what was published."""
        return not self.corrupt

    def lines(self) -> list[str]:
        """The report for a person, with what to do."""
        found = [f"{self.n_artifacts} artifacts, {format_bytes(self.n_bytes)}, {len(self.corrupt)} corrupt"]
        found += [f"corrupt: {path}: {what} (remove it: it is built again)" for path, what in self.corrupt]
        found += [
            f"unfinished: {path} (the same run goes on with it; else `rra gc` removes it)" for path in self.orphaned
        ]
        found += [f"in work: {path} by {owner}" for path, owner in self.owned]
        found += [f"moved aside earlier: {path} (`rra gc` removes it)" for path in self.damaged]
        found += [f"trash: {path} (`rra gc` removes it)" for path in self.trash]
        return found


def verify_store(store: Store, progress: Progress = silent) -> StoreReport:
    """Reads every artifact in full and compares; changes nothing. `progress` counts artifacts."""
    folders = list(_artifacts(store.root))
    corrupt: list[tuple[Path, str]] = []
    n_bytes = 0
    for done, folder in enumerate(folders):
        progress(done, len(folders), folder.parent.name)
        try:
            artifact = open_artifact(folder, None, None)
            if folder != store.folder(artifact.spec, artifact.entry):
                raise Damage("its meta.json belongs to another artifact")
            verify_contents(artifact)
            n_bytes += artifact.size
        except FileNotFoundError:
            continue  # freed by a run meanwhile
        except (Damage, OSError, ValueError) as error:
            corrupt.append((folder, str(error)))
        except UserError as error:  # of another version
            corrupt.append((folder, error.message.removeprefix(f"{folder} ")))
    progress(len(folders), len(folders), "")
    orphaned, owned = _work_folders(store.root)
    aside, trash = _children(store.root / "damaged"), _children(store.root / "trash")
    return StoreReport(len(folders), n_bytes, tuple(corrupt), orphaned, owned, aside, trash)


def _artifacts(root: Path) -> Iterator[Path]:
    """All folders that are artifacts or should be: `<stage>/<key>` or, where that holds only folders, those."""
    for stage in _children(root):
        if stage.name in RESERVED or not _is_folder(stage):
            continue
        try:
            keys = _children(stage)
        except OSError:
            yield stage  # is named as what cannot be read
            continue
        for key in keys:
            if not _is_folder(key) or key.name.endswith(WORK):
                continue
            try:
                inner = _children(key)
            except OSError:
                yield key
                continue
            if inner and not (key / META).exists() and all(_is_folder(child) for child in inner):
                yield from inner
            elif inner:
                yield key


def _work_folders(root: Path) -> tuple[tuple[Path, ...], tuple[tuple[Path, str], ...]]:
    orphaned: list[Path] = []
    owned: list[tuple[Path, str]] = []
    for folder in sorted(root.glob(f"*/*{WORK}")):
        if folder.parent.name in RESERVED:
            continue
        try:
            owner = Lease(folder / LEASE).look()
        except UserError as error:
            owned.append((folder, error.message))
            continue
        if owner is None or owner.is_dead():
            orphaned.append(folder)
        else:
            owned.append((folder, str(owner)))
    return tuple(orphaned), tuple(owned)


def _children(folder: Path) -> tuple[Path, ...]:
    try:
        return tuple(sorted(folder.iterdir()))
    except (FileNotFoundError, NotADirectoryError):
        return ()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()
