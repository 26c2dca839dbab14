"""What a network predicts at points of its input space; a logistic regression predicts where it has no classifier."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from rra_cli.metrics.probe import coded
from rra_cli.metrics.softmax_regression import fit_by_lbfgs, opened

_BATCH = 256
_L2 = 1.0  # scikit-learn's C = 1, on standardised features
_MOST_ITERATIONS = 200


@dataclass(frozen=True, eq=False)
class ProbeData:
    """What a logistic regression on the network's outputs is fitted to.

    batch: the network's inputs of samples start..stop. labels: `(n,)` int64.
    """

    batch: Callable[[int, int], torch.Tensor]
    labels: NDArray[np.int64]


def probabilities(
    module: nn.Module, points: Callable[[int, int], torch.Tensor], n: int, n_classes: int, probe: ProbeData | None
) -> NDArray[np.float64]:
    """`(n, n_classes)` of the n points, given as `points(start, stop)`, each row adding up to 1.

    The softmax of the network's outputs; with a probe that of a multinomial logistic regression on its standardised
    outputs, fitted to the probe's samples (l2 = 1, as `logistic_probe`).
    """
    if probe is None:
        return softmax(outputs(module, points, n))
    classes, codes = coded(probe.labels)
    train, asked = outputs(module, probe.batch, len(codes)), outputs(module, points, n)
    found = np.zeros((n, n_classes))
    with opened(train, asked, standardise=True) as (features, unseen):
        weights = fit_by_lbfgs(features, codes, len(classes), l2=_L2, max_iterations=_MOST_ITERATIONS)
        logits = [torch.addmm(weights.bias, unseen.rows(rows), weights.weight.T) for rows in unseen.blocks()]
    found[:, classes] = softmax(torch.cat(logits).double().cpu().numpy())
    return found


def outputs(module: nn.Module, points: Callable[[int, int], torch.Tensor], n: int) -> NDArray[np.float32]:
    """The network's output at n points, `(n, features)`."""
    return np.concatenate([module(batch).flatten(1).cpu().numpy() for batch in _batches(points, n)])


def softmax(logits: NDArray[np.floating]) -> NDArray[np.float64]:
    """Of every row, in float64; an infinite or missing logit gives a row of NaN."""
    shifted = np.asarray(logits, np.float64)
    shifted = shifted - shifted.max(axis=1, keepdims=True)
    powers = np.exp(shifted)
    return powers / powers.sum(axis=1, keepdims=True)


def _batches(points: Callable[[int, int], torch.Tensor], n: int) -> Iterator[torch.Tensor]:
    with torch.no_grad():
        for start in range(0, n, _BATCH):
            yield points(start, min(n, start + _BATCH))
