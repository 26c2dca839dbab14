"""What permutation nulls of metrics of activations cost, from sizes alone: orders of magnitude."""

from __future__ import annotations

from collections.abc import Sequence

from rra_cli.metrics.kernel_sums import IN_MEMORY
from rra_cli.metrics.principal import LARGEST
from rra_cli.metrics.sample_tiles import PANEL, TILE
from rra_cli.neighbors import cost_model
from rra_cli.stages.metric_costs import DOUBLE, SOLVER
from rra_cli.stages.stage import Cost

# On the machine of benchmarks/README.md with 4 threads; compared with what they take by benchmarks/nulls.py.
RANK = 8e-9  # seconds of a distance: its square, and its place in the order of its row
LOOKUP = 1.5e-9  # of a rank that is read
ENTRY = 4e-9  # of an entry of a kernel: its sums


def of_permuted_ranks(n: int, widths: Sequence[int], permutations: int) -> Cost:
    """Ranks of all pairs of samples in every layer, read for every other layer and permutation."""
    layers = len(widths)
    products = 1.0 * n * n * sum(widths) / DOUBLE
    ranks = layers * (RANK * n * n + LOOKUP * n * (1 + permutations) * (layers - 1))
    fixed = _tiles(n, max(widths)) + 8 * n * (1 + permutations)
    return Cost(
        seconds=0.1 + products + ranks,
        memory_bytes=fixed + 4 * n * n,
        disk_bytes=8 * (1 + permutations) * layers**2,
        blocks=4 * n * n,
        once={"compiled code": cost_model.KERNEL_LOAD},
    )


def of_kernel(n: int, d: int, of_directions: bool) -> Cost:
    """The tiles of a layer's kernel, or of its directions', and the trace of its cube."""
    side = min(n, d)
    seconds, memory, disk = 0.05, 0, 1_000
    if of_directions:
        if side > LARGEST:
            return Cost(seconds)
        seconds += 2.0 * n * d * side / DOUBLE + 9.0 * side**3 / SOLVER
        memory, disk, d = 5 * 8 * side**2, disk + 8 * n * side, side
    seconds += (1.0 * n * n * d + (1.0 * n * d * d if d <= n else 0.0) + side**3 / 3) / DOUBLE + ENTRY * n * n
    matrix = 8 * side**2
    held = matrix if matrix <= IN_MEMORY else 0
    return Cost(seconds, max(memory, _tiles(n, d) + held), disk + (0 if held else matrix))


def _tiles(n: int, d: int) -> int:
    """Bytes of a tile, of what is made of it, and of both its sides."""
    side = min(n, TILE)
    return 8 * (5 * side * side + 4 * side * min(d, PANEL))
