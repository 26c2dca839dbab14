"""The rates by which a search chooses its way, measured on this machine; about a minute on four quiet cores.

    python benchmarks/difference_rates.py [--samples N] [--features D] [--pairs P]

They are constants of one name in rra_cli/neighbors/tiles: `_ALL` of choice.py, `LISTED`, `_PRODUCTS` and `_ROUNDED` of
refine.py, `_DIFFERENCES` of rank_pass.py. What a search finds does not depend on them, only its time.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from common import ActivationLike, best_times, machine_line

from rra_cli.neighbors.rows import Rows, scan
from rra_cli.neighbors.threads import over_rows, thread_count
from rra_cli.neighbors.tiles import choice, rank_pass, refine
from rra_cli.neighbors.tiles.dense import nearest_of_all
from rra_cli.neighbors.tiles.direct import Pairs, distances_of

MEMORY = 4 << 30


def main() -> None:
    """Prints every rate as measured, as committed, and their ratio."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--features", type=int, default=4096)
    parser.add_argument("--pairs", type=int, default=400, help="listed pairs of a sample")
    args = parser.parse_args()
    n, d = args.samples, args.features
    data = ActivationLike(d).array(n)
    facts = scan(data, MEMORY)
    rows = Rows(data, facts.scale, facts.mean * facts.scale, None, facts.unit)
    pairs = drawn_pairs(n, args.pairs)
    print(machine_line())
    print(f"{n:,} samples, {d:,} features, {args.pairs} pairs of each; a second and thread")
    ways: dict[str, tuple[float, float, Callable[[], Any]]] = {
        "_ALL": (
            n * (n - 1) / 2 * d,
            choice._ALL,
            partial(nearest_of_all, rows, rows, np.arange(n), 10, memory=MEMORY, offset=0),
        ),
        "LISTED": (len(pairs.ids) * d, refine.LISTED, partial(distances_of, rows, rows, pairs, memory=MEMORY)),
        "_ROUNDED": (n * d, refine._ROUNDED, partial(refine._rounded, rows)),
        "_PRODUCTS": (len(pairs.ids) * d, refine._PRODUCTS, products(rows, pairs)),
        "_DIFFERENCES": (
            len(pairs.ids) * d,
            rank_pass._DIFFERENCES,
            partial(distances_of, rows, rows, pairs, memory=MEMORY, offset=0),
        ),
    }
    for name, (work, committed, way) in ways.items():
        rate = work / best_times({name: way}, 4)[name] / thread_count()
        print(f"{name} = {rate:.2g}, committed {committed:.2g}: x {rate / committed:.2f}")


def drawn_pairs(n: int, each: int) -> Pairs:
    """Every sample with `each` others, drawn at random."""
    generator = np.random.default_rng(0)
    ids = np.sort(np.stack([generator.choice(n, each, replace=False) for _ in range(n)]), axis=1)
    return Pairs(np.arange(0, n * each + 1, each), ids.ravel())


def products(rows: Rows, pairs: Pairs) -> Callable[[], None]:
    """The 14-bit products of these pairs, rounded before."""
    slabs, _ = refine._rounded(rows)
    sums = np.zeros(len(pairs.ids), np.int64)

    def work() -> None:
        for slab in slabs:
            over_rows(partial(refine._add, slab, slab, pairs, sums), len(rows))

    return work


if __name__ == "__main__":
    main()
