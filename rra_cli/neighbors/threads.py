"""Compiled kernels over ranges of rows, in as many threads as torch uses."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from functools import lru_cache

_PIECES = 8  # per thread: rows differ in what they cost


def thread_count() -> int:
    """Threads to use: torch's, so that one setting rules all."""
    import torch

    return int(torch.get_num_threads())


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """Threads that stay: starting some for every tile would cost more than reading it. A fork gets its own."""
    return ThreadPoolExecutor(threads)


def over_rows(work: Callable[[int, int], None], n: int, *, align: int = 1, pieces: int = _PIECES) -> None:
    """Calls work(start, stop) on consecutive ranges that cover 0..n, each beginning at a multiple of `align`.

    Not from within `work`: it would wait for the threads that it runs in.
    """
    threads = thread_count()
    step = -(-n // (threads * pieces * align)) * align
    if threads == 1 or n <= step:
        if n:
            work(0, n)
        return
    tasks = [_pool(threads, os.getpid()).submit(work, at, min(n, at + step)) for at in range(0, n, step)]
    try:
        for task in tasks:
            task.result()
    finally:
        for task in tasks:  # after a fault, nothing may still write into what the caller gives up
            task.cancel()
        wait(tasks)
