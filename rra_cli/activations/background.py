"""Rows are written while the network goes on: a disk and a processor that wait for each other both take longer."""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType

import torch

from rra_cli.activations import npy
from rra_cli.core import files

_THREADS = 2
_AHEAD = 64 << 20  # bytes that wait to be written: whoever has more of them waits, too


class RowWriter:
    """Writes rows into files that `npy.create` made, in threads of its own. Only what was flushed is in the files."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="rows")
        self._waiting: deque[tuple[Future[None], int]] = deque()
        self._bytes = 0

    def __enter__(self) -> RowWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def write(self, path: Path, start: int, rows: torch.Tensor) -> None:
        """Rows `(n, ...)` from row `start` on, copied at once. Raises, as `flush`, for a disk that was full before."""
        held = rows.to("cpu", copy=True, memory_format=torch.contiguous_format)
        self._waiting.append((self._pool.submit(_write, path, start, held), held.nbytes))
        self._bytes += held.nbytes
        while self._bytes > _AHEAD:
            self._wait_for_one()

    def flush(self) -> None:
        """Waits until everything is in its file. Raises UserError where there is no room for it."""
        while self._waiting:
            self._wait_for_one()

    def _wait_for_one(self) -> None:
        written, size = self._waiting.popleft()
        self._bytes -= size
        written.result()


def _write(path: Path, start: int, rows: torch.Tensor) -> None:
    with files.explained(path):
        npy.write_rows(path, start, rows.numpy())
