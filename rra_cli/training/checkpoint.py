"""The weights of a kept checkpoint on disk: `weights.pt`, `heads.pt` and `checkpoint.json`."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rra_cli.core import files
from rra_cli.errors import UserError
from rra_cli.methods.method import Objective
from rra_cli.models.encoder import Encoder
from rra_cli.models.model import Model

WEIGHTS, HEADS = "weights.pt", "heads.pt"
DESCRIPTION = "checkpoint.json"

Weights = dict[str, torch.Tensor]


def weights_of(module: nn.Module) -> Weights:
    """A copy of the module's parameters and buffers on the CPU, in plain memory order."""
    return {
        name: value.detach().to("cpu", copy=True, memory_format=torch.contiguous_format)
        for name, value in module.state_dict().items()
    }


def heads_of(objective: Objective) -> Weights:
    """A copy of the parameters and buffers of the method's heads, named `projector.0.weight`; empty without heads."""
    return {
        f"{head}.{name}": value
        for head in objective.heads
        for name, value in weights_of(objective.get_submodule(head)).items()
    }


def write_checkpoint(folder: Path, weights: Weights, description: dict[str, Any], heads: Weights | None = None) -> None:
    """Writes the files of a kept checkpoint, `heads.pt` only where there are any; equal weights give equal bytes."""
    files.write_bytes(folder / WEIGHTS, saved_bytes(weights))
    if heads:
        files.write_bytes(folder / HEADS, saved_bytes(heads))
    files.write_json(folder / DESCRIPTION, description)


def read_tensors(path: Path) -> Any:
    """What torch saved: tensors and plain values, never code; in memory it takes what it takes on the disk.

    Raises ValueError or `BadZipFile` for what torch does not write today, and whatever torch raises for a damaged file.
    """
    with zipfile.ZipFile(path) as parts:
        sizes = [part.file_size for part in parts.infolist()]
        packed = any(part.compress_type != zipfile.ZIP_STORED for part in parts.infolist())
    if packed or sum(sizes) > path.stat().st_size:
        raise ValueError("it would grow in memory, which torch's own files do not")
    return torch.load(path, map_location="cpu", weights_only=True)


def load_encoder(model: Model, input_shape: tuple[int, int, int], n_classes: int, weights_path: Path) -> Encoder:
    """The architecture with the weights of that file, in evaluation mode on the CPU.

    Raises `UserError` where the file cannot be read or belongs to another architecture.
    """
    with torch.random.fork_rng(devices=[]):  # building draws initial weights, which must not move the caller's state
        encoder = model.build(input_shape, n_classes)
    try:
        encoder.module.load_state_dict(read_tensors(weights_path))
    except Exception as error:
        raise UserError(
            f"{weights_path} does not hold the weights of model={model.name} for inputs {input_shape} and "
            f"{n_classes} classes: {first_line(error)}",
            "the file is damaged or was put there by hand: remove its folder and run the same command again",
        ) from error
    encoder.module.eval()
    return encoder


def saved_bytes(content: Mapping[str, Any]) -> bytes:
    """As torch saves it. Through memory: torch writes the name of the file that it saves to into the file."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    return buffer.getvalue()


def first_line(error: Exception) -> str:
    """What torch said, without the pages behind it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
