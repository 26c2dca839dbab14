"""Signals that ask a run to end. A training saves first; everything else is left at once, for it lost nothing.

Results are whole or absent at any moment (`core.files`), and long stages go on by blocks, so an exception may end
them anywhere. Only a training has more to lose than a block: it asks after every step (`deferred`).

A second signal ends the run at once, but not in a process of torchrun: that passes on to all of its processes what a
terminal or SLURM has sent them already, and sends SIGTERM to the others when the first of them has ended. It kills what
has not ended half a minute later. Nor does a second SIGTERM or SIGUSR2 count inside of a SLURM job: srun, the step and
the job each pass it on when SLURM ends a job, and SIGKILL comes at last.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rra_cli.errors import EXIT_INTERRUPTED, EXIT_RESUMABLE

# Ctrl-C; the end of a job's time; what SLURM's `--signal=USR2@60` sends a minute before it.
SIGNALS = ("SIGINT", "SIGTERM", "SIGUSR2")

TERM = int(signal.SIGTERM)

# torchrun sets it for the processes that it starts, SLURM for those of a job.
TORCHRUN, SLURM = "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID"

Asked = Callable[[], "Interrupted | None"]


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to end. No `Exception`, so that it ends a sweep as well and not only the job in it."""

    def __init__(self, number: int) -> None:
        self.signal = signal.Signals(number)
        super().__init__(f"ended by {self.signal.name}; the same command again goes on where it stopped")

    @property
    def exit_code(self) -> int:
        """130 after Ctrl-C, else 75 (EX_TEMPFAIL of sysexits.h): try again later."""
        return EXIT_INTERRUPTED if self.signal == signal.SIGINT else EXIT_RESUMABLE


class _State:
    """What has come in this process. waits: whether a first signal is only noted. came: whether any has."""

    waits = False
    number: int | None = None
    came = False


@contextmanager
def handled() -> Iterator[None]:
    """Inside, each of `SIGNALS` raises `Interrupted` in the main thread, or waits where `deferred` says so.

    A signal that is ignored (`nohup`, a background job) stays ignored. Does nothing in another thread than the main
    one, where Python allows no handlers. On leaving, the handlers are what they were.
    """
    previous, _State.came = {}, False
    if threading.current_thread() is threading.main_thread():
        numbers = [getattr(signal, name) for name in SIGNALS if hasattr(signal, name)]
        previous = {number: signal.getsignal(number) for number in numbers}
    try:
        for number, handler in previous.items():
            if handler is not signal.SIG_IGN:
                signal.signal(number, _arrived)
        yield
    finally:
        for number, handler in previous.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextmanager
def deferred() -> Iterator[Asked]:
    """Inside, a first signal is noted, and what this gives says so when it is called; a second one raises at once, but
    under torchrun and SLURM.

    A signal that nobody asked for until the end raises on leaving.
    """
    _State.waits, _State.number = True, None
    try:
        yield _asked
    finally:
        _State.waits = False
    interruption = _asked()
    if interruption is not None:
        raise interruption


def ask(number: int) -> None:
    """Sends this process a signal, unless one has come already: a second would end it at once."""
    if not _State.came:
        os.kill(os.getpid(), number)


def never() -> Interrupted | None:
    """Nothing asks."""
    return None


def exit_code(error: KeyboardInterrupt) -> int:
    """What a process ended by it exits with."""
    return error.exit_code if isinstance(error, Interrupted) else EXIT_INTERRUPTED


def _asked() -> Interrupted | None:
    return None if _State.number is None else Interrupted(_State.number)


def _arrived(number: int, frame: object) -> None:
    if _State.came and (TORCHRUN in os.environ or (SLURM in os.environ and number != signal.SIGINT)):
        return
    _State.came = True
    if _State.waits and _State.number is None:
        _State.number = number
        return
    raise Interrupted(number)
