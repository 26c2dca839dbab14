"""Pooling scales of ResNet20 in a few numbers, beside those of the RRA thesis (Hryniowski 2024, ch. 6).

    python scripts/scale_summary.py RUN [RUN ...]     # run folders of ms_rra_cifar10 or ms_rra_cifar10_small

Prints Markdown tables: the thesis's figures, ID and NNCS by layer and scale, the best scale of every stage, the
correlation of curves. Several runs are seeds: mean ± sd (n - 1), of the last checkpoint.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

SCALES = {"none": (1,), "avg": (2, 4, 8, 0), "max": (2, 4, 8, 0)}


class Run:
    """One finished run on one split. values: `metric -> (layers x scales)`; kept: unpooled x pooled NNLS by scale."""

    def __init__(self, folder: Path, split: str) -> None:
        tables = folder / "tables"
        metrics = last(pd.read_csv(tables / "scales.csv", keep_default_na=False, na_values=[""]))
        metrics = metrics[metrics["split"] == split]
        self.layers = list(metrics.sort_values("index")["layer"].unique())
        self.values = {
            str(metric): rows.pivot_table(index="layer", columns=["pool", "scale"], values="value").loc[self.layers]
            for metric, rows in metrics.groupby("metric")
        }
        pairs = last(pd.read_csv(tables / "nnls.csv", keep_default_na=False, na_values=[""]), "_a")
        pairs = pairs[(pairs["split_a"] == split) & (pairs["pool_a"] == "none")]
        self.kept = {
            place: rows.pivot_table(index="layer_a", columns="layer_b", values="nnls").loc[self.layers, self.layers]
            for place, rows in pairs.groupby(["pool_b", "scale_b"])
        }
        self.best = last(pd.read_csv(tables / "best_scales.csv", keep_default_na=False))
        self.best = self.best[(self.best["split"] == split) & (self.best["level"] == "stage")]
        self.correlations = last(pd.read_csv(tables / "scale_correlations.csv"))
        self.correlations = self.correlations[self.correlations["split"] == split]

    def curve(self, metric: str, pool: str, scale: int) -> np.ndarray:
        return self.values[metric][pool, scale].to_numpy(float)

    def diagonal(self, pool: str, scale: int) -> np.ndarray:
        return np.diagonal(self.kept[pool, scale].to_numpy(float))


def last(frame: pd.DataFrame, side: str = "") -> pd.DataFrame:
    return frame[frame[f"checkpoint{side}"] == "last"]


def figures() -> dict[str, tuple[Callable[[Run], float], str]]:
    """Name -> (figure, the thesis's value)."""
    return {
        "ID globally averaged, layer 0": (lambda run: run.curve("id_twonn", "avg", 0)[0], "3"),
        "... lowest of layers 1-4": (lambda run: run.curve("id_twonn", "avg", 0)[1:5].min(), "8"),
        "... highest of layers 1-4": (lambda run: run.curve("id_twonn", "avg", 0)[1:5].max(), "10"),
        "... lowest of layers 5-7": (lambda run: run.curve("id_twonn", "avg", 0)[5:8].min(), "23"),
        "... highest of layers 5-7": (lambda run: run.curve("id_twonn", "avg", 0)[5:8].max(), "35"),
        "... layer of the maximum": (lambda run: float(np.argmax(run.curve("id_twonn", "avg", 0))), "8"),
        "... value there": (lambda run: run.curve("id_twonn", "avg", 0).max(), "-"),
        "NNCS of avg 8x8, layer 9": (lambda run: run.curve("nncs", "avg", 8)[9], "0.92"),
        "NNCS unpooled, layer 9": (lambda run: run.curve("nncs", "none", 1)[9], "0.72 (N = 1,000)"),
        "NNLS of avg 2x2 to unpooled, layer 0": (lambda run: run.diagonal("avg", 2)[0], "0.86"),
        "... lowest": (lambda run: run.diagonal("avg", 2).min(), "0.33"),
        "... layer of the lowest": (lambda run: float(np.argmin(run.diagonal("avg", 2))), "5"),
        "... first layer from which it is 1": (first_equal, "11"),
        "local share of ID at layer 4, % (avg)": (lambda run: 100 * local_share(run, 4), "-"),
        "local share of ID at layer 8, % (avg)": (lambda run: 100 * local_share(run, 8), "-"),
    }


def first_equal(run: Run) -> float:
    same = run.diagonal("avg", 2) == 1.0
    return float(len(same) - np.argmin(same[::-1])) if not same.all() else 0.0


def local_share(run: Run, layer: int) -> float:
    whole = run.curve("id_twonn", "none", 1)[layer]
    return float((whole - run.curve("id_twonn", "avg", 0)[layer]) / whole)


def mean_sd(values: Sequence[float], digits: int = 2) -> str:
    if all(float(value).is_integer() for value in values):
        return ", ".join(str(int(value)) for value in sorted(set(values)))
    spread = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread}"


def title(pool: str, scale: int) -> str:
    return "unpooled" if pool == "none" else f"{pool} {'global' if scale == 0 else scale}"


def by_scale(runs: Sequence[Run], values: Callable[[Run, str, int], np.ndarray], digits: int) -> None:
    """A row a layer, a column a scale."""
    places = [(pool, scale) for pool, scales in SCALES.items() for scale in scales]
    print("| layer | " + " | ".join(title(*place) for place in places) + " |\n|---|" + "---|" * len(places))
    for at, layer in enumerate(runs[0].layers):
        cells = [mean_sd([values(run, *place)[at] for run in runs], digits) for place in places]
        print(f"| {at} {layer} | " + " | ".join(cells) + " |")


def main(folders: Sequence[str]) -> None:
    by_split = {split: [Run(Path(folder), split) for folder in folders] for split in ("train", "test")}
    print("| | train | test | thesis |\n|---|---|---|---|")
    for name, (figure, thesis) in figures().items():
        print(f"| {name} | " + " | ".join(mean_sd([figure(r) for r in runs]) for runs in by_split.values()), end="")
        print(f" | {thesis} |")
    for split, runs in by_split.items():
        for metric, digits in (("id_twonn", 1), ("nncs", 3)):
            print(f"\n{metric}, {split}\n")
            by_scale(runs, lambda run, pool, scale, metric=metric: run.curve(metric, pool, scale), digits)
        print(f"\nNNLS to the unpooled layer, {split}\n")
        by_scale(runs, lambda run, pool, scale: run.diagonal(pool, scale), 2)
        print(f"\nbest scale, {split}\n\n| seed | stage | among | best | map | NNCS | unpooled | as good |")
        print("|---|---|---|---|---|---|---|---|")
        for number, run in enumerate(runs):
            for row in run.best.to_dict("records"):
                scale = title(row["best_pool"], int(row["best_scale"]))
                sides = f"{row['height']}x{row['width']}"
                numbers = f"{float(row['value']):.3f} | {float(row['unpooled']):.3f}"
                print(
                    f"| {number} | {row['stage']} | {row['among']} | {scale} | {sides} | {numbers} | {row['as_good']} |"
                )
        print(f"\nr of avg and max curves, {split}\n\n| metric | window | r |\n|---|---|---|")
        for (metric, window), rows in pd.concat([run.correlations for run in runs]).groupby(["metric", "window"]):
            print(f"| {metric} | {window or 'global'} | {mean_sd(rows['r'].tolist(), 3)} |")


if __name__ == "__main__":
    main(sys.argv[1:])
