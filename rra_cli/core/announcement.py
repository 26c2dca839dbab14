"""How `rra gc` and a run that begins meanwhile keep out of each other's way, without a lock that a run would wait for.

gc writes down what it is about to remove and then reads once more what runs refer to; a run writes down what it refers
to and then reads what gc is about to remove. Whichever comes first, one of the two sees the other: gc spares what the
run refers to, or the run waits until gc has ended and looks only then at what is there.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.lease import POLL, Lease, LeaseHeldError, LeaseLostError, Watch
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError


class Announcement:
    """What gc is about to remove. folder: where runs note what they refer to; the announcement lies beside the notes,
    as whoever writes into a folder sees all of it afterwards, on network file systems as well.
    """

    def __init__(self, folder: Path, *, stale_after: float = 30.0) -> None:
        self._path = folder / "removing"
        self._stale_after = stale_after
        self._lease = Lease(folder / ".gc", stale_after=stale_after)

    @contextmanager
    def alone(self) -> Iterator[Announcement]:
        """Inside, no other gc works on the store. Raises `UserError` where one does."""
        try:
            self._lease.acquire(wait=False)
        except LeaseHeldError as error:
            raise UserError(
                f"another `rra gc` works on this store: {error.owner}", "wait until it has ended, or end it"
            ) from error
        try:
            yield self
        finally:
            with suppress(LeaseLostError):  # of another gc by now
                self._lease.check()
                files.remove(self._path)
            self._lease.dissolve()
            self._lease.stop()

    def announce(self, names: Iterable[str]) -> None:
        """Says what will be removed; read the notes of the runs after it."""
        files.write_json(self._path, sorted(names))

    def check(self) -> None:
        """Raises `LeaseLostError` where others take this process for dead; call it before anything is removed."""
        self._lease.check()

    def wait_for(self, names: Collection[str]) -> None:
        """Returns once none of the names is about to be removed; call it after they were noted as needed."""
        watch, poll = Watch(self._stale_after), POLL[0]
        while self._announced().intersection(names):
            owner, counter = self._lease.pulse()
            watch.moves((None if owner is None else owner.id, counter))
            if owner is None or owner.is_dead() or watch.stale:
                return  # what a killed gc announced and did not remove stays
            time.sleep(poll)
            poll = min(POLL[1], poll * 1.5)

    def _announced(self) -> frozenset[str]:
        try:
            return frozenset(str(name) for name in read_json(self._path))
        except (FileNotFoundError, IsADirectoryError, ValueError, TypeError):
            return frozenset()  # none, or not ours: gc writes whole files only
        except OSError as error:
            raise UserError(
                f"cannot read {self._path}: {error.strerror}",
                "make it readable: a run must know what `rra gc` is about to remove",
            ) from error
