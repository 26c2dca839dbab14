"""Breaks a store, a disk or a clock and gives the command of a tiny experiment again.

Run as a script: `python breaking.py FOLDER SEED KIND=CASES ...` tries CASES faults of each KIND, chosen by SEED, and
prints one JSON line: by kind what was tried, how it ended (with the results of the undisturbed run, or the command
was refused with a message for a person), and the problems: anything else. `KINDS` says which kinds there are.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from damaging import a_damaged_store
from killing import in_child, kill_at
from refusing import a_disk_that_refuses, a_file_that_may_not_grow, a_full_disk
from trials import KEEP, Trial, command, left, run

import rra_cli.stages.lay_out
import rra_cli.training.loop  # noqa: F401 - imported before the fork
from rra_cli import pipeline
from rra_cli.core import files
from rra_cli.core.rundir import RunDir
from rra_cli.core.store import Store
from rra_cli.core.work import Work


def a_clock_that_jumps(trial: Trial) -> None:
    """Every look at the clock is years off in another direction, and so are all times on the disk."""
    real = time.time
    for case in range(trial.n_cases):
        chance = random.Random(trial.chance.random())

        def jump(chance: random.Random = chance) -> None:
            time.time = lambda: max(0.0, real() + chance.uniform(-1, 1) * 3e8)
            time.time_ns = lambda: int(time.time() * 1e9)

        root = trial.fresh(f"clock-{case}")
        trial.end("a clock that jumps", root, command(root, jump), must="done")
        for path in root.rglob("*"):
            then = max(0.0, real() + chance.uniform(-1, 1) * 3e8)
            os.utime(path, (then, then), follow_symlinks=False)
        built = root.with_name(f"{root.name}.built")

        def watched(built: Path = built, jump: Callable[[], None] = jump) -> None:
            jump()
            publish = Work.publish

            def noted(*arguments: Any, **others: Any) -> Any:
                built.write_text("something was built again")
                return publish(*arguments, **others)

            Work.publish = noted  # type: ignore[method-assign]

        trial.end("times on the disk that are years off", root, command(root, watched), must="done")
        if built.exists():
            trial.problems.append(built.read_text())
        shutil.rmtree(root)


def another_machine(trial: Trial) -> None:
    """A machine dies at some write, on a network file system: no locks, folders cannot be flushed, and nobody here can
    tell whether its process lives. Its leases are taken over once they are silent.
    """
    for case in range(trial.n_cases):
        boundary = trial.boundary()
        root = trial.fresh(f"machine-{case}")
        code = in_child(lambda root=root, boundary=boundary: (network(), kill_at(boundary), run(root, KEEP)))  # type: ignore[misc]
        for record in root.rglob("owner.json"):
            owner = json.loads(record.read_text())
            record.write_text(json.dumps({**owner, "host": "another", "boot": "another"}))
        what = f"another machine that died at boundary {boundary} ({code})"
        trial.end(what, root, command(root, network), must="done")
        trial.problems += [f"{what}: left {each}" for each in left(root)]
        shutil.rmtree(root)


def network() -> None:
    """What a network file system may not do; and patience of half a second, for a test."""
    import fcntl

    def refuse(*arguments: Any, **others: Any) -> Any:
        raise OSError(errno.ENOLCK, "No locks available")

    fcntl.flock = fcntl.lockf = os.lockf = refuse
    flush = os.fsync

    def only_files(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.EINVAL, "Invalid argument")
        flush(descriptor)

    os.fsync = only_files  # type: ignore[assignment]
    for method in (Store.__init__, RunDir.enter.__func__):  # type: ignore[attr-defined]
        method.__kwdefaults__["stale_after"] = 0.5


KINDS = {
    "damaged": a_damaged_store,
    "refusing": a_disk_that_refuses,
    "limited": a_file_that_may_not_grow,
    "full": a_full_disk,
    "clock": a_clock_that_jumps,
    "machine": another_machine,
}


def main(folder: Path, seed: int, wanted: list[str]) -> None:
    # The report is read from the tables and has its own tests; drawing it takes longer than all the rest.
    pipeline.render = lambda *args, **kwargs: []  # type: ignore[assignment]
    torch.set_num_threads(1)
    # What a killed process wrote is seen by others whether it was flushed or not; flushing only costs time here.
    os.fsync = lambda descriptor: None  # type: ignore[assignment]
    calm = folder / "calm"
    calm.mkdir(parents=True)
    # In this process, so that whoever gives the command later has all code loaded and compiled.
    boundaries: list[str] = []
    files.observers.append(boundaries.append)
    run(calm, KEEP)
    files.observers.clear()
    assert threading.active_count() == 1, "a fork would lose threads"
    found = {}
    for kind, _, n_cases in (each.partition("=") for each in wanted):
        place = folder / kind
        place.mkdir()
        trial = Trial(place, calm, random.Random(seed), int(n_cases), len(boundaries))
        KINDS[kind](trial)
        found[kind] = {"tried": trial.tried, "ended": trial.ended, "problems": trial.problems}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
