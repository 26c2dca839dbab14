"""Training images resident on the device as bytes, and batches of them as a pure function of (seed, epoch, step)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from rra_cli.core.reproducibility import derive_seed
from rra_cli.data.augment import Augment
from rra_cli.data.dataset import Samples
from rra_cli.data.normalise import standardise, to_unit
from rra_cli.errors import UserError
from rra_cli.methods.method import Batch, Method


@dataclass(frozen=True, eq=False)
class Resident:
    """A split as it lies on the device: images `(n, c, h, w)` uint8, labels and ids `(n,)` int64.

    mean, std: per channel, of pixels in [0, 1]: what the network sees is (pixel / 255 - mean) / std.
    """

    images: torch.Tensor
    labels: torch.Tensor
    ids: torch.Tensor
    mean: Sequence[float]
    std: Sequence[float]

    @classmethod
    def of(cls, samples: Samples, mean: Sequence[float], std: Sequence[float], device: str) -> Resident:
        """The samples copied to the device."""

        def move(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device)

        return cls(move(samples.images), move(samples.labels), move(samples.ids), mean, std)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def device(self) -> torch.device:
        """Where it lies."""
        return self.images.device

    def take(self, positions: torch.Tensor) -> Resident:
        """The samples at these positions `(m,)`, in this order."""
        positions = positions.to(self.device)
        images, labels, ids = (part[positions] for part in (self.images, self.labels, self.ids))
        return Resident(images, labels, ids, self.mean, self.std)

    def pixels(self, positions: torch.Tensor | slice) -> torch.Tensor:
        """Images `(m, c, h, w)` float32 in [0, 1], channels last in memory."""
        return to_unit(self.images[positions].contiguous(memory_format=torch.channels_last))

    def standardised(self, pixels: torch.Tensor) -> torch.Tensor:
        """Pixels in [0, 1] as the network sees them, channels last in memory (which augmentations may undo)."""
        return standardise(pixels, self.mean, self.std).contiguous(memory_format=torch.channels_last)


def batch_bounds(n: int, batch_size: int, *, drops_last: bool = False, ranks: int = 1) -> list[tuple[int, int]]:
    """Start and end of every batch of an epoch.

    An incomplete last one is left out where the method says so (drops_last) or where a process would get a single
    sample of it, which has no batch statistics. Raises `UserError` where batch_size exceeds n or is below ranks.
    """
    if batch_size > n:
        raise UserError(
            f"method.batch_size is {batch_size}, but there are only {n} training samples",
            f"set method.batch_size to at most {n}, or raise dataset.train_size",
        )
    if batch_size < ranks:
        raise UserError(
            f"method.batch_size is {batch_size}, too few samples for method.ranks={ranks} processes",
            f"set method.batch_size to at least {ranks}; it is the joint batch of all processes",
        )
    bounds = [(start, min(start + batch_size, n)) for start in range(0, n, batch_size)]
    rest = bounds[-1][1] - bounds[-1][0]
    too_few = rest < 2 * ranks <= batch_size
    return bounds[:-1] if rest < batch_size and (drops_last or too_few) else bounds


def epoch_steps(n: int, method: Method, ranks: int) -> list[list[tuple[int, int]]]:
    """The batches of every optimiser step of an epoch: `method.accumulate` consecutive ones, in the last step the rest.

    Raises `UserError` as `batch_bounds` does.
    """
    bounds = batch_bounds(n, method.batch_size, drops_last=method.drops_last, ranks=ranks)
    return [bounds[first : first + method.accumulate] for first in range(0, len(bounds), method.accumulate)]


def epoch_order(n: int, seed: int, epoch: int) -> torch.Tensor:
    """The order `(n,)` in which an epoch visits the samples; drawn on the CPU, so it is the same on every device."""
    return torch.randperm(n, generator=torch.Generator().manual_seed(derive_seed(seed, "order", epoch)))


def draw_batch(
    data: Resident,
    positions: torch.Tensor,
    augment: Augment,
    n_views: int,
    seed: int,
    epoch: int,
    step: int,
    rows: slice = slice(None),
) -> Batch:
    """The augmented, normalised views of the samples at these positions; epoch and step seed the augmentation.

    step: number of the batch in the epoch. rows: those of the joint batch that this process sees, and changes alone.
    They look as they do in the joint batch: the parameters of all of it are drawn everywhere.
    """
    # On the CPU, so that the drawn parameters are the same on every device.
    generator = torch.Generator().manual_seed(derive_seed(seed, "augment", epoch, step))
    own, shape = positions[rows], (len(positions), *data.images.shape[1:])
    pixels, views = data.pixels(own), []
    for view in range(n_views):
        drawn = {name: numbers[rows] for name, numbers in augment.draw(shape, generator).items()}
        views.append(data.standardised(augment.change(pixels, drawn, view)))
    return Batch(tuple(views), data.labels[own], data.ids[own])
