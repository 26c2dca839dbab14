"""All that a person sees: progress, tables, errors. Nothing else in rra prints.

Progress goes to stderr, results to stdout, and every line of progress into the log of the run as well.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from rra_cli.core.progress import Progress, Reporter, clock
from rra_cli.errors import ConfigError, UserError

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

log = logging.getLogger("rra_cli")

Mode = Literal["auto", "bars", "lines", "none"]
# Without a terminal, a line at most this often while a task goes on.
LINE_SECONDS = 30.0
SHORT_SECONDS = 2.0


def stdout() -> Console:
    """Where results go; as wide as needed where it is no terminal, so that lines stay whole."""
    from rich.console import Console

    return _wide(Console(highlight=False, soft_wrap=False))


def stderr() -> Console:
    """Where progress and errors go."""
    from rich.console import Console

    return _wide(Console(stderr=True, highlight=False))


def make_reporter(mode: Mode = "auto") -> Reporter:
    """Who shows a run: live bars on a terminal, lines elsewhere, or nothing (the log is written all the same)."""
    if mode == "none":
        return _Silent()
    if mode == "bars" or (mode == "auto" and sys.stderr.isatty()):
        return _Bars()
    return _Lines()


def show(what: RenderableType) -> None:
    """Prints a table or a line of text as it is (no markup) to stdout."""
    from rich.text import Text

    stdout().print(Text(printable(what)) if isinstance(what, str) else what)


def show_error(error: UserError) -> None:
    """A user's fault: what is wrong, and what to do on a line of its own."""
    from rich.text import Text

    console = stderr()
    lines = [printable(line) for line in error.message.splitlines()] or [""]
    # The lines of another error than a `ConfigError` are one fault with its details.
    several = isinstance(error, ConfigError) and len(lines) > 1
    head = f"{len(lines)} errors:\n  " if several else "error: "
    console.print(Text.assemble((head, "bold red"), ("\n  " if several else "\n").join(lines)), soft_wrap=True)
    if error.hint:
        console.print(Text.assemble(("hint: ", "bold"), printable(error.hint)), soft_wrap=True)


def printable(text: str) -> str:
    """The text without what a terminal obeys: a file may be called anything, also what clears the screen."""
    return "".join(
        ascii(letter)[1:-1] if unicodedata.category(letter)[0] == "C" and letter not in "\n\t" else letter
        for letter in text
    )


def show_bug(error: BaseException) -> None:
    """Our fault: the traceback, and that it is ours."""
    sys.stderr.write("".join(traceback.format_exception(error)))
    sys.stderr.write("This is a fault of rra, not of your input. Please report it with the lines above.\n")


def show_interrupted(interruption: KeyboardInterrupt) -> None:
    """Ctrl-C: what is finished is kept, unless a note of it says what becomes of the rest."""
    notes = getattr(interruption, "__notes__", ["what is finished is kept: the same command again resumes it"])
    sys.stderr.write(f"interrupted; {printable('; '.join(notes))}\n")


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
        if worth_a_line(time.monotonic() - started, self._open):
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
            if worth_a_line(time.monotonic() - started, self._open - 1):
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


def worth_a_line(seconds: float, outer: int) -> bool:
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


def _wide(console: Console) -> Console:
    """A file or a pipe has no width of its own: nothing is wrapped or cut there."""
    if not console.is_terminal:
        console.width = 10_000
    return console


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]], *, text_columns: int = 1) -> Any:
    """A table of plain values: `text_columns` on the left are text, the others are numbers and end at the right."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        title=Text(title, no_wrap=True, overflow="ignore") if title else None,
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
    )
    for position, column in enumerate(columns):
        table.add_column(Text(column), justify="left" if position < text_columns else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text("" if cell is None else printable(str(cell))) for cell in row))
    return table
