"""The rows of a search on a device: resident where they fit, otherwise brought block by block."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.neighbors.device.precision import DOUBLE_ROUNDOFF, Precision
from rra_cli.neighbors.rows import Rows

Which = slice | torch.Tensor  # rows by a range, or by their positions (int64, on the device)

# Slack of distances for squares that underflow, where the largest norm is about 1.
TINY = 2.0**-500
_SAME_IN_TORCH = (np.float16, np.float32, np.float64, np.int8, np.int16, np.int32, np.int64, np.uint8)


@dataclass(frozen=True, eq=False)
class DeviceRows:
    """Rows as `Rows` describes them, on a device. resident: all of them in their own type, or None: brought on demand.

    centre: the column means in scaled units, `(features,)` float64 on the device.
    """

    rows: Rows
    device: torch.device
    centre: torch.Tensor
    resident: torch.Tensor | None

    @classmethod
    def streamed(cls, rows: Rows, device: torch.device) -> DeviceRows:
        """Nothing is brought yet."""
        return cls(rows, device, torch.from_numpy(np.array(rows.centre, np.float64)).to(device), None)

    def made_resident(self, staging: int) -> DeviceRows:
        """The same rows, all on the device. staging: bytes of the host that are read at a time."""
        whole: torch.Tensor | None = None
        for start, stop in spans(len(self), staging // self.bytes_per_row):
            block = self.raw(slice(start, stop))
            if len(block) == len(self):
                whole = block
            else:
                if whole is None:
                    whole = torch.empty((len(self), self.features), dtype=block.dtype, device=self.device)
                whole[start:stop] = block
        return DeviceRows(self.rows, self.device, self.centre, whole)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def features(self) -> int:
        return self.rows.features

    @property
    def bytes_per_row(self) -> int:
        """Of a row in its own type."""
        kind = self.rows.data.dtype
        return self.features * (kind.itemsize if kind.newbyteorder("=") in _SAME_IN_TORCH else 8)

    def raw(self, which: Which) -> torch.Tensor:
        """These rows in their own type, `(rows, features)`; not to be written to."""
        if self.resident is not None:
            return self.resident[which] if isinstance(which, slice) else self.resident.index_select(0, which)
        if isinstance(which, slice):
            ids = None if self.rows.ids is None else self.rows.ids[which]
            return self._bring(ids, which.start, which.stop)
        # Neighbours are shared by many rows: each is brought once.
        ids, inverse = np.unique(which.cpu().numpy(), return_inverse=True)
        block = self._bring(self.rows.in_data(ids), 0, 0)
        return block[torch.from_numpy(inverse.reshape(-1)).to(self.device)]

    def scaled(self, which: Which) -> torch.Tensor:
        """These rows in float64, scaled, `(rows, features)`; a new tensor."""
        block = self.raw(which).to(torch.float64, copy=True)
        return block if self.rows.scale == 1.0 else block.mul_(self.rows.scale)

    def _bring(self, ids: NDArray[np.int64] | None, start: int, stop: int) -> torch.Tensor:
        block: NDArray[Any] = np.asarray(self.rows.data[start:stop] if ids is None else self.rows.data[ids])
        native = block.dtype.newbyteorder("=")
        block = np.ascontiguousarray(block, native if native in _SAME_IN_TORCH else np.float64)
        # torch warns of arrays that must not be written to, such as memory maps.
        return torch.from_numpy(block if block.flags.writeable else block.copy()).to(self.device)


@dataclass(frozen=True, eq=False)
class Operand:
    """Centred rows x as a first pass multiplies them: x' is x times `unit` rounded to the format's inputs.

    errors: at least |x unit - x'|, `(n,)` float64. lowered: (1 - slack) |x'|^2, `(n,)` in the type of the sums. matrix:
    all x', or None where they are made again for every tile.
    """

    rows: DeviceRows
    precision: Precision
    unit: float
    errors: torch.Tensor
    lowered: torch.Tensor
    matrix: torch.Tensor | None

    @classmethod
    def prepare(cls, rows: DeviceRows, precision: Precision, unit: float, block_rows: int, keep: bool) -> Operand:
        """Reads every row once. keep: hold all x' on the device."""
        n, d = len(rows), rows.features
        norms, errors = (torch.empty(n, dtype=torch.float64, device=rows.device) for _ in range(2))
        matrix = torch.empty((n, d), dtype=precision.inputs, device=rows.device) if keep else None
        for start, stop in spans(n, block_rows):
            x = centred(rows, slice(start, stop), unit)
            rounded = x.to(precision.inputs)
            if matrix is not None:
                matrix[start:stop] = rounded
            norms[start:stop], errors[start:stop] = norms_and_errors(x, rounded)
        lowered = norms.mul_(1 - precision.slack(d)).to(precision.sums)
        return cls(rows, precision, unit, errors, lowered, matrix)

    def tile(self, which: Which) -> torch.Tensor:
        """x' of these rows, `(rows, features)` in the format's inputs; not to be written to."""
        if self.matrix is not None:
            return self.matrix[which]
        return centred(self.rows, which, self.unit).to(self.precision.inputs)


def centred(rows: DeviceRows, which: Which, unit: float) -> torch.Tensor:
    """These rows in float64 with the centre subtracted, times `unit` (a power of two), `(rows, features)`."""
    block = rows.scaled(which).sub_(rows.centre)
    return block if unit == 1.0 else block.mul_(unit)


def norms_and_errors(x: torch.Tensor, rounded: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Squared norms of the rounded rows and upper bounds of |x - rounded|, both `(rows,)` float64.

    The bound includes the rounding of x itself when the centre was subtracted, 2^-53 of every value, and that of the
    sums here, which stays below 1e-9 for fewer than 2^22 features.
    """
    values = rounded.to(torch.float64)
    norms = (values * values).sum(dim=1)
    errors = norms.sqrt() * (4 * DOUBLE_ROUNDOFF) + TINY
    if rounded.dtype != torch.float64:
        left = x - values
        errors += (left.mul_(left)).sum(dim=1).sqrt_() * (1 + 1e-8)
        errors *= 1 + 1e-8
    return norms, errors


def common_unit(parts: list[DeviceRows], block_rows: int) -> float:
    """The power of two that brings the largest norm of all centred rows into [0.5, 1): formats then cannot overflow."""
    largest = 0.0
    for rows in parts:
        most = torch.zeros((), dtype=torch.float64, device=rows.device)
        for start, stop in spans(len(rows), block_rows):
            block = centred(rows, slice(start, stop), 1.0)
            most = torch.maximum(most, block.mul_(block).sum(dim=1).amax())
        largest = max(largest, math.sqrt(float(most)))
    return 2.0 ** -math.frexp(largest)[1]


def spans(n: int, rows: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """Consecutive (start, stop) of at most `rows` (at least 1) rows that cover start..n."""
    rows = max(1, rows)
    for at in range(start, n, rows):
        yield at, min(n, at + rows)
