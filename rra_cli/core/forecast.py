"""How far a run is and how long it will still take, for whoever looks at it from outside."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rra_cli.core.progress import Progress, Reporter

Clock = Callable[[], float]

# The estimates are those of another machine. What is done corrects them once it is this many estimated seconds.
CORRECTED_AFTER = 5.0


class Task:
    """A piece of work that says how far it is: `done` of `total`, both 0 before it first does."""

    def __init__(self, title: str, clock: Clock = time.monotonic) -> None:
        self.title, self.note = title, ""
        self.done = self.total = 0
        self._clock, self._since = clock, clock()
        self._before: int | None = None  # where it was when it first said so: a resumed task does not begin at 0

    def advance(self, done: int, total: int, note: str = "") -> None:
        """Is told how far the work is. Called often, by the thread that works."""
        if self._before is None:
            self._before, self._since = done, self._clock()
        self.done, self.total, self.note = done, total, note

    def left(self) -> float | None:
        """Seconds that are left at the pace so far; None while nothing is known of it."""
        if self._before is None or self.done <= self._before:
            return None
        pace = (self._clock() - self._since) / (self.done - self._before)
        return pace * max(0, self.total - self.done)

    def as_json(self) -> dict[str, Any]:
        left = self.left()
        return {
            "task": self.title,
            "done": self.done,
            "total": self.total,
            "note": self.note,
            "left": None if left is None else round(left, 1),
        }


class Forecast:
    """What a run still has to do: estimates of its stages, corrected by those that are done, and its open tasks.

    seconds: by the piece of work, estimated; those that are there already are not among them.
    """

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock, self._began = clock, clock()
        self._waiting: dict[Hashable, float] = {}
        self._current: dict[Hashable, float] = {}
        self._estimated = 0.0  # seconds of what was begun and is done
        self.tasks: list[Task] = []

    def expect(self, seconds: Mapping[Hashable, float]) -> None:
        """Is told what will be done from now on."""
        self._waiting, self._current, self._estimated, self._began = dict(seconds), {}, 0.0, self._clock()

    def begin(self, units: Iterable[Hashable]) -> None:
        """Is told that these pieces of work, as far as they were expected, begin; what began before is done."""
        self._estimated += sum(self._current.values())
        self._current = {unit: self._waiting.pop(unit) for unit in dict.fromkeys(units) if unit in self._waiting}

    def left(self) -> float | None:
        """Seconds until the end, by the open task alone where nothing else is expected; None where nothing is known."""
        innermost = self.tasks[-1].left() if self.tasks else None
        if not self._waiting and not self._current:
            return innermost
        elapsed = self._clock() - self._began
        pace = elapsed / self._estimated if self._estimated >= CORRECTED_AFTER else 1.0
        now = pace * sum(self._current.values()) if innermost is None else innermost
        return now + pace * sum(self._waiting.values())

    def watched(self, reporter: Reporter) -> Reporter:
        """The same reporter, whose tasks are seen here, too."""
        return _Watched(reporter, self)

    def as_json(self) -> dict[str, Any]:
        """Seconds left and the open tasks, the outermost first."""
        left = self.left()
        return {"left": None if left is None else round(left, 1), "progress": [task.as_json() for task in self.tasks]}


class _Watched:
    def __init__(self, reporter: Reporter, forecast: Forecast) -> None:
        self._reporter, self._forecast = reporter, forecast
        self.note, self.warn = reporter.note, reporter.warn

    @contextmanager
    def task(self, title: str) -> Iterator[Progress]:
        task = Task(title)
        with self._reporter.task(title) as inner:

            def progress(done: int, total: int, note: str = "") -> None:
                task.advance(done, total, note)
                inner(done, total, note)

            self._forecast.tasks.append(task)
            try:
                yield progress
            finally:
                self._forecast.tasks.remove(task)
