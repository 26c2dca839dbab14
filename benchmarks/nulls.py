"""Permutation nulls of metrics of activations: what they take, and whether the p-values of moments are those of
permutations. About ten minutes on two cores.

    python benchmarks/nulls.py [--part costs|laws] [--samples N] [--permutations M]

costs: information imbalance of the layers of ResNet20 on CIFAR-10 (widths alone; the data are synthetic), beside what
`rra plan` says, whose constants are in rra_cli/stages/uncertainty/null_costs.py; and the sums behind the nulls of HSIC
and CKA. In seconds of one core (processor time), which other work on the machine changes little.
laws: how many of 50,000 permutations lie beyond the value that the Pearson III law of the exact moments gives a p of.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
from common import ActivationLike, PeakMemory, machine_line
from numpy.typing import NDArray

from rra_cli.metrics.centred import Centred
from rra_cli.metrics.imbalance_null import rank_sums
from rra_cli.metrics.kernel_sums import kernel_sums, u_centred
from rra_cli.metrics.permutation_moments import Moments, pearson_p, permutation_moments
from rra_cli.stages.uncertainty.null_costs import of_kernel, of_permuted_ranks

WIDTHS = (3072, *(4 * (16384,)), *(3 * (8192,)), *(3 * (4096,)), 64, 10)
LEVELS = (0.05, 0.01, 0.001)
PERMUTATIONS = 50_000
Array = NDArray[np.float64]


def costs(n: int, permutations: int) -> None:
    """A line for every width, and the sum over all layers. Each takes part as often as the network has it."""
    rng, layers = np.random.default_rng(0), len(WIDTHS)
    nearest = np.stack([(np.arange(n) + rng.integers(1, n, n)) % n for _ in range(layers - 1)])
    rank_sums(nearest[:, :50] % 50, rng.normal(size=(50, 3)), 1)  # loads compiled code
    print(f"| features | layers | ranks, {permutations} permutations, core s | MB | kernel's sums, core s | MB |")
    print("|---|---|---|---|---|---|")
    totals = np.zeros(2)
    for d in dict.fromkeys(WIDTHS):
        x, line = ActivationLike(d).array(n), []
        calls: tuple[Callable[[], object], ...] = (
            lambda x=x: rank_sums(nearest, x, permutations),  # type: ignore[misc]
            lambda x=x: kernel_sums(Centred(x)),  # type: ignore[misc]
        )
        for place, call in enumerate(calls):
            with PeakMemory() as memory:
                began = time.process_time()
                call()
                seconds = time.process_time() - began
            totals[place] += WIDTHS.count(d) * seconds
            line += [f"{seconds:.2f}", f"{memory.added / 1e6:.0f}"]
        print(f"| {d:,} | {WIDTHS.count(d)} | {' | '.join(line)} |", flush=True)
    planned = of_permuted_ranks(n, WIDTHS, permutations).seconds, sum(of_kernel(n, d, False).seconds for d in WIDTHS)
    print(f"| all | {layers} | {totals[0]:.0f} | | {totals[1]:.0f} | |")
    print(f"| planned, seconds of 4 threads | | {planned[0]:.0f} | | {planned[1]:.0f} | |")


def kinds(n: int, rng: np.random.Generator) -> dict[str, tuple[Array, Array]]:
    """Pairs of unrelated layers of different kinds."""
    relu = np.maximum(rng.normal(size=(n, 3)) @ rng.normal(size=(3, 30)) + rng.normal(size=30), 0.0)
    classes = np.eye(10)[np.arange(n) % 10] + 0.05 * rng.normal(size=(n, 10))
    return {
        "normal, 10 and 10": (rng.normal(size=(n, 10)), rng.normal(size=(n, 10))),
        "normal, 1 and 2": (rng.normal(size=(n, 1)), rng.normal(size=(n, 2))),
        "rectified, 30; logits of 10 classes": (relu, classes),
        "more features than samples, 2000 and 1000": (rng.normal(size=(n, 2000)), rng.exponential(size=(n, 1000))),
        "heavy tails (cubes of normals), 4 and 4": (rng.normal(size=(n, 4)) ** 3, rng.normal(size=(n, 4)) ** 3),
    }


def laws(n: int) -> None:
    """A line for every kind of layers and estimator."""
    rng = np.random.default_rng(1)
    print(f"| layers, N = {n} | estimator | skewness | {' | '.join(f'p = {level}' for level in LEVELS)} |")
    print(f"|---|---|---|{len(LEVELS) * '---|'}")
    for kind, (x, y) in kinds(n, rng).items():
        a, b = (kernel_sums(Centred(z)) for z in (x, y))
        for estimator, one, other in (("biased", a, b), ("unbiased", u_centred(a), u_centred(b))):
            moments = permutation_moments(one, other)
            left, right = (kernel(z, estimator) for z in (x, y))
            null = np.empty(PERMUTATIONS)
            for number in range(PERMUTATIONS):
                order = rng.permutation(n)
                null[number] = np.vdot(left, right[order][:, order])
            null -= null.mean() if estimator == "unbiased" else np.trace(left) * np.trace(right) / (n - 1)
            shares = [np.mean(np.abs(null) >= beyond(level, moments)) for level in LEVELS]
            told = " | ".join(f"{share:.4f}" for share in shares)
            print(f"| {kind} | {estimator} | {moments.skewness:.2f} | {told} |", flush=True)


def kernel(x: Array, estimator: str) -> Array:
    """The centred kernel, or the U-centred one."""
    n, x = len(x), x - x.mean(axis=0)
    found = x @ x.T
    if estimator == "unbiased":
        np.fill_diagonal(found, 0.0)
        rows = found.sum(axis=1)
        found += rows.sum() / ((n - 1) * (n - 2)) - (rows[:, None] + rows) / (n - 2)
        np.fill_diagonal(found, 0.0)
    return found


def beyond(level: float, moments: Moments) -> float:
    """The distance from the mean whose p is `level`."""
    from scipy.optimize import brentq

    return float(brentq(lambda z: pearson_p(moments.mean + z, moments) - level, 0.0, 60.0 * moments.sd))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--part", choices=("costs", "laws"))
    parser.add_argument("--samples", type=int, default=5_000, help="of the costs")
    parser.add_argument("--permutations", type=int, default=199, help="of the costs")
    arguments = parser.parse_args()
    print(machine_line())
    if arguments.part != "laws":
        costs(arguments.samples, arguments.permutations)
    if arguments.part != "costs":
        laws(200)


if __name__ == "__main__":
    main()
