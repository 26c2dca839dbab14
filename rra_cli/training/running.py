"""Means over the batches of an epoch, fetched from the device now and then so that no step waits for them."""

from __future__ import annotations

import math
from typing import Any

import torch


class NotFiniteError(ArithmeticError):
    """The loss of a batch is NaN or infinite. step: its number in the epoch, from 0; value: what it is."""

    def __init__(self, step: int, value: float) -> None:
        super().__init__(f"the loss of step {step} is {value}")
        self.step, self.value = step, value


class Running:
    """Means over samples of what the batches of an epoch report. step: how many batches were fetched.

    Sums are taken in double precision in the order of the batches, so they do not depend on when they were fetched.
    """

    def __init__(self) -> None:
        self.step = 0
        self.n = 0
        self.sums: dict[str, float] = {}
        self._pending: list[tuple[int, torch.Tensor]] = []
        self._names: list[str] = []

    def add(self, n: int, figures: dict[str, torch.Tensor]) -> None:
        """The figures (scalars on the device, the loss first) of the next batch, means over its n samples."""
        self._names = list(figures)
        row = torch.stack([value.detach().float() for value in figures.values()])
        self._pending.append((n, row))

    def means(self) -> dict[str, float]:
        """The means so far. Raises `NotFiniteError` for the first step whose loss is not finite."""
        if self._pending:
            rows = torch.stack([row for _, row in self._pending]).tolist()
            for (n, _), row in zip(self._pending, rows, strict=True):
                if not math.isfinite(row[0]):
                    raise NotFiniteError(self.step, row[0])
                self.step += 1
                self.n += n
                for name, value in zip(self._names, row, strict=True):
                    self.sums[name] = self.sums.get(name, 0.0) + n * value
            self._pending.clear()
        return {name: total / self.n for name, total in self.sums.items()}

    def state(self) -> dict[str, Any]:
        """What `restore` needs; `means` first."""
        return {"step": self.step, "n": self.n, "sums": dict(self.sums)}

    def restore(self, state: dict[str, Any]) -> None:
        """Goes on from a `state`."""
        self.step, self.n, self.sums = state["step"], state["n"], dict(state["sums"])
