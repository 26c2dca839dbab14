"""A table of jobs that is refreshed while they work; without a terminal, a line when a job's state changes."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from rra_cli.cli.status_table import row, summary, sweep_table
from rra_cli.console import printable, stderr
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.sweepdir import Sweep
from rra_cli.slurm.states import Tasks

REFRESH = 1.0


class View(Protocol):
    """Who shows a sweep while it runs."""

    def look(self, *, last: bool = False) -> None:
        """Shows how far the jobs are, if it is time; called often. last: when all have ended."""


@contextmanager
def watching(sweep: Sweep, progress: str, tasks: Tasks | None = None) -> Iterator[View]:
    """Inside, the sweep is shown when the view is asked to look.

    progress: as `runtime.progress`. tasks: what SLURM says of its jobs, where it runs them.
    """
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    watcher = Watcher()

    def states() -> list[RunState]:
        found = [watcher.look_at(sweep, job) for job in sweep.jobs]
        return found if tasks is None else tasks.together(sweep, found)

    if progress == "bars" or (progress == "auto" and sys.stderr.isatty()):
        console = stderr()
        with Live(console=console, auto_refresh=False, transient=True) as live:

            def draw(found: Sequence[RunState]) -> None:
                most = max(3, console.size.height - 8) if console.is_terminal else None
                live.update(Group(sweep_table(sweep, found, most), Text(summary(found))), refresh=True)

            yield _Now(states, draw)
    elif progress == "none":
        yield _Now(states, lambda found: None, every=float("inf"))
    else:
        yield _Now(states, _Changes(sweep).tell)


class _Now:
    """Reads the states now and then, and hands them on."""

    def __init__(
        self, states: Callable[[], list[RunState]], tell: Callable[[Sequence[RunState]], None], every: float = REFRESH
    ) -> None:
        self._states, self._tell, self._every = states, tell, every
        self._last = float("-inf")

    def look(self, *, last: bool = False) -> None:
        now = time.monotonic()
        if now - self._last >= self._every or (last and self._every < float("inf")):
            self._last = now
            self._tell(self._states())


class _Changes:
    """A line for every job whose state is another than before."""

    def __init__(self, sweep: Sweep) -> None:
        self._names = [f"job {job.number} ({job.name})" for job in sweep.jobs]
        self._before: list[str] | None = None

    def tell(self, states: Sequence[RunState]) -> None:
        found: list[str] = [state.state for state in states]
        before = self._before or found
        self._before = found
        for name, was, state in zip(self._names, before, states, strict=True):
            if was != state.state:  # into `waiting` only where SLURM will start it again
                _, _, _, _, seconds, _, says = row(name, state)
                after = f" after {seconds}" if seconds and not state.active else ""
                line = f"{name}: {state.state}{after}{f', {says}' if says else ''}; {summary(states)}"
                print(printable(line), file=sys.stderr, flush=True)
