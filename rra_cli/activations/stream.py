"""The streamed pass: one forward pass fills one .npy per requested layer, and goes on where it was killed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from rra_cli.activations import npy
from rra_cli.activations.hooks import Taps, undisturbed
from rra_cli.activations.layers import example_inputs
from rra_cli.activations.naming import safe_name
from rra_cli.activations.pooling import Pooler, Pooling, pooled_shape
from rra_cli.activations.projection import Projection, Projector
from rra_cli.core import files
from rra_cli.core.progress import Progress, silent
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError

FILE = "activations.npy"
PROGRESS = "progress.json"
VERSION = 1
# How often finished rows are flushed to disk and noted: what a kill costs at most. Flushing many layers to a slow disk
# takes longer than a moment, and then at most a tenth of the time.
NOTE_SECONDS = 5.0
_MOMENT = 0.5


@dataclass(frozen=True)
class Request:
    """One layer to capture. layer: its name in tables. module: its reference (`activations.hooks`), "" the input."""

    layer: str
    module: str
    pooling: Pooling = Pooling()


@dataclass(frozen=True)
class Captured:
    """A captured layer. path: `.npy` `(n_samples, n_features)`. nonfinite_rows: rows that hold NaN or infinity."""

    path: Path
    nonfinite_rows: int


@dataclass
class _Layer:
    """A request with what is known of its file.

    features: of the rows in the file; None until the first batch has been seen. width: of the layer itself, likewise,
    in this process.
    """

    request: Request
    path: Path
    features: int | None = None
    width: int | None = None
    nonfinite_rows: int = 0

    def entry(self) -> dict[str, Any]:
        return {**asdict(self.request), "features": self.features, "nonfinite_rows": self.nonfinite_rows}


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
    its windows, and `memory` bytes of the projection's matrix (default: an eighth of what is free).

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
    spec = _spec(n_samples, batch_size, dtype, device, projection)
    projector = None if projection is None else Projector(projection, memory=memory)
    layers = [_Layer(request, work / _folder_name(request) / FILE) for request in requests]
    by_module: dict[str, list[_Layer]] = {}
    for layer in layers:
        by_module.setdefault(layer.request.module, []).append(layer)
    done = _resume(work, spec, layers)
    start = done

    def receive(reference: str, values: torch.Tensor) -> None:
        pooler = Pooler(values.detach())
        for layer in by_module[reference]:
            rows = pooler.at(layer.request.pooling).to(torch.float32)
            _write(layer, rows, start, n_samples, dtype, projector)

    noted_at, pause = time.monotonic(), NOTE_SECONDS
    progress(done, n_samples, "")
    with undisturbed(module, device), Taps(module, list(by_module), receive) as taps:
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
                _note(work, spec, layers, stop)
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


def _write(
    layer: _Layer, rows: torch.Tensor, start: int, n_samples: int, dtype: str, projector: Projector | None
) -> None:
    if layer.width is not None and rows.shape[1] != layer.width:
        raise UserError(
            f"layer {layer.request.layer!r} has {layer.width} features in one batch and {rows.shape[1]} in another",
            "give the network inputs of one size",
        )
    layer.width = rows.shape[1]
    if projector is not None:
        rows = projector.project(rows)
    if layer.features is None:
        layer.features = rows.shape[1]
        with files.explained(layer.path, n_samples * layer.features * np.dtype(dtype).itemsize):
            layer.path.parent.mkdir(parents=True, exist_ok=True)
            npy.create(layer.path, (n_samples, layer.features), dtype)
    finite = torch.isfinite(rows)
    if dtype == "float16":
        narrow = rows.to(torch.float16)
        if bool((finite & torch.isinf(narrow)).any()):
            largest = float(rows[finite].abs().max())
            raise UserError(
                f"layer {layer.request.layer!r} holds {largest:g}, which overflows float16 (largest 65504)",
                "use activations.dtype=float32",
            )
        rows = narrow
    layer.nonfinite_rows += int((~finite).any(dim=1).sum())
    with files.explained(layer.path):
        npy.write_rows(layer.path, start, rows.cpu().numpy())


def _note(work: Path, spec: dict[str, Any], layers: Sequence[_Layer], rows: int) -> None:
    """Flushes the data and then writes down what is done, so that what is written down is true after a power cut."""
    with files.explained(work):
        for layer in layers:
            files.sync(layer.path)
            files.sync(layer.path.parent)
    files.boundary("capture: rows flushed")
    files.write_json(work / PROGRESS, {**spec, "rows": rows, "layers": [layer.entry() for layer in layers]})


def _resume(work: Path, spec: dict[str, Any], layers: Sequence[_Layer]) -> int:
    """Rows that are done. What an earlier pass left and this one cannot go on with is removed."""
    earlier = _read_progress(work)
    entries = {_request_of(entry): entry for entry in earlier.get("layers", [])}
    usable = all(earlier.get(key) == value for key, value in spec.items()) and all(
        layer.request in entries and _is_intact(layer.path, spec, entries[layer.request]["features"])
        for layer in layers
    )
    with files.explained(work):
        files.make_folder(work)
        if not usable:
            (work / PROGRESS).unlink(missing_ok=True)
        keep = {layer.path for layer in layers} if usable else set()
        for path in work.glob(f"*/{FILE}"):
            if path not in keep:
                files.remove(path.parent)
    if not usable:
        return 0
    for layer in layers:
        layer.features = entries[layer.request]["features"]
        layer.nonfinite_rows = entries[layer.request]["nonfinite_rows"]
    return int(earlier["rows"])


def _read_progress(work: Path) -> dict[str, Any]:
    """What an earlier pass noted, checked in form; {} where there is nothing usable."""
    try:
        noted = read_json(work / PROGRESS)
        rows, n, batch = noted["rows"], noted["n_samples"], noted["batch_size"]
        if not (isinstance(rows, int) and 0 < rows <= n and (rows == n or rows % batch == 0)):
            return {}
        for entry in noted["layers"]:
            hash(_request_of(entry))
            if not isinstance(entry["features"], int) or not isinstance(entry["nonfinite_rows"], int):
                return {}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, ArithmeticError):
        return {}
    return noted


def _request_of(entry: dict[str, Any]) -> Request:
    return Request(entry["layer"], entry["module"], Pooling(**entry["pooling"]))


def _is_intact(path: Path, spec: dict[str, Any], features: int) -> bool:
    try:
        header = npy.read_header(path)
    except (OSError, ValueError):
        return False
    return header.shape == (spec["n_samples"], features) and header.dtype == np.dtype(spec["dtype"])


def _spec(n_samples: int, batch_size: int, dtype: str, device: str, projection: Projection | None) -> dict[str, Any]:
    """What must be equal for a pass to be gone on with; device type and torch version change the last bits."""
    return {
        "version": VERSION,
        "n_samples": n_samples,
        "batch_size": batch_size,
        "dtype": dtype,
        "projection": None if projection is None else asdict(projection),
        "device": torch.device(device).type,
        "torch": str(torch.__version__),
    }


def _folder_name(request: Request) -> str:
    """A readable folder name, fit for any file system, and by its hash different for every request."""
    exact = sha256(json.dumps(asdict(request)).encode()).hexdigest()[:8]
    return f"{safe_name(request.layer)}-{request.pooling.pool}-{exact}"


def _seed(seed: int, device: str) -> None:
    torch.random.default_generator.manual_seed(seed)
    if torch.device(device).type == "cuda":
        with torch.cuda.device(device):
            torch.cuda.manual_seed(seed)
