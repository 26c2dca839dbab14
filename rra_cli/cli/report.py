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
            raise UserError(f"there is no run folder {folder}", "give the folder that `rra run` printed at its end")
        if not (folder / "tables").is_dir():
            raise UserError(
                f"{folder} holds no tables",
                "give the folder of a finished run; `rra run` with the same arguments finishes an unfinished one",
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
