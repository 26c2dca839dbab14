"""Rows of Jacobians by backward passes, columns by forward-mode passes, many at a time and at many points.

The inputs of one batch are the points, each as often as there are rows (columns) to be made at once. So a pass is an
ordinary one, its convolutions see batches, every operation of torch takes part, and the forward pass behind the
backward ones is shared by all rows; `vmap` would share it between copies as well, but takes channels-last maps apart.
"""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Iterator, Sequence
from functools import cache
from typing import Protocol

import torch
from torch.autograd import forward_ad


class Features(Protocol):
    """Points `(n, *input_shape)` to features `(n, n_outputs)` of each layer."""

    def __call__(self, points: torch.Tensor) -> list[torch.Tensor]: ...


def repeated(points: torch.Tensor, copies: int) -> torch.Tensor:
    """`(n, ...)` to `(n * copies, ...)`: all copies of a point after each other."""
    return points.repeat_interleave(copies, dim=0) if copies > 1 else points


def row_blocks(
    features: torch.Tensor, inputs: torch.Tensor, n_points: int, *, last: bool = True
) -> Iterator[tuple[int, torch.Tensor]]:
    """The Jacobian by backward passes: first row and block `(n_points, rows, d)` until all rows are there.

    features: `(n_points * copies, n_outputs)` of `inputs` = `repeated(points, copies)`, which must require gradients.
    last: whether the graph may go with the last block.
    """
    copies, n_outputs = len(inputs) // n_points, features.shape[1]
    for start in range(0, n_outputs, copies):
        rows = min(copies, n_outputs - start)
        chosen = one_hot(start, rows, copies, n_outputs, features)
        keep = not last or start + rows < n_outputs
        cotangents = chosen.expand(n_points, copies, n_outputs).reshape(features.shape)
        (gradient,) = torch.autograd.grad(features, inputs, cotangents, retain_graph=keep)
        yield start, gradient.reshape(n_points, copies, -1)[:, :rows]


def column_blocks(features: Features, points: torch.Tensor, copies: int) -> Iterator[tuple[int, list[torch.Tensor]]]:
    """The Jacobians of all layers by forward mode: first column and, of every layer, a block `(n, columns, n_outputs)`.

    points: `(n, ...)`. copies: columns made at once.
    """
    _load_forward_mode()
    n, d = len(points), points[0].numel()
    inputs = repeated(points, copies)
    for start in range(0, d, copies):
        columns = min(copies, d - start)
        tangents = one_hot(start, columns, copies, d, points).expand(n, copies, d).reshape(inputs.shape)
        with torch.no_grad(), forward_ad.dual_level():
            values = features(forward_ad.make_dual(inputs, tangents))
            found = [_tangent(value).reshape(n, copies, -1)[:, :columns] for value in values]
        yield start, found


def one_hot(start: int, n_ones: int, rows: int, columns: int, like: torch.Tensor) -> torch.Tensor:
    """`(rows, columns)` with ones at (i, start + i) for i < n_ones."""
    chosen = torch.zeros(rows, columns, dtype=like.dtype, device=like.device)
    chosen[:n_ones].diagonal(offset=start).fill_(1)
    return chosen


def has_forward_mode(features: Features, point: torch.Tensor) -> bool:
    """Whether every operation between the input and the layers has a forward-mode derivative; point: `(1, ...)`."""
    try:
        next(column_blocks(features, point, 1))
    except (RuntimeError, NotImplementedError):
        return False
    return True


def graph_bytes(features: Features, points: torch.Tensor, parameters: Sequence[torch.Tensor]) -> int:
    """Bytes that the graph of a forward pass holds per point beside the network's own; points: `(n, ...)`."""
    own = {parameter.untyped_storage().data_ptr() for parameter in parameters}
    saved: list[weakref.ref[torch.Tensor]] = []

    def note(tensor: torch.Tensor) -> torch.Tensor:
        saved.append(weakref.ref(tensor))
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        values = features(points.detach().requires_grad_())
    # What only a graph within the pass had saved is gone by now.
    alive = [tensor.untyped_storage() for tensor in (reference() for reference in saved) if tensor is not None]
    held = {storage.data_ptr(): storage.nbytes() for storage in alive if storage.data_ptr() not in own}
    del values
    return sum(held.values()) // len(points) + points[0].nbytes


@cache
def _load_forward_mode() -> None:
    """What torch loads with the first dual number of a process warns of torch's own doing."""
    with warnings.catch_warnings(), forward_ad.dual_level():
        warnings.simplefilter("ignore", DeprecationWarning)
        forward_ad.make_dual(torch.zeros(1), torch.zeros(1))


def _tangent(value: torch.Tensor) -> torch.Tensor:
    primal, tangent = forward_ad.unpack_dual(value)
    # A layer that does not depend on the input has no tangent.
    return torch.zeros_like(primal) if tangent is None else tangent
