"""The line of an epoch in `training.jsonl`: which figures are computed after which epoch, on which samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from rra_cli.core.reproducibility import derive_seed
from rra_cli.training import figures
from rra_cli.training.batches import Resident
from rra_cli.training.checkpoint import Training
from rra_cli.training.job import TrainingJob
from rra_cli.training.keeping import check_finite, diverged, finite_means

# Training samples that are also looked at without augmentation, at most; and the least distance in epochs.
CLEAN_SAMPLES = 10_000
CLEAN_EVERY = 4
# Training samples on whose spread an eye is kept after every epoch, at most, and this share of them at most: a forward
# pass of an eighth adds a twenty-fourth to the steps of one view.
SPREAD_SAMPLES = 2_000
SPREAD_SHARE = 8
# What looks at samples may add to a training step: a forward pass costs a third of a step of one view.
MOST_ADDED = 1 / 12


class Observer:
    """Looks at a network after every epoch.

    How far the representation spreads is known after every epoch. A method that classifies has its accuracy on the test
    split after every epoch too, and the other figures after some; one that does not has these after every epoch where
    that is cheap.
    """

    def __init__(self, job: TrainingJob, train: Resident) -> None:
        self.job = job
        self.test = Resident.of(job.test, job.mean, job.std, str(train.device))
        self.clean = train.take(clean_positions(len(train), job.seed))
        self.spread = self.clean.take(spread_positions(len(train), len(self.clean)))
        self.is_cheap = is_cheap(len(self.clean) + len(self.test), len(train), job.method.n_views)
        self.has_classes = job.n_classes > 1

    def line(self, training: Training, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The line of the epoch whose steps are done. Raises `UserError` where a figure is not finite.

        lr: of the epoch's last step. train_*: means over the epoch's steps, while the weights changed and with
        augmentation; losses in nats, accuracies in [0, 1]. The others after the epoch and without augmentation:
        train_clean_*: of up to 10,000 training samples; test_*: of the test split; both null for a method that does
        not classify. knn_accuracy: of the test split by those training samples, of the representation; embedding_std,
        effective_rank: of the representation of up to 2,000 of them; projection_*: of what the method's first head
        makes of it, where there is one. null where nothing was computed.
        """
        job, epoch = self.job, training.epoch
        line: dict[str, Any] = {"epoch": epoch, "lr": None, "train_loss": None}
        if job.method.classifies:
            line["train_accuracy"] = None
        if epoch:
            check_finite(training, job)
            n_steps = -(-training.running.step // job.method.accumulate)
            line["lr"] = training.schedule(epoch * n_steps - 1)["lr"]
            line |= {f"train_{name}": value for name, value in finite_means(training, job).items()}
        line |= dict.fromkeys(("train_clean_loss", "train_clean_accuracy", "test_loss", "test_accuracy"))
        line |= dict.fromkeys(("knn_accuracy", "embedding_std", "effective_rank"))
        if training.objective.heads:
            line |= dict.fromkeys(("projection_std", "projection_effective_rank"))
        looks = is_clean_epoch(epoch, job.epochs) or (self.is_cheap and not job.method.classifies)
        if looks or job.method.classifies:
            line |= self._figures(training, looks, tick)
        line |= self._spread(training)
        for name, value in line.items():
            if value is not None and not math.isfinite(value):
                raise diverged(job, f"after epoch {epoch}, {name} is {value}")
        return line

    def _figures(self, training: Training, looks: bool, tick: Callable[[], None]) -> dict[str, float]:
        """looks: at the representation and the training samples too, not only at the accuracy on the test split."""
        found: dict[str, float] = {}
        classifies = self.job.method.classifies
        test = figures.see(training.encoder, self.test, training.representation if looks else "", tick)
        if classifies:
            on_test = figures.classification(test.outputs, self.test.labels)
            found |= {f"test_{name}": value for name, value in on_test.items()}
        if not looks:
            return found
        clean = figures.see(training.encoder, self.clean, training.representation, tick)
        if classifies:
            on_clean = figures.classification(clean.outputs, self.clean.labels)
            found |= {f"train_clean_{name}": value for name, value in on_clean.items()}
        if self.has_classes:
            found["knn_accuracy"] = figures.knn_accuracy(
                clean.representation,
                self.clean.labels,
                test.representation,
                self.test.labels,
                k=figures.neighbours_asked(len(self.clean), self.job.n_classes),
            )
        return found

    def _spread(self, training: Training) -> dict[str, float]:
        """How far the representation, and what the first head makes of it, spreads."""
        embeddings = figures.see(training.encoder, self.spread, training.representation).representation
        found = {
            "embedding_std": figures.embedding_std(embeddings),
            "effective_rank": figures.effective_rank(embeddings),
        }
        if training.objective.heads:
            projection = figures.projected(training.objective.get_submodule(training.objective.heads[0]), embeddings)
            found["projection_std"] = figures.embedding_std(projection)
            found["projection_effective_rank"] = figures.effective_rank(projection)
        return found


def clean_positions(n: int, seed: int) -> torch.Tensor:
    """The training samples `(min(n, CLEAN_SAMPLES),)`, ascending, that are looked at without augmentation."""
    generator = torch.Generator().manual_seed(derive_seed(seed, "clean"))
    return torch.randperm(n, generator=generator)[:CLEAN_SAMPLES].sort().values


def spread_positions(n_train: int, n_clean: int) -> torch.Tensor:
    """Which of the `n_clean` clean samples are looked at after every epoch, evenly over them: at least two."""
    n = max(2, min(SPREAD_SAMPLES, n_train // SPREAD_SHARE))
    return torch.linspace(0, n_clean - 1, min(n, n_clean)).round().long()


def is_cheap(n_looked_at: int, n_train: int, n_views: int) -> bool:
    """Whether looking at so many samples after every epoch adds at most a twelfth to the forward and backward passes.

    By numbers of samples, not by the clock: which figures a history has must not depend on the machine. The search for
    neighbours comes on top, which only beside the smallest networks is worth mentioning.
    """
    return n_looked_at <= MOST_ADDED * 3 * n_views * n_train


def is_clean_epoch(epoch: int, epochs: int) -> bool:
    """Whether an epoch's line says how the un-augmented training samples fare: the first, the last and some between.

    It depends on nothing but the number of epochs: the history is the same whatever milestones are kept.
    """
    return epoch == epochs or epoch % max(CLEAN_EVERY, -(-epochs // 10)) == 0
