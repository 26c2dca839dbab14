"""The pynndescent library: imported where it is first needed, and compiled once in a process."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np

from rra_cli.core import numba_threads
from rra_cli.core.progress import Progress
from rra_cli.neighbors.graph import InputError

# numba's parallel code must not be entered by two of Python's threads at a time.
LOCK = Lock()
_compiled: set[Any] = set()


def load(n_jobs: int) -> Any:
    """The library, with numba able to run `n_jobs` threads.

    Raises `InputError` where numba was imported before with fewer.
    """
    numba_threads.reserve(n_jobs)
    from numba import config

    most = int(getattr(config, "NUMBA_NUM_THREADS"))  # noqa: B009 - numba sets it while running
    if n_jobs > most:
        raise InputError(
            f"n_jobs is {n_jobs}, but numba was started with {most} threads and cannot run more",
            f"set the environment variable NUMBA_NUM_THREADS={n_jobs} before starting, or choose n_jobs={most} "
            "(another n_jobs gives another graph)",
        )
    import pynndescent

    return pynndescent


def compile_once(library: Any, progress: Progress) -> None:
    """Builds a small graph the first time, so that what follows is the search alone.

    It takes half a minute in every process: numba cannot keep compiled code that is given the distance as an argument.
    """
    if library not in _compiled:
        progress(0, 1, "compiling pynndescent, once in a process (half a minute)")
        points = np.random.RandomState(0).standard_normal((64, 4)).astype(np.float32)
        ids = (np.arange(64)[:, None] + np.arange(1, 6)).astype(np.int32) % 64
        squares = np.square(points[:, None] - points[ids]).sum(axis=2)
        starts: tuple[dict[str, Any], ...] = ({}, {"init_graph": ids, "init_dist": squares})
        with LOCK:
            for start in starts:
                random = np.random.RandomState(0)
                library.NNDescent(data=points, n_neighbors=5, random_state=random, n_jobs=1, **start)
        _compiled.add(library)
