"""One layer's .npy file, which grows batch by batch while its number of rows is not known."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import torch

from rra_cli.activations import npy
from rra_cli.activations.layer_files import nonfinite_rows
from rra_cli.core import files
from rra_cli.errors import UserError


class LayerWriter:
    """Appends batches; `finish` writes the header. float32, or float64 where the first batch is.

    Layers `(n, features)`, `(n, tokens, features)` and `(n, c, h, w)` keep their shape, others are flattened.
    """

    def __init__(self, path: Path, layer: str) -> None:
        self._path, self._layer = path, layer
        self._shape: tuple[int, ...] | None = None
        self._dtype = torch.float32
        self._rows = 0
        self._nonfinite_rows = 0

    def append(self, values: torch.Tensor) -> None:
        """Writes a batch `(n, ...)` at once. Raises UserError where its shape differs from the batches before."""
        values = values.detach()
        if values.ndim > 4:
            values = values.flatten(1)
        shape = tuple(values.shape[1:])
        if self._shape is None:
            self._shape = shape
            self._dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
            with files.explained(self._path.parent):
                npy.create(self._path, (0, *shape), self._numpy_dtype)
        if shape != self._shape:
            raise UserError(
                f"layer {self._layer!r} has shape {self._shape} in one batch and {shape} in another",
                "give the network inputs of one size, or pool the layer (pooling='mean' for tokens)",
            )
        values = values.to(self._dtype)
        self._nonfinite_rows += nonfinite_rows(values.flatten(1))
        with files.explained(self._path.parent):
            npy.write_rows(self._path, self._rows, values.cpu().numpy())
        self._rows += len(values)

    def finish(self) -> None:
        """Makes the file a complete .npy; warns where rows hold NaN or infinity."""
        with files.explained(self._path.parent):
            npy.finish(self._path, (self._rows, *(self._shape or ())), self._numpy_dtype)
        if self._nonfinite_rows:
            warnings.warn(
                f"layer {self._layer!r}: {self._nonfinite_rows} of {self._rows} rows hold NaN or infinity", stacklevel=4
            )

    @property
    def _numpy_dtype(self) -> np.dtype[np.floating]:
        return np.dtype(np.float64 if self._dtype == torch.float64 else np.float32)
