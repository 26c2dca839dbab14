"""The constants of rra_cli/neighbors/cost_model.py, measured on this machine, and how far its estimates are off.

    python benchmarks/search_costs.py [--quick]

Both engines search activation-like data of several sizes with all threads. Every constant multiplies a count of the
model (pairs, features of candidates, ...), so that they follow from the times by non-negative least squares of the
relative errors. The estimates should be within a factor of two of the times.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from common import ActivationLike, machine_line
from numpy.typing import NDArray
from scipy.optimize import nnls

from rra_cli.core.progress import silent
from rra_cli.neighbors import approximate_neighbors, cost_model, exact_neighbors
from rra_cli.neighbors.descent import library as descent_library

Size = tuple[int, int, int]

# Samples, features, k.
EXACT: list[Size] = [
    (3000, 64, 10), (3000, 1024, 50), (10_000, 64, 50), (10_000, 64, 1000), (10_000, 1024, 150), (5000, 8192, 50),
    (5000, 4096, 1000), (30_000, 256, 50), (40_000, 64, 15), (15_000, 4096, 150),
]  # fmt: skip
DESCENT: list[Size] = [
    (3000, 64, 10), (3000, 64, 500), (10_000, 64, 10), (10_000, 64, 50), (10_000, 64, 150), (10_000, 1024, 10),
    (10_000, 1024, 50), (10_000, 1024, 150), (5000, 8192, 50), (30_000, 64, 15), (30_000, 512, 50), (100_000, 128, 50),
]  # fmt: skip


def main() -> None:
    """Prints the constants, and for every size the time, the fitted and the committed estimate."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller sizes only")
    args = parser.parse_args()
    keep = (lambda size: size[0] * size[1] <= 10**6) if args.quick else (lambda size: True)
    n_jobs = torch.get_num_threads()
    print(machine_line())
    loaded = [timed(exact_neighbors, ActivationLike(20).array(300), 10) for _ in range(2)]
    print(f"KERNEL_LOAD = {loaded[0] - loaded[1]:.1f}")
    start = time.perf_counter()
    descent_library.compile_once(descent_library.load(n_jobs), silent)
    print(f"DESCENT_COMPILE = {time.perf_counter() - start:.0f}")
    engines: dict[str, tuple[list[Size], Callable[..., Any], Callable[..., float]]] = {
        "EXACT": (EXACT, exact_neighbors, cost_model.exact_seconds),
        "DESCENT": (DESCENT, lambda x, k: approximate_neighbors(x, k, n_jobs=n_jobs), compiled),
    }
    for prefix, (sizes, search, committed) in engines.items():
        fit(prefix, [size for size in sizes if keep(size)], search, committed)


def compiled(n: int, d: int, k: int) -> float:
    """Descent in a process that has compiled it."""
    return cost_model.nn_descent_seconds(n, d, k, compiled=True)


def fit(prefix: str, sizes: list[Size], search: Callable[..., Any], committed: Callable[..., float]) -> None:
    """Times an engine on all sizes and fits the constants of this prefix."""
    names = [name for name in vars(cost_model) if name.startswith(f"{prefix}_") and name != "DESCENT_COMPILE"]
    counts = np.array([[count(committed, name, names, size) for name in names] for size in sizes])
    times = np.array([seconds(search, size) for size in sizes])
    constants, _ = nnls(counts / times[:, None], np.ones(len(times)))
    for name, value in zip(names, constants, strict=True):
        print(f"{name} = {value:.2g}")
    for size, measured, row in zip(sizes, times, counts, strict=True):
        fitted, now = float(row @ constants), committed(*size)
        shown = ", ".join(f"{number:,}" for number in size)
        print(f"  {shown}: {measured:.2f} s; fitted x {fitted / measured:.2f}, committed x {now / measured:.2f}")


def count(estimate: Callable[..., float], name: str, names: list[str], size: Size) -> float:
    """What a constant is multiplied by for a search of this size: the estimate with it at 1 and all others at 0."""
    before = {other: getattr(cost_model, other) for other in names}
    try:
        for other in names:
            setattr(cost_model, other, float(other == name))
        return estimate(*size)
    finally:
        for other, value in before.items():
            setattr(cost_model, other, value)


def seconds(search: Callable[..., Any], size: Size) -> float:
    """The faster of two searches."""
    data: NDArray[np.float32] = ActivationLike(size[1]).array(size[0])
    return min(timed(search, data, size[2]) for _ in range(2))


def timed(search: Callable[..., Any], data: NDArray[np.float32], k: int) -> float:
    """One search."""
    start = time.perf_counter()
    search(data, k)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
