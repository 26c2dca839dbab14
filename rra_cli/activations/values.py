"""What a user's values must be for a neighbourhood to exist: finite, and not all the same."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rra_cli.activations import npy
from rra_cli.activations.files import UserLayer
from rra_cli.core.progress import Progress, silent
from rra_cli.errors import UserError

_BLOCK_BYTES = 32 << 20


def check_values(layers: Sequence[UserLayer], progress: Progress = silent) -> None:
    """Reads all layers once, block by block of rows; raises one UserError that lists every layer that is unusable.

    Unusable are NaN and infinity, rows that are all equal, and files in which every row is an exact duplicate of
    another (no nearest neighbour at a distance above 0, so no intrinsic dimension). Looks at the file as it is, before
    any pooling: a pooled layer that is constant (the CLS token of an embedding) is a result. Progress is in rows.
    """
    total, done = sum(layer.shape[0] for layer in layers), 0
    faults: list[str] = []
    hints: dict[str, None] = {}
    for layer in layers:
        fault, hint = _fault(layer, lambda rows, before=done: progress(before + rows, total, ""))
        done += layer.shape[0]
        if fault:
            faults.append(f"{layer.path.name} {fault}")
            hints[hint] = None
    if faults:
        listed = "".join(f"\n  {message}" for message in faults) if len(faults) > 1 else f" {faults[0]}"
        raise UserError(f"activations.path={layers[0].path.parent}:{listed}", "; ".join(hints))


def _fault(layer: UserLayer, report: Any) -> tuple[str, str]:
    values = npy.open_map(layer.path, layer.header)
    n = len(values)
    bad_values = bad_rows = 0
    counts: dict[bytes, int] = {}
    step = max(1, _BLOCK_BYTES // max(1, values[:1].nbytes))
    for start in range(0, n, step):
        block = np.ascontiguousarray(values[start : start + step]).reshape(-1, values[:1].size)
        if block.dtype.kind == "f":
            finite = np.isfinite(block)
            if not finite.all():
                bad_values += int(finite.size - np.count_nonzero(finite))
                bad_rows += int((~finite.all(axis=1)).sum())
        if not bad_values:
            _count_rows(block, counts)
        report(min(start + step, n))
    if bad_values:
        what = f"holds NaN or infinity: {bad_values:,} values in {bad_rows:,} of {n:,} rows"
        return what, "remove those samples from every layer, or mend what wrote them"
    if len(counts) == 1:
        return f"is constant: all {n:,} rows are equal, so no sample is nearer than another", "remove this layer"
    if min(counts.values()) > 1:
        what = f"holds nothing but duplicates: each of its {n:,} rows equals another ({len(counts):,} different ones)"
        return what, "keep one row of each, in every layer"
    return "", ""


def _count_rows(block: NDArray[Any], counts: dict[bytes, int]) -> None:
    """Counts equal rows by a 128-bit hash: N log N time and 16 bytes a row where comparing all pairs would take N²."""
    if block.dtype.kind == "f":
        block = block + block.dtype.type(0)  # -0.0 becomes 0.0: equal values are equal bytes
    for row in block:
        digest = blake2b(row.data, digest_size=16).digest()
        counts[digest] = counts.get(digest, 0) + 1
