"""Random projection: layers too large to keep become vectors of a given size whose distances are nearly the same.

For a fixed pair of samples at distance D, a Gaussian projection to k dimensions gives a distance whose square is D^2
times a chi-squared variable of k degrees of freedom over k: unbiased, with relative standard deviation sqrt(2 / k), and
P(|D'^2 - D^2| > e D^2) <= 2 exp(-k (e^2/2 - e^3/3) / 2) (Dasgupta & Gupta 2003, An elementary proof of a theorem of
Johnson and Lindenstrauss). The matrix is never stored: its entries follow from seed and place by a counter-based
generator (Philox 4x64-10; Salmon et al. 2011), so they are the same for every batch, device, layer, checkpoint, split.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from rra_cli.core.fields import identity
from rra_cli.core.resources import free_memory

if TYPE_CHECKING:
    import torch

# A block of the matrix. Its entries depend on these two numbers, so they never change.
ROWS, COLUMNS = 512, 128


@dataclass(frozen=True)
class Projection:
    """A random projection of every layer that has more than `dimensions` features; others stay as they are.

    Layers of all sizes share one matrix, those with fewer features its first rows. Raises ValueError.
    """

    dimensions: int = identity()
    seed: int = identity(0)

    def __post_init__(self) -> None:
        if self.dimensions < 1:
            raise ValueError(f"reduce is {self.dimensions}; at least 1 dimension is needed (null keeps all features)")
        if not 0 <= self.seed < 2**63:
            raise ValueError(f"reduce_seed is {self.seed}; it must lie in 0..2^63 - 1")

    def applies_to(self, features: int) -> bool:
        """Whether a layer of that many features is projected."""
        return features > self.dimensions

    def width(self, features: int) -> int:
        """Features of such a layer afterwards."""
        return min(features, self.dimensions)


def matrix_rows(seed: int, block: int, dimensions: int) -> NDArray[np.float32]:
    """Rows 512 block ... 512 (block + 1) of the matrix, `(512, dimensions)`: normal numbers of variance 1/dimensions.

    Up to that factor, fewer dimensions are the first columns of more. By Box & Muller (1958), 32 bits a number: raw
    bits of a generator never change with numpy's version, its normal numbers may.
    """
    rows = np.empty((ROWS, -(-dimensions // COLUMNS) * COLUMNS), np.float32)
    for column in range(0, rows.shape[1], COLUMNS):
        counter = np.array([0, block, column // COLUMNS, 0], np.uint64)
        generator = np.random.Philox(key=np.array([seed, 0], np.uint64), counter=counter)
        bits = generator.random_raw(ROWS * COLUMNS // 2)
        radius = np.sqrt(-2.0 * np.log(((bits >> np.uint64(32)) + 1.0) * 2.0**-32))
        angle = (bits & np.uint64(0xFFFFFFFF)) * (2.0**-31 * np.pi)
        pairs = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
        rows[:, column : column + COLUMNS] = pairs.reshape(ROWS, COLUMNS) / np.sqrt(dimensions)
    return np.ascontiguousarray(rows[:, :dimensions])


class Projector:
    """Applies a projection to batches of any layers, on their device.

    Blocks of the matrix are kept for the next batch while they fit into `memory` bytes (default: an eighth of what is
    free there) and are made again where they do not; layers share them.
    """

    def __init__(self, projection: Projection, *, memory: int | None = None) -> None:
        self.projection = projection
        self._left = memory
        self._kept: dict[tuple[torch.device, int], torch.Tensor] = {}

    def project(self, rows: torch.Tensor) -> torch.Tensor:
        """A batch `(n, features)` as `(n, dimensions)`; as it is where it has no more features than that.

        float32, or float64 where the batch is. Sums are taken in float64, so that equal rows stay equal whatever batch
        they are in (but for a sum that lies within its last bits of the border between two float32 numbers).
        """
        import torch

        features = rows.shape[1]
        if not self.projection.applies_to(features):
            return rows
        total = torch.zeros((len(rows), self.projection.dimensions), dtype=torch.float64, device=rows.device)
        for start in range(0, features, ROWS):
            part = rows[:, start : start + ROWS]
            matrix = self._block(start // ROWS, rows.device)[: part.shape[1]]
            total.addmm_(part.to(torch.float64), matrix.to(torch.float64))
        return total if rows.dtype == torch.float64 else total.to(torch.float32)

    def _block(self, index: int, device: torch.device) -> torch.Tensor:
        import torch

        kept = self._kept.get((device, index))
        if kept is not None:
            return kept
        made = torch.from_numpy(matrix_rows(self.projection.seed, index, self.projection.dimensions)).to(device)
        if self._left is None:
            self._left = (torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else free_memory()) // 8
        if made.nbytes <= self._left:
            self._left -= made.nbytes
            self._kept[device, index] = made
        return made
