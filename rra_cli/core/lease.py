"""Leases: one process at a time owns a folder, on one machine or on many that share a file system.

The lease is a folder that holds a chain of owners, `first`, `after-<id of the one before>`, ...; the last of the chain
owns it. Each link is itself a folder, put in place by a rename that never replaces anything, so that of several
processes that want to follow the same owner exactly one wins, and one that acts on an old view of the chain loses.
Every owner advances a counter in its own link. A waiter watches that counter by its own clock: clocks of different
machines are never compared, and no lock of the operating system is relied on. An owner that was suspended for too
long finds itself followed by another, and must not publish.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from rra_cli.core import files
from rra_cli.core.process import Owner
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError

POLL = (0.01, 0.25)  # seconds between two looks at the counter: at first, and at most

_held: dict[str, int] = {}  # id of every lease that this process holds -> thread that took it


class LeaseLostError(UserError):
    """Another process took the lease over, because this one showed no sign of life for too long."""


class LeaseHeldError(UserError):
    """A living process owns the lease, and the caller did not want to wait."""

    def __init__(self, owner: Owner, folder: Path) -> None:
        super().__init__(f"{folder} is in use by {owner}", "wait until that process has ended, or end it")
        self.owner = owner


class Watch:
    """Tells by the waiter's own clock that a counter stands still.

    A waiter that was itself suspended has not watched in the meantime: between two looks at most a few polls count.
    """

    def __init__(self, stale_after: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_after, self._clock = stale_after, clock
        self._seen: object = None
        self._last = clock()
        self._silence = 0.0

    def moves(self, seen: object) -> bool:
        """Whether the counter differs from the one of the last look (not at the first look)."""
        first, changed = self._seen is None, self._seen != seen
        now = self._clock()
        self._silence = 0.0 if changed else self._silence + min(now - self._last, 4 * POLL[1])
        self._seen, self._last = seen, now
        return changed and not first

    @property
    def stale(self) -> bool:
        """Whether it has stood still for longer than `stale_after` seconds of watching."""
        return self._silence > self.stale_after


class Lease:
    """The right to work in a folder. folder: of the chain. stale_after: seconds of silence after which it is lost."""

    def __init__(self, folder: Path, *, stale_after: float = 30.0) -> None:
        self.folder, self.stale_after = Path(folder), stale_after
        self.owner: Owner | None = None
        self.counter = 0
        self.predecessors: tuple[str, ...] = ()  # ids of earlier owners, the latest first
        self._descriptor = -1
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def acquire(self, on_wait: Callable[[str], None] | None = None, *, wait: bool = True) -> None:
        """Takes the lease; waits while another process shows signs of life.

        on_wait: told once per owner that is waited for, and when a dead one is followed. wait=False: raises
        `LeaseHeldError` as soon as the owner is known to live, instead of waiting for its end.
        """
        watch = Watch(self.stale_after)
        told, poll = "", POLL[0]
        while True:
            chain = self._chain()
            tail = chain[-1] if chain else None
            # The silence that counts is that of the present owner, so look at its counter before judging.
            moves = tail is not None and watch.moves((tail.id, self._read_counter(chain)))
            if tail is None or tail.free or tail.is_dead() or watch.stale:
                if self._follow(tail):
                    self.predecessors = tuple(owner.id for owner in reversed(chain))
                    if tail is not None and not tail.free and on_wait is not None:
                        on_wait(f"going on with what {tail} left unfinished")
                    return
                watch, poll = Watch(self.stale_after), POLL[0]
                continue
            if _held.get(tail.id) == threading.get_ident():
                raise RuntimeError(f"this thread holds the lease {self.folder} already and would wait for itself")
            if not wait and (moves or tail.is_alive()):
                raise LeaseHeldError(tail, self.folder.parent)
            if told != tail.id and on_wait is not None:
                on_wait(f"waiting for {tail}")
            told = tail.id
            time.sleep(poll)
            poll = min(POLL[1], poll * 1.5)

    def check(self) -> None:
        """Raises `LeaseLostError` where another process has taken over; call it before anything becomes visible."""
        self._refresh()
        chain = self._chain()
        if self.owner is None or not chain or chain[-1].id != self.owner.id:
            heir = f" {chain[-1]} has" if chain else " another process has"
            raise LeaseLostError(
                f"lost the lease of {self.folder.parent}: this process was silent for more than "
                f"{self.stale_after:g} s (suspended?), and{heir} taken over",
                "nothing was damaged; the same command again waits for the other or goes on after it",
            )

    def release(self) -> None:
        """Gives the lease to whoever wants it next; does nothing where it was lost."""
        if self.owner is None or not self._is_mine():
            return
        # Also on a full disk: without the mark the others find out when this process ends, or by its silence.
        with suppress(UserError, OSError):
            files.boundary(f"lease {self.folder.parent.name}: release")
            self.check()
            self._place(Owner.this_process(free=True), f"after-{self.owner.id}")
        self.stop()

    def dissolve(self) -> None:
        """Gives the lease up and removes its folder; does nothing where it was lost."""
        if self.owner is None or not self._is_mine():
            return
        with suppress(LeaseLostError, OSError):
            self.check()
            gone = self.folder.with_name(f"{files.LEFTOVER}{self.owner.id}")
            files.boundary(f"lease {self.folder.parent.name}: dissolve")
            os.rename(self.folder, gone)
            files.boundary(f"lease {self.folder.parent.name}: dissolved")
            files.remove(gone)
        self.stop()

    def stop(self) -> None:
        """Ends the heartbeat without leaving a mark (the folder is gone, or the lease is lost)."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        if self._descriptor >= 0:
            os.close(self._descriptor)
        if self.owner is not None:
            _held.pop(self.owner.id, None)
        self.owner, self._thread, self._descriptor = None, None, -1

    def look(self) -> Owner | None:
        """The present owner as recorded, None where nobody owns it; whether that process lives is another question."""
        return self.pulse()[0]

    def pulse(self) -> tuple[Owner | None, bytes]:
        """The present owner as `look` gives it, and its counter, which stands still once the owner has died."""
        chain = self._chain()
        return (None, b"") if not chain or chain[-1].free else (chain[-1], self._read_counter(chain))

    def _is_mine(self) -> bool:
        """False in a forked child, which has no heartbeat and must leave its parent's lease alone."""
        return self.owner is not None and self.owner.pid == os.getpid()

    def _chain(self) -> list[Owner]:
        """All owners from the first to the present one."""
        chain: list[Owner] = []
        name, known = "first", set[str]()
        while True:
            path = self.folder / name / "owner.json"
            try:
                owner = Owner.from_json(read_json(path))
                if owner.id in known:
                    raise ValueError("its owners follow each other in a circle")
                known.add(owner.id)
                chain.append(owner)
            except (FileNotFoundError, NotADirectoryError):
                return chain
            except (OSError, ValueError, TypeError) as error:
                raise UserError(
                    f"the lease {path} is unreadable ({error})",
                    f"if no rra process uses it, remove the folder {self.folder}",
                ) from error
            name = f"after-{chain[-1].id}"

    def _follow(self, tail: Owner | None) -> bool:
        """Tries to become the owner after `tail`; False where another process was faster."""
        mine = Owner.this_process()
        name = "first" if tail is None else f"after-{tail.id}"
        self._place(mine, name)
        chain = self._chain()
        # Not the last of the chain: another was faster, or the folder was replaced by a new one in the meantime.
        if not chain or chain[-1].id != mine.id:
            return False
        try:
            self._descriptor = os.open(self.folder / name / "counter", os.O_WRONLY)
        except FileNotFoundError:
            return False
        self.owner, self.counter = mine, 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._beat, args=(self._stop, self._descriptor), daemon=True)
        self._thread.start()
        _held[mine.id] = threading.get_ident()
        return True

    def _place(self, owner: Owner, name: str) -> None:
        """Puts a link in the chain unless that place is taken; whether it succeeded is to be read from the chain."""
        files.make_folder(self.folder)
        link = self.folder / f"{files.LEFTOVER}{owner.id}"
        with files.explained(self.folder):
            try:
                link.mkdir()
                _write(link / "counter", f"{0:020d}")
                _write(link / "owner.json", json.dumps(owner.as_json()))
                files.sync(link)
                files.boundary(f"lease {self.folder.parent.name}: written")
                files.move_new(link, self.folder / name)
            except (FileExistsError, FileNotFoundError):
                files.remove(link)
                return
            files.boundary(f"lease {self.folder.parent.name}: taken")

    def _read_counter(self, chain: list[Owner]) -> bytes:
        name = f"after-{chain[-2].id}" if len(chain) > 1 else "first"
        try:
            return (self.folder / name / "counter").read_bytes()
        except OSError:
            return b""

    def _beat(self, stop: threading.Event, descriptor: int) -> None:
        """Advances the counter in this owner's own link, which a successor never writes to or waits for."""
        while not stop.wait(min(3.0, self.stale_after / 10)):
            self.counter += 1
            with suppress(OSError):  # a hiccup of the file system; if it lasts, `check` finds the lease lost
                os.pwrite(descriptor, f"{self.counter:020d}".encode(), 0)
                os.fsync(descriptor)

    def _refresh(self) -> None:
        """Makes a network file system look at the folder again instead of answering from its cache."""
        probe = self.folder / f"{files.LEFTOVER}{os.urandom(8).hex()}"
        with suppress(OSError):
            probe.mkdir()
            probe.rmdir()


def _write(path: Path, text: str) -> None:
    with open(path, "x", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
