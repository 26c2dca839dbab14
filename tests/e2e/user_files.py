"""A user's own folder of activations."""

from __future__ import annotations

from pathlib import Path

import numpy as np


def write(folder: Path, arrays: dict[str, np.ndarray], **names: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, array in arrays.items():
        np.save(folder / f"{names.get(name, name)}.npy", array, allow_pickle=array.dtype.kind == "O")
    return folder


def own(folder: Path, *more: str) -> list[str]:
    return ["+experiment=from_activations", f"activations.path={folder}", "runtime.report=false", *more]
