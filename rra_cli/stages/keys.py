"""How many neighbours are asked for, and under which keys activations and graphs are stored."""

from __future__ import annotations

from typing import Any

from rra_cli.activations.stream import Request
from rra_cli.config.experiment import ActivationsConfig, Experiment
from rra_cli.core.fields import identity_of
from rra_cli.core.spec import Spec
from rra_cli.data.dataset import Split
from rra_cli.errors import UserError
from rra_cli.neighbors.engine import Engine
from rra_cli.stages.capture import VERSION as CAPTURE_VERSION
from rra_cli.stages.graphs.graph import VERSION as GRAPH_VERSION
from rra_cli.stages.images import Images
from rra_cli.stages.point import Checkpoint
from rra_cli.stages.train import TrainStage

# TwoNN's ratio needs two neighbours of every sample.
MIN_SAMPLES = 3


def default_k(n_samples: int, n_classes: int) -> int:
    """max(2, round(N / (10 C))): the neighbour density of the RRA thesis, ch. 5.4."""
    return max(2, round(n_samples / (10 * n_classes)))


def neighbors_of(asked: int | None, n_samples: int, n_classes: int | None) -> int:
    """The k asked for, or the default. Raises `UserError` where the data has no more than k samples."""
    if asked is None and n_classes is None:
        raise UserError(
            "neighbors.k must be given: without labels there is no default (it is N / (10 C) for C classes)",
            f"add neighbors.k=K with 2 <= K < {n_samples}, or put labels.npy beside the layers",
        )
    k = default_k(n_samples, n_classes or 1) if asked is None else asked
    if k < 1:
        raise UserError(f"neighbors.k is {k}; at least 1 is needed", "use neighbors.k=10, or null for the default")
    if n_samples < MIN_SAMPLES:
        raise UserError(
            f"{n_samples} sample{'s are' if n_samples > 1 else ' is'} measured; at least {MIN_SAMPLES} are needed",
            "measure more samples: rows of the files at activations.path, or dataset.n_samples",
        )
    if k >= n_samples:
        raise UserError(
            f"neighbors.k is {k}, but {n_samples} samples are measured, so each has only {n_samples - 1} neighbours",
            f"use neighbors.k={n_samples - 1} or less, or measure more samples (dataset.n_samples)",
        )
    return k


def graph_k(experiment: Experiment, k: int) -> int:
    """Neighbours that a graph holds: k, or more where a metric always reads more (TwoNN reads two)."""
    return max([k, *(metric.fixed_k or 1 for metric in experiment.metrics.metrics.values())])


def activations_spec(
    config: ActivationsConfig,
    images: Images,
    split: Split,
    request: Request,
    width: int,
    training: TrainStage,
    at: Checkpoint,
) -> Spec:
    """What decides the bytes of a layer's activations; layer 0 knows nothing of the network.

    width: the layer's features. One that `activations.reduce` leaves as it is has the key that it has without.
    """
    projection = config.projection
    is_projected = projection is not None and projection.applies_to(width)
    identity: dict[str, Any] = {
        "dataset": images.measured_identity(split),
        "module": request.module,
        "pooling": {"pool": request.pooling.pool, "scale": request.pooling.scale},
        "dtype": config.dtype,
        "reduce": identity_of(projection) if is_projected else None,
    }
    if request.module == "":
        return Spec("capture", CAPTURE_VERSION, identity, ())
    identity |= {"checkpoint": at.entry, "batch_size": config.batch_size}
    return Spec("capture", CAPTURE_VERSION, identity, (training.spec.key,))


def graph_spec(engine: Engine, activations: Spec, k: int, start: Spec | None = None) -> Spec:
    """The key holds k only where the graph of a smaller k is not a prefix of this one.

    start: of the graph that a warm start begins with.
    """
    identity: dict[str, Any] = {"engine": identity_of(engine)}
    if not engine.prefix_stable:
        identity["k"] = k
    upstream = (activations.key,) if start is None else (activations.key, start.key)
    return Spec("graph", GRAPH_VERSION, identity, upstream)
