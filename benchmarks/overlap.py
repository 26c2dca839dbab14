"""Layer similarity (NNLS) of all pairs of layers: ours against Python sets and two ways to write it in numba.

    python benchmarks/overlap.py [--only ROW] [--threads N] [--repeats R] [--small]

Ours is `nnls_pairs`, from neighbour graphs to means and standard errors. Peers fill the same histograms of shared
neighbours for every pair, with as many threads; all are compiled before the clock starts and the best of R counts.
Python's sets run in one thread whatever is asked for: their time is divided by the threads, as if they scaled. Slow
peers are run on the first samples only and scaled up, which their line says. All counts are compared. Exit code 1: they
differ.

Lists are synthetic: a layer keeps each neighbour of the layer before with a fixed probability and draws new ones for
the others, its order is random, and ids are spread over all samples. Limit: the bits that must be and-ed and counted,
at the rate of that step alone on data in the nearest cache, plus the ids that must be read, at the rate of a bare
loop that sets one bit at each id of the same lists.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

import numpy as np
import torch
from common import best_times, machine_line, verdict
from numba import njit
from numpy.typing import NDArray

from rra_cli.metrics.layer_similarity import nnls_pairs
from rra_cli.neighbors import NeighborGraph
from rra_cli.neighbors.overlap import count_overlaps
from rra_cli.neighbors.overlap_kernels import _add_shared

Ids = NDArray[np.int32]
Kernel = Callable[[Ids, int, int, NDArray[np.int64]], None]


@dataclass(frozen=True)
class Row:
    """One table. keep: probability that a neighbour stays from layer to layer. targets: the most our time may be of a
    peer's, by its name; seconds: the most it may be (infinite: no target)."""

    name: str
    layers: int
    n: int
    k: int
    keep: float
    targets: dict[str, float]
    seconds: float = float("inf")


LOOPS = {"Python sets": 0.02, "double loop": 0.02, "double loop, left at a match": 0.02}
ROWS = [
    Row("13x15000", 13, 15_000, 150, 0.65, LOOPS, 1.0),
    Row("64x50000", 64, 50_000, 150, 0.8, {"marking array": 0.3}),
    Row("64x50000-unrelated", 64, 50_000, 150, 0.0, {"marking array": 0.3}),
]


def lists(row: Row, seed: int = 0) -> Ids:
    """`(layers, n, k)` ids, distinct within a list, never the sample's own."""
    random = np.random.default_rng(seed)
    # Sample i's slots 1, 2, .. are the ids i + slot * stride (mod n), which differ as the stride has no factor of n.
    strides = random.integers(1, row.n, row.n)
    while (bad := np.gcd(strides, row.n) > 1).any():
        strides[bad] = random.integers(1, row.n, int(bad.sum()))
    slots = np.tile(np.arange(1, row.k + 1), (row.n, 1))
    used = np.full(row.n, row.k)
    ids = np.empty((row.layers, row.n, row.k), np.int32)
    for layer in range(row.layers):
        if layer:
            new = np.cumsum(drawn := random.random(slots.shape) > row.keep, axis=1)
            slots = random.permuted(np.where(drawn, used[:, None] + new, slots), axis=1)
            used += new[:, -1]
        ids[layer] = (np.arange(row.n)[:, None] + slots * strides[:, None]) % row.n
    if used.max() >= row.n:
        raise ValueError(f"{row.name}: {row.n} samples are too few for the ids of {row.layers} unlike layers")
    return ids


def python_sets(ids: Ids, start: int, stop: int, histogram: NDArray[np.int64]) -> None:
    """The definition."""
    for i in range(start, stop):
        sets = [set(layer[i].tolist()) for layer in ids]
        for p, (a, b) in enumerate(combinations(sets, 2)):
            histogram[p, len(a & b)] += 1


@njit(nogil=True)
def double_loop(ids: Ids, start: int, stop: int, histogram: NDArray[np.int64]) -> None:
    """Every neighbour of one against every neighbour of the other; LLVM makes vectors of it."""
    layers, _, k = ids.shape
    for i in range(start, stop):
        p = 0
        for a in range(layers):
            for b in range(a + 1, layers):
                shared = 0
                for x in range(k):
                    for y in range(k):
                        if ids[a, i, x] == ids[b, i, y]:
                            shared += 1
                histogram[p, shared] += 1
                p += 1


@njit(nogil=True)
def double_loop_left(ids: Ids, start: int, stop: int, histogram: NDArray[np.int64]) -> None:
    """The same, but the inner loop is left where a match is found, as libraries do."""
    layers, _, k = ids.shape
    for i in range(start, stop):
        p = 0
        for a in range(layers):
            for b in range(a + 1, layers):
                shared = 0
                for x in range(k):
                    for y in range(k):
                        if ids[a, i, x] == ids[b, i, y]:
                            shared += 1
                            break
                histogram[p, shared] += 1
                p += 1


@njit(nogil=True)
def marking_array(ids: Ids, start: int, stop: int, histogram: NDArray[np.int64]) -> None:
    """Stamps one layer's neighbours into an array of all samples and looks every other layer's up there."""
    layers, n, k = ids.shape
    stamps = np.zeros(n, np.int32)
    stamp = 0
    for i in range(start, stop):
        p = 0
        for a in range(layers):
            stamp += 1
            for x in range(k):
                stamps[ids[a, i, x]] = stamp
            for b in range(a + 1, layers):
                shared = 0
                for y in range(k):
                    shared += stamps[ids[b, i, y]] == stamp
                histogram[p, shared] += 1
                p += 1


@njit(nogil=True)
def and_and_count(words: NDArray[np.uint64], shared: NDArray[np.uint64], repeats: int) -> None:
    """The words of eight layers against those of eight others, again and again."""
    size, at, to = np.uint64(len(words) // 64), np.uint64(words.ctypes.data), np.uint64(shared.ctypes.data)
    for _ in range(repeats):
        _add_shared(at, at + np.uint64(64), size, to)


@njit(nogil=True)
def set_bits(ids: Ids, start: int, stop: int, masks: NDArray[np.uint64]) -> None:
    """One bit at every id."""
    layers, _, k = ids.shape
    for i in range(start, stop):
        for a in range(layers):
            for x in range(k):
                masks[np.uint64(ids[a, i, x])] |= np.uint64(1)


# What each peer is, and how many pairs of lists at most it is run on.
PEERS: dict[str, tuple[Any, int]] = {
    "Python sets": (python_sets, 100_000),
    "double loop": (double_loop, 1_000_000),
    "double loop, left at a match": (double_loop_left, 300_000),
    "marking array": (marking_array, 1 << 62),
}


def in_threads(work: Callable[[int, int], Any], n: int, threads: int) -> list[Any]:
    """work(start, stop) on equal parts of 0..n."""
    bounds = np.linspace(0, n, threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, bounds[:-1], bounds[1:]))


def peer(function: Kernel, ids: Ids, n: int, threads: int) -> NDArray[np.int64]:
    """Its histograms of the first n samples, `(pairs, k + 1)`."""
    layers, _, k = ids.shape

    def work(start: int, stop: int) -> NDArray[np.int64]:
        histogram = np.zeros((layers * (layers - 1) // 2, k + 1), np.int64)
        function(ids, start, stop, histogram)
        return histogram

    return np.sum(in_threads(work, n, threads), axis=0)


def word_rate(threads: int, words: int = 32, repeats: int = 200_000) -> float:
    """64-bit words/s that all threads together and and count, in 16 kB each."""
    random = np.random.default_rng(0)
    arrays = [random.integers(0, 2**63, 64 * words, np.uint64) for _ in range(threads)]
    and_and_count(arrays[0], np.zeros(64, np.uint64), 1)

    def work(thread: int, _: int) -> None:
        and_and_count(arrays[thread], np.zeros(64, np.uint64), repeats)

    return 64 * threads * words * repeats / best_times({"rate": lambda: in_threads(work, threads, threads)}, 3)["rate"]


def limit(row: Row, ids: Ids, threads: int, words_per_second: float) -> tuple[float, float]:
    """Seconds that anding and counting, and reading all ids, take at least."""
    # Every 250th sample stands for all: an id that only one layer lists need not be compared.
    kept = [int((np.unique(ids[:, i], return_counts=True)[1] > 1).sum()) for i in range(0, row.n, row.n // 60)]
    words = float(np.mean([-(-count // 64) for count in kept])) * row.n * row.layers * (row.layers - 1) / 2
    masks = np.zeros((threads, row.n), np.uint64)
    set_bits(ids, 0, 1, masks[0])

    def read() -> None:
        spare = list(range(threads))
        in_threads(lambda start, stop: set_bits(ids, start, stop, masks[spare.pop()]), row.n, threads)

    return words / words_per_second, best_times({"read": read}, 3)["read"]


def run(row: Row, repeats: int, threads: int, words_per_second: float) -> bool:
    """Prints one row's table; whether all counts agree."""
    ids = lists(row)
    distances = np.broadcast_to(np.arange(1.0, row.k + 1), (row.n, row.k))
    graphs = [NeighborGraph(layer, distances, 1.0, row.n) for layer in ids]
    found = count_overlaps(graphs, per_sample=True, threads=threads)
    assert found.counts is not None
    ours = {
        "ours": lambda: nnls_pairs(graphs, per_sample=False, threads=threads),
        "ours, with every sample's values": lambda: nnls_pairs(graphs, threads=threads),
    }
    similarity = ours["ours"]()
    print(
        f"{row.name}: {row.layers} layers, N = {row.n:,}, k = {row.k}, {threads} threads; NNLS of neighbours in depth "
        f"{similarity[0, 1].value:.3f}, of the ends {similarity[0, row.layers - 1].value:.3f}"
    )
    seconds = best_times(ours, repeats)
    best = seconds["ours"]
    agree = True
    lines = [(name, f"{time:.4g}", "", "") for name, time in seconds.items()]
    for name, (function, most) in PEERS.items():
        n = min(row.n, max(threads, most // len(found.pairs)))
        used = 1 if function is python_sets else threads
        peer(function, ids, 2 * threads, used)
        start = time.perf_counter()
        histogram = peer(function, ids, n, used)
        once = time.perf_counter() - start
        if repeats > 1 and once < 20:
            again = best_times({name: lambda f=function, n=n, used=used: peer(f, ids, n, used)}, repeats - 1)  # type: ignore[misc]
            once = min(once, again[name])
        expected = np.array([np.bincount(counts[:n], minlength=row.k + 1) for counts in found.counts[0]])
        same = np.array_equal(histogram, expected)
        agree &= same
        theirs = once * row.n / n * used / threads
        note = "equal" if same else "DIFFERENT COUNTS"
        note += f", {n:,} samples scaled up" if n < row.n else ""
        note += f", one thread / {threads}" if used < threads else ""
        target = row.targets.get(name)
        ratio = f"{best / theirs:.4f}"
        lines.append((name, f"{theirs:.4g}", ratio + (f" ({verdict(best / theirs, target)})" if target else ""), note))
    for name, time_, ratio, note in lines:
        print(f"  {name:33} {time_:>8} s  {'ratio ' + ratio if ratio else '':30} {note}")
    counting, reading = limit(row, ids, threads, words_per_second)
    print(
        f"  measured / limit: {best / (counting + reading):.2f} (anding and counting {counting:.3g} s at "
        f"{words_per_second / 1e9:.3g}e9 words/s, reading ids {reading:.3g} s)"
    )
    if row.seconds < float("inf"):
        print(f"  target {row.seconds:g} s: {verdict(best, row.seconds)}")
    return agree


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", action="append", choices=[row.name for row in ROWS], help="may be repeated")
    parser.add_argument("--threads", type=int, help="of all sides (default: all that torch uses)")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--small", action="store_true", help="a tenth of the samples: to try the script, not to quote")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    threads = torch.get_num_threads()
    print(machine_line(), flush=True)
    rate = word_rate(threads, repeats=20_000 if options.small else 200_000)
    agree = True
    for row in ROWS:
        if options.only is None or row.name in options.only:
            small = (
                replace(row, n=row.n // 10, k=row.k // 3, targets={}, seconds=float("inf")) if options.small else row
            )
            agree &= run(small, options.repeats, threads, rate)
    return 0 if agree else 1


if __name__ == "__main__":
    raise SystemExit(main())
