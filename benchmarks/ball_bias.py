"""What TwoNN and Gride give for uniform balls of known dimension (rra_cli/report/details/ball_bias.json).

Finite N makes them low, the more the higher the dimension and the rank: most samples of a ball lie near its surface.
The report draws these curves beside those of layers, so that a change with the scale is not taken for more than it is.

    python benchmarks/ball_bias.py        # writes ball_bias.json to the current folder; 15 minutes on two cores
    python benchmarks/ball_bias.py --dimensions 2,5 --sizes 128,256        # a part of it, in seconds
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from common import machine_line

from rra_cli.metrics import twonn
from rra_cli.metrics.gride import gride
from rra_cli.neighbors import exact_neighbors

SIZES = tuple(2**power for power in range(7, 16))
DIMENSIONS = (2, 5, 8, 10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
RANKS = tuple(2**power for power in range(1, 9))
FITS = ("mle", "linear", "mle_censored")
# So many samples in all for each entry, and so many balls, at least: the error of the mean is then below 1 %.
SAMPLES, BALLS = 2**15, 3
OUTPUT = Path("ball_bias.json")


def ball(n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """`(n, d)` uniform in the unit ball: a direction, and a radius whose d-th power is uniform."""
    x = rng.normal(size=(n, d))
    return x / np.linalg.norm(x, axis=1, keepdims=True) * rng.uniform(size=(n, 1)) ** (1 / d)


def one(n: int, d: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Of one ball: TwoNN by fit; by rank, up to n / 2, Gride and the mean distance to the neighbour of that rank."""
    graph = exact_neighbors(ball(n, d, rng), min(RANKS[-1], n // 2))
    scales = gride(graph).details
    count = int(np.isfinite(scales["scale_rank"]).sum())
    fits = np.array([float(twonn(graph, fit=fit)) for fit in FITS])
    return {"twonn": fits, "gride": scales["scale_value"][:count], "radius": scales["scale_radius"][:count]}


def main() -> None:
    """Writes the table, a dimension at a time, and prints how large the standard errors of its means are."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dimensions", default=",".join(map(str, DIMENSIONS)))
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    given = parser.parse_args()
    sizes = [int(size) for size in given.sizes.split(",")]
    names = [*(f"twonn_{fit}" for fit in FITS), "gride", "radius"]
    tables: dict[str, dict[str, list[object]]] = {name: {} for name in names}
    worst = dict.fromkeys(("twonn", "gride", "radius"), 0.0)
    head = {"made_by": "benchmarks/ball_bias.py", "machine": machine_line(), "seed": "[dimension, samples]"}
    for d in (int(dimension) for dimension in given.dimensions.split(",")):
        for name in names:
            tables[name][str(d)] = []
        for n in sizes:
            rng = np.random.default_rng([d, n])
            balls = [one(n, d, rng) for _ in range(max(BALLS, SAMPLES // n))]
            for name in worst:
                found = np.array([each[name] for each in balls])
                error = found.std(axis=0, ddof=1) / len(found) ** 0.5 / found.mean(axis=0)
                worst[name] = max(worst[name], float(error.max()))
                # Four digits: an error of 0.1 % is the smallest here.
                means = [float(f"{value:.4g}") for value in found.mean(axis=0)]
                if name == "twonn":
                    for fit, mean in zip(FITS, means, strict=True):
                        tables[f"twonn_{fit}"][str(d)].append(mean)
                else:
                    tables[name][str(d)].append(means)
        errors = {f"largest_error_{name}": round(value, 4) for name, value in worst.items()}
        told = {**head, **errors, "sizes": sizes, "ranks": RANKS, **tables}
        lines = [f"{json.dumps(name)}: {_table(part)}" for name, part in told.items()]
        OUTPUT.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
        print(f"d = {d}: {errors}", flush=True)


def _table(part: object) -> str:
    """As JSON: a line a dimension."""
    if not isinstance(part, dict):
        return json.dumps(part)
    return "{\n" + ",\n".join(f"  {json.dumps(name)}: {json.dumps(row)}" for name, row in part.items()) + "\n}"


if __name__ == "__main__":
    main()
