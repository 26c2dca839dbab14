"""What volume elements and curvatures cost, from the operations of the passes that they are made of."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

from rra_cli.stages import costs
from rra_cli.stages.stage import Cost

if TYPE_CHECKING:
    from rra_cli.pullback.layer_map import LayerMap, LayerMaps
    from rra_cli.stages.pullback.stage import PullbackStage

# On the machine of benchmarks/README.md with 4 threads.
DOUBLE = 3.0e10  # operations of products and decompositions in float64 a second
CALL = 3.0e-4  # seconds of a point beside its operations
# Directional derivatives up to the second order of one point, in forward passes in float64.
SECOND_ORDER = 40.0
_BLOCKS = 1 << 30  # bytes of rows of Jacobians that are held at a time


def pullback_cost(stage: PullbackStage) -> Cost:
    """A backward pass to the input for every number of a layer and point, and the Gram of the rows.

    Of a layer in the middle of the network only the part before it is run.
    """
    metric, shape = stage.metric, stage.images.dataset.input_shape
    n, d = metric.n_points + metric.more_points, prod(shape)
    encoder = stage.training.fresh.encoder()
    maps = stage.maps(encoder)
    seconds, memory = n * CALL, 0
    for layer in maps.maps:
        flops, k = forward_flops(stage.maps(encoder, layers=[layer.name]), shape), layer.n_outputs
        # By rows of J, or by its columns in forward mode, of which each costs two passes.
        rows, small = min(k, 2 * d), min(k, d)
        seconds += n * (rows + 1) * flops / costs.FORWARD_FLOPS
        seconds += n * (2.0 * small * small * max(k, d) + 10.0 * small**3) / DOUBLE
        if metric.curvature:
            seconds += metric.n_points * SECOND_ORDER * flops / costs.FORWARD_FLOPS + metric.n_points * CALL
        memory = max(memory, smallest_memory(layer, d))
    if not stage.training.n_outputs:
        seconds += (metric.probe_samples or 0) * stage.training.fresh.forward_flops / costs.FORWARD_FLOPS + 5.0
    classes = len(stage.images.dataset.class_names)
    disk = 8 * n * (classes + 5 * len(maps.maps))
    return Cost(seconds=seconds, memory_bytes=memory + _BLOCKS, disk_bytes=disk)


def smallest_memory(layer: LayerMap, d: int) -> int:
    """Bytes that one point needs: its Jacobian and the smaller Gram, in float64."""
    k = layer.n_outputs
    return 8 * (k * d + 3 * min(k, d) ** 2)


def forward_flops(maps: LayerMaps, input_shape: tuple[int, int, int]) -> float:
    """Operations of one point's forward pass up to the last of the layers."""
    import torch

    from rra_cli.stages.operations import Operations

    with Operations() as counter, torch.no_grad():
        maps(torch.zeros(1, *input_shape, dtype=maps.dtype))
    return float(counter.total)
