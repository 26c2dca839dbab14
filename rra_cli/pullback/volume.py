"""The volume element of the pullback metric: by how much the map to a layer magnifies volumes of its input space.

g = J^T J for the Jacobian J `(n_outputs, n_inputs)` of a layer at a point. The volume element is sqrt(det g); where g
is singular because the layer has fewer numbers than the input (or for any other reason), it is the product of the
singular values above the rounding error: the pseudo-determinant. Zavatone-Veth et al. 2023, "Neural networks learn to
magnify areas near decision boundaries".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.core.reproducibility import ieee_float32
from rra_cli.pullback.checks import checked_points
from rra_cli.pullback.layer_map import LayerMap, LayerMaps, numbers_of
from rra_cli.pullback.log_volume import (
    LogVolumes,
    add_grams_of_columns,
    grams_of_rows,
    log_volumes,
    rank_tolerance,
)
from rra_cli.pullback.passes import column_blocks, graph_bytes, has_forward_mode, repeated, row_blocks
from rra_cli.pullback.plan import Job, default_memory, plan


@dataclass(frozen=True)
class Volumes:
    """Volume elements of one layer at n points.

    log_volume: `(n,)` float64, natural logarithm of sqrt(det g), g = J^T J: the sum of the logarithms of the `n_used`
    largest singular values of J; NaN where there is none (`reasons` says why). rank: `(n,)` int64, number of singular
    values above max(n_outputs, n_inputs) eps(forward type) times the largest; -1 where J is not finite. n_used: `(n,)`
    int64, the rank, or `top` where that is smaller. spectrum: `(n, min(n_outputs, n_inputs))` float64, singular values
    in descending order, on request.
    """

    layer: str
    log_volume: NDArray[np.float64]
    rank: NDArray[np.int64]
    n_used: NDArray[np.int64]
    spectrum: NDArray[np.float64] | None
    n_inputs: int
    n_outputs: int

    @property
    def log10(self) -> NDArray[np.float64]:
        """log10 sqrt(det g), `(n,)`: what the poster draws."""
        return self.log_volume / math.log(10)

    @property
    def width_normalised(self) -> NDArray[np.float64]:
        """Natural logarithm of sqrt(det g) for g = J^T J / n_outputs: log_volume - (n_used / 2) log(n_outputs)."""
        return self.log_volume - self.n_used / 2 * math.log(self.n_outputs)

    @property
    def reasons(self) -> list[str]:
        """Why a value is missing, per point; "" where it is there."""
        return [
            "" if used > 0 else "the Jacobian is not finite" if used < 0 else "rank 0: the layer is constant here"
            for used in self.n_used
        ]


def volume_elements(
    maps: LayerMaps,
    points: torch.Tensor | NDArray[np.floating],
    *,
    memory: int | None = None,
    top: int | None = None,
    spectrum: bool = False,
    progress: Progress = silent,
) -> list[Volumes]:
    """The volume element of every layer of `maps` at every point; `(n, *input_shape)` or `(n, d)`, anywhere, any float.

    The forward pass runs in the type of `maps` on its device; Grams and determinants are float64. memory: bytes that
    the call may take (default: 2 GiB, 8 GiB on a GPU, or half of what is free there); it does not grow with the number
    of points. top: only the `top` largest singular values count. spectrum: return the singular values. progress: in
    points.

    Raises UserError for integer points, points of another size, and where one point's Gram does not fit into `memory`;
    ValueError for `top` below 1.
    """
    if top is not None and top < 1:
        raise ValueError(f"top is {top}; expected at least 1")
    inputs = checked_points(torch.as_tensor(points), maps.input_shape)
    memory = default_memory(maps.device) if memory is None else memory
    fast = maps.fast
    with ieee_float32(), torch.enable_grad():
        jobs = _plan(fast, len(inputs), memory)
        found: list[list[LogVolumes]] = [[] for _ in maps.maps]
        shares = [len(job.layers) / len(maps.maps) for job in jobs]
        for number, job in enumerate(jobs):
            before = sum(shares[:number])
            for start in range(0, len(inputs), job.points):
                some = inputs[start : start + job.points].detach().to(maps.device, maps.dtype, copy=True)
                for layer, grams, jacobians in _grams(fast, job, some):
                    tolerance = rank_tolerance(maps.maps[layer].n_outputs, maps.n_inputs, maps.dtype)
                    found[layer].append(
                        log_volumes(grams, jacobians, tolerance, forward=maps.dtype, top=top, spectrum=spectrum)
                    )
                done = before * len(inputs) + shares[number] * (start + len(some))
                progress(round(done), len(inputs), "")
    return [_volumes(layer, maps.n_inputs, parts, spectrum) for layer, parts in zip(maps.maps, found, strict=True)]


def _plan(maps: LayerMaps, n_points: int, memory: int) -> list[Job]:
    example = torch.zeros(2, *maps.input_shape, dtype=maps.dtype, device=maps.device)
    return plan(
        maps.maps,
        maps.n_inputs,
        n_points,
        memory=memory,
        graph=graph_bytes(maps, example, list(numbers_of(maps.module))),
        dtype=maps.dtype,
        device=maps.device.type,
        forward_mode=lambda: has_forward_mode(maps, example[:1]),
    )


def _grams(maps: LayerMaps, job: Job, points: torch.Tensor) -> Iterator[tuple[int, torch.Tensor, torch.Tensor | None]]:
    """Number, smaller Grams `(n, k, k)` and, where it is held, Jacobian `(n, k, length)` of each layer of a job."""
    if job.by_rows:
        inputs = repeated(points, job.copies).requires_grad_()
        features = maps(inputs)
        for layer, held in zip(job.layers, job.held, strict=True):
            collected = Collected(len(points), maps.maps[layer].n_outputs, maps.n_inputs, held)
            last = layer == job.layers[-1]
            for start, block in row_blocks(features[layer], inputs, len(points), last=last):
                collected.add(start, block)
            yield layer, *collected.result()
    else:
        several = [
            Collected(len(points), maps.n_inputs, maps.maps[layer].n_outputs, held)
            for layer, held in zip(job.layers, job.held, strict=True)
        ]
        for start, blocks in column_blocks(maps, points, job.copies):
            for collected, layer in zip(several, job.layers, strict=True):
                collected.add(start, blocks[layer])
        for collected, layer in zip(several, job.layers, strict=True):
            yield layer, *collected.result()


class Collected:
    """The Jacobians of some points as they come, `n_passes` vectors of `length` each: held, or added to a Gram."""

    def __init__(self, n_points: int, n_passes: int, length: int, held: bool) -> None:
        self.shape, self.held = (n_points, n_passes, length), held
        self._matrices: torch.Tensor | None = None
        self._grams: torch.Tensor | None = None

    def add(self, start: int, block: torch.Tensor) -> None:
        """block: `(n_points, some, length)`, vectors number `start` and following."""
        n_points, _, length = self.shape
        if self.held:
            if self._matrices is None:
                self._matrices = block.new_empty(self.shape)
            self._matrices[:, start : start + block.shape[1]] = block
        else:
            if self._grams is None:
                self._grams = block.new_zeros(n_points, length, length, dtype=torch.float64)
            add_grams_of_columns(self._grams, block)

    def result(self) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The smaller Grams, and the matrices where they are held."""
        if self._matrices is not None:
            return grams_of_rows(self._matrices), self._matrices
        assert self._grams is not None
        return self._grams, None


def _volumes(layer: LayerMap, n_inputs: int, parts: list[LogVolumes], spectrum: bool) -> Volumes:
    def joined(field: str, dtype: type, *width: int) -> NDArray:
        found = [getattr(part, field).cpu().numpy() for part in parts]
        return np.concatenate(found) if found else np.empty((0, *width), dtype)

    return Volumes(
        layer.name,
        joined("log_volume", np.float64),
        joined("rank", np.int64),
        joined("n_used", np.int64),
        joined("spectrum", np.float64, min(n_inputs, layer.n_outputs)) if spectrum else None,
        n_inputs,
        layer.n_outputs,
    )
