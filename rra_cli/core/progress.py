"""How long work says how far it is, without knowing who shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

# Called with (done, total, note): samples, rows or epochs; `note` is a short live figure such as "loss 0.412".
Progress = Callable[[int, int, str], None]


def silent(done: int, total: int, note: str = "") -> None:
    """Shows nothing."""


def clock(seconds: float) -> str:
    """A duration: `0.4 s`, `12 s`, `3:07`, `2:03:07`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 59.5:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


class Reporter(Protocol):
    """Whoever shows a run to a person: a terminal with bars, plain lines in a batch job, nothing in a test."""

    def task(self, title: str) -> AbstractContextManager[Progress]:
        """One piece of work with a bar and its remaining time; leaving the context ends it."""

    def note(self, message: str) -> None:
        """One line that a person should see once."""

    def warn(self, message: str) -> None:
        """One line about something that is wrong but does not stop the run."""
