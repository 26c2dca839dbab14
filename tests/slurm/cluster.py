"""Sweeps of one tiny training on a real SLURM, and what is done to their jobs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rra_cli.core import sweepdir
from rra_cli.core.runstate import RunState, Watcher
from rra_cli.slurm.queue import Task
from rra_cli.slurm.states import Tasks, look

# Some seconds to start, and a training whose length `method.epochs` sets. Equal threads make equal bytes.
TINY = [
    *("dataset=digits", "dataset.train_size=300", "dataset.n_samples=20", "dataset.splits=[test]"),
    *("model=mlp", "model.width=16", "runtime.threads=1", "runtime.progress=lines", "metrics=nncs"),
    *("method.batch_size=4", "neighbors.k=3"),
]
SLURM = ["hydra/launcher=slurm", "hydra.launcher.memory=2GB", "hydra.launcher.cpus=1"]
BIN = Path(sys.executable).parent


def environment(root: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "COV"))}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    return {**kept, "OMP_NUM_THREADS": "1", "RRA_DATA": "", "RRA_OUTPUTS": str(root), "PATH": path}


def start(root: Path, *arguments: str) -> subprocess.Popen[str]:
    """`rra run -m` in a process of its own, with outputs below `root`."""
    root.mkdir(parents=True, exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-m", "rra_cli", "run", "-m", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(root),
    )


def ended(process: subprocess.Popen[str], seconds: float = 400.0) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    out, err = process.communicate(timeout=seconds)
    return process.returncode, out, err


def sweep_of(root: Path) -> sweepdir.Sweep:
    (folder,) = root.glob("sweeps/*")
    return sweepdir.read(folder)


def tables(root: Path) -> dict[str, bytes]:
    """All tables of all jobs below, by the names of the run folders."""
    found = [path for path in sorted(root.glob("**/tables/*.csv")) if "store" not in path.parts]
    return {f"{path.parts[-3]}/{path.name}": path.read_bytes() for path in found}


def tasks(root: Path) -> dict[int, Task]:
    """What SLURM says of the jobs now."""
    return Tasks(sweep_of(root).path).ask()


def states(root: Path) -> list[RunState]:
    return look(sweep_of(root), Watcher())


def until(holds: Callable[[], bool], seconds: float = 240.0) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.2)


def trains(root: Path, number: int, beyond: int = 0) -> bool:
    """Whether a job is in the middle of its training, `beyond` epochs or more."""
    if not list(root.glob("sweeps/*/sweep.json")):
        return False
    sweep = sweep_of(root)
    found = Watcher().look(sweep.folder(sweep.job(number)))
    return found.active and found.stage.startswith("train") and max(0, beyond) < found.done < found.total


def pid_of(root: Path, number: int) -> int:
    sweep = sweep_of(root)
    return int(Watcher().look(sweep.folder(sweep.job(number))).place.rpartition(":")[2])


def output(root: Path, number: int) -> str:
    """What all starts of a job have printed."""
    sweep = sweep_of(root)
    return sweep.output(sweep.job(number)).read_text()


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
