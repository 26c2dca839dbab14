"""What a training leaves on disk: resume files while it goes on, and the entries that it publishes."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rra_cli.core import files
from rra_cli.core.progress import Progress
from rra_cli.core.signals import Asked, Interrupted
from rra_cli.errors import UserError
from rra_cli.training.checkpoint import Weights, heads_of, weights_of, write_checkpoint
from rra_cli.training.job import TrainingJob
from rra_cli.training.ranks import Ranks
from rra_cli.training.running import NotFiniteError
from rra_cli.training.state import Training, forget_resume

BEST, HISTORY = "best", "history"
HISTORY_FILE = "training.jsonl"
# Seconds between looks at the loss: for the progress note, and for NaN.
LOOK_EVERY = 0.5
# What a note says of a finished epoch.
SHOWN = {"test_accuracy": "test accuracy", "knn_accuracy": "k-NN accuracy"}


@dataclass(eq=False)
class Keeper:
    """Shows, saves and publishes; only in the first process.

    work: where resume files lie. entries: those that `publish(entry, folder)` is called for. total: samples of all
    epochs, for `progress`. save_every: seconds between two saves within an epoch. stop: asked after every step; where
    it gives an interruption, the training is saved and the interruption raised.
    """

    job: TrainingJob
    training: Training
    work: Path
    device: str
    entries: Collection[str]
    publish: Callable[[str, Path], None]
    progress: Progress
    total: int
    save_every: float
    stop: Asked
    ranks: Ranks

    def __post_init__(self) -> None:
        self._looked = self._saved = time.monotonic()

    def after_step(self, done: int) -> None:
        """Shows and saves when it is time; saves and raises `Interrupted` when any process is asked to end.

        done: samples so far. Raises `UserError` where a loss is not finite, some time after its step.
        """
        if self.ranks.is_first and time.monotonic() - self._looked > LOOK_EVERY:
            self.progress(done, self.total, step_note(self.training, finite_means(self.training, self.job)))
            self._looked = time.monotonic()
        asked = self.stop()
        if self.ranks.any(asked is not None):
            self._leave(asked)
        if time.monotonic() - self._saved > self.save_every:
            self.save()

    def while_evaluating(self) -> None:
        """The same between blocks of samples after the last step, which the first process looks at alone."""
        asked = self.stop()
        if asked is not None:
            self._leave(asked)

    def save(self) -> None:
        """Writes the resume file, unless a number in it is not finite: then raises `UserError`."""
        if self.ranks.is_first:
            check_finite(self.training, self.job)
            self.training.save(self.work, self.device, self.job.identity)
        self._saved = time.monotonic()

    def finish_epoch(self, line: dict[str, Any], entry: str, done: int) -> None:
        """Takes the line of an epoch, publishes its weights if the entry is asked for, saves and shows."""
        self.training.finish_epoch(line)
        if entry in self.entries:
            self._hand_over(entry, line, weights_of(self.training.encoder), heads_of(self.training.objective))
        self.save()
        self.progress(done, self.total, epoch_note(line))

    def finish(self, *, is_complete: bool) -> None:
        """Publishes what is known at the end only. is_complete: no later call goes on from here."""
        if not self.ranks.is_first:
            return
        training = self.training
        if BEST in self.entries:
            line = training.history[training.best_epoch]
            self._hand_over(BEST, line, training.best, training.best_heads)
        if HISTORY in self.entries:
            folder = self._empty_folder(HISTORY)
            files.write_text(folder / HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in training.history))
            self.publish(HISTORY, folder)
        if is_complete:
            forget_resume(self.work)

    def _leave(self, asked: Interrupted | None) -> None:
        self.save()
        # Where another process was asked and this one was not, it says why.
        raise asked or Interrupted(signal.SIGTERM)

    def _hand_over(self, entry: str, line: dict[str, Any], weights: Weights, heads: Weights) -> None:
        folder = self._empty_folder(entry)
        write_checkpoint(folder, weights, line, heads)
        self.publish(entry, folder)

    def _empty_folder(self, entry: str) -> Path:
        """The folder in which an entry is written, without what a killed run may have left there."""
        folder = self.work / entry
        files.remove(folder)
        folder.mkdir(parents=True)
        return folder


def finite_means(training: Training, job: TrainingJob) -> dict[str, float]:
    """The epoch's means so far. Raises `UserError` naming the first step whose loss is not finite."""
    try:
        return training.running.means()
    except NotFiniteError as error:
        step = error.step // job.method.accumulate + 1
        raise diverged(job, f"in epoch {training.epoch}, step {step}, the loss is {error.value}") from error


def check_finite(training: Training, job: TrainingJob) -> None:
    """Raises `UserError` where a loss or a weight is not finite: such a state is neither saved nor kept."""
    finite_means(training, job)
    if not training.is_finite():
        step = -(-training.running.step // job.method.accumulate)
        raise diverged(job, f"after step {step} of epoch {training.epoch}, weights are not finite")


def diverged(job: TrainingJob, what: str) -> UserError:
    """What a user is told when numbers overflow."""
    return UserError(
        f"the training of {job.model.name} diverged: {what}",
        f"lower optimizer.lr (it is {job.optimizer.lr:g}) or raise optimizer.warmup_epochs; "
        "the weights kept before that stay",
    )


def epoch_note(line: dict[str, Any]) -> str:
    """A live figure for a finished epoch."""
    parts = [] if line["train_loss"] is None else [f"loss {line['train_loss']:.3f}"]
    parts += [f"{what} {line[name]:.3f}" for name, what in SHOWN.items() if line[name] is not None]
    return ", ".join([f"epoch {line['epoch']}", *parts])


def step_note(training: Training, means: dict[str, float]) -> str:
    """A live figure within an epoch, with the last k-NN accuracy where a method has no other to show."""
    known = [line["knn_accuracy"] for line in training.history if line["knn_accuracy"] is not None]
    knn = f", k-NN accuracy {known[-1]:.3f}" if known and training.history[-1]["test_accuracy"] is None else ""
    return f"epoch {training.epoch}, loss {means['loss']:.3f}{knn}"
