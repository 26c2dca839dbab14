"""The base of all optimisers: the rate and its schedule; and the two that there are, SGD and Adam."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from rra_cli.core.component import Component
from rra_cli.core.fields import identity
from rra_cli.errors import UserError
from rra_cli.training.schedule import (
    DEFAULT_WARMUP,
    Rates,
    ScheduleName,
    constant,
    cosine,
    one_cycle,
    one_cycle_momentum,
)

# The settings of every parameter group in a step, as a pure function of the step (0, 1, ... over all epochs).
Schedule = Callable[[int], dict[str, Any]]


@dataclass(frozen=True)
class Optimizer(Component, ABC):
    """How weights follow the gradient.

    lr: the highest learning rate of the run. weight_decay: L2 penalty on all parameters. schedule: `cosine` falls to
    `final_lr_fraction` of lr; `one_cycle` rises from a 25th of lr and falls to that fraction; `constant` stays.
    warmup_epochs: epochs over which the rate first rises (fractions allowed); null is a tenth of all epochs for
    cosine, three tenths for one_cycle, none for constant. cycle_momentum: `[low, high]` between which one_cycle moves
    the momentum (Adam: its first beta) against the rate; null leaves it alone.
    """

    lr: float = identity(0.01)
    weight_decay: float = identity(0.0)
    schedule: ScheduleName = identity("cosine")
    warmup_epochs: float | None = identity(None)
    final_lr_fraction: float = identity(0.01)
    cycle_momentum: tuple[float, float] | None = identity(None)

    def __post_init__(self) -> None:
        if not 0.0 < self.lr < float("inf"):
            raise ValueError(f"lr is {self.lr}; a positive number is needed")
        if not 0.0 <= self.weight_decay < float("inf"):
            raise ValueError(f"weight_decay is {self.weight_decay}; it cannot be negative")
        if not 0.0 <= self.final_lr_fraction <= 1.0:
            raise ValueError(f"final_lr_fraction is {self.final_lr_fraction}; it lies in [0, 1]")
        if self.warmup_epochs is not None and not 0.0 <= self.warmup_epochs < float("inf"):
            raise ValueError(f"warmup_epochs is {self.warmup_epochs}; it cannot be negative")
        if self.cycle_momentum is not None:
            if self.schedule != "one_cycle":
                raise ValueError(f"cycle_momentum belongs to schedule=one_cycle, but schedule is {self.schedule!r}")
            low, high = self.cycle_momentum
            if not 0.0 <= low <= high < 1.0:
                raise ValueError(f"cycle_momentum is [{low}, {high}]; 0 <= low <= high < 1 is needed")

    @abstractmethod
    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """A fresh torch optimiser of these parameters."""

    @abstractmethod
    def settings(self, rates: Rates) -> dict[str, Any]:
        """The rates in the words of a parameter group of that optimiser."""

    def build(
        self, params: Iterable[torch.nn.Parameter], steps_per_epoch: int, epochs: int
    ) -> tuple[torch.optim.Optimizer, Schedule]:
        """The torch optimiser and its schedule. Raises `UserError` where the warm-up is not shorter than the run.

        epochs may be 0: nothing is trained, and the schedule is never asked.
        """
        if epochs > 0:
            self.check_epochs(epochs)
        total = steps_per_epoch * epochs
        warmup = self.warmup_steps(steps_per_epoch, epochs)
        return self.optimizer(params), lambda step: self.settings(self.rates(step, total, warmup))

    def check_epochs(self, epochs: int) -> None:
        """Raises `UserError` where the warm-up is not shorter than the run."""
        if self.warmup_epochs is not None and self.warmup_epochs >= epochs:
            raise UserError(
                f"the learning rate warms up for {self.warmup_epochs:g} epochs, but there are only {epochs} to train",
                "set optimizer.warmup_epochs=null (a share of the epochs) or a smaller number, or raise method.epochs",
            )

    def warmup_steps(self, steps_per_epoch: int, epochs: int) -> int:
        """Steps over which the rate rises."""
        share = DEFAULT_WARMUP[self.schedule] * epochs if self.warmup_epochs is None else self.warmup_epochs
        return round(share * steps_per_epoch)

    def rates(self, step: int, total: int, warmup: int) -> Rates:
        """Learning rate and momentum of a step in 0 .. total - 1."""
        final = self.lr * self.final_lr_fraction
        if self.schedule == "constant":
            return Rates(constant(step, warmup, self.lr))
        if self.schedule == "cosine":
            return Rates(cosine(step, total, warmup, self.lr, final))
        rate = one_cycle(step, total, warmup, self.lr, final)
        if self.cycle_momentum is None:
            return Rates(rate)
        return Rates(rate, one_cycle_momentum(step, total, warmup, *self.cycle_momentum))


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent with momentum. nesterov: look-ahead momentum (Sutskever et al. 2013)."""

    name: ClassVar[str] = "sgd"

    weight_decay: float = identity(5e-4)
    momentum: float = identity(0.9)
    nesterov: bool = identity(False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0.0 <= self.momentum < 1.0:
            raise ValueError(f"momentum is {self.momentum}; it lies in [0, 1)")
        if self.nesterov and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0")

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.SGD without dampening."""
        return torch.optim.SGD(
            params, lr=self.lr, momentum=self.momentum, weight_decay=self.weight_decay, nesterov=self.nesterov
        )

    def settings(self, rates: Rates) -> dict[str, Any]:
        """Rate and momentum of a step."""
        return {"lr": rates.lr, "momentum": self.momentum if rates.momentum is None else rates.momentum}


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam (Kingma and Ba 2015); weight_decay is added to the gradient, as in the paper's L2 form."""

    name: ClassVar[str] = "adam"

    lr: float = identity(1e-3)
    schedule: ScheduleName = identity("constant")
    betas: tuple[float, float] = identity((0.9, 0.999))

    def __post_init__(self) -> None:
        super().__post_init__()
        if not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"betas are {list(self.betas)}; both lie in [0, 1)")

    def optimizer(self, params: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """torch.optim.Adam."""
        return torch.optim.Adam(params, lr=self.lr, betas=self.betas, weight_decay=self.weight_decay)

    def settings(self, rates: Rates) -> dict[str, Any]:
        """Rate and betas of a step."""
        return {"lr": rates.lr, "betas": (self.betas[0] if rates.momentum is None else rates.momentum, self.betas[1])}
