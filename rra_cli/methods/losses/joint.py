"""The joint batch of all ranks: what makes a loss over pairs of samples the same on one process and on many.

With torchrun, rank r holds a contiguous part of the joint batch: rank 0 its first rows, rank 1 the next ... Losses that
compare samples (NT-Xent, triplets, Barlow Twins' batch statistics) need all rows; so does a plain mean where the ranks'
parts differ in size. Every objective gathers first and then computes:

    z1, z2 = joint_rows(z1, z2)
    loss = nt_xent(z1, z2, temperature)          # the same number on every rank

The factor. Let L be that loss, W the number of ranks and g_r = dL/d(rows of rank r). All W ranks compute L, and the
gather's backward pass sums what they all say about rank r's rows: W g_r. Rank r then has the parameter gradient
W g_r d(rows_r)/d(theta), and the *average* over ranks (the loop's, or DistributedDataParallel's) gives

    1/W sum_r W g_r d(rows_r)/d(theta) = dL/d(theta),

the gradient of one process on the joint batch, for any split and for a network whose rows do not depend on one another
(no batch norm, or a synchronised one). A gather that hands back only the own rank's gradient gives 1/W of it: that
mistake stood in widely used libraries for years, where it was not seen in the loss's value, nor with optimisers that
rescale gradients. Parameters outside of the encoder (projector, predictor) are averaged as well.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import distributed
from torch.autograd.function import Function, once_differentiable

from rra_cli.methods.losses.rows import widened


def world_size() -> int:
    """The number of ranks; 1 where nothing is distributed."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def joint_rows(*parts: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Each tensor `(n, ...)` with the rows of all ranks `(sum of n, ...)`, in rank order; differentiable.

    Without other ranks the tensors are returned as they are. All ranks call it with the same number of tensors, of the
    same kinds; n may differ between ranks (0 included), but is one for all tensors of a call. Half precisions become
    float32, so that gradients are summed in it; labels and other integers work too. The backward pass sums over ranks.
    Raises ValueError where the tensors of a call differ in their number of rows.
    """
    counts = {len(part) for part in parts}
    if len(counts) > 1:
        raise ValueError(f"tensors of {sorted(counts)} rows cannot be gathered together: a row stands for a sample")
    if world_size() == 1 or not parts:
        return parts
    sizes = _sizes(len(parts[0]), parts[0].device)
    return tuple(_JointRows.apply(widened(part) if part.is_floating_point() else part, sizes) for part in parts)


def _sizes(n: int, device: torch.device) -> tuple[int, ...]:
    """The number of rows on each rank."""
    sizes = [torch.empty(1, dtype=torch.long, device=device) for _ in range(world_size())]
    distributed.all_gather(sizes, torch.tensor([n], device=device))
    return tuple(torch.cat(sizes).tolist())


class _JointRows(Function):
    """All ranks' rows; backwards, the sum over ranks of the gradients of this rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
        ctx.sizes = sizes
        # Collectives want equal shapes: shorter parts are padded, and cut again.
        padded = rows.new_zeros(max(sizes), *rows.shape[1:])
        padded[: len(rows)] = rows
        parts = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(parts, padded)
        return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        total = gradient.clone(memory_format=torch.contiguous_format)
        distributed.all_reduce(total)
        start = sum(ctx.sizes[: distributed.get_rank()])
        return total[start : start + ctx.sizes[distributed.get_rank()]], None
