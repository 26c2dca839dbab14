"""`rra report`: plots and report of a run folder again, from its tables alone."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from rra_cli.errors import EXIT_OK, UserError

HELP = """\
rra report: draws plots and report of a run folder again from its tables.

usage: rra report RUN_FOLDER ...
"""


_MOST_NAMED = 3


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(HELP)
        return EXIT_OK
    if not arguments:
        raise UserError("rra report: a run folder is expected", "rra report outputs/DATE/TIME_EXPERIMENT")
    folders = [Path(argument).expanduser() for argument in arguments]
    for folder in folders:
        if not folder.is_dir():
            raise UserError(
                f"there is no run folder {folder}",
                _jobs_in(folder.parent, folder.name) or "give the folder that `rra run` printed at its end",
            )
        if not (folder / "tables").is_dir():
            raise UserError(
                f"{folder} holds no tables",
                _jobs_in(folder)
                or "give the folder of a finished run; `rra run` with the same arguments finishes an unfinished one",
            )
    from rra_cli.console import show
    from rra_cli.report import render
    from rra_cli.reporters import make_reporter

    reporter = make_reporter()
    for folder in folders:
        with reporter.task(f"report of {folder.name}") as progress:
            render(folder, progress)
        show(str(folder / "report.html"))
    return EXIT_OK


def _jobs_in(sweep: Path, asked: str = "") -> str:
    """Which job folders a sweep has, of many those most like what was asked for; "" of other folders."""
    from rra_cli.core.sweepdir import is_sweep, read

    if not is_sweep(sweep):
        return ""
    names = [job.folder for job in read(sweep).jobs if (sweep / job.folder / "tables").is_dir()]
    if not names:
        return f"it is a sweep of which no job has tables yet: rra status {sweep}"
    words = set(asked.split(","))
    shared = {name: len(words & set(name.split(","))) for name in names}
    best = max(shared.values()) if asked else 0
    near = [name for name in names if shared[name] == best][:_MOST_NAMED]
    more = f" ... ({len(names)} in all)" if len(names) > len(near) else ""
    return f"give a job of the sweep: {', '.join(str(sweep / name) for name in near)}{more}"
