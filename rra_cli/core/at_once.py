"""The same work on several files at a time: checksums and flushes of one leave most of a machine idle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from threading import Event, Lock
from typing import TypeVar

from rra_cli.core.numba_threads import usable_cores

T = TypeVar("T")
_MOST = 4


def at_once(work: Callable[[T], object], items: Iterable[T]) -> None:
    """Calls work(item) for all items, at most four at a time; where one raises, no other begins, and it is raised."""
    todo = list(items)
    threads, jobs, lock, ended = min(_MOST, usable_cores(), len(todo)), iter(todo), Lock(), Event()

    def jobs_left() -> Iterator[T]:
        while not ended.is_set():
            with lock:
                job = next(jobs, ended)
            if isinstance(job, Event):
                return
            yield job

    def take() -> None:
        try:
            for item in jobs_left():
                work(item)
        except BaseException:
            ended.set()
            raise

    if threads < 2:
        return take()
    with ThreadPoolExecutor(threads, thread_name_prefix="files") as pool:
        tasks = [pool.submit(take) for _ in range(threads)]
        try:
            wait(tasks)
        except BaseException:  # interrupted
            ended.set()
            raise
    for task in tasks:
        task.result()
