"""What a task of a job array calls: one job of a sweep that saves before its time is over and goes back into the queue.

`python -m rra_cli.slurm_task SWEEP NUMBER [--requeue]`, by srun, once for every process of the job. Exit codes are
those of `rra job`.
"""

from __future__ import annotations

import os
import re
import signal
import sys
from collections.abc import MutableMapping, Sequence
from contextlib import suppress
from pathlib import Path

from rra_cli.core import files, signals
from rra_cli.core.reading import read_json
from rra_cli.core.resources import THREADS
from rra_cli.errors import EXIT_RESUMABLE
from rra_cli.slurm.commands import SlurmError, call
from rra_cli.slurm.submission import FOLDER

# Starts in a row that keep nothing after which a job is not put into the queue again: the next would do no better.
MOST_IDLE = 3
# Boundaries (core.files) behind which lies what the next start goes on with.
_KEPT = re.compile(r"publish .*: renamed|write (resume\.pt|.*\.state): renamed|capture: rows flushed")


def main(arguments: Sequence[str]) -> int:
    """Runs the job, and gives its exit code."""
    sweep, number, *flags = arguments
    take_place(os.environ)
    kept: list[str] = []
    files.observers.append(lambda name: kept.append(name) if not kept and _KEPT.fullmatch(name) else None)
    sys.argv = ["rra", "job", sweep, number]
    try:
        with signals.handled():  # from the start, so that nothing ends without a word while it is imported
            from rra_cli.__main__ import main as rra

            code = rra()
    except KeyboardInterrupt as interruption:
        code = signals.exit_code(interruption)
    if os.environ.get("SLURM_PROCID", "0") == "0":
        record = Path(sweep) / FOLDER / "idle" / f"{number}.json"
        idle = idle_starts(record, kept=bool(kept))
        if code == EXIT_RESUMABLE and "--requeue" in flags:
            print(requeue(idle), flush=True)
    return code


def take_place(environment: MutableMapping[str, str]) -> None:
    """Sets what torchrun would set where srun has started several processes, and the threads that SLURM gave this one.

    Not every cluster binds a process to its cores.
    """
    processes = _number(environment, "SLURM_NTASKS") or 1
    if processes > 1:
        # As far apart as job ids are: another job of the same node must not meet at the same port.
        port = 20_000 + (_number(environment, "SLURM_JOB_ID") or 0) % 40_000
        environment.update(
            RANK=environment.get("SLURM_PROCID", "0"),
            WORLD_SIZE=str(processes),
            LOCAL_RANK=environment.get("SLURM_LOCALID", "0"),
        )
        # srun is called on the first node of the job, where the first process runs as well.
        environment.setdefault("MASTER_ADDR", environment.get("SLURM_LAUNCH_NODE_IPADDR", "127.0.0.1"))
        environment.setdefault("MASTER_PORT", str(port))
    nodes = _number(environment, "SLURM_STEP_NUM_NODES") or 1
    cores = _number(environment, "SLURM_CPUS_PER_TASK")
    if cores is None and (on_node := _number(environment, "SLURM_CPUS_ON_NODE")) is not None:
        cores = max(1, on_node // max(1, processes // nodes))
    if cores is not None:
        for name in THREADS:
            environment[name] = str(min(cores, _number(environment, name) or cores))


def idle_starts(record: Path, *, kept: bool) -> int:
    """How many starts in a row have kept nothing, this one included; writes it down for the next."""
    before = 0
    with suppress(OSError, ValueError, TypeError, KeyError):
        before = int(read_json(record)["idle"])
    idle = 0 if kept else before + 1
    # On a full disk the bound counts less: SLURM's own limits remain.
    with suppress(Exception):
        if idle != before:
            files.write_json(record, {"idle": idle})
    return idle


def requeue(idle: int) -> str:
    """Puts this job into the queue again, unless SLURM itself is ending it; says what was done.

    A job that somebody cancels, requeues or preempts is being ended by SLURM when its processes get SIGTERM, and what
    becomes of it is decided. One that is told to save before its time is over, or before it is preempted, still runs.
    """
    if idle >= MOST_IDLE:
        return f"{idle} starts in a row kept nothing: not put into the queue again; raise hydra.launcher.time"
    array, index = os.environ.get("SLURM_ARRAY_JOB_ID"), os.environ.get("SLURM_ARRAY_TASK_ID")
    job = f"{array}_{index}" if array and index else os.environ.get("SLURM_JOB_ID", "")
    for number in (signal.SIGTERM, signal.SIGUSR2):
        signal.signal(number, signal.SIG_IGN)  # SLURM sends it to whoever asks for this
    try:
        state = call("squeue", "--noheader", f"--jobs={job}", "--format=%T").strip()
        if state != "RUNNING":
            return f"SLURM ends job {job} ({state})"
        call("scontrol", "requeue", job)
    except SlurmError as error:
        return f"could not be put into the queue again ({error}); the same `rra run -m` command submits it again"
    return f"saved; job {job} is in the queue again"


def _number(environment: MutableMapping[str, str], name: str) -> int | None:
    text = environment.get(name, "")
    return int(text) if text.isdecimal() and int(text) > 0 else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
