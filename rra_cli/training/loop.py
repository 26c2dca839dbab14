"""The training loop.

All randomness is a pure function of (seed, epoch, step) and the schedule one of the step, so a resumed run needs
neither generator nor scheduler states: weights, the optimiser's and the objective's state and the position are enough.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rra_cli.core import files
from rra_cli.core.progress import Progress, silent
from rra_cli.core.reproducibility import derive_seed
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import Samples
from rra_cli.errors import UserError
from rra_cli.methods.method import Method
from rra_cli.models.model import Model
from rra_cli.training.batches import Resident, batch_bounds, draw_batch, epoch_order, evaluate
from rra_cli.training.checkpoint import Training, forget_resume, resume, weights_of, write_checkpoint
from rra_cli.training.determinism import deterministic
from rra_cli.training.optimizer import Optimizer
from rra_cli.training.running import NotFiniteError

BEST, HISTORY = "best", "history"
HISTORY_FILE = "training.jsonl"
# Seconds between looks at the loss: for the progress note, and for NaN.
LOOK_EVERY = 0.5
# Training samples on which loss and accuracy are also computed without augmentation, at most; and the least distance
# in epochs. A forward pass costs a third of a training step, so this adds at most a twelfth to a long run.
CLEAN_SAMPLES = 10_000
CLEAN_EVERY = 4


@dataclass(frozen=True, eq=False)
class TrainingJob:
    """What is trained. test: the split on which accuracy is computed; it decides which epoch is the best.

    mean, std: per channel, of pixels in [0, 1]; what the network sees is (pixel / 255 - mean) / std.
    """

    model: Model
    method: Method
    augment: Augment
    optimizer: Optimizer
    seed: int
    train: Samples
    test: Samples
    class_names: Sequence[str]
    mean: Sequence[float]
    std: Sequence[float]

    @property
    def epochs(self) -> int:
        """The last epoch; 0 where nothing is trained."""
        return self.method.epochs if self.method.trains else 0


def run_training(
    job: TrainingJob,
    work: Path,
    *,
    device: str,
    entries: Collection[str],
    publish: Callable[[str, Path], None],
    progress: Progress = silent,
    warn: Callable[[str], None] = lambda message: None,
    save_every: float = 60.0,
) -> None:
    """Trains, and calls `publish(entry, folder)` once for each of `entries` when it is final; the folder may be moved.

    entries: of `epoch_NNNN` (weights after that epoch; 0 is the initialisation), `best` (highest test accuracy,
    earliest on ties) and `history`: a folder with `training.jsonl`, one line per epoch, without times, so that equal
    runs write equal files; the others hold `weights.pt` and `checkpoint.json`. Only as many epochs as these need are
    run. work: where the resume files lie, written after every epoch and every `save_every` seconds; called again after
    an interruption, with what is still missing, it ends with the same bits. Raises `UserError` where the loss is not
    finite (what was kept and saved before stays) or a batch is larger than the training set.
    """
    first_wanted, last = wanted_epochs(entries, job.epochs)
    method, seed, n_train = job.method, job.seed, len(job.train)
    total = max(1, last * n_train)
    with deterministic(seed):
        train, test = (Resident.of(split, job.mean, job.std, device) for split in (job.train, job.test))
        clean = train.take(clean_positions(n_train, seed))
        bounds = batch_bounds(n_train, method.batch_size) if job.epochs else []
        training = resume(work, device, first_wanted, lambda: begin(job, device, len(bounds)), warn)
        encoder, objective, optimizer = training.encoder, training.objective, training.optimizer
        looked = saved = time.monotonic()

        for epoch in range(training.epoch, last + 1):
            order = epoch_order(n_train, seed, epoch).to(device)
            encoder.train()
            objective.train()
            for step in range(training.running.step, len(bounds) if epoch else 0):
                start, stop = bounds[step]
                for group in optimizer.param_groups:
                    group.update(training.schedule((epoch - 1) * len(bounds) + step))
                torch.manual_seed(derive_seed(seed, "step", epoch, step))  # dropout and the like
                batch = draw_batch(train, order[start:stop], job.augment, method.n_views, seed, epoch, step)
                with torch.autocast(train.device.type, torch.bfloat16, enabled=method.precision == "bf16"):
                    loss, figures = objective.loss(encoder, batch)
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()
                objective.after_step(encoder)
                training.running.add(stop - start, loss, figures)

                if time.monotonic() - looked > LOOK_EVERY:
                    means = finite_means(training, job)
                    progress((epoch - 1) * n_train + stop, total, f"epoch {epoch}, loss {means['loss']:.3f}")
                    looked = time.monotonic()
                if time.monotonic() - saved > save_every:
                    finite_means(training, job)
                    training.save(work, device)
                    saved = time.monotonic()

            line = epoch_line(training, job, epoch, test, clean)
            training.finish_epoch(line)
            if epoch_entry(epoch) in entries:
                hand_over(epoch_entry(epoch), work, publish, line, weights_of(encoder))
            training.save(work, device)
            saved = time.monotonic()
            progress(total if epoch == last else epoch * n_train, total, note(line))

        if BEST in entries:
            hand_over(BEST, work, publish, training.history[training.best_epoch], training.best)
        if HISTORY in entries:
            folder = empty_folder(work, HISTORY)
            files.write_text(folder / HISTORY_FILE, "".join(json.dumps(line) + "\n" for line in training.history))
            publish(HISTORY, folder)
        if last == job.epochs:
            forget_resume(work)


def begin(job: TrainingJob, device: str, steps_per_epoch: int) -> Training:
    """A training before its first step: initial weights drawn on the CPU, so they are the same on every device."""
    torch.manual_seed(derive_seed(job.seed, "init"))
    _, channels, height, width = job.train.images.shape
    encoder = job.model.build((channels, height, width), len(job.class_names))
    objective = job.method.objective(encoder, len(job.class_names)).to(device)
    module = encoder.module.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    params = [*module.parameters(), *objective.parameters()]
    optimizer, schedule = job.optimizer.build(params, steps_per_epoch, job.epochs)
    return Training(module, objective, optimizer, schedule)


def epoch_entry(epoch: int) -> str:
    """The name under which an epoch's weights are kept."""
    return f"epoch_{epoch:04d}"


def wanted_epochs(entries: Collection[str], epochs: int) -> tuple[int, int]:
    """The first epoch whose weights are asked for, and the last that has to be run. ValueError for an unknown entry."""
    known = {epoch_entry(epoch): epoch for epoch in range(epochs + 1)}
    unknown = sorted(set(entries) - known.keys() - {BEST, HISTORY})
    if unknown or not entries:
        raise ValueError(f"entries {unknown or list(entries)} are not among best, history, epoch_0000..{epochs:04d}")
    wanted = [known[entry] for entry in entries if entry in known]
    # Best and history are known after the last epoch; a resume file that lies beyond it still serves them.
    last = epochs if {BEST, HISTORY} & set(entries) else max(wanted)
    return min(wanted, default=epochs + 1), last


def clean_positions(n: int, seed: int) -> torch.Tensor:
    """The training samples `(min(n, CLEAN_SAMPLES),)`, ascending, that are looked at without augmentation."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "clean"))
    return torch.randperm(n, generator=generator)[:CLEAN_SAMPLES].sort().values


def is_clean_epoch(epoch: int, epochs: int) -> bool:
    """Whether an epoch's line says how the un-augmented training samples fare: the first, the last and some between.

    It depends on nothing but the number of epochs: the history is the same whatever milestones are kept.
    """
    return epoch == epochs or epoch % max(CLEAN_EVERY, -(-epochs // 10)) == 0


def epoch_line(training: Training, job: TrainingJob, epoch: int, test: Resident, clean: Resident) -> dict[str, Any]:
    """The line of the history. lr: of the epoch's last step. train_*: means over the epoch's steps, while the weights
    changed and with augmentation; train_clean_*: of up to 10,000 training samples after the epoch, without; null where
    there is none. Losses in nats, accuracies in [0, 1]."""
    means = finite_means(training, job) if epoch else {"loss": None, "accuracy": None}
    lr = training.schedule(epoch * training.running.step - 1)["lr"] if epoch else None
    on_clean = evaluate(training.encoder, clean) if is_clean_epoch(epoch, job.epochs) else {}
    on_test = evaluate(training.encoder, test)
    line = {
        "epoch": epoch,
        "lr": lr,
        **{f"train_{name}": value for name, value in means.items()},
        "train_clean_loss": on_clean.get("loss"),
        "train_clean_accuracy": on_clean.get("accuracy"),
        "test_loss": on_test["loss"],
        "test_accuracy": on_test["accuracy"],
    }
    if not all(value is None or abs(value) < float("inf") for value in line.values()):
        raise diverged(job, f"after epoch {epoch}, the loss on the test split is {on_test['loss']}")
    return line


def finite_means(training: Training, job: TrainingJob) -> dict[str, float]:
    """The epoch's means so far. Raises `UserError` naming the first step whose loss is not finite."""
    try:
        return training.running.means()
    except NotFiniteError as error:
        raise diverged(job, f"in epoch {training.epoch}, step {error.step + 1}, the loss is {error.value}") from error


def diverged(job: TrainingJob, what: str) -> UserError:
    """What a user is told when numbers overflow."""
    return UserError(
        f"the training of {job.model.name} diverged: {what}",
        f"lower optimizer.lr (it is {job.optimizer.lr:g}) or raise optimizer.warmup_epochs; "
        "the weights kept before that stay",
    )


def hand_over(
    entry: str, work: Path, publish: Callable[[str, Path], None], line: dict[str, Any], weights: dict[str, torch.Tensor]
) -> None:
    """Writes the weights and the line of their epoch into a folder and publishes it."""
    folder = empty_folder(work, entry)
    write_checkpoint(folder, weights, line)
    publish(entry, folder)


def empty_folder(work: Path, entry: str) -> Path:
    """The folder in which an entry is written, without what a killed run may have left there."""
    folder = work / entry
    files.remove(folder)
    folder.mkdir(parents=True)
    return folder


def note(line: dict[str, Any]) -> str:
    """A live figure for a finished epoch."""
    loss = "" if line["train_loss"] is None else f"loss {line['train_loss']:.3f}, "
    return f"epoch {line['epoch']}, {loss}test accuracy {line['test_accuracy']:.3f}"
