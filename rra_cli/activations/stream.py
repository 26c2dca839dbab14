"""The streamed pass: one forward pass fills one .npy per requested layer, and goes on where it was killed."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from rra_cli.activations.background import RowWriter
from rra_cli.activations.hooks import Taps, undisturbed
from rra_cli.activations.layer_files import LayerFile, Request, note_done, pass_spec, resume, write_rows
from rra_cli.activations.layers import example_inputs
from rra_cli.activations.pooling import Pooler, pooled_shape
from rra_cli.activations.projection import Projection, Projector
from rra_cli.core import files
from rra_cli.core.progress import Progress, silent

# How often finished rows are flushed to disk and noted: what a kill costs at most. Flushing many layers to a slow disk
# takes longer than a moment, and then at most a tenth of the time.
NOTE_SECONDS = 5.0
_MOMENT = 0.5


@dataclass(frozen=True)
class Captured:
    """A captured layer. path: `.npy` `(n_samples, n_features)`. nonfinite_rows: rows that hold NaN or infinity."""

    path: Path
    nonfinite_rows: int


def stream(
    module: nn.Module,
    batches: Callable[[int, int], torch.Tensor],
    n_samples: int,
    requests: Sequence[Request],
    work: Path,
    *,
    batch_size: int,
    device: str,
    dtype: str = "float32",
    projection: Projection | None = None,
    memory: int | None = None,
    progress: Progress = silent,
) -> dict[Request, Captured]:
    """Captures all requests in one pass over the samples `0..n_samples`, a batch at a time.

    module: on `device` already; left as it was (mode, buffers, random generators). batches: `(start, stop)` -> inputs
    `(stop - start, ...)` on the device. work: a folder of this pass alone; each layer is written into a sub-folder of
    its own. dtype: float32 or float16 of what is written; pooling comes before, in the layer's own. projection: of the
    layers that have more features than it has dimensions. Memory: the forward pass of one batch, one layer of it with
    its windows, 64 MB of rows on their way to the disk (at least the last), and `memory` bytes of the projection's
    matrix (default: an eighth of what is free).

    Killed and called again with the same `work` it goes on at the last batch noted on disk, at the same multiples of
    `batch_size`, so the bytes are those of an undisturbed pass; fewer requests than before go on, too (a part was
    published meanwhile). Anything else that differs, or damage, starts over. `work` must belong to one network and one
    set of samples; they are not compared.

    NaN and infinity are counted, not refused. Raises UserError where a module does not exist, is not called exactly
    once, or gives no tensor with one row per sample, where a value overflows float16, and where the disk is full.
    """
    if dtype not in ("float32", "float16"):
        raise ValueError(f"dtype must be float32 or float16, got {dtype!r}")
    if n_samples < 1 or batch_size < 1 or not requests or len(set(requests)) != len(requests):
        raise ValueError(f"{n_samples} samples in batches of {batch_size}, requests {list(requests)}")
    spec = pass_spec(n_samples, batch_size, dtype, device, projection)
    projector = None if projection is None else Projector(projection, memory=memory)
    layers = [LayerFile.of(request, work) for request in requests]
    by_module: dict[str, list[LayerFile]] = {}
    for layer in layers:
        by_module.setdefault(layer.request.module, []).append(layer)
    done = resume(work, spec, layers)
    start = done

    def receive(reference: str, values: torch.Tensor) -> None:
        pooler = Pooler(values.detach())
        for layer in by_module[reference]:
            rows = pooler.at(layer.request.pooling).to(torch.float32)
            write_rows(layer, rows, start, n_samples, dtype, projector, writer)

    noted_at, pause = time.monotonic(), NOTE_SECONDS
    progress(done, n_samples, "")
    with RowWriter() as writer, undisturbed(module, device), Taps(module, list(by_module), receive) as taps:
        for start in range(done, n_samples, batch_size):
            stop = min(start + batch_size, n_samples)
            inputs = batches(start, stop)
            if len(inputs) != stop - start:
                raise ValueError(f"asked for samples {start} to {stop}, got {len(inputs)}")
            # A network that draws random numbers even in evaluation mode draws the same ones after a resume.
            _seed(start, device)
            taps.forward(inputs)
            files.boundary("capture: batch written")
            if stop == n_samples or time.monotonic() - noted_at >= pause:
                began = time.monotonic()
                writer.flush()
                note_done(work, spec, layers, stop)
                noted_at = time.monotonic()
                pause = max(NOTE_SECONDS, 10 * (noted_at - began) if noted_at - began > _MOMENT else 0.0)
            progress(stop, n_samples, "")
    return {layer.request: Captured(layer.path, layer.nonfinite_rows) for layer in layers}


def feature_shapes(
    module: nn.Module, requests: Sequence[Request], input_shape: Sequence[int]
) -> dict[Request, tuple[int, ...]]:
    """Shape of one sample of every request after pooling; features are the product. A dry run on two samples of zeros.

    input_shape: of one sample. The network is left as it was. Raises UserError as `stream` does.
    """
    shapes: dict[str, tuple[int, ...]] = {}

    def receive(reference: str, values: torch.Tensor) -> None:
        shapes[reference] = tuple(values.shape[1:])

    with undisturbed(module), Taps(module, [request.module for request in requests], receive) as taps:
        taps.forward(example_inputs(module, input_shape))
    return {request: pooled_shape(shapes[request.module], request.pooling) for request in requests}


def _seed(seed: int, device: str) -> None:
    torch.random.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
