"""What stages cost, from sizes alone. Rates are committed figures of one machine, so that a plan is deterministic.

They are orders of magnitude for a person who decides whether to start a run now or overnight.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import TYPE_CHECKING

from rra_cli.core.numba_threads import usable_cores
from rra_cli.methods.method import Batch, Objective
from rra_cli.neighbors import cost_model
from rra_cli.neighbors.nn_descent import PynndescentEngine
from rra_cli.stages.stage import Cost

if TYPE_CHECKING:
    from torch import nn

    from rra_cli.models.encoder import Encoder
    from rra_cli.stages.capture import LayerCapture
    from rra_cli.stages.graphs.graph import GraphStage
    from rra_cli.stages.train import TrainStage

# Measured by benchmarks/stage_rates.py; see benchmarks/README.md for the machine.
TRAINING_FLOPS = 1.7e11  # forward and backward passes
FORWARD_FLOPS = 1.8e11
PIXEL_SECONDS = 3.8e-8  # of a view's values in a step beside its operations: augmentation, pooling, activations
STEP_SECONDS = 9.8e-4  # of a step beside its samples
DISK_BYTES = 3.1e8


def training(stage: TrainStage) -> Cost:
    """The steps of the method, with their operations as counted on one, and a forward pass per sample looked at.

    Accumulated batches cost what they cost alone; several processes share them.
    """
    if not stage.method.trains:
        return Cost(seconds=1.0, disk_bytes=stage.fresh.weight_bytes)
    dataset, method = stage.images.dataset, stage.method
    n_train = dataset.train_size or dataset.sizes["train"]
    pixels = _input_bytes(stage) * PIXEL_SECONDS
    step = n_train * (stage.fresh.step_flops / TRAINING_FLOPS + method.n_views * pixels)
    step += n_train / method.batch_size * STEP_SECONDS
    look = stage.fresh.forward_flops / FORWARD_FLOPS + pixels
    return Cost(
        seconds=method.epochs * step / method.ranks + _n_looked_at(stage, n_train) * look,
        memory_bytes=6 * stage.fresh.weight_bytes + n_train * _input_bytes(stage),
        disk_bytes=(len(stage.entries) + 3) * stage.fresh.weight_bytes,
    )


def capture(stage: LayerCapture) -> Cost:
    """Projecting and writing the layer; the forward pass is shared by all layers of the pass, so each carries its part.

    A projection is in float64, at about half of the forward pass's rate.
    """
    network = stage.capture_pass.training
    flops = 0 if network is None else network.fresh.forward_flops / len(stage.capture_pass.layers)
    flops += 2 * 2.0 * stage.width * stage.n_features if stage.is_projected else 0
    seconds = stage.point.n_samples * flops / FORWARD_FLOPS + stage.n_bytes / DISK_BYTES
    batch = stage.capture_pass.batch_size * stage.width * 4
    return Cost(seconds=seconds, memory_bytes=2 * batch, disk_bytes=stage.n_bytes)


def graph(stage: GraphStage) -> Cost:
    """The search by the engine that was chosen for the layer, on the CPU of the committed figures.

    Descent runs in n_jobs threads whatever the run has, as far as there are cores.
    """
    n, d, k = stage.point.n_samples, stage.source.n_features, stage.k
    engine, once = stage.engine, {"compiled code": cost_model.KERNEL_LOAD}
    if isinstance(engine, PynndescentEngine):
        seconds = cost_model.nn_descent_seconds(n, d, k, n_neighbors=engine.n_neighbors, compiled=True)
        seconds *= cost_model.THREADS / min(engine.n_jobs, usable_cores())
        memory = cost_model.nn_descent_bytes(n, d, k, n_neighbors=engine.n_neighbors)
        once["pynndescent"] = cost_model.DESCENT_COMPILE
        return Cost(seconds=seconds, memory_bytes=memory, disk_bytes=n * k * 12, once=once)
    shards = stage.shards.count
    seconds, memory = cost_model.exact_seconds(n, d, k, shards=shards), cost_model.exact_bytes(n, d, k)
    return Cost(
        seconds=seconds,
        memory_bytes=memory,
        disk_bytes=n * k * 12,
        threaded=seconds - shards * cost_model.EXACT_START,
        blocks=memory - cost_model.graph_bytes(n, k),
        once=once,
    )


def reading(n: int, d: int) -> Cost:
    """A metric of a layer's activations: read once, and a decomposition of its smaller side."""
    return Cost(seconds=2.0 * n * d * min(n, d) / FORWARD_FLOPS + 4.0 * n * d / DISK_BYTES, memory_bytes=8 * n * d)


def comparing(pairs: float, n: int, k: int) -> float:
    """Seconds for the overlap of so many pairs of neighbour graphs."""
    return pairs * n * k * 2e-8


def forward_flops(module: nn.Module, input_shape: Sequence[int]) -> float:
    """Operations of one sample's forward pass, counted on the architecture itself (a multiply-add is two)."""
    import torch

    from rra_cli.stages.operations import Operations

    module.eval()
    with Operations() as counter, torch.no_grad():
        module(torch.zeros(1, *input_shape))
    return float(counter.total)


def step_flops(encoder: Encoder, objective: Objective, input_shape: Sequence[int], n_views: int) -> float:
    """Operations of one sample in a step: forward and backward passes of all views through network and heads.

    Counted on a batch of four, so what grows with the square of a batch (similarities of all pairs) is left out.
    """
    import torch

    from rra_cli.stages.operations import Operations

    n = 4
    images = torch.linspace(0, 1, n * prod(input_shape)).view(n, *input_shape)
    batch = Batch((images,) * n_views, torch.tensor([0, 0, 1, 1]), torch.arange(n))
    encoder.module.train()
    with torch.random.fork_rng(devices=[]), Operations() as counter:
        objective.train().loss(encoder.module, batch)[0].backward()
    return float(counter.total) / n


def _n_looked_at(stage: TrainStage, n_train: int) -> int:
    """Samples that are looked at without augmentation, over all epochs (see `training/lines.py`)."""
    from rra_cli.training.lines import SPREAD_SAMPLES, SPREAD_SHARE, bank_size, is_cheap, is_looked_at

    method, n_test, n_clean = stage.method, stage.images.dataset.sizes["test"], bank_size(stage.method, n_train)
    cheap = is_cheap(n_clean + n_test, n_train, method.n_views)
    looks = sum(is_looked_at(epoch, method.epochs, method, cheap=cheap) for epoch in range(method.epochs + 1))
    spread = (method.epochs + 1) * min(SPREAD_SAMPLES, n_train // SPREAD_SHARE)
    return spread + looks * n_clean + (method.epochs + 1 if method.classifies else looks) * n_test


def _input_bytes(stage: TrainStage) -> int:
    channels, height, width = stage.images.dataset.input_shape
    return channels * height * width
