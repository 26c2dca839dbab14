"""The line of an epoch in `training.jsonl`: which figures are computed after which epoch, on which samples."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch

from rra_cli.core.reproducibility import derive_seed
from rra_cli.methods.method import Method
from rra_cli.training import figures
from rra_cli.training.batches import Resident
from rra_cli.training.job import TrainingJob
from rra_cli.training.keeping import check_finite, diverged, finite_means
from rra_cli.training.state import Training

# The least distance in epochs between looks at the training samples without augmentation that nobody asked for.
CLEAN_EVERY = 4
# Training samples from which those are taken on whose spread an eye is kept, whatever `method.knn_bank` is.
SPREAD_FROM = 10_000
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
    that is cheap. `method.knn_every` says otherwise.
    """

    def __init__(self, job: TrainingJob, train: Resident) -> None:
        self.job = job
        self.test = Resident.of(job.test, job.mean, job.std, str(train.device))
        n_bank = bank_size(job.method, len(train))
        self.clean = train if n_bank == len(train) else train.take(clean_positions(len(train), n_bank, job.seed))
        watched = clean_positions(len(train), min(len(train), SPREAD_FROM), job.seed)
        self.spread = train.take(watched[spread_positions(len(train), len(watched))])
        self.is_cheap = is_cheap(len(self.clean) + len(self.test), len(train), job.method.n_views)
        self.has_classes = job.n_classes > 1

    def line(self, training: Training, tick: Callable[[], None] = lambda: None) -> dict[str, Any]:
        """The line of the epoch whose steps are done. Raises `UserError` where a figure is not finite.

        lr: of the epoch's last step. train_*: means over the epoch's steps, while the weights changed and with
        augmentation; losses in nats, accuracies in [0, 1]. The others after the epoch and without augmentation:
        train_clean_*: of `method.knn_bank` training samples; test_*: of the test split; both null for a method that
        does not classify. knn_accuracy: of the test split by those training samples, of the representation;
        embedding_std, effective_rank: of the representation of up to 2,000 training samples; projection_*: of what the
        method's first head makes of it, where there is one. null where nothing was computed.
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
        looks = is_looked_at(epoch, job.epochs, job.method, cheap=self.is_cheap)
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


def bank_size(method: Method, n_train: int) -> int:
    """How many training samples are looked at without augmentation."""
    return n_train if method.knn_bank is None else min(n_train, method.knn_bank)


def clean_positions(n: int, n_bank: int, seed: int) -> torch.Tensor:
    """Which training samples `(n_bank,)`, ascending, are looked at without augmentation. A smaller bank lies within a
    larger one of the same seed.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "clean"))
    return torch.randperm(n, generator=generator)[:n_bank].sort().values


def spread_positions(n_train: int, n_from: int) -> torch.Tensor:
    """Which of `n_from` training samples are looked at after every epoch, evenly over them: at least two."""
    n = max(2, min(SPREAD_SAMPLES, n_train // SPREAD_SHARE))
    return torch.linspace(0, n_from - 1, min(n, n_from)).round().long()


def is_cheap(n_looked_at: int, n_train: int, n_views: int) -> bool:
    """Whether looking at so many samples after every epoch adds at most a twelfth to the forward and backward passes.

    By numbers of samples, not by the clock: which figures a history has must not depend on the machine. The search for
    neighbours comes on top, which only beside the smallest networks is worth mentioning.
    """
    return n_looked_at <= MOST_ADDED * 3 * n_views * n_train


def is_looked_at(epoch: int, epochs: int, method: Method, *, cheap: bool) -> bool:
    """Whether an epoch's line says how the un-augmented training samples fare, and their neighbours' votes."""
    if method.knn_every is not None:
        return epoch == epochs or epoch % method.knn_every == 0
    return is_clean_epoch(epoch, epochs) or (cheap and not method.classifies)


def is_clean_epoch(epoch: int, epochs: int) -> bool:
    """Whether it does where nobody asked for it: the first, the last and some between.

    It depends on nothing but the number of epochs: the history is the same whatever milestones are kept.
    """
    return epoch == epochs or epoch % max(CLEAN_EVERY, -(-epochs // 10)) == 0
