"""Exact search on a CUDA device: matrix products list candidates, direct differences in float64 decide.

1. Strips of certified lower bounds of all distances come from matrix products in some format (`device_precision.py`).
   A set against itself needs each pair once: a strip then serves its rows and its columns.
2. The few smallest of every row are computed by direct difference. Where the lower bound of all others exceeds the
   k-th distance found, the row is certified.
3. Rows that are not go through float64 products, and every pair whose lower bound does not exceed that distance is
   computed, however many they are.

So the result is that of a brute force by direct difference in float64 to the last bit, whatever the format, the sizes
of blocks and the device (`device_direct.py` has the order of additions). The work stays on the device, and so do the
rows where they fit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray

from rra_cli.core.progress import Progress, silent
from rra_cli.neighbors.device.memory import Workspace, free_on, is_out_of_memory
from rra_cli.neighbors.device.passes import Decided, Passes
from rra_cli.neighbors.device.precision import FLOAT64, Precision, Rates, ieee_products, measured_rates, usable
from rra_cli.neighbors.device.rows import DeviceRows, spans
from rra_cli.neighbors.resume import BlockStore
from rra_cli.neighbors.rows import Rows

Found = tuple[NDArray[np.int64], NDArray[np.float64]]

_PILOT_ROWS = 256
_PILOT_FROM = 1e11  # multiply-adds from which a faster format is worth a try


def device_search(
    queries: Rows,
    references: Rows,
    k: int,
    *,
    own: NDArray[np.int64] | None,
    device: torch.device,
    memory: int,
    progress: Progress = silent,
    store: BlockStore | None = None,
    precision: Precision | None = None,
) -> Found:
    """The k nearest reference rows of every query row: positions `(n, k)` int64 and scaled distances `(n, k)` float64.

    Nearest first, ties by lower position. own: `(n,)` position of the query itself among the references, which is left
    out; None leaves none out. memory: bytes of workspace, on the device and beside it; resident rows come on top where
    a CUDA device has room. precision: of the first pass; None takes what is fastest on the device for these rows (the
    result is the same). store: keeps finished blocks.
    Raises `UserError` where the device has too little memory even for one row. Nothing else is checked: see
    `exact_neighbors`.
    """
    there = resident_rows(references, device, memory)
    here = there if queries is references else resident_rows(queries, device, memory)
    return search_resident(here, there, k, own=own, memory=memory, progress=progress, store=store, precision=precision)


def resident_rows(rows: Rows, device: torch.device, memory: int) -> DeviceRows:
    """The rows on the device where they take at most half of what is free there, else brought on demand."""
    streamed = DeviceRows.streamed(rows, device)
    if len(rows) * streamed.bytes_per_row > free_on(device, memory) // 2:
        return streamed
    try:
        return streamed.made_resident(memory)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
    return streamed


@torch.inference_mode()
def search_resident(
    queries: DeviceRows,
    references: DeviceRows,
    k: int,
    *,
    own: NDArray[np.int64] | None,
    memory: int,
    progress: Progress = silent,
    store: BlockStore | None = None,
    precision: Precision | None = None,
) -> Found:
    """`device_search` of rows that are on the device already."""
    n, device = len(queries), queries.device
    found = np.empty((n, k), np.int64), np.empty((n, k))
    if k and n:
        size = memory if device.type != "cuda" else min(memory, free_on(device, memory) * 4 // 5)
        with ieee_products():
            passes = Passes(queries, references, k, own, Workspace(device, size, references.features))
            choose_precision(passes, precision)
            passes.start_lists()
            _Run(passes, *found).run(progress, store)
    return found


def choose_precision(passes: Passes, precision: Precision | None) -> None:
    """Sets that one, or what `pick` finds by the rates of a CUDA device; float64 for a small search."""
    passes.precision = precision or FLOAT64
    device, features = passes.queries.device, passes.references.features
    products = float(len(passes.queries)) * len(passes.references) * features
    if precision is not None or device.type != "cuda" or products < _PILOT_FROM:
        return
    try:
        rates = measured_rates(device)
    except RuntimeError as error:
        if not is_out_of_memory(error):
            raise
        return
    pick(passes, rates, usable(device))


def pick(passes: Passes, rates: Rates, formats: Sequence[Precision]) -> None:
    """Sets the format with the least expected time; float64 unless another saves a tenth, its failures included."""
    features = passes.references.features
    exact = rates.per_pair(FLOAT64, features)
    for faster in sorted(formats, key=lambda p: rates.per_pair(p, features)):
        cost = rates.per_pair(faster, features)
        if faster is FLOAT64 or cost > 0.9 * exact:
            break
        passes.precision = faster
        # A row that fails is searched against all others: each of its pairs twice.
        if cost + 2 * (1 - certified_in_sample(passes)) * exact < 0.9 * exact:
            return
        passes.operands.clear()
    passes.precision = FLOAT64


def certified_in_sample(passes: Passes) -> float:
    """Fraction of some evenly spaced rows that the first pass decides, 0 to 1."""
    if passes.lists_everything:
        return 0.0
    n, device = len(passes.queries), passes.queries.device
    count = min(_PILOT_ROWS, n)
    rows = torch.arange(count, device=device) * n // count
    certified = [
        passes.work.run(partial(passes.first, rows[start:stop], once=False))[2]
        for start, stop in spans(count, passes.strip_shape()[0])
    ]
    return float(torch.cat(certified).double().mean())


@dataclass
class _Run:
    """The walk through all blocks of rows. indices, distances: `(n, k)`, filled on the way."""

    passes: Passes
    indices: NDArray[np.int64]
    distances: NDArray[np.float64]

    def run(self, progress: Progress, store: BlockStore | None) -> None:
        n, work = len(self.indices), self.passes.work
        # Small results stay on the device to the end, so that nothing in between waits for the host.
        at_end = 64 * self.indices.size <= work.size
        waiting: list[tuple[slice, Decided]] = []
        at = 0
        while at < n:
            stop = min(n, at + self.passes.strip_shape()[0])
            kept = None if store is None else store.load(at)
            if kept is not None:
                stop = at + len(kept[0])
                self.indices[at:stop], self.distances[at:stop] = kept
            else:
                stop = stop if store is None else store.next_start(at, stop)
                rows, decided = work.run(partial(self.block, at, stop))
                stop = rows.stop
                waiting.append((rows, decided))
                lasting = store is not None and store.clock.lasting
                if lasting or not at_end:
                    self.settle(waiting)
                if store is not None and lasting:
                    store.save(at, self.indices[at:stop], self.distances[at:stop])
            at = stop
            progress(at, n, "")
        self.settle(waiting)

    def block(self, start: int, stop: int) -> tuple[slice, Decided]:
        """The first pass over rows start..stop, or over fewer where the workspace has shrunk: which, and its result."""
        rows = slice(start, min(stop, start + self.passes.strip_shape()[0]))
        if not self.passes.lists_everything:
            return rows, self.passes.first(rows, once=self.passes.lists is not None)
        shape, device = (rows.stop - start, self.passes.k), self.passes.queries.device
        none = torch.zeros(shape, dtype=torch.int64, device=device)
        return rows, (none, none.double() + float("inf"), none[:, 0] > 0)

    def settle(self, waiting: list[tuple[slice, Decided]]) -> None:
        """Brings waiting blocks to the host and gives their rows without a certificate to the second pass."""
        undecided = [np.empty(0, np.int64)]
        for block, (ids, distances, certified) in waiting:
            self.indices[block], self.distances[block] = ids.cpu().numpy(), distances.cpu().numpy()
            undecided.append(block.start + np.flatnonzero(~certified.cpu().numpy()))
        waiting.clear()
        pending, at = np.concatenate(undecided), 0
        while at < len(pending):
            rows = pending[at:]
            done, ids, distances = self.passes.work.run(partial(self.passes.second, rows, self.distances[rows, -1]))
            self.indices[done], self.distances[done] = ids.cpu().numpy(), distances.cpu().numpy()
            at += len(done)
