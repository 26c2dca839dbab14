"""Removing from a store what no run refers to, while other processes may work on it."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from rra_cli.core.announcement import Announcement
from rra_cli.core.lease import Lease, LeaseHeldError
from rra_cli.core.progress import Progress, silent
from rra_cli.core.store import Store
from rra_cli.core.store_folder import LEASE
from rra_cli.core.survey import Item, Survey, referred, survey


@dataclass(frozen=True)
class Collected:
    """before: what was found. removed: what is gone. spared: what a run came to need, or somebody to build, meanwhile.

    forgotten: runs whose folders were deleted, which the store has forgotten.
    """

    before: Survey
    removed: tuple[Item, ...]
    spared: tuple[Item, ...]
    forgotten: tuple[str, ...]


def collect(
    store: Store, *, older_than: float = 0.0, forget_unseen: bool = False, progress: Progress = silent
) -> Collected:
    """Removes everything that `survey` says can go. Other processes may use the store at the same time.

    Raises what `survey` raises, and `UserError` where another gc is at work or the store cannot be written. Killed at
    any point it leaves artifacts that are whole or gone.
    """
    found = survey(store, older_than=older_than, forget_unseen=forget_unseen, progress=progress)
    with store.removals().alone() as announcement:
        wanted = [item for item in found.items if item.verdict == "remove"]
        announcement.announce({item.name for item in wanted if item.name})
        # Runs that wrote their note before the announcement are seen here; the others wait until we are done.
        notes = store.references()
        runs = {run_id: note.whereabouts(store.root) for run_id, note in notes.items()}
        needed = referred(notes, runs, forget_unseen=forget_unseen)
        wanted, spared = _split([item for item in wanted if item.name not in needed], store, announcement)
        spared += [item for item in found.items if item.verdict == "remove" and item.name in needed]
        gone = ("deleted", "unseen") if forget_unseen else ("deleted",)
        forgotten = tuple(run_id for run_id in runs if runs[run_id] in gone)
        for run_id in forgotten:
            announcement.check()
            store.forget(run_id)
    # All of it is out of sight by now, so that no run has to wait while the disk is busy removing it.
    store.place.empty_trash()
    return Collected(found, tuple(wanted), tuple(spared), forgotten)


def _split(items: Sequence[Item], store: Store, announcement: Announcement) -> tuple[list[Item], list[Item]]:
    """Takes the items out of sight; what is gone, and what was spared because somebody builds there now."""
    removed: list[Item] = []
    spared: list[Item] = []
    # Work first: who holds it may be about to publish.
    for item in sorted(items, key=lambda item: item.kind != "unfinished work"):
        announcement.check()
        if item.kind == "trash":
            removed.append(item)
        elif item.kind in ("leftovers", "plots", "damaged"):
            store.place.hide(item.path)
            removed.append(item)
        elif item.kind == "unfinished work":
            (removed if _remove_work(item, store) else spared).append(item)
        elif store.is_claimed(item.name):
            spared.append(item)
        else:
            store.place.hide(item.path)
            removed.append(item)
    return removed, spared


def _remove_work(item: Item, store: Store) -> bool:
    """Whether nobody worked there, so that it is gone."""
    lease = Lease(item.path / LEASE, stale_after=store.stale_after)
    with suppress(LeaseHeldError):
        lease.acquire(wait=False)
        try:
            store.place.hide(item.path)
        finally:
            lease.stop()
        return True
    return False
