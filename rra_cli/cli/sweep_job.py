"""`rra job`: one job of a sweep, from its `sweep.json` alone; what launchers and array tasks call."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rra_cli.core import signals, sweepdir
from rra_cli.core.sweepdir import Sweep, SweepJob
from rra_cli.errors import EXIT_BUG, EXIT_USER, ConfigError, UserError

HELP = """\
rra job: runs one job of a sweep; what launchers and the tasks of a job array call.

usage: rra job SWEEP_FOLDER NUMBER

The sweep is one that `rra run -m` has begun: its sweep.json names the jobs. A job that is finished already ends at
once. Exit codes are those of `rra run`. `rra status SWEEP_FOLDER` shows all jobs with their numbers.
"""
# Set by a launcher that holds the other end of this process's standard input: when it closes, the job ends.
HELD = "RRA_SWEEP_HELD"


def main(arguments: Sequence[str]) -> int:
    """Runs the command and gives its exit code."""
    if any(argument in ("-h", "--help") for argument in arguments):
        sys.stdout.write(HELP)
        return 0
    if len(arguments) != 2 or not arguments[1].isdecimal():
        raise UserError("rra job: a sweep's folder and the number of a job are expected", "`rra job --help`")
    sweep = sweepdir.read(Path(arguments[0]).expanduser())
    job = sweep.job(int(arguments[1]))
    if os.environ.pop(HELD, None):
        threading.Thread(target=_end_with_the_launcher, args=(sys.stdin.fileno(),), daemon=True).start()
    if os.path.isdir(sweep.cwd):
        os.chdir(sweep.cwd)  # relative paths of the command mean what they meant there
    if int(os.environ.get("RANK", 0)) > 0:
        return _follow(sweep, job)
    run_job(sweep, job)
    outcome = sweep.outcome(job)
    return EXIT_BUG if outcome is None else outcome.code


def _follow(sweep: Sweep, job: SweepJob) -> int:
    """In every process of torchrun but the first, which says what is wrong."""
    from rra_cli.cli.again import follow_recorded
    from rra_cli.config.compose import load
    from rra_cli.stages.ranks import follow

    try:
        if job.source is not None:
            return follow_recorded(Path(job.source), job.overrides)
        return follow(load(job.overrides, [Path(path) for path in sweep.config_dirs]))
    except UserError:
        return EXIT_USER


def run_job(sweep: Sweep, job: SweepJob) -> None:
    """Runs a job in this process. What goes wrong is recorded; only an interruption is raised."""
    from rra_cli.cli import job as jobs
    from rra_cli.cli.hydra_call import call_hydra, hydra_errors, in_folder
    from rra_cli.config import catalog
    from rra_cli.config.bind import HINT
    from rra_cli.config.compose import check_folders
    from rra_cli.config.overrides import check

    sweep.forget(job)
    folders = [Path(path) for path in sweep.config_dirs]
    with _works_for(sweep):
        try:
            if job.source is not None:
                from rra_cli.cli.again import repeat

                repeat(Path(job.source), sweep.folder(job), job.overrides)
                return
            # Whoever wrote the file: what a command line may not say, it may not say either.
            check_folders(folders)
            checked = check(job.overrides, catalog.options(folders), sweep=False)
            if checked.faults:
                raise ConfigError(checked.faults, HINT)
            with hydra_errors():
                call_hydra([], [*checked.overrides, *in_folder("hydra.run.dir", sweep.folder(job))], folders)
        except (Exception, SystemExit) as error:
            jobs.fail(sweep, job, error)


@contextmanager
def _works_for(sweep: Sweep) -> Iterator[None]:
    """Inside, a run that finds its folder among the sweep's jobs is one of them."""
    from rra_cli.cli.job import SWEEP

    before = os.environ.get(SWEEP)
    os.environ[SWEEP] = str(sweep.path)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(SWEEP, None)
        else:
            os.environ[SWEEP] = before


def _end_with_the_launcher(descriptor: int) -> None:
    """Ends this process as a signal would, when the launcher asks for it (by the signal's number) or is gone."""
    said = b""
    while piece := os.read(descriptor, 16):
        said += piece
    signals.ask(int(said) if said.isdigit() else signals.TERM)
