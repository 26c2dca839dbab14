"""The launcher `joblib`: jobs side by side on this machine, each in a process of its own.

A process per job, and nothing is handed over but the sweep's folder and a number: a job that is killed, by whomever,
is lost alone, and no state of one job reaches another. (hydra-joblib-launcher, whose name this takes, ends all jobs
when one is killed, and knows no GPUs.)

A job's standard input is held open by the launcher. When it closes, because the launcher was asked to end or is gone,
the job saves and ends. Jobs get no signals of the terminal: Ctrl-C would reach them twice.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress

from rra_cli.cli.live import View, watching
from rra_cli.cli.shares import Shares
from rra_cli.cli.sweep_job import HELD
from rra_cli.core import files
from rra_cli.core.signals import Interrupted
from rra_cli.core.sweepdir import Sweep, SweepJob

LOOK_EVERY = 0.1


class Running:
    """A job at work. place: what it was given of the machine."""

    def __init__(self, sweep: Sweep, job: SweepJob, place: int, environment: Mapping[str, str]) -> None:
        self.job, self.place = job, place
        output = sweep.output(job)
        files.remove(output)  # it may be a link
        with files.explained(output), open(output, "xb") as printed:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "rra_cli", "job", str(sweep.path), str(job.number)],
                stdin=subprocess.PIPE,
                stdout=printed,
                stderr=subprocess.STDOUT,
                env={**os.environ, **environment, HELD: "1"},
                start_new_session=True,
            )

    @property
    def ended(self) -> bool:
        return self.process.poll() is not None

    def ask(self, number: int) -> None:
        """Asks it to save and end, as by a signal."""
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.write(str(number).encode())
            self.process.stdin.flush()
        self.close()

    def close(self) -> None:
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()


def run_pool(sweep: Sweep, missing: Sequence[SweepJob], shares: Shares, progress: str) -> None:
    """Runs the jobs, as many at a time as there are places. Raises `Interrupted` where a signal asks for the end, once
    the jobs at work have saved; a second signal ends them at once.
    """
    files.make_folder(sweep.output(missing[0]).parent)
    waiting, free = deque(missing), list(range(shares.n_jobs))
    running: list[Running] = []
    with watching(sweep, progress) as view:
        try:
            while waiting or running:
                while waiting and free:
                    job, place = waiting.popleft(), free.pop(0)
                    running.append(Running(sweep, job, place, shares.environments[place]))
                time.sleep(LOOK_EVERY)
                view.look()
                for each in [each for each in running if each.ended]:
                    running.remove(each)
                    each.close()
                    free.append(each.place)
                free.sort()
        except BaseException as error:
            _end(running, error, view)
            raise
        view.look(last=True)


def _end(running: Sequence[Running], error: BaseException, view: View) -> None:
    """Lets jobs save and waits for them; at a second interruption they are killed."""
    number = int(error.signal if isinstance(error, Interrupted) else signal.SIGINT)
    if isinstance(error, Exception):
        number = int(signal.SIGTERM)
    try:
        for each in running:
            each.ask(number)
        while not all(each.ended for each in running):
            time.sleep(LOOK_EVERY)
            view.look()
    finally:
        for each in running:
            if not each.ended:
                each.process.kill()
            each.process.wait()
            each.close()
