"""Probes without training: a test sample's class by its nearest training samples (k-NN, 1-NN)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from rra_cli.core import files
from rra_cli.core.fields import identity
from rra_cli.metrics.estimate import Estimate
from rra_cli.metrics.metric import PLAIN, SplitData, TransferMetric, Workshop
from rra_cli.metrics.probe import accuracy, checked, coded, row_blocks
from rra_cli.neighbors.exact import exact_neighbors
from rra_cli.neighbors.graph import InputError, NeighborGraph
from rra_cli.neighbors.preprocess import preprocessed

Weights = Literal["exponential", "uniform"]


def vote(
    graph: NeighborGraph, codes: NDArray[np.int64], n_classes: int, *, temperature: float | None
) -> NDArray[np.int64]:
    """The class that the neighbours of every row elect, `(n,)`; of equal sums of votes the lowest class.

    graph: of test samples among training samples, both with rows of norm 1, so that the cosine similarity is
    s = 1 - d^2 / 2. codes: `(n_reference,)` classes 0..n_classes - 1 of the training samples. temperature: a neighbour
    has exp(s / temperature) votes (Wu, Xiong, Yu, Lin 2018, sec. 3.4, the weighted k-NN of its `kNN` code); None: one.
    """
    elected = np.empty(len(graph), np.int64)
    for rows in row_blocks(len(graph), 40 * graph.k + 8 * n_classes):
        here = codes[graph.indices[rows]]
        n = len(here)
        votes = None
        if temperature is not None:
            s = 1.0 - np.square(graph.distances[rows]) / 2.0
            # Over the largest of the row: the order of the sums is the same, and nothing overflows for a small one.
            votes = np.exp((s - s[:, :1]) / temperature).ravel()
        at = (np.arange(n)[:, None] * n_classes + here).ravel()
        sums = np.bincount(at, votes, minlength=n * n_classes).reshape(n, n_classes)
        elected[rows] = sums.argmax(axis=1)
    return elected


def knn_accuracy(
    train: SplitData,
    test: SplitData,
    k: int,
    *,
    temperature: float | None = 0.1,
    workshop: Workshop = PLAIN,
) -> Estimate:
    """Accuracy of the vote of the k training samples that are nearest by cosine similarity.

    Rows are divided by their Euclidean norms (a row of zeros stays: it is at distance 1 from all others); of samples
    that are equally near those of lower position count first. temperature: of the votes exp(s / temperature), None
    for equal votes; k = 1 is the nearest neighbour's class either way. Blocks of rows are read; what does not fit in
    memory is copied to `workshop.folder`. See `accuracy` for what is returned.

    Raises `InputError` where there are fewer than k training samples or shapes do not fit.
    """
    checked(train, test)
    if not 1 <= k <= len(train.labels):
        raise InputError(f"k is {k}, but there are {len(train.labels)} training samples", "use a smaller k")
    classes, codes = coded(train.labels)
    with _unit_rows(train, workshop, "train") as reference, _unit_rows(test, workshop, "test") as queries:
        graph = exact_neighbors(
            queries,
            k,
            reference=reference,
            device=workshop.device,
            memory=workshop.memory,
            progress=workshop.progress,
            work=workshop.folder,
        )
    elected = classes[vote(graph, codes, len(classes), temperature=None if k == 1 else temperature)]
    return accuracy(elected, np.asarray(train.labels), np.asarray(test.labels))


@contextmanager
def _unit_rows(split: SplitData, workshop: Workshop, name: str) -> Iterator[NDArray[Any]]:
    work = None if workshop.folder is None else workshop.folder / f"unit_rows_{name}"
    if work is not None:
        files.make_folder(work)
    with preprocessed("l2", split.activations, memory=workshop.memory, work=work) as (rows, _):
        yield rows
    if work is not None:
        files.remove(work)


@dataclass(frozen=True)
class KNNProbe(TransferMetric):
    """Accuracy of a vote of the k nearest training samples by cosine similarity (k-NN probe).

    k: neighbours that vote. weights: a neighbour of similarity s has exp(s / tau) votes, or each has one (uniform).
    tau: temperature, not read with uniform weights. The defaults are those of Wu et al. 2018 for ImageNet with a
    temperature of 0.1 rather than its 0.07, as in lightly's benchmarks.
    """

    name: ClassVar[str] = "knn_probe"
    unit: ClassVar[str] = "accuracy"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "neighbourhoods tell the class of unseen samples better"
    engine: ClassVar[str] = "exact"

    k: int = identity(200)
    weights: Weights = identity("exponential")
    tau: float = identity(0.1)

    def __post_init__(self) -> None:
        if self.k < 1:
            raise ValueError(f"k is {self.k}; at least 1 neighbour is needed")
        if not 0.0 < self.tau < float("inf"):
            raise ValueError(f"tau is {self.tau}; a positive number is needed (weights=uniform is without it)")

    @property
    def n_neighbors(self) -> int:
        return self.k

    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        temperature = self.tau if self.weights == "exponential" else None
        return knn_accuracy(train, test, self.k, temperature=temperature, workshop=workshop)


@dataclass(frozen=True)
class OneNNProbe(TransferMetric):
    """Accuracy of the class of the nearest training sample, on normalised activations (1-NN probe).

    The downstream task of the RMQM paper (van der Merwe 2022).
    """

    name: ClassVar[str] = "one_nn_probe"
    unit: ClassVar[str] = "accuracy"
    low: ClassVar[float | None] = 0.0
    high: ClassVar[float | None] = 1.0
    higher_is: ClassVar[str] = "the nearest training sample tells the class of an unseen one better"
    engine: ClassVar[str] = "exact"

    @property
    def n_neighbors(self) -> int:
        return 1

    def measure(self, train: SplitData, test: SplitData, workshop: Workshop = PLAIN) -> Estimate:
        return knn_accuracy(train, test, 1, workshop=workshop)
