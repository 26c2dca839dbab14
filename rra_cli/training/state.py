"""A training in progress, and its resume file.

A resume file holds everything that the next step depends on: the network, the objective with all that it trains or
keeps (heads, momentum encoder, queue), the optimiser, the position, and the figures so far. It needs no states of
random generators and of the schedule, which are pure functions of (seed, epoch, step) and of the step, and none of a
gradient scaler: bfloat16 has the range of float32, so that nothing is scaled.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rra_cli.core import files
from rra_cli.core.spec import differences
from rra_cli.errors import UserError
from rra_cli.methods.method import Objective
from rra_cli.training.checkpoint import Weights, first_line, heads_of, read_tensors, saved_bytes, weights_of
from rra_cli.training.determinism import conditions
from rra_cli.training.optimizer import Schedule
from rra_cli.training.ranks import Ranks
from rra_cli.training.running import Running

NEWEST, PREVIOUS = "resume.pt", "resume.previous.pt"
FORMAT = 2


@dataclass(eq=False)
class Training:
    """A training in progress: everything that the next step depends on besides the job itself.

    representation: the encoder's sub-module whose output is the representation, "" for its own. epoch: the one that is
    to be done next or is in progress; 0 is the look at the initial weights. running: its steps so far. history: one
    line per finished epoch. best, best_heads: weights of epoch best_epoch, whose line has the highest `score`; of the
    last one where no line has any.
    """

    encoder: nn.Module
    objective: Objective
    optimizer: torch.optim.Optimizer
    schedule: Schedule
    representation: str = ""
    epoch: int = 0
    running: Running = field(default_factory=Running)
    history: list[dict[str, Any]] = field(default_factory=list)
    best: Weights = field(default_factory=dict)
    best_heads: Weights = field(default_factory=dict)
    best_epoch: int = -1

    @property
    def params(self) -> Iterable[nn.Parameter]:
        """What is trained."""
        return [param for group in self.optimizer.param_groups for param in group["params"]]

    def finish_epoch(self, line: dict[str, Any]) -> None:
        """Adds the epoch's line, keeps its weights if they are the best so far, and moves on to the next epoch."""
        self.history.append(line)
        found, best = score(line), None if self.best_epoch < 0 else score(self.history[self.best_epoch])
        if best is None or (found is not None and found > best):
            self.best, self.best_heads = weights_of(self.encoder), heads_of(self.objective)
            self.best_epoch = self.epoch
        self.epoch, self.running = self.epoch + 1, Running()

    def next_epoch(self) -> None:
        """Moves on without a line: in a process that looks at nothing."""
        self.epoch, self.running = self.epoch + 1, Running()

    def is_finite(self) -> bool:
        """Whether all weights and everything that the objective keeps are finite numbers."""
        state = [*self.encoder.state_dict().values(), *self.objective.state_dict().values()]
        return all(bool(torch.isfinite(value).all()) for value in state if value.is_floating_point())

    def save(self, work: Path, device: str, identity: Mapping[str, Any]) -> None:
        """Writes the resume file; the one before it is kept, should this one be damaged."""
        newest = work / NEWEST
        content = {"conditions": conditions(device), "identity": json.dumps(identity), **self.content()}
        with files.replacing(newest) as temporary:
            # Through memory: of a full disk torch says no more than that its stream has an error.
            temporary.write_bytes(saved_bytes(content))
            if newest.exists():
                files.sync(temporary)
                os.replace(newest, work / PREVIOUS)
                files.boundary("resume: previous kept")

    def content(self) -> dict[str, Any]:
        """What `restore` takes over."""
        self.running.means()
        return {
            "format": FORMAT,
            "encoder": self.encoder.state_dict(),
            "objective": self.objective.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "epoch": self.epoch,
            "running": self.running.state(),
            "history": self.history,
            "best": self.best,
            "best_heads": self.best_heads,
            "best_epoch": self.best_epoch,
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Goes on from a `content`."""
        self.encoder.load_state_dict(content["encoder"])
        self.objective.load_state_dict(content["objective"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.running.restore(content["running"])
        self.epoch, self.history = content["epoch"], content["history"]
        self.best, self.best_heads = content["best"], content["best_heads"]
        self.best_epoch = content["best_epoch"]


def score(line: Mapping[str, Any]) -> float | None:
    """What decides which epoch is the best: the test accuracy where the method classifies, else the k-NN accuracy."""
    found: float | None = line["test_accuracy"]
    return line["knn_accuracy"] if found is None else found


def resume(
    work: Path,
    device: str,
    identity: Mapping[str, Any],
    first_wanted: int,
    fresh: Callable[[], Training],
    warn: Callable[[str], None],
) -> Training:
    """The training as the newest readable resume file left it, or a fresh one.

    first_wanted: the first epoch whose weights are asked for; a file that lies beyond it is of no use. Warns of a file
    that cannot be read, and of one from other conditions than today's, under which weights need not be equal. Raises
    `UserError` for the file of another training than `identity` says, with the differences.
    """
    for path in (work / NEWEST, work / PREVIOUS):
        if not path.exists():
            continue
        training = fresh()
        try:
            content = read_tensors(path)
            check_format(content)
            found, then = json.loads(content["identity"]), content["conditions"]
            if found == json.loads(json.dumps(identity)):
                training.restore(content)
        except Exception as error:  # whatever a damaged file makes torch raise
            older = path.name == NEWEST and (work / PREVIOUS).exists()
            what = "going on from the save before it" if older else "training begins anew"
            warn(f"{path} cannot be read ({first_line(error)}): {what}")
            continue
        check_identity(path, found, identity)
        if training.epoch > first_wanted:
            continue
        now = conditions(device)
        if then != now:
            warn(f"resuming what was begun with {_words(then)} with {_words(now)}: weights may differ in the last bits")
        return training
    return fresh()


def check_format(content: Mapping[str, Any]) -> None:
    """Raises ValueError for a resume file that another version wrote."""
    if content["format"] != FORMAT:
        raise ValueError(f"format {content['format']}, this version reads {FORMAT}")


def check_identity(path: Path, found: Any, identity: Mapping[str, Any]) -> None:
    """Raises `UserError` with the differences where a resume file belongs to another training."""
    lines = list(differences(found, json.loads(json.dumps(identity))))
    if lines:
        raise UserError(
            f"{path} belongs to another training:\n  " + "\n  ".join(lines[:20]),
            "it was put there by hand: move it away, and the same command starts this training afresh",
        )


def share(training: Training, ranks: Ranks) -> None:
    """Puts the first process's state into all of them."""
    if ranks.size > 1:
        data = ranks.from_first(saved_bytes(training.content()) if ranks.is_first else None)
        if not ranks.is_first:
            training.restore(torch.load(io.BytesIO(data), map_location="cpu", weights_only=True))


def forget_resume(work: Path) -> None:
    """Removes the resume files of a training that is done."""
    for name in (NEWEST, PREVIOUS):
        files.remove(work / name)


def _words(conditions: dict[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in conditions.items())
