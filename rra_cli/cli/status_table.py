"""Runs and sweeps as a person sees them: a row a job, one line that sums up, and what to do about what is wrong."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.console import make_table, printable
from rra_cli.core.progress import clock
from rra_cli.core.runfiles import read_provenance
from rra_cli.core.runstate import RunState, Seen
from rra_cli.core.sweepdir import Sweep

if TYPE_CHECKING:
    from rich.table import Table

COLUMNS = ("job", "state", "stage", "progress", "time", "left", "what")
STYLES: Mapping[Seen, str] = {
    "running": "cyan",
    "done": "green",
    "failed": "red",
    "dead": "red",
    "interrupted": "yellow",
    "waiting": "dim",
}
# What a person looks for first, where there is no room for all.
URGENT: Sequence[Seen] = ("running", "dead", "failed", "interrupted", "waiting", "done")


def sweep_table(sweep: Sweep, states: Sequence[RunState], most: int | None = None) -> Table:
    """A row for every job, or for the `most` urgent ones."""
    names = [f"{job.number} {job.name}" for job in sweep.jobs]
    count = "1 job" if len(states) == 1 else f"{len(states)} jobs"
    return _table(f"Sweep of {count}: {sweep.path.name}", names, states, most)


def runs_table(states: Sequence[RunState], most: int | None = None) -> Table:
    """A row for every run folder."""
    return _table("Runs", [_name(state.path) for state in states], states, most)


def summary(states: Sequence[RunState]) -> str:
    """How many are in which state, and how long all will take, as far as that is known."""
    counts = Counter(state.state for state in states)
    parts = [f"{counts[state]} {state}" for state in ("done", *URGENT[:-1]) if counts[state]]
    left = seconds_left(states)
    return ", ".join(parts) + ("" if left is None else f"; about {clock(left)} left")


def seconds_left(states: Sequence[RunState]) -> float | None:
    """Until the last job ends, where as many run at a time as do now; None where nothing runs or nothing is known.

    A job that waits takes as long as those that are done did on average, or as those that run will.
    """
    running = [state for state in states if state.active]
    waiting = sum(state.state == "waiting" for state in states)
    lefts = [state.left for state in running if state.left is not None]
    if not running or len(lefts) < len(running):
        return None
    whole = [state.seconds for state in states if state.state == "done" and state.seconds is not None]
    whole = whole or [
        state.seconds + state.left for state in running if state.seconds is not None and state.left is not None
    ]
    if waiting and not whole:
        return None
    more = waiting * sum(whole) / len(whole) if waiting else 0.0
    return max(max(lefts), (sum(lefts) + more) / len(running))


def advice(states: Sequence[RunState], command: str | None, *, at_work: bool) -> list[str]:
    """What to do about jobs that failed, died or wait for nobody, in lines; none where nothing is to be done."""
    counts = Counter(state.state for state in states)
    broken = [state for state in ("failed", "dead", "interrupted") if counts[state]]
    if counts["waiting"] and not at_work:
        broken.append("waiting")
    if not broken:
        return []
    again = "the same command runs what is missing, and nothing twice"
    when = " when the others have ended" if at_work else ""
    return [f"{' and '.join(broken)}: {again}{when}:", f"  {command}" if command else "  (it is not recorded here)"]


def details(states: Sequence[RunState], names: Sequence[str]) -> list[str]:
    """The messages of what failed, whole, and where its traceback is to be found."""
    lines = []
    for state, name in zip(states, names, strict=True):
        if state.state == "failed" and state.message:
            text = state.message.splitlines()
            lines += [f"{name}: {text[0]}", *(f"  {line}" for line in text[1:])]
            if state.traceback:
                lines.append(f"  a fault of rra, its traceback is in {state.path / 'run.log'}")
    return lines


def command_of(path: Path) -> str | None:
    """The command that a run was started by, as its provenance records it."""
    try:
        record = read_provenance(path) or {}
        return str(record.get("command") or shlex.join(str(word) for word in record["argv"]))
    except (TypeError, KeyError):
        return None


def row(name: str, state: RunState) -> list[str]:
    """Name, state, stage, progress, time, time left, and what it says."""
    says = state.message.splitlines()[0] if state.message and state.state not in ("running", "done") else ""
    share = f"{100 * state.done // state.total} %" if state.active and state.total else ""
    return [
        name,
        state.state,
        state.stage if state.state != "done" else "",
        share,
        "" if state.seconds is None else clock(state.seconds),
        "" if state.left is None else clock(state.left),
        says or (state.note if state.active else ""),
    ]


def _table(title: str, names: Sequence[str], states: Sequence[RunState], most: int | None) -> Table:
    from rich.text import Text

    shown = list(range(len(states)))
    if most is not None and len(states) > most:
        shown = sorted(sorted(shown, key=lambda index: (URGENT.index(states[index].state), index))[: max(1, most)])
    rows = {index: row(names[index], states[index]) for index in shown}
    # A column that says nothing takes no room.
    kept = [place for place in range(len(COLUMNS)) if place < 2 or any(cells[place] for cells in rows.values())]
    table = make_table(title, [COLUMNS[place] for place in kept], [], text_columns=len(kept))
    for index, cells in rows.items():
        style = STYLES[states[index].state]
        table.add_row(
            *(Text(printable(cells[place]), style=style if COLUMNS[place] == "state" else "") for place in kept)
        )
    hidden = Counter(states[index].state for index in range(len(states)) if index not in set(shown))
    if hidden:
        table.add_row(Text("..."), Text(", ".join(f"{count} more {state}" for state, count in hidden.items())))
    return table


def _name(path: Path) -> str:
    return "/".join(path.parts[-2:])
