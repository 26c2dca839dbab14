"""A sweep that was laid out is carried out: what is finished is left, the rest goes to a launcher, all is shown."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rra_cli.cli import job as jobs
from rra_cli.cli.launchers import Launch, Launched, check_launch, launch
from rra_cli.cli.status_table import sweep_table
from rra_cli.cli.sweep_check import Wanted, check_jobs
from rra_cli.console import show
from rra_cli.core import files, signals
from rra_cli.core.lease import LeaseHeldError
from rra_cli.core.progress import Reporter
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.core.sweepdir import JOBS, SWEEP, Sweep, SweepJob
from rra_cli.errors import EXIT_BUG, EXIT_OK, EXIT_RESUMABLE, EXIT_USER, UserError
from rra_cli.reporters import make_reporter
from rra_cli.slurm.states import look
from rra_cli.slurm.submission import FOLDER as SLURM


def run_sweep(laid_out: Sweep, how: Launch) -> int:
    """Runs what is missing and gives the exit code: 1 if any fault was ours, else 2 if any was the user's, else 75 if
    a job was interrupted, else 0.

    `sweep.json` is written before the first job starts. Raises `UserError` where another process runs the sweep or the
    folder is taken by another configuration, and `Interrupted` where a signal ended it.
    """
    reporter = make_reporter(how.runtime.progress)
    check_launch(how)
    with _nothing_half_begun(laid_out.path):
        return _run(laid_out, how, reporter)


def _run(laid_out: Sweep, how: Launch, reporter: Reporter) -> int:
    files.make_folder(laid_out.path)
    lease = laid_out.lease()
    try:
        lease.acquire(reporter.note, wait=False)
    except LeaseHeldError as error:
        raise UserError(
            f"the sweep {laid_out.path} is being run by {error.owner}",
            f"`rra status {laid_out.path}` shows it; another sweep needs another hydra.sweep.dir",
        ) from error
    watcher = Watcher()
    try:
        with signals.handled():
            wanted = Wanted(laid_out)
            check_jobs(laid_out, wanted)
            sweep = laid_out.write()
            missing = [job for job in sweep.jobs if not _is_finished(sweep, job, watcher, wanted)]
            for job in sweep.jobs:
                sweep.forget(job)
            reporter.note(f"sweep folder: {sweep.path}")
            if len(missing) < len(sweep.jobs):
                reporter.note(f"{len(sweep.jobs) - len(missing)} of {len(sweep.jobs)} jobs are done already")
            try:
                launched = launch(sweep, missing, how, reporter) if missing else Launched()
            except KeyboardInterrupt:
                _show(sweep, watcher)
                raise
            states = _show(sweep, watcher)
    finally:
        lease.dissolve()
        lease.stop()
    if launched.complaint is not None:
        show(f"the launcher said: {launched.complaint}")
    codes = {
        _code(sweep, job, state)
        for job, state in zip(sweep.jobs, states, strict=True)
        if job.number not in launched.left
    }
    return next((code for code in (EXIT_BUG, EXIT_USER, EXIT_RESUMABLE) if code in codes), EXIT_OK)


@contextmanager
def _nothing_half_begun(folder: Path) -> Iterator[None]:
    """Where the launcher refuses the jobs of a new sweep before any was started, what was made for it is removed."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        yield
    except UserError:
        # A record of an array that SLURM may have, or anything that a job wrote, stays.
        begun = any(path.suffix != ".sh" for name in (JOBS, SLURM) for path in folder.glob(f"{name}/*"))
        ours = {SWEEP, JOBS, SLURM}
        if folder in made and folder.is_dir() and not begun and {path.name for path in folder.iterdir()} <= ours:
            for name in ours:
                files.remove(folder / name)
            with suppress(OSError):
                for path in made:
                    path.rmdir()
        raise


def _show(sweep: Sweep, watcher: Watcher) -> list[RunState]:
    """The table of all jobs, and the folder."""
    states = look(sweep, watcher)
    show(sweep_table(sweep, states))
    show(str(sweep.path))
    return states


def _code(sweep: Sweep, job: SweepJob, state: RunState) -> int:
    """What the end of a job means; one that left no word was killed, or never began."""
    if state.state == "done":
        return EXIT_OK
    if state.state == "interrupted":
        return EXIT_RESUMABLE
    outcome = sweep.outcome(job)
    return EXIT_BUG if outcome is None else outcome.code


def _is_finished(sweep: Sweep, job: SweepJob, watcher: Watcher, wanted: Wanted) -> bool:
    """Whether its run folder holds the finished run of what the job would compute now."""
    folder = sweep.folder(job)
    if watcher.look(folder).state != "done":
        return False
    config = wanted(job)
    return config is not None and jobs.finished(folder, config)
