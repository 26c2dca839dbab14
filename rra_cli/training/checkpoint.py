"""Weights on disk: `weights.pt` of a finished checkpoint, and the resume file of a training in progress."""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rra_cli.core import files
from rra_cli.errors import UserError
from rra_cli.methods.method import Objective
from rra_cli.models.encoder import Encoder
from rra_cli.models.model import Model
from rra_cli.training.determinism import conditions
from rra_cli.training.optimizer import Schedule
from rra_cli.training.running import Running

WEIGHTS = "weights.pt"
DESCRIPTION = "checkpoint.json"
NEWEST, PREVIOUS = "resume.pt", "resume.previous.pt"
FORMAT = 1

Weights = dict[str, torch.Tensor]


def weights_of(module: nn.Module) -> Weights:
    """A copy of the module's parameters and buffers on the CPU, in plain memory order."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def write_checkpoint(folder: Path, weights: Weights, description: dict[str, Any]) -> None:
    """Writes the two files of a kept checkpoint; equal weights give equal bytes."""
    # Through memory: torch writes the name of the file that it saves to into the file.
    buffer = io.BytesIO()
    torch.save(weights, buffer)
    files.write_bytes(folder / WEIGHTS, buffer.getvalue())
    files.write_json(folder / DESCRIPTION, description)


def load_encoder(model: Model, input_shape: tuple[int, int, int], n_classes: int, weights_path: Path) -> Encoder:
    """The architecture with the weights of that file, in evaluation mode on the CPU.

    Raises `UserError` where the file cannot be read or belongs to another architecture.
    """
    with torch.random.fork_rng(devices=[]):  # building draws initial weights, which must not move the caller's state
        encoder = model.build(input_shape, n_classes)
    try:
        encoder.module.load_state_dict(torch.load(weights_path, map_location="cpu", weights_only=True))
    except Exception as error:
        raise UserError(
            f"{weights_path} does not hold the weights of model={model.name} for inputs {input_shape} and "
            f"{n_classes} classes: {_first_line(error)}",
            "the file is damaged or was put there by hand: remove its folder and run the same command again",
        ) from error
    encoder.module.eval()
    return encoder


@dataclass(eq=False)
class Training:
    """A training in progress: everything that the next step depends on besides the job itself.

    epoch: the one that is to be done next or is in progress; 0 is the look at the initial weights. running: its steps
    so far. history: one line per finished epoch. best: weights of the highest test accuracy, of epoch best_epoch.
    """

    encoder: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    epoch: int = 0
    running: Running = field(default_factory=Running)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    best_epoch: int = -1

    def finish_epoch(self, line: dict[str, Any]) -> None:
        """Adds the epoch's line, keeps its weights if they are the best so far, and moves on to the next epoch."""
        self.history.append(line)
        if self.best_epoch < 0 or line["test_accuracy"] > self.history[self.best_epoch]["test_accuracy"]:
            self.best, self.best_epoch = weights_of(self.encoder), self.epoch
        self.epoch, self.running = self.epoch + 1, Running()

    def save(self, work: Path, device: str) -> None:
        """Writes the resume file; the one before it is kept, should this one be damaged."""
        self.running.means()
        content = {
            "format": FORMAT,
            "conditions": conditions(device),
            "encoder": self.encoder.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "running": self.running.state(),
            "history": self.history,
            "best": self.best,
            "best_epoch": self.best_epoch,
        }
        newest = work / NEWEST
        with files.replacing(newest) as temporary:
            torch.save(content, temporary)
            if newest.exists():
                files.sync(temporary)
                os.replace(newest, work / PREVIOUS)
                files.boundary("resume: previous kept")

    def restore(self, content: dict[str, Any]) -> None:
        """Takes over what a resume file holds."""
        self.encoder.load_state_dict(content["encoder"])
        self.objective.load_state_dict(content["objective"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.running.restore(content["running"])
        self.epoch, self.history = content["epoch"], content["history"]
        self.best, self.best_epoch = content["best"], content["best_epoch"]


def resume(
    work: Path, device: str, first_wanted: int, fresh: Callable[[], Training], warn: Callable[[str], None]
) -> Training:
    """The training as the newest readable resume file left it, or a fresh one.

    first_wanted: the first epoch whose weights are asked for; a file that lies beyond it is of no use. Warns of a file
    that cannot be read, and of one from other conditions than today's, under which weights need not be equal.
    """
    for path in (work / NEWEST, work / PREVIOUS):
        if not path.exists():
            continue
        training = fresh()
        try:
            content = torch.load(path, map_location="cpu", weights_only=True)
            if content["format"] != FORMAT:
                raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
            training.restore(content)
            then = content["conditions"]
        except Exception as error:  # whatever a damaged file makes torch raise
            warn(f"{path} cannot be read ({_first_line(error)}): going on from the one before it, or afresh")
            continue
        if training.epoch > first_wanted:
            continue
        now = conditions(device)
        if then != now:
            warn(f"resuming what was begun with {_words(then)} with {_words(now)}: weights may differ in the last bits")
        return training
    return fresh()


def forget_resume(work: Path) -> None:
    """Removes the resume files of a training that is done."""
    for name in (NEWEST, PREVIOUS):
        files.remove(work / name)


def _words(conditions: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in conditions.items())


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
