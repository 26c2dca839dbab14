"""Disks that refuse to be written: by an error, by a limit, by being full."""

from __future__ import annotations

import errno
import os
import resource
import shutil
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

from trials import Trial, command, left

from rra_cli.core import files


def refuse_from(boundary: int, number: int) -> None:
    """From the n-th boundary on every write fails."""
    seen = 0

    def observe(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen >= boundary:
            raise OSError(number, os.strerror(number))

    files.observers.append(observe)


REFUSALS = {
    errno.ENOSPC: "disk full",
    errno.EDQUOT: "disk quota used up",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


def a_disk_that_refuses(trial: Trial) -> None:
    """From some write on all fail: the message says why, and once there is room the same command ends well."""
    numbers = list(REFUSALS)
    for case in range(trial.n_cases):
        number, boundary = numbers[case % len(numbers)], trial.boundary()
        root = trial.fresh(f"refused-{case}")
        what = f"{errno.errorcode[number]} from boundary {boundary} on"
        outcome = command(root, partial(refuse_from, boundary, number))
        trial.end(what, root, outcome, refusal=REFUSALS[number], must="refused")
        trial.end(f"{what}, then room", root, command(root), must="done")
        trial.problems += [f"{what}: left {each}" for each in left(root)]
        shutil.rmtree(root)


def a_file_that_may_not_grow(trial: Trial) -> None:
    """`ulimit -f`: what is too large cannot be written."""
    for case in range(trial.n_cases):
        size = 2 ** trial.chance.randint(10, 14)
        root = trial.fresh(f"limited-{case}")

        def limit(size: int = size) -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

        # What it says it said lies in a file, too, so the limit must leave room for the message.
        outcome = command(root, limit)
        trial.end(f"files of {size} bytes at most", root, outcome, refusal="file too large", must="refused")
        trial.end(f"files of {size} bytes at most, then any", root, command(root), must="done")
        shutil.rmtree(root)


def a_full_disk(trial: Trial) -> None:
    """A small file system in memory that something else fills while the experiment runs."""
    disk = trial.folder / "disk"
    disk.mkdir()
    for _ in range(trial.n_cases):
        boundary = trial.boundary()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", disk], check=True)
        try:
            root = disk / "root"
            root.mkdir()

            said = trial.folder / "said"  # not on that disk
            outcome = command(root, partial(fill_at, disk / "filler", boundary), said)
            what = f"a disk full at boundary {boundary}"
            trial.end(what, root, outcome, refusal=("disk full", "not enough disk"), must="refused")
            (disk / "filler").unlink()
            trial.end(f"{what}, then room", root, command(root, said=said), must="done")
            subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
            trial.end("a read-only store", root, command(root, said=said), refusal="read-only", must="refused")
        finally:
            subprocess.run(["umount", "-l", disk], check=True)


def fill_at(filler: Path, boundary: int) -> None:
    """At the n-th boundary something takes all the room that is left."""
    seen = 0

    def observe(name: str) -> None:
        nonlocal seen
        seen += 1
        if seen == boundary:
            with filler.open("wb", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(1 << 20))
            with filler.open("ab", buffering=0) as file, suppress(OSError):
                while True:
                    file.write(bytes(512))

    files.observers.append(observe)
