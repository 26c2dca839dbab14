"""Direct differences in float64 on a device: every distance that a search returns."""

from __future__ import annotations

import numpy as np
import torch

from rra_cli.neighbors.device.rows import DeviceRows, Which, spans

# A computed distance is within this of the true one, relatively: difference, square, up to 40 additions, root.
DIRECT_ERROR = 64 * 2.0**-53
_MOST_ELEMENTS = 1 << 25


def direct_distances(
    queries: DeviceRows, rows: Which, references: DeviceRows, ids: torch.Tensor, workspace: int
) -> torch.Tensor:
    """Distances (in scaled units) of query rows to the references listed for each, `(rows, m)` float64.

    rows: `(rows,)` query rows. ids: `(rows, m)` int64 positions of references. workspace: bytes; one pair at a time is
    the least. The same bits for a pair whatever the workspace, the device and the other pairs, and in either
    direction: every step works on single values (see `sum_of_squares`).
    """
    n, m = ids.shape
    d = queries.features
    distances = torch.empty((n, m), dtype=torch.float64, device=ids.device)
    # 8 bytes of difference and up to 20 of its parts for every element.
    pairs = max(1, min(_MOST_ELEMENTS, workspace // 32) // d)
    first = 0 if isinstance(rows, torch.Tensor) else rows.start
    for start, stop in spans(n, pairs // m):
        which = rows[start:stop] if isinstance(rows, torch.Tensor) else slice(first + start, first + stop)
        left = queries.scaled(which)[:, None]
        for begin, end in spans(m, pairs // (stop - start)):
            listed = ids[start:stop, begin:end]
            read = references.raw if references.rows.scale == 1.0 else references.scaled
            right = read(listed.reshape(-1))
            # Scaled before subtracting, which could overflow; a narrower type is widened exactly.
            difference = left - right.view(*listed.shape, d)
            distances[start:stop, begin:end] = sum_of_squares(difference)
    if distances.is_cuda:
        return distances.sqrt_()
    # On the CPU torch may call a library whose roots are not rounded correctly, and not the same at every place.
    return torch.from_numpy(np.sqrt(distances.numpy()))


def sum_of_squares(values: torch.Tensor) -> torch.Tensor:
    """Sums of squares over the last dimension, `(...)`; `values` is overwritten.

    The order: with h the largest power of two below the width, element i + h is added to element i, until one is left.
    A reduction of torch's own adds in an order that depends on the shape and the device.
    """
    values.mul_(values)
    width = values.shape[-1]
    while width > 1:
        half = 1 << ((width - 1).bit_length() - 1)
        values[..., : width - half].add_(values[..., half:width])
        width = half
    return values[..., 0]
