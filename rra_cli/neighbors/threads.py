"""Compiled kernels over ranges of rows, in as many threads as torch uses."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

_PIECES = 8  # per thread: rows differ in what they cost


def thread_count() -> int:
    """Threads to use: torch's, so that one setting rules all."""
    import torch

    return int(torch.get_num_threads())


def over_rows(work: Callable[[int, int], None], n: int, *, align: int = 1, pieces: int = _PIECES) -> None:
    """Calls work(start, stop) on consecutive ranges that cover 0..n, each beginning at a multiple of `align`."""
    threads = thread_count()
    step = -(-n // (threads * pieces * align)) * align
    if threads == 1 or n <= step:
        if n:
            work(0, n)
        return
    with ThreadPoolExecutor(threads) as pool:
        for _ in pool.map(lambda at: work(at, min(n, at + step)), range(0, n, step)):
            pass
