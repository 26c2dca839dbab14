"""Who shows the progress of a run: live bars, lines, or nothing. Goes to stderr and, every line, into the run's log."""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from rra_cli.console import printable, stderr
from rra_cli.core.progress import Progress, Reporter, clock

log = logging.getLogger("rra_cli")

Mode = Literal["auto", "bars", "lines", "none"]
# Without a terminal, a line at most this often while a task goes on.
LINE_SECONDS = 30.0
SHORT_SECONDS = 2.0


def make_reporter(mode: Mode = "auto") -> Reporter:
    """Who shows a run: live bars on a terminal, lines elsewhere, or nothing (the log is written all the same)."""
    if mode == "none":
        return _Silent()
    if mode == "bars" or (mode == "auto" and sys.stderr.isatty()):
        return _Bars()
    return _Lines()


class _Silent:
    """Shows nothing; the log is written."""

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        with _logged(title):
            yield lambda done, total, note="": None  # type: ignore[misc]

    def note(self, message: str) -> None:
        log.info(message)

    def warn(self, message: str) -> None:
        log.warning(message)


class _Lines:
    """A line when a task starts and ends, and now and then in between; a short task inside another is not worth one."""

    def __init__(self) -> None:
        self._open = 0

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        started = last = time.monotonic()
        first: tuple[float, int] | None = None

        def progress(done: int, total: int, note: str = "") -> None:
            nonlocal last, first
            now = time.monotonic()
            first = (now, done) if first is None else first  # a resumed task does not begin at 0
            since, before = first
            if now - last >= LINE_SECONDS and done < total:
                last = now
                left = (now - since) / (done - before) * (total - done) if done > before else None
                rest = "" if left is None else f", {clock(left)} left"
                self._say(f"{title}: {done}/{total}{rest}{f', {note}' if note else ''}")

        # Most tasks are short: only one that takes its time announces itself.
        announce = threading.Timer(SHORT_SECONDS, self._say, [f"{title} ..."])
        announce.daemon = True
        announce.start()
        self._open += 1
        try:
            with _logged(title):
                yield progress
        finally:
            announce.cancel()
            self._open -= 1
        if _worth_a_line(time.monotonic() - started, self._open):
            self._say(f"{title}: done in {clock(time.monotonic() - started)}")

    def note(self, message: str) -> None:
        log.info(message)
        self._say(message)

    def warn(self, message: str) -> None:
        _log_warning(message)
        self._say(f"warning: {message}")

    def _say(self, line: str) -> None:
        print(printable(line), file=sys.stderr, flush=True)


class _Bars:
    """Live bars with the remaining time; a finished task leaves one line."""

    def __init__(self) -> None:
        from rich.progress import (
            BarColumn,
            SpinnerColumn,
            TaskProgressColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        self._console = stderr()
        self._open = 0
        self._bars = RichProgress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TaskProgressColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False, style="dim"),
            console=self._console,
            transient=True,
        )

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        started = time.monotonic()
        bar = self._bars.add_task(printable(title), total=None, note="")

        def progress(done: int, total: int, note: str = "") -> None:
            self._bars.update(bar, completed=done, total=total, note=note)

        self._open += 1
        if self._open == 1:
            self._bars.start()
        try:
            with _logged(title):
                yield progress
            if _worth_a_line(time.monotonic() - started, self._open - 1):
                self._print(f"{title}: {clock(time.monotonic() - started)}", "green", "✓ ")
        finally:
            self._bars.remove_task(bar)
            self._open -= 1
            if self._open == 0:
                self._bars.stop()

    def note(self, message: str) -> None:
        log.info(message)
        self._print(message, "dim", "· ")

    def warn(self, message: str) -> None:
        _log_warning(message)
        self._print(message, "yellow", "! ")

    def _print(self, message: str, style: str, sign: str) -> None:
        from rich.text import Text

        self._console.print(Text.assemble((sign, style), printable(message)))


def _log_warning(message: str) -> None:
    """Into the log, where it is open: before that, Python itself would show the line once more."""
    if log.hasHandlers():
        log.warning(message)


def _worth_a_line(seconds: float, outer: int) -> bool:
    """Whether a finished task is named: always on its own, within `outer` other tasks if it took a while."""
    return outer == 0 or seconds >= SHORT_SECONDS


@contextmanager
def _logged(title: str) -> Iterator[None]:
    """Start, end and duration of a task in the log; where it fails, that too."""
    started = time.monotonic()
    log.info("%s ...", title)
    try:
        yield
    except BaseException as error:
        log.info("%s: ended by %s after %s", title, type(error).__name__, clock(time.monotonic() - started))
        raise
    log.info("%s: done in %s", title, clock(time.monotonic() - started))
