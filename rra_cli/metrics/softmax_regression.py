"""Softmax regression on frozen features: by minibatches of Adam, or to the optimum by L-BFGS. Needs torch.

Features are read by blocks of rows, so a layer may be larger than memory; where it fits, a float32 copy is kept. The
result does not depend on which of the two happened. On one device and with one number of threads it is the same to the
last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.core.reproducibility import derive_seed, ieee_float32
from rra_cli.core.resources import free_memory
from rra_cli.metrics.probe import row_blocks
from rra_cli.neighbors.preprocess import fit

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Recipe:
    """Of `train_by_adam`. Adam with a one-cycle rate up to peak_lr and its first beta cycled against it.

    momentum: (low, high) of that beta. weight_decay: L2, added to the gradient of weights and bias.
    """

    epochs: int
    batch_size: int
    peak_lr: float
    momentum: tuple[float, float]
    weight_decay: float
    seed: int


@dataclass(frozen=True, eq=False)
class Weights:
    """A fitted classifier: weight `(C, features)` and bias `(C,)`, float32 on the features' device.

    loss: mean cross-entropy over the training samples that it ended with. converged: whether the optimum was reached,
    None where none is sought.
    """

    weight: torch.Tensor
    bias: torch.Tensor
    loss: float
    converged: bool | None = None


class Features:
    """Activations `(n, features)` as float32 rows on a device; standardised where a transform says so.

    Kept in memory as they are read, up to `memory` bytes in all, else read again each time.
    """

    def __init__(
        self, activations: NDArray[Any], transform: Callable[[NDArray[Any]], NDArray[Any]], device: str, memory: int
    ) -> None:
        self._activations, self._transform, self.device = activations, transform, device
        self._kept = self._copy() if self.n_bytes <= memory else None

    @property
    def shape(self) -> tuple[int, int]:
        """Samples and features."""
        n, features = self._activations.shape
        return int(n), int(features)

    @property
    def n_bytes(self) -> int:
        """Of all of them as float32."""
        return 4 * self.shape[0] * self.shape[1]

    def blocks(self) -> list[slice]:
        """A fixed division of the rows."""
        return list(row_blocks(self.shape[0], 4 * self.shape[1]))

    def rows(self, which: slice | NDArray[np.int64]) -> torch.Tensor:
        """The rows of a block, or those at ascending positions."""
        if self._kept is None:
            return self._read(which)
        import torch

        if isinstance(which, slice):
            return self._kept[which]
        return self._kept[torch.from_numpy(which).to(self.device)]

    def _read(self, which: slice | NDArray[np.int64]) -> torch.Tensor:
        import torch

        block = self._transform(np.asarray(self._activations[which]))
        rows = torch.empty(block.shape)
        rows.numpy()[...] = block  # into torch's own memory, aligned like all of its arrays
        return rows.to(self.device)

    def _copy(self) -> torch.Tensor:
        import torch

        kept = torch.empty(self.shape, device=self.device)
        for rows in self.blocks():
            kept[rows] = self._read(rows)
        return kept


@contextmanager
def opened(
    train: NDArray[Any], test: NDArray[Any], *, standardise: bool, device: str = "cpu", memory: int | None = None
) -> Iterator[tuple[Features, Features]]:
    """Both splits as features; standardise: by mean and standard deviation of the training split (constant ones to 0).

    memory: bytes for copies of both (default: a quarter of what is free). Inside, products on a GPU are in float32.
    """
    budget = free_memory() // 4 if memory is None else memory
    transform = fit("zscore", train).apply if standardise else _as_it_is
    with ieee_float32():
        features = Features(train, transform, device, budget)
        left = budget - (features.n_bytes if features.n_bytes <= budget else 0)
        yield features, Features(test, transform, device, left)


def train_by_adam(
    features: Features, codes: NDArray[np.int64], n_classes: int, recipe: Recipe, progress: Progress = silent
) -> Weights:
    """Cross-entropy by minibatches. codes: `(n,)` classes 0..n_classes - 1. The order of the samples and the initial
    weights (U(-1, 1) / sqrt(features), torch's own for a linear layer) come from the seed alone.

    The one-cycle schedule is torch's OneCycleLR with its defaults: 30 % of the steps up from a 25th of the peak, both
    ways along a cosine. An epoch's last batch may be smaller.
    """
    import torch
    from torch.nn.functional import cross_entropy

    n, width = features.shape
    generator = torch.Generator().manual_seed(derive_seed(recipe.seed, "linear_probe"))
    bound = width**-0.5
    weight, bias = (
        torch.empty(shape).uniform_(-bound, bound, generator=generator) for shape in ((n_classes, width), (n_classes,))
    )
    targets = torch.from_numpy(codes).to(features.device)
    weight, bias = (part.to(features.device).requires_grad_() for part in (weight, bias))
    low, high = recipe.momentum
    optimizer = torch.optim.Adam([weight, bias], lr=recipe.peak_lr, weight_decay=recipe.weight_decay)
    steps = -(-n // recipe.batch_size)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.peak_lr, total_steps=steps * recipe.epochs, base_momentum=low, max_momentum=high
    )
    for epoch in range(recipe.epochs):
        order = torch.randperm(n, generator=generator).numpy()
        for start in range(0, n, recipe.batch_size):
            # Ascending: the order within a batch changes nothing, and a file is read forwards.
            batch = np.sort(order[start : start + recipe.batch_size])
            wanted = targets[torch.from_numpy(batch).to(features.device)]
            loss = cross_entropy(torch.addmm(bias, features.rows(batch), weight.T), wanted)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        progress(epoch + 1, recipe.epochs, f"loss {loss.item():.3f}")
    weight, bias = weight.detach(), bias.detach()
    return Weights(weight, bias, _mean_loss(features, targets, weight, bias))


def fit_by_lbfgs(
    features: Features,
    codes: NDArray[np.int64],
    n_classes: int,
    *,
    l2: float,
    max_iterations: int,
    tolerance: float = 1e-4,
    progress: Progress = silent,
) -> Weights:
    """The minimum of sum of cross-entropies + l2 / 2 |weight|^2 (the bias is free), by scipy's L-BFGS-B.

    That is scikit-learn's LogisticRegression with C = 1 / l2. Both are divided by n, so that `tolerance` (the largest
    entry of the gradient) means the same for any number of samples. Starts at zero, so no seed is needed.
    """
    import torch
    from scipy.optimize import minimize

    n, width = features.shape
    targets = torch.from_numpy(codes).to(features.device)
    penalty = l2 / n
    done = 0

    def objective(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        parts = flat.reshape(n_classes, width + 1)
        on_device = torch.from_numpy(parts.astype(np.float32)).to(features.device)
        weight, bias = on_device[:, :width].contiguous(), on_device[:, width].contiguous()
        loss, gradient = 0.0, np.zeros_like(parts)
        for rows in features.blocks():
            block, wanted = features.rows(rows), targets[rows]
            logs = torch.log_softmax(torch.addmm(bias, block, weight.T), dim=1)
            loss -= float(logs.gather(1, wanted[:, None]).double().sum())
            errors = logs.exp()
            errors[torch.arange(len(wanted), device=wanted.device), wanted] -= 1.0
            gradient[:, :width] += (errors.T @ block).double().cpu().numpy()
            gradient[:, width] += errors.double().sum(dim=0).cpu().numpy()
        gradient /= n
        gradient[:, :width] += penalty * parts[:, :width]
        return loss / n + penalty / 2 * float(np.square(parts[:, :width]).sum()), gradient.ravel()

    def iterated(_: NDArray[np.float64]) -> None:
        nonlocal done
        done += 1
        progress(done, max_iterations, "")

    found = minimize(
        objective,
        np.zeros(n_classes * (width + 1)),
        jac=True,
        method="L-BFGS-B",
        callback=iterated,
        options={"maxiter": max_iterations, "maxfun": 2 * max_iterations, "gtol": tolerance, "ftol": 1e-9},
    )
    parts = torch.from_numpy(found.x.reshape(n_classes, width + 1).astype(np.float32)).to(features.device)
    weight, bias = parts[:, :width].contiguous(), parts[:, width].contiguous()
    return Weights(weight, bias, _mean_loss(features, targets, weight, bias), bool(found.success))


def predict(features: Features, weights: Weights) -> NDArray[np.int64]:
    """The class 0..C - 1 of the largest output of every row, `(n,)`; of equal ones the lowest."""
    import torch

    found = [
        torch.addmm(weights.bias, features.rows(rows), weights.weight.T).argmax(dim=1) for rows in features.blocks()
    ]
    return torch.cat(found).cpu().numpy()


def _mean_loss(features: Features, targets: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor) -> float:
    import torch
    from torch.nn.functional import cross_entropy

    total = 0.0
    for rows in features.blocks():
        outputs = torch.addmm(bias, features.rows(rows), weight.T)
        total += float(cross_entropy(outputs, targets[rows], reduction="none").double().sum())
    return total / features.shape[0]


def _as_it_is(block: NDArray[Any]) -> NDArray[Any]:
    return block
