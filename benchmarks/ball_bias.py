"""What TwoNN gives for uniform balls of known dimension at N samples: the constants of rra_cli/report/ball_bias.py.

Finite N makes TwoNN low, the more the higher the dimension: most samples of a ball lie near its surface. The report
draws these curves beside those of layers, so that a rise with N is not taken for more than it is.

    python benchmarks/ball_bias.py        # prints the rows of the table; about ten minutes on four cores
"""

from __future__ import annotations

import numpy as np

from rra_cli.metrics import twonn
from rra_cli.neighbors import exact_neighbors

SIZES = tuple(2**power for power in range(7, 15))
DIMENSIONS = (2, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
# So many samples in all for each entry, at least: the error of the mean is then below 1 %.
SAMPLES = 2**15


def ball(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """`(n, d)` uniform in the unit ball: a direction, and a radius whose d-th power is uniform."""
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(n, 1)) ** (1 / d)


def main() -> None:
    """Prints a row a dimension, a column a size: mean, and below all the largest standard error in percent."""
    worst = 0.0
    for d in DIMENSIONS:
        row = []
        for n in SIZES:
            rng = np.random.default_rng([d, n])
            found = [float(twonn(exact_neighbors(ball(n, d, rng), 2))) for _ in range(max(4, SAMPLES // n))]
            row.append(np.mean(found))
            worst = max(worst, float(np.std(found, ddof=1) / len(found) ** 0.5 / row[-1]))
        print(f"    {d}: ({', '.join(f'{value:.2f}' for value in row)}),", flush=True)
    print(f"largest standard error: {worst:.2%}")


if __name__ == "__main__":
    main()
