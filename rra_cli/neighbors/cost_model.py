"""What a neighbour search takes, from sizes alone: seconds as functions of samples, features and neighbours.

The constants are figures of one machine that are committed, so that a choice or a plan that rests on them is the same
everywhere. They are measured, and compared with what the functions give, by benchmarks/search_costs.py.
"""

from __future__ import annotations

from math import log2

# Seconds per unit of what the comment says, on the machine of benchmarks/README.md with so many threads.
THREADS = 4
KERNEL_LOAD = 0.6  # a process: its first search loads compiled code
EXACT_START = 0.064  # a search
EXACT_PRODUCT = 2.2e-12  # an operation of the first pass's products, 2 a feature, each pair of samples once
EXACT_SELECT = 9.2e-10  # a pair of samples: whether it may be a neighbour
EXACT_DIRECT = 1.3e-11  # a feature of a neighbour's direct difference
EXACT_LIST = 6.0e-8  # a neighbour: kept on lists, and sorted
# Of a pair's seconds where the references are others than the queries: it is looked at from one side. Between 0.4 and
# 0.9 by benchmarks/probe_costs.py and by searches of one half of a layer in the other.
APART = 0.6

DESCENT_COMPILE = 31.0  # a process
DESCENT_JOIN = 2.3e-11  # a feature of a pair of candidates that are compared
DESCENT_PUSH = 1.1e-8  # a pair of candidates: whether it changes a list
DESCENT_LIST = 1.3e-9  # a neighbour that a neighbour's list is searched for
DESCENT_TREE = 4.6e-10  # a feature of a sample on a level of a tree
# Samples times samples, and times features, below which the exact search compares all pairs directly.
SMALL_WORK, SMALL_PAIRS = 2e8, 4e6
_PAIR = 44  # bytes of a pair while it is evaluated
_KEPT = 32  # of a neighbour: as it is found, and in the graph
_TILES = 80 << 20  # of the tiles, which have one size
_SLAB = 8 << 20  # of the columns that are compared at a time
# pynndescent's own defaults.
_MOST_CANDIDATES = 60
_LEAF = (60, 256)


def exact_seconds(n: int, d: int, k: int, *, n_reference: int | None = None, shards: int = 1) -> float:
    """The exact search of n samples of d features against themselves, or against n_reference others.

    shards: blocks of rows that are searched one after the other. A pair of rows of different ones is then looked at
    from both sides, so that all of them take up to twice the time.
    """
    pairs = n * (n - 1) / 2 * (2 - 1 / shards) if n_reference is None else APART * n * n_reference
    work = pairs * (2 * d * EXACT_PRODUCT + EXACT_SELECT) + float(n) * k * (d * EXACT_DIRECT + EXACT_LIST)
    return shards * EXACT_START + work


def list_capacity(k: int, available: int) -> int:
    """Entries of an exact search's list of candidates: more than enough where the precision suits the data."""
    return min(available, 4 * k + 512 + min(4 * k, 1024))


def exact_bytes(n: int, d: int, k: int, *, itemsize: int = 4) -> int:
    """Memory of the exact search of n samples at its peak, on top of the activations, where nothing limits it."""
    if n * n * d < SMALL_WORK and n * n < SMALL_PAIRS:
        return n * n * _PAIR + graph_bytes(n, k)
    lists = n * list_capacity(k, n) * 8
    first = n * d * 2 + lists // 2 + _TILES  # two eight-bit parts, and lists that are half full
    then = lists // 2 + int(1.2 * n * k) * _PAIR + itemsize * n * min(d, max(128, _SLAB // (itemsize * n)))
    return max(first, then) + graph_bytes(n, k)


def graph_bytes(n: int, k: int) -> int:
    """Memory of a graph of n samples while it is made, which no budget lessens."""
    return n * k * _KEPT


def nn_descent_seconds(n: int, d: int, k: int, *, n_neighbors: int | None = None, compiled: bool = False) -> float:
    """Nearest-neighbour descent by pynndescent's defaults, measured recall included.

    n_neighbors: that are searched for, k + 1 where None. compiled: in this process before.
    """
    width = max(k + 1, n_neighbors or 0)
    candidates = min(_MOST_CANDIDATES, width)
    leaf = min(max(_LEAF[0], 5 * width), _LEAF[1])
    trees = max(3, min(12, round(2 * log2(n) / log2(10))))
    joined = float(n) * (candidates**2 + trees * leaf / 2)
    levels = trees * max(1.0, log2(n / leaf)) if n > leaf else 0.0
    return (
        (0.0 if compiled else DESCENT_COMPILE)
        + joined * (d * DESCENT_JOIN + DESCENT_PUSH)
        + float(n) * width**2 * DESCENT_LIST
        + float(n) * d * levels * DESCENT_TREE
    )


def nn_descent_bytes(n: int, d: int, k: int, *, n_neighbors: int | None = None) -> int:
    """Memory of nearest-neighbour descent at its peak: the copy, the lists and what a round keeps."""
    width = max(k + 1, n_neighbors or 0)
    candidates = min(_MOST_CANDIDATES, width)
    updates = 3 * 12 * (3 * candidates**2 // 2) * min(n, 16384)
    return 4 * n * d + n * width * (3 * 9 + 8) + 16 * n * candidates + updates
