"""Compiled kernels over ranges of rows, in as many threads as torch uses."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait

_PIECES = 8  # per thread: rows differ in what they cost


def thread_count() -> int:
    """Threads to use: torch's, so that one setting rules all."""
    import torch

    return int(torch.get_num_threads())


_held = threading.local()


def _pool(threads: int) -> ThreadPoolExecutor:
    """Threads that stay: starting some for every tile would cost more than reading it. They end with the thread that
    they work for; a fork gets its own.
    """
    owner = threads, os.getpid()
    if getattr(_held, "owner", None) != owner:
        _held.owner, _held.pool = owner, ThreadPoolExecutor(threads)
    pool: ThreadPoolExecutor = _held.pool
    return pool


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
    tasks = [_pool(threads).submit(work, at, min(n, at + step)) for at in range(0, n, step)]
    try:
        for task in tasks:
            task.result()
    finally:
        for task in tasks:  # after a fault, nothing may still write into what the caller gives up
            task.cancel()
        wait(tasks)
