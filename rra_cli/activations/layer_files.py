"""The files that a streamed pass fills, and the note of how far it is, by which it goes on where it was killed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch

from rra_cli.activations import npy
from rra_cli.activations.background import RowWriter
from rra_cli.activations.naming import safe_name
from rra_cli.activations.pooling import Pooling
from rra_cli.activations.projection import Projection, Projector
from rra_cli.core import files
from rra_cli.core.at_once import at_once
from rra_cli.core.reading import read_json
from rra_cli.errors import UserError

FILE = "activations.npy"
PROGRESS = "progress.json"
VERSION = 1


@dataclass(frozen=True)
class Request:
    """One layer to capture. layer: its name in tables. module: its reference (`activations.hooks`), "" the input."""

    layer: str
    module: str
    pooling: Pooling = Pooling()


@dataclass
class LayerFile:
    """A request with what is known of its file.

    features: of the rows in the file; None until the first batch has been seen. width: of the layer itself, likewise,
    in this process.
    """

    request: Request
    path: Path
    features: int | None = None
    width: int | None = None
    nonfinite_rows: int = 0

    @classmethod
    def of(cls, request: Request, work: Path) -> LayerFile:
        """In the folder of a pass."""
        return cls(request, work / _folder_name(request) / FILE)

    def entry(self) -> dict[str, Any]:
        """What is noted of it."""
        return {**asdict(self.request), "features": self.features, "nonfinite_rows": self.nonfinite_rows}


def write_rows(
    layer: LayerFile,
    rows: torch.Tensor,
    start: int,
    n_samples: int,
    dtype: str,
    projector: Projector | None,
    writer: RowWriter,
) -> None:
    """Has `(rows, features)` of a batch that begins at sample `start` written. Raises UserError as `stream` does."""
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
    layer.nonfinite_rows += nonfinite_rows(rows)
    if dtype == "float16":
        narrow = rows.to(torch.float16)
        finite = torch.isfinite(rows)
        if bool((finite & torch.isinf(narrow)).any()):
            largest = float(rows[finite].abs().max())
            raise UserError(
                f"layer {layer.request.layer!r} holds {largest:g}, which overflows float16 (largest 65504)",
                "use activations.dtype=float32",
            )
        rows = narrow
    writer.write(layer.path, start, rows)


def nonfinite_rows(rows: torch.Tensor) -> int:
    """How many of `(rows, features)` hold NaN or infinity.

    A sum with one of them is none that is finite; the rows of which it is not are looked at number by number (sums may
    overflow), which takes twenty times as long.
    """
    suspects = rows[~torch.isfinite(rows.sum(dim=1))]
    return int((~torch.isfinite(suspects)).any(dim=1).sum())


def note_done(work: Path, spec: dict[str, Any], layers: Sequence[LayerFile], rows: int) -> None:
    """Flushes the data and then writes down what is done, so that what is written down is true after a power cut."""
    with files.explained(work):
        at_once(_flush, layers)
    files.boundary("capture: rows flushed")
    files.write_json(work / PROGRESS, {**spec, "rows": rows, "layers": [layer.entry() for layer in layers]})


def _flush(layer: LayerFile) -> None:
    files.sync(layer.path)
    files.sync(layer.path.parent)


def resume(work: Path, spec: dict[str, Any], layers: Sequence[LayerFile]) -> int:
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


def pass_spec(
    n_samples: int, batch_size: int, dtype: str, device: str, projection: Projection | None
) -> dict[str, Any]:
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
