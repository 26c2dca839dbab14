"""How many threads numba may run: fixed, by an environment variable, when it is imported; so it is set before."""

from __future__ import annotations

import os
import sys

VARIABLE = "NUMBA_NUM_THREADS"
# The value that we have set, which we may raise; for processes that are started from here, too.
_OURS = "RRA_NUMBA_NUM_THREADS"
# What an approximate search takes unless it is told otherwise: the same graph then comes from any machine.
DEFAULT = 4


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def reserve(threads: int = DEFAULT) -> None:
    """Lets numba run so many threads, be there fewer cores, unless it is imported already or the user has set it."""
    current = os.environ.get(VARIABLE)
    if "numba" in sys.modules or current not in (None, os.environ.get(_OURS)):
        return
    os.environ[VARIABLE] = os.environ[_OURS] = str(max(threads, usable_cores(), int(current or 1)))
