"""The trainings whose steps and memory `training_step.py` measures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from rra_cli.config.compose import load
from rra_cli.core.signals import Interrupted
from rra_cli.data.dataset import Samples
from rra_cli.training.figures import BLOCK
from rra_cli.training.job import TrainingJob
from rra_cli.training.lines import bank_size
from rra_cli.training.loop import run_training


@dataclass(frozen=True)
class Row:
    """One training. step: the most that a step may be of the network alone, by device; epoch: of a DataLoader's."""

    name: str
    overrides: tuple[str, ...]
    step: dict[str, float]
    epoch: float
    steps: int  # of an epoch here


ROWS = [
    Row(
        "resnet18-simclr",
        ("dataset=cifar10", "model=resnet18", "method=simclr", "augment=simclr_cifar", "method.batch_size=256"),
        {"cpu": 1.10, "cuda": 1.15},
        1.0,
        3,
    ),
    Row(
        "lenet-simclr",
        ("dataset=mnist", "model=lenet_rmqm", "method=simclr", "augment=rmqm_mnist", "method.batch_size=256"),
        {"cpu": 1.5, "cuda": float("inf")},
        0.5,
        40,
    ),
]
# What is trained while the memory is watched, and bytes on top of the images.
MEMORY = {
    "mnist": ("dataset=mnist", "model=lenet_rmqm", "method=simclr", "augment=rmqm_mnist", "method.batch_size=256"),
    "cifar10": ("dataset=cifar10", "model=resnet20", "method=supervised", "augment=rra", "method.batch_size=128"),
}


def job_of(overrides: tuple[str, ...], n: int, seed: int = 0) -> TrainingJob:
    """That training of one epoch, on n random pictures."""
    experiment = load([*overrides, "method.epochs=1", "optimizer.warmup_epochs=0", "dataset.download=false"])
    dataset, random = experiment.dataset, np.random.default_rng(seed)
    n_classes = len(dataset.class_names)

    def pictures(count: int) -> Samples:
        images = random.integers(0, 256, (count, *dataset.input_shape), dtype=np.uint8)
        return Samples(images, np.arange(count) % n_classes, np.arange(count))

    return TrainingJob(
        model=experiment.model,
        method=experiment.method,
        augment=experiment.augment,
        optimizer=experiment.optimizer,
        seed=seed,
        train=pictures(n),
        test=pictures(10),
        class_names=dataset.class_names,
        mean=dataset.mean,
        std=dataset.std,
    )


def train(job: TrainingJob, device: str, stop: Callable[[], Interrupted | None]) -> None:
    """One epoch; what is kept is thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        run_training(
            job,
            Path(folder),
            device=device,
            entries=["epoch_0001"],
            publish=lambda entry, source: None,
            save_every=float("inf"),
            stop=stop,
        )


def synchronize(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def looks(job: TrainingJob) -> int:
    """Blocks of samples that are looked at after an epoch: the test pictures and, at most 10,000, the training's."""
    return sum(-(-n // BLOCK) for n in (len(job.test), bank_size(job.method, len(job.train))))


def row_size(row: Row) -> int:
    """The row's batch."""
    return next(int(text.split("=")[1]) for text in row.overrides if text.startswith("method.batch_size"))
