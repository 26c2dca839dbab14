"""How the Jacobians of several layers are made within a memory budget: by rows or columns, how many points at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from rra_cli.core.resources import format_bytes, free_memory
from rra_cli.errors import UserError
from rra_cli.pullback.layer_map import LayerMap

# Memory of the graphs of one batch that keeps the processor busy; larger batches are no faster.
_BATCH_BYTES = {"cpu": 512 << 20, "cuda": 4 << 30}
_ENOUGH = {"cpu": 2 << 30, "cuda": 8 << 30}
# The forward pass is made for every copy of a point; 1 of so many backward passes is little.
_PASSES_PER_COPY = 16
# A column is a forward pass with its tangent, a row the backward pass alone.
_COLUMN_COST = 2


@dataclass(frozen=True)
class Job:
    """Some layers whose Jacobians are made together.

    layers: their numbers. by_rows: by backward passes, else by forward-mode columns. points: at a time. copies: rows
    (columns) per point at a time. held: of each layer, whether its whole Jacobian is held; else its Gram is added up
    from the passes, whose number is then that of the Jacobian's longer side.
    """

    layers: tuple[int, ...]
    by_rows: bool
    points: int
    copies: int
    held: tuple[bool, ...]


def default_memory(device: torch.device) -> int:
    """Bytes: enough for full speed, or half of the memory that is free where the network computes.

    A constant wherever it can be, so that a run is cut alike, and equal to the last bit, however much is free.
    """
    free = torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()
    return min(_ENOUGH.get(device.type, _ENOUGH["cpu"]), free // 2)


def plan(
    layers: Sequence[LayerMap],
    n_inputs: int,
    n_points: int,
    *,
    memory: int,
    graph: int,
    dtype: torch.dtype,
    device: str,
    forward_mode: Callable[[], bool],
) -> list[Job]:
    """The cheapest jobs that fit. graph: bytes of a forward pass per point. forward_mode: whether columns can be made;

    it is asked only where they are wanted, because torch takes seconds to load what it needs.
    Columns serve all layers at once, rows one layer each. Raises UserError, saying what to lower, where one point of a
    layer does not fit.
    """
    room = memory - 2 * graph
    rows = [_point_bytes(layer.n_outputs, n_inputs, dtype) for layer in layers]
    columns = [_point_bytes(n_inputs, layer.n_outputs, dtype) for layer in layers]
    numbers = range(len(layers))
    cheap_columns = _COLUMN_COST * n_inputs < sum(layer.n_outputs for layer in layers)
    by_rows = [i for i in numbers if rows[i] <= room]
    if cheap_columns and sum(columns) <= room and forward_mode():
        by_rows = []
    elif len(by_rows) < len(layers) and not forward_mode():
        by_rows = list(numbers)
    by_columns = [i for i in numbers if i not in by_rows]
    jobs = []
    if by_rows:
        most = max(by_rows, key=lambda i: rows[i])
        _check(layers[most], n_inputs, rows[most], room, memory)
        needed, passes = rows[most], max(layers[i].n_outputs for i in by_rows)
        held = tuple(layers[i].n_outputs <= n_inputs for i in by_rows)
        jobs.append(_job(by_rows, True, held, needed, passes, room, graph, n_points, device))
    if by_columns:
        most = max(by_columns, key=lambda i: columns[i])
        # Together where they fit together, one after the other where they do not.
        groups = [by_columns] if sum(columns[i] for i in by_columns) <= room else [[i] for i in by_columns]
        for group in groups:
            needed = sum(columns[i] for i in group)
            _check(layers[group[0]], n_inputs, needed, room, memory)
            held = tuple(n_inputs <= layers[i].n_outputs for i in group)
            jobs.append(_job(group, False, held, needed, n_inputs, room, graph, n_points, device))
    return jobs


def _job(
    layers: Sequence[int],
    by_rows: bool,
    held: tuple[bool, ...],
    needed: int,
    passes: int,
    room: int,
    graph: int,
    n_points: int,
    device: str,
) -> Job:
    batch = max(1, min(_BATCH_BYTES.get(device, _BATCH_BYTES["cpu"]), (room - needed) // 2) // (2 * graph))
    points = max(1, min(n_points, batch, (room - 2 * graph * batch) // needed))
    copies = max(1, min(passes, batch // points))
    if by_rows:
        copies = min(copies, max(1, passes // _PASSES_PER_COPY))
    copies = math.ceil(passes / math.ceil(passes / copies))  # the last pass is as full as the others
    return Job(tuple(layers), by_rows, points, copies, held)


def _point_bytes(passes: int, length: int, dtype: torch.dtype) -> int:
    """Bytes of one point beside the forward pass: its Jacobian where it is held, its Gram and that one's factors."""
    small = min(passes, length)
    held = passes * length * dtype.itemsize if passes <= length else 0
    decomposed = 2 * passes * length * 8 if dtype == torch.float64 and held else 0
    return held + decomposed + 5 * small * small * 8


def _check(layer: LayerMap, n_inputs: int, needed: int, room: int, memory: int) -> None:
    if needed > room:
        small = min(n_inputs, layer.n_outputs)
        raise UserError(
            f"one point of layer {layer.name!r} ({layer.n_outputs} x {n_inputs} derivatives, a Gram of {small} x "
            f"{small}) takes {format_bytes(needed + memory - room)}, {format_bytes(memory)} may be taken",
            "lower the size of the inputs, pool the layer to fewer numbers (features=pooled, limit), or raise memory",
        )
