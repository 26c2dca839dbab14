"""Graphs of nested subsets from one pass, and ranks across layers, against the same by separate calls.

    python benchmarks/subsets.py [--n N ...] [--d D] [--k K] [--threads T] [--repeats R] [--small]

Nested: the subsets of 1/8, 1/4, 1/2 and all of N samples from one pass (`exact_subset_graphs`), against a search of the
largest alone (target: at most 1.5 times its time) and against a search of each. All graphs are compared, bit for bit.
Limit: the eight-bit products of the largest subset, every pair once, at the machine's rate.

Ranks: the nearest neighbour of each of 12 layers ranked in one layer, from one pass (`cross_layer_ranks`), against what
one would do without it: N x N distances by scikit-learn in blocks of rows and a full comparison, which is not exact.

Data are like activations: rectified, of 30 latent dimensions with noise. The best of R counts, sides take turns. Exit
code 1: graphs differ, or ranks differ from those of direct differences on the rows that were checked.
"""

from __future__ import annotations

import argparse
from typing import Any

import numpy as np
import torch
from common import best_times, gemm_rates, machine_line, verdict
from numpy.typing import NDArray
from sklearn.metrics import pairwise_distances_chunked

from rra_cli.neighbors import NeighborGraph, cross_layer_ranks, exact_neighbors, exact_subset_graphs

PARTS = (8, 4, 2, 1)
TARGET = 1.5
LAYERS = 12
CHECKED_ROWS = 100


def layer(n: int, d: int, seed: int = 0) -> NDArray[np.float32]:
    """`(n, d)` rectified activations of 30 latent dimensions with noise."""
    random = np.random.default_rng(seed)
    latent, directions = random.normal(size=(n, 30)), random.normal(size=(30, d))
    out = latent.astype(np.float32) @ directions.astype(np.float32)
    out += random.normal(size=(n, d)).astype(np.float32)
    return np.maximum(out, 0, out=out)


def nested(data: NDArray[np.float32], k: int, repeats: int, rate_int8: float) -> bool:
    """Times one pass, the largest alone and all separately; whether all graphs are the same."""
    n, d = data.shape
    sizes = [n // part for part in PARTS]
    found: dict[str, list[NeighborGraph]] = {}

    def one_pass() -> None:
        found["one pass"] = exact_subset_graphs(data, k, sizes)

    def largest() -> None:
        exact_neighbors(data, k)

    def separate() -> None:
        found["separate"] = [exact_neighbors(data[:size], k) for size in sizes]

    times = best_times({"one pass": one_pass, "largest": largest, "separate": separate}, repeats)
    same = all(
        np.array_equal(a.indices, b.indices) and np.array_equal(a.distances, b.distances)
        for a, b in zip(found["one pass"], found["separate"], strict=True)
    )
    ratio, limit = times["one pass"] / times["largest"], 1.0 * n * n * d / rate_int8
    print(
        f"nested: N = {n:,} and its 1/2, 1/4, 1/8, d = {d:,}, k = {k}: one pass {times['one pass']:.3g} s, "
        f"the largest alone {times['largest']:.3g} s, ratio {ratio:.2f}; target {TARGET:g}: {verdict(ratio, TARGET)}\n"
        f"  each by itself {times['separate']:.3g} s, ratio {times['one pass'] / times['separate']:.2f}; "
        f"measured / limit {times['one pass'] / limit:.1f}; graphs {'equal to the last bit' if same else 'DIFFER'}",
        flush=True,
    )
    return same


def ranks(data: NDArray[np.float32], repeats: int) -> bool:
    """Times ranks in one pass and by blocks of the full matrix; whether those of some rows are right."""
    n, d = data.shape
    graph = exact_neighbors(layer(n, 64, seed=1), LAYERS)
    targets = [graph.indices[:, at : at + 1] for at in range(LAYERS)]
    found: dict[str, Any] = {}

    def one_pass() -> None:
        found["ours"] = cross_layer_ranks(targets, data)[:, :, 0]

    def by_matrix() -> None:
        out, at = np.empty((LAYERS, n), np.int64), 0
        for block in pairwise_distances_chunked(data, working_memory=256):
            rows = np.arange(at, at + len(block))
            for index, target in enumerate(targets):
                limit = block[np.arange(len(block)), target[rows, 0]]
                out[index, rows] = (block < limit[:, None]).sum(axis=1)  # self is one of those
            at += len(block)
        found["matrix"] = out

    times = best_times({"ours": one_pass, "matrix": by_matrix}, repeats)
    checked = np.sort(np.random.default_rng(0).choice(n, min(n, CHECKED_ROWS), replace=False))
    wrong = 0
    for row in checked.tolist():
        distances = np.sqrt(((data.astype(np.float64) - data[row].astype(np.float64)) ** 2).sum(axis=1))
        distances[row] = np.inf
        for index, target in enumerate(targets):
            limit, place = distances[target[row, 0]], int(target[row, 0])
            before = (distances < limit) | ((distances == limit) & (np.arange(n) < place))
            wrong += int(found["ours"][index, row] != 1 + before.sum())
    other = int((found["matrix"] != found["ours"]).sum())
    print(
        f"ranks: N = {n:,}, d = {d:,}, {LAYERS} layers in one: ours {times['ours']:.3g} s, blocks of the full matrix "
        f"{times['matrix']:.3g} s, ratio {times['ours'] / times['matrix']:.2f}\n"
        f"  of {len(checked) * LAYERS:,} ranks checked {wrong} wrong; {other:,} of {found['ours'].size:,} ranks by the "
        "matrix differ from ours",
        flush=True,
    )
    return wrong == 0


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--n", type=int, nargs="+", default=[2_000, 5_000, 10_000, 20_000], help="samples")
    parser.add_argument("--d", type=int, default=4_096, help="features (default 4096)")
    parser.add_argument("--k", type=int, default=150, help="neighbours (default 150)")
    parser.add_argument("--threads", type=int, help="of both sides (default: all that torch uses)")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--small", action="store_true", help="a tenth of every size: to try the script, not to quote")
    options = parser.parse_args(arguments)
    if options.threads:
        torch.set_num_threads(options.threads)
    sizes = [n // 10 for n in options.n] if options.small else options.n
    d, k = (options.d // 10, options.k // 10) if options.small else (options.d, options.k)
    if min(sizes) // PARTS[0] <= k:
        parser.error(f"an eighth of {min(sizes)} samples is {min(sizes) // PARTS[0]}: choose --k below that")
    print(machine_line(), flush=True)
    rate = gemm_rates(*((256, 512, 512) if options.small else (2048, 4096, 4096)))["int8"]
    warm = layer(600, d)
    exact_subset_graphs(warm, 5, [100, 600])
    cross_layer_ranks([exact_neighbors(warm, 1)], warm)
    right = True
    for n in sizes:
        data = layer(n, d)
        right &= nested(data, k, options.repeats, rate)
        right &= ranks(data, options.repeats)
    return 0 if right else 1


if __name__ == "__main__":
    raise SystemExit(main())
