"""Kills trainings with SIGKILL and finishes them; prints what differs. Run by test_kill.py in a process of its own.

One process imports torch and forks for every training, so that each costs a fraction of a second.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from training_jobs import Noise, Store, job

from rra_cli.core import files
from rra_cli.training.loop import TrainingJob, run_training
from rra_cli.training.optimizer import SGD, Adam

ENTRIES = ["epoch_0000", "epoch_0001", "epoch_0002", "best", "history"]


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def train(a_job: TrainingJob, folder: Path, save_every: float) -> None:
    store = Store(folder / "store")
    missing = store.missing(ENTRIES)
    if missing:
        run_training(
            a_job, folder / "work", device="cpu", entries=missing, publish=store.publish, save_every=save_every
        )


def forked(action: Callable[[], None], kill_after: float | None = None) -> bool:
    """Whether the action, in a child process, came to its end; False where it was killed."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            action()
            status = 0
        except BaseException as error:
            print("child failed:", repr(error), flush=True)
        finally:
            os._exit(status)
    if kill_after is not None:
        time.sleep(kill_after)
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        return False
    assert os.WEXITSTATUS(status) == 0, "a training failed"
    return True


def dies_at(count: int) -> Callable[..., None]:
    """A callable that kills the process when it is called for the count-th time."""
    calls = iter(range(1, 1_000_000))

    def call(*_: object) -> None:
        if next(calls) == count:
            die()

    return call


def watched(optimizer: str, seed: int, at: int | None = None) -> TrainingJob:
    """A training of 2 epochs of 5 steps; with `at`, one that kills itself in that step."""
    augment = Noise() if at is None else Noise(dies_at(at))
    return job(
        seed, epochs=2, optimizer=SGD(lr=0.05, nesterov=True) if optimizer == "sgd" else Adam(lr=0.01), augment=augment
    )


def kill_at_boundary(folder: Path, optimizer: str, number: int) -> bool:
    """Kills at the number-th boundary of a write; saves after every step."""

    def action() -> None:
        files.observers.append(dies_at(number))
        train(watched(optimizer, 0), folder, 0.0)

    return forked(action)


def main(root: Path) -> None:
    torch.set_num_threads(1)
    torch.optim.SGD([torch.nn.Parameter(torch.ones(1))])  # imports a good second's worth of torch before forking
    result: dict[str, object] = {"differ": [], "killed": 0, "boundaries": 0}
    expected: dict[str, dict[str, bytes]] = {}
    for optimizer in ("sgd", "adam"):
        assert forked(lambda: train(watched(optimizer, 0), root / optimizer, 60.0))  # noqa: B023
        expected[optimizer] = Store(root / optimizer / "store").content()
    assert forked(lambda: train(watched("sgd", 1), root / "other", 60.0))
    other = Store(root / "other" / "store").content()
    result["same_with_another_seed"] = [name for name in other if other[name] == expected["sgd"][name]]

    def check(folder: Path, optimizer: str, save_every: float, label: str) -> None:
        assert forked(lambda: train(watched(optimizer, 0), folder, save_every))
        if Store(folder / "store").content() != expected[optimizer]:
            result["differ"].append(label)  # type: ignore[attr-defined]

    # 1. In the middle of every step, between two saves and right after one.
    thorough = "--all" in sys.argv
    for step in range(1, 11, 1 if thorough else 3):
        for save_every in (0.0, 60.0):
            folder, optimizer = root / f"step-{step}-{save_every}", ("sgd", "adam")[(step // 3) % 2]
            assert not forked(lambda: train(watched(optimizer, 0, step), folder, save_every))  # noqa: B023
            result["killed"] += 1  # type: ignore[operator]
            check(folder, optimizer, save_every, folder.name)
    # 2. At the boundaries of every write (every 7th: a save has 6), of resume files and of what is published.
    number, done = 1, False
    while not done:
        folder = root / f"boundary-{number}"
        done = kill_at_boundary(folder, "sgd", number)
        if not done:
            result["killed"] += 1  # type: ignore[operator]
            result["boundaries"] = number
            check(folder, "sgd", 60.0, folder.name)
        number += 1 if thorough else 7
    # 3. The same training killed again and again, at no chosen moment.
    folder, wait = root / "again", 0.02
    while not forked(lambda: train(watched("adam", 0), folder, 0.0), kill_after=wait):
        result["killed"] += 1  # type: ignore[operator]
        wait += 0.01
    check(folder, "adam", 0.0, "again")
    print(json.dumps(result))


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
