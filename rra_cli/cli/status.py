"""`rra status`: how far runs and sweeps are, from their folders alone, so from any shell and any machine."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rra_cli.errors import EXIT_OK, UserError

if TYPE_CHECKING:
    from rich.table import Table

    from rra_cli.core.runstate import RunState, Watcher
    from rra_cli.core.sweepdir import Sweep
    from rra_cli.slurm.states import Tasks

HELP = """\
rra status: how far runs and sweeps are, also while they run, also from another shell or machine.

usage: rra status [RUN_OR_SWEEP_FOLDER ...] [--watch | --once]

Without a folder: the newest few in the outputs folder (RRA_OUTPUTS, else ./outputs).

  --watch   the table again every second until nothing runs any more; the default on a terminal while something runs
  --once    the table once; the default in a pipe

A job is waiting, running, done, failed, interrupted (ended by a signal), or dead: it left no word, since its process is
gone or, on another machine, gave no sign of life for half a minute (which --once cannot wait for). The same command
goes on with all but the done ones. Of jobs in SLURM its own states are shown, where it can be asked from here.
"""
NEWEST = 8


@dataclass(frozen=True)
class Shown:
    """What is shown: a sweep, or single runs. tasks: of a sweep that was given to SLURM, what that says of its jobs."""

    sweep: Sweep | None
    runs: tuple[Path, ...] = ()
    tasks: Tasks | None = None


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    from rra_cli.cli.arguments import ArgumentParser

    parser = ArgumentParser(prog="rra status", add_help=False, allow_abbrev=False)
    parser.add_argument("-h", "--help", action="store_true")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("-w", "--watch", action="store_true")
    how.add_argument("--once", action="store_true")
    parser.add_argument("folders", nargs="*", type=Path)
    args = parser.parse_args(arguments)
    if args.help:
        sys.stdout.write(HELP)
        return EXIT_OK
    shown = [_shown(Path(folder).expanduser().absolute()) for folder in args.folders] or _newest()
    return _show(shown, args)


def _show(shown: Sequence[Shown], args: argparse.Namespace) -> int:
    from rra_cli.console import show
    from rra_cli.core.runstate import Watcher

    watcher = Watcher()
    looks = [_look(each, watcher) for each in shown]
    live = args.watch or (sys.stdout.isatty() and not args.once)
    if live and any(_at_work(each, states) for each, states in zip(shown, looks, strict=True)):
        looks = _watch(shown, watcher)
    for each, states in zip(shown, looks, strict=True):
        show(_table(each, states, None))
        for line in _lines(each, states):
            show(line)
    return EXIT_OK


def _watch(shown: Sequence[Shown], watcher: Watcher) -> list[list[RunState]]:
    """The tables again and again until nothing works any more, or Ctrl-C; the last look."""
    from rich.console import Group
    from rich.live import Live
    from rich.text import Text

    from rra_cli.cli.live import REFRESH
    from rra_cli.cli.status_table import summary
    from rra_cli.console import stdout

    console = stdout()
    looks = [_look(each, watcher) for each in shown]
    try:
        with Live(console=console, auto_refresh=False, transient=True) as display:
            while any(_at_work(each, states) for each, states in zip(shown, looks, strict=True)):
                most = max(3, (console.size.height - 6) // len(shown) - 4)
                parts = [
                    (_table(each, states, most), Text(summary(states)))
                    for each, states in zip(shown, looks, strict=True)
                ]
                display.update(Group(*(part for pair in parts for part in pair)), refresh=True)
                time.sleep(REFRESH)
                looks = [_look(each, watcher) for each in shown]
    except KeyboardInterrupt:
        pass  # who looked has seen enough; nothing of hers was interrupted
    return looks


def _look(shown: Shown, watcher: Watcher) -> list[RunState]:
    if shown.sweep is None:
        return [watcher.look(path) for path in shown.runs]
    if shown.tasks is not None:
        shown.tasks.look()
    states = [watcher.look_at(shown.sweep, job) for job in shown.sweep.jobs]
    return states if shown.tasks is None else shown.tasks.together(shown.sweep, states)


def _at_work(shown: Shown, states: Sequence[RunState]) -> bool:
    """Whether a job runs, or some process will start those that wait."""
    if any(state.active for state in states) or (shown.tasks is not None and shown.tasks.at_work):
        return True
    owner = None if shown.sweep is None else shown.sweep.owner()
    # Of a process on another machine only its jobs tell whether it lives.
    return owner is not None and owner.is_alive()


def _table(shown: Shown, states: Sequence[RunState], most: int | None) -> Table:
    from rra_cli.cli.status_table import runs_table, sweep_table

    return runs_table(states, most) if shown.sweep is None else sweep_table(shown.sweep, states, most)


def _lines(shown: Shown, states: Sequence[RunState]) -> list[str]:
    """The sum, what failed and why, and what to do."""
    from rra_cli.cli.status_table import advice, command_of, details, summary

    lines = [summary(states)]
    if shown.tasks is not None and shown.tasks.given and not shown.tasks.asked:
        lines.append(_unasked(shown.tasks))
    if shown.sweep is not None:
        names = [f"job {job.number} ({job.name})" for job in shown.sweep.jobs]
        lines += details(states, names)
        return lines + advice(states, shown.sweep.command, at_work=_at_work(shown, states))
    lines += details(states, [str(state.path) for state in states])
    for state in states:
        lines += advice([state], command_of(state.path), at_work=False)
    return lines


def _unasked(tasks: Tasks) -> str:
    """Why SLURM's own states may be missing, or old."""
    if tasks.failed:
        return f"SLURM does not answer: {tasks.failed}"
    return "the jobs were given to SLURM, which cannot be asked on this machine: what waits there is not known here"


def _shown_sweep(folder: Path) -> Shown:
    from rra_cli.core import sweepdir
    from rra_cli.slurm.states import tasks_of

    sweep = sweepdir.read(folder)
    return Shown(sweep, tasks=tasks_of(sweep))


def _shown(folder: Path) -> Shown:
    """What lies in a folder. Raises `UserError` where that is neither a run nor a sweep nor a folder of runs."""
    from rra_cli.core import sweepdir

    if sweepdir.is_sweep(folder):
        return _shown_sweep(folder)
    if _is_run(folder):
        return Shown(None, (folder,))
    if not folder.is_dir():
        raise UserError(f"there is no folder {folder}", "`rra status` alone shows the newest runs and sweeps")
    inside = tuple(sorted(path for path in folder.iterdir() if _is_run(path)))
    if not inside:
        raise UserError(f"{folder} is neither a run nor a sweep", "give the folder that `rra run` printed")
    return Shown(None, inside)


def _newest() -> list[Shown]:
    """The newest sweeps and runs of the outputs folder, the newest last."""
    from rra_cli.config import outputs_root
    from rra_cli.core import sweepdir
    from rra_cli.core.runfiles import CONFIG, STATUS

    root = outputs_root()
    places = [*root.glob(f"*/*/{STATUS}"), *root.glob(f"*/*/{sweepdir.SWEEP}"), *root.glob(f"sweeps/*/*/{STATUS}")]
    times: dict[Path, float] = {}
    for place in places:
        folder = place.parent
        if place.name == STATUS and not (folder / CONFIG).exists():
            continue
        if place.name == STATUS and sweepdir.is_sweep(folder.parent):
            folder = folder.parent  # a sweep is as new as its newest job
        times[folder] = max(times.get(folder, 0.0), _time(place))
    newest = sorted(times, key=lambda folder: times[folder])[-NEWEST:]
    if not newest:
        raise UserError(
            f"there are no runs in {root}", "rra run +experiment=quickstart; RRA_OUTPUTS names another folder"
        )
    runs = tuple(folder for folder in newest if not sweepdir.is_sweep(folder))
    sweeps = [_shown_sweep(folder) for folder in newest if sweepdir.is_sweep(folder)]
    return [*sweeps, *([Shown(None, runs)] if runs else [])]


def _is_run(folder: Path) -> bool:
    from rra_cli.core.runfiles import CONFIG, STATUS

    return (folder / STATUS).is_file() or (folder / CONFIG).is_file()


def _time(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
