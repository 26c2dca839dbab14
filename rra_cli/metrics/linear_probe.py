"""Linear probes: how well a linear classifier on a layer's activations tells the classes of unseen samples."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import ClassVar

import numpy as np

from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate, undefined
from rra_cli.metrics.metric import PLAIN, SplitData, TransferMetric, Workshop
from rra_cli.metrics.probe import accuracy, checked, coded
from rra_cli.metrics.softmax_regression import Recipe, fit_by_lbfgs, opened, predict, train_by_adam


@dataclass(frozen=True)
class LinearProbe(TransferMetric):
    """Accuracy of a linear classifier trained by Adam on a layer's frozen activations (linear probe).

    The recipe of the label-free thesis, ch. 4.1: 20 epochs, one-cycle rate up to 0.08, momentum (Adam's first beta)
    cycled from 0.95 to 0.85 and back, weight decay 1e-4. The thesis augments the probe's images by AutoAugment, which
    runs the encoder again for every one of them: here the activations are those of the plain images. Its batch size
    is not stated; 512 is that of its trainings. Ch. 3 (toy shapes): epochs=100, peak_lr=0.003; ch. 5 (pre-trained):
    peak_lr=0.003, batch_size=48.

    standardise: features have mean 0 and standard deviation 1 over the training split; the recipe takes them as they
    are. seed: of the initial weights and of the order of the samples.
    """

    name: ClassVar[str] = "linear_probe"
    unit: ClassVar[str] = "accuracy"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "classes of unseen samples are easier to tell apart by a linear map"

    epochs: int = identity(20)
    batch_size: int = identity(512)
    peak_lr: float = identity(0.08)
    momentum: tuple[float, float] = identity((0.85, 0.95))
    weight_decay: float = identity(1e-4)
    standardise: bool = identity(False)
    seed: int = identity(0)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        if not 0.0 < self.peak_lr < float("inf"):
            raise ValueError(f"peak_lr is {self.peak_lr}; a positive number is needed")
        low, high = self.momentum
        if not 0.0 <= low <= high < 1.0:
            raise ValueError(f"momentum is [{low}, {high}]; 0 <= low <= high < 1 is needed")
        if not 0.0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}; it cannot be negative")
        if self.seed < 0:
            raise ValueError(f"seed is {self.seed}; it cannot be negative")

    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        checked(train, test)
        classes, codes = coded(train.labels)
        recipe = Recipe(self.epochs, self.batch_size, self.peak_lr, self.momentum, self.weight_decay, self.seed)
        with opened(
            train.activations,
            test.activations,
            standardise=self.standardise,
            device=workshop.device,
            memory=workshop.memory,
        ) as (features, unseen):
            weights = train_by_adam(features, codes, len(classes), recipe, workshop.progress)
            if not isfinite(weights.loss):
                return undefined(
                    f"the probe's loss became {weights.loss}: activations too large for peak_lr or float32"
                )
            predicted = classes[predict(unseen, weights)]
        details = {"loss": np.float64(weights.loss)}
        return accuracy(predicted, np.asarray(train.labels), np.asarray(test.labels), details=details)


@dataclass(frozen=True)
class LogisticProbe(TransferMetric):
    """Accuracy of multinomial logistic regression on a layer's standardised activations (fast linear probe).

    The minimum of the sum of cross-entropies + l2 / 2 |weights|^2, found by L-BFGS: it has one answer, without rate,
    batch or seed. scikit-learn's LogisticRegression(C = 1 / l2) on standardised features. max_iterations: at which it
    stops where the minimum has not been reached (near it; the accuracy changes little).
    """

    name: ClassVar[str] = "logistic_probe"
    unit: ClassVar[str] = "accuracy"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "classes of unseen samples are easier to tell apart by a linear map"

    l2: float = identity(1.0)
    max_iterations: int = identity(200)

    def __post_init__(self) -> None:
        if not 0.0 <= self.l2 < float("inf"):
            raise ValueError(f"l2 is {self.l2}; it cannot be negative")
        if self.max_iterations < 1:
            raise ValueError(f"max_iterations is {self.max_iterations}; at least 1 is needed")

    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        checked(train, test)
        classes, codes = coded(train.labels)
        with opened(
            train.activations, test.activations, standardise=True, device=workshop.device, memory=workshop.memory
        ) as (features, unseen):
            weights = fit_by_lbfgs(
                features,
                codes,
                len(classes),
                l2=self.l2,
                max_iterations=self.max_iterations,
                progress=workshop.progress,
            )
            if not isfinite(weights.loss):
                return undefined(f"the probe's loss became {weights.loss}: activations too large for float32")
            predicted = classes[predict(unseen, weights)]
        details = {"loss": np.float64(weights.loss), "converged": weights.converged}
        return accuracy(predicted, np.asarray(train.labels), np.asarray(test.labels), details=details)
