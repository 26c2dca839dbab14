"""Approximate search: our path against pynndescent called directly, on the same data with the same settings.

    python benchmarks/nn_descent.py [--samples 200000] [--features 256] [--k 50] [--repeats 3] [--check]

Ours does more: it checks what the library returns, replaces its distances by direct differences in float64, searches
broken rows exactly and measures the recall. The target is that this costs at most 5 % of the library's time. Both are
compiled before they are timed. --check compares the distances and the recall of some rows with all distances.
"""

from __future__ import annotations

import argparse
import warnings
from typing import Any

import numpy as np
import torch
from common import ActivationLike, best_times, direct_rows, machine_line, verdict
from numpy.typing import NDArray

from rra_cli.core.progress import silent
from rra_cli.neighbors import NeighborGraph, approximate_neighbors
from rra_cli.neighbors.descent import library as descent_library

TARGET = 1.05
SEED = 0


def main() -> None:
    """Prints both times, their ratio, and whether the graph is what it says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=200_000)
    parser.add_argument("--features", type=int, default=256)
    parser.add_argument("--k", type=int, default=50)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--check", type=int, default=200, metavar="ROWS")
    args = parser.parse_args()
    n_jobs = torch.get_num_threads()
    library = descent_library.load(n_jobs)
    descent_library.compile_once(library, silent)
    data = ActivationLike(args.features).array(args.samples)
    found: dict[str, Any] = {}

    def theirs() -> None:
        found["theirs"] = None  # the index of the round before is no part of this one's memory
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            index = library.NNDescent(
                data=data, n_neighbors=args.k + 1, random_state=np.random.RandomState(SEED), n_jobs=n_jobs
            )
            found["theirs"] = index.neighbor_graph[0]

    def ours() -> None:
        found["ours"] = None
        found["ours"] = approximate_neighbors(data, args.k, seed=SEED, n_jobs=n_jobs)

    approximate_neighbors(data[: 20 * args.k], args.k, n_jobs=n_jobs)  # our own kernels
    times = best_times({"ours": ours, "theirs": theirs}, args.repeats)
    ratio = times["ours"] / times["theirs"]
    print(machine_line())
    print(f"N = {args.samples:,}, d = {args.features}, k = {args.k}; best of {args.repeats}")
    print(f"pynndescent {times['theirs']:.2f} s, ours {times['ours']:.2f} s")
    print(f"ratio {ratio:.3f}, target {TARGET}: {verdict(ratio, TARGET)}")
    print(f"recall {found['ours'].recall:.4f}; {checked(data, found['ours'], found['theirs'][:, 1:], args.check)}")


def checked(data: NDArray[Any], graph: NeighborGraph, theirs: NDArray[np.integer], n_rows: int) -> str:
    """Distances and recall of some rows against all distances by direct difference. Raises where they do not agree."""
    k = graph.k
    rows = np.sort(np.random.default_rng(1).choice(len(data), min(n_rows, len(data)), replace=False))
    direct = direct_rows(data, rows, torch.get_num_threads())
    listed = np.take_along_axis(direct, graph.indices[rows].astype(np.int64), axis=1)
    worst = float((np.abs(listed - graph.distances[rows]) / np.maximum(listed, 1e-300)).max())
    if worst > 1e-9:
        raise SystemExit(f"a distance is off by {worst:.1e} relative")
    radii = np.partition(direct, k - 1, axis=1)[:, k - 1 : k] * (1 + 1e-12)
    recall = float((listed <= radii).mean())
    spread = float((listed <= radii).mean(axis=1).std()) / np.sqrt(len(rows))
    if abs(recall - graph.recall) > 6 * spread + 1e-3:
        raise SystemExit(f"the graph says its recall is {graph.recall:.4f}, on other rows it is {recall:.4f}")
    other = float((np.take_along_axis(direct, theirs[rows].astype(np.int64), axis=1) <= radii).mean())
    return (
        f"on {len(rows)} other rows {recall:.4f} (pynndescent's own lists: {other:.4f}), distances within {worst:.0e}"
    )


if __name__ == "__main__":
    main()
