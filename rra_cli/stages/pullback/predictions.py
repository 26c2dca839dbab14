"""The points of a pullback metric as a network takes them, and what it predicts there."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.data.normalise import standardise, to_unit
from rra_cli.pullback.place import Place
from rra_cli.pullback.predictions import ProbeData, probabilities

if TYPE_CHECKING:
    from rra_cli.data.dataset import Samples


def points_for(place: Place, module: nn.Module, device: str, start: int, stop: int) -> torch.Tensor:
    """The points `(stop - start, c, h, w)` on the network's device, in its type."""
    return torch.from_numpy(place.points(start, stop)).to(device, next(module.parameters()).dtype)


def predictions(
    place: Place, module: nn.Module, device: str, trained: Samples | None, probe_samples: int | None
) -> NDArray[np.float64]:
    """`(points, classes)`: by the network, or, given the samples that it was trained on, by a logistic regression on
    what it gives, fitted to `probe_samples` of them (None: all).
    """
    probe = None if trained is None else _probe(place, module, device, trained, probe_samples)
    points = partial(points_for, place, module, device)
    return probabilities(module, points, len(place), len(place.dataset.class_names), probe)


def _probe(place: Place, module: nn.Module, device: str, trained: Samples, most: int | None) -> ProbeData:
    n, dtype = min(most or len(trained), len(trained)), next(module.parameters()).dtype

    def batch(start: int, stop: int) -> torch.Tensor:
        values = to_unit(torch.from_numpy(trained.images[start : min(stop, n)]))
        if place.metric.space == "normalised":
            values = standardise(values, place.dataset.mean, place.dataset.std)
        return values.to(device, dtype)

    return ProbeData(batch, trained.labels[:n])
