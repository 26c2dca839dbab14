"""What a run folder says of its run to whoever looks at it from outside, also while it works."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, get_args

from rra_cli.core.lease import Lease
from rra_cli.core.reading import read_json
from rra_cli.core.runfiles import LEASE, STATUS, State
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import EXIT_OK, UserError

Seen = Literal["waiting", "running", "done", "failed", "interrupted", "dead"]


@dataclass(frozen=True)
class RunState:
    """A run as it is seen. seconds: how long it has worked, or did; left: how long it will, where that is known.

    state: `dead` for one that left no word: its process is gone, or its heartbeat stands still. done, total, note: how
    far its innermost task is. traceback: of a fault of ours.
    """

    path: Path
    state: Seen
    stage: str = ""
    message: str = ""
    traceback: str = ""
    place: str = ""
    seconds: float | None = None
    left: float | None = None
    done: int = 0
    total: int = 0
    note: str = ""

    @property
    def active(self) -> bool:
        """Whether it is at work."""
        return self.state == "running"


class Watcher:
    """Looks at run folders again and again. A run of this machine is known to live or to be dead at once; one of
    another machine counts as dead when its heartbeat was seen standing still for `stale_after` seconds.
    """

    def __init__(self, stale_after: float = 30.0, clock: Callable[[], float] = time.monotonic) -> None:
        self.stale_after, self._clock = stale_after, clock
        self._beats: dict[Path, tuple[object, float]] = {}  # what was seen, and when it was seen first

    def look(self, path: Path) -> RunState:
        """The run in a folder; `waiting` where none has begun."""
        found = self._look(Path(path))
        # It may have ended, and given up its lease, between the two looks; if it did, the next record says so.
        return self._look(Path(path)) if found.state == "dead" else found

    def look_at(self, sweep: Sweep, job: SweepJob) -> RunState:
        """A job of a sweep: what it said when it ended counts, also where it could not write into its folder."""
        outcome = sweep.outcome(job)
        found = self.look(sweep.folder(job))
        if outcome is None or found.active:
            return found
        if outcome.code == EXIT_OK:
            return replace(found, state="done", message="")
        return replace(found, state="failed", message=outcome.message, left=None)

    def _look(self, path: Path) -> RunState:
        record = _record(path)
        if record is None:
            return RunState(path, "waiting")
        if record["state"] != "running":
            return _state(path, record, record["state"])
        silence = self._silence(path)
        return (
            _state(path, record, "running") if silence is None else _state(path, {**record, "message": silence}, "dead")
        )

    def _silence(self, path: Path) -> str | None:
        """Why a run that says it works does not; None where it does, as far as can be told."""
        try:
            owner, counter = Lease(path / LEASE).pulse()
        except UserError as error:
            return error.message
        if owner is None:
            return "it left without a word"
        if owner.is_dead():
            return f"{owner} is gone"
        if owner.is_alive():
            return None
        now, seen = self._clock(), (owner.id, counter)
        if self._beats.get(path, (None, 0.0))[0] != seen:
            self._beats[path] = (seen, now)
        silent = now - self._beats[path][1]
        return f"{owner} gives no sign of life" if silent > self.stale_after else None


def _record(path: Path) -> dict[str, Any] | None:
    """What status.json says; None where there is none. An unreadable one (the machine went down) is of a dead run."""
    try:
        record = read_json(path / STATUS)
        if record["state"] not in get_args(State):
            raise ValueError("no state")
        return dict(record)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return None
    except (OSError, ValueError, TypeError, KeyError):
        return {"state": "running"}


def _state(path: Path, record: dict[str, Any], state: Seen) -> RunState:
    tasks = record.get("progress")
    inner = tasks[-1] if isinstance(tasks, list) and tasks and isinstance(tasks[-1], dict) else {}
    return RunState(
        path=path,
        state=state,
        stage=_text(record.get("stage")),
        message=_text(record.get("message")),
        traceback=_text(record.get("traceback")),
        place=f"{_text(record.get('host'))}:{record.get('pid', '')}",
        seconds=_seconds(record.get("seconds")),
        left=_seconds(record.get("left")) if state == "running" else None,
        done=_count(inner.get("done")),
        total=_count(inner.get("total")),
        note=_text(inner.get("note")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _seconds(value: Any) -> float | None:
    """None for what is no time that a person could wait."""
    return float(value) if isinstance(value, int | float) and 0 <= value < 1e12 else None


def _count(value: Any) -> int:
    return value if type(value) is int and 0 <= value < 2**63 else 0
