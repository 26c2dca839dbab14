"""The shape of ResNet20's curves in a few numbers, beside those of the RRA thesis (Hryniowski 2024, ch. 4).

    python scripts/rra_summary.py RUN [RUN ...]     # run folders of rra_cifar10 or rra_cifar10_small

Prints a Markdown table: one column per augmentation, mean ± sd over the seeds given (sd with n - 1).
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

STAGES = {1: range(2, 5), 2: range(5, 8), 3: range(8, 11)}  # layer indices of the three stages' blocks


class Run:
    """One finished run, its last checkpoint."""

    def __init__(self, folder: Path) -> None:
        config = yaml.safe_load((folder / "config.yaml").read_text())
        # Every set of augmentations is a choice of the group; the configuration itself holds its values.
        choices = yaml.safe_load((folder / ".hydra" / "hydra.yaml").read_text())["hydra"]["runtime"]["choices"]
        self.augment, self.seed = choices["augment"], config["seed"]
        layers = pd.read_csv(folder / "tables" / "layers.csv")
        layers = layers[layers["checkpoint"] == "last"]
        self.layers = {split: rows.set_index("index") for split, rows in layers.groupby("split")}
        names = self.layers["test"]["layer"]
        nnls = pd.read_csv(folder / "tables" / "nnls.csv")
        nnls = nnls[(nnls["checkpoint_a"] == "last")]
        self.nnls = {
            split: rows.pivot_table(index="layer_a", columns="layer_b", values="nnls").loc[names, names].to_numpy()
            for split, rows in nnls.groupby("split_a")
        }
        self.last = json.loads((folder / "training.jsonl").read_text().splitlines()[-1])

    def id(self, split: str) -> pd.Series:
        return self.layers[split]["id_twonn"]

    def nncs(self, split: str) -> pd.Series:
        return self.layers[split]["nncs"]


def dip(run: Run, split: str) -> pd.Series:
    """NNCS of the neck and the blocks of stage 1."""
    return run.nncs(split).loc[1:4]


def between(run: Run, split: str, a: int, b: int) -> float:
    """Mean NNLS of the layers of stage a with those of stage b; within a stage without the diagonal."""
    values = [run.nnls[split][i, j] for i in STAGES[a] for j in STAGES[b] if i != j]
    return float(np.mean(values))


def contrast(run: Run, split: str) -> float:
    """Mean NNLS within stages minus that between them."""
    within = np.mean([between(run, split, stage, stage) for stage in STAGES])
    return float(within - np.mean([between(run, split, a, b) for a, b in ((1, 2), (1, 3), (2, 3))]))


def figures(split: str) -> dict[str, Callable[[Run], float]]:
    """Name -> figure of one run on one split."""
    return {
        "layer of the ID peak": lambda run: float(run.id(split).loc[1:].idxmax()),
        "ID at the input": lambda run: run.id(split)[0],
        "ID at the peak": lambda run: run.id(split).loc[1:].max(),
        "ID fall from layer 7 to 8": lambda run: run.id(split)[7] - run.id(split)[8],
        "ID fall from layer 10 to 11": lambda run: run.id(split)[10] - run.id(split)[11],
        "ID at the logits": lambda run: run.id(split)[12],
        "NNCS at the input": lambda run: run.nncs(split)[0],
        "layer of the NNCS dip": lambda run: float(dip(run, split).idxmin()),
        "depth of the dip (input - minimum)": lambda run: run.nncs(split)[0] - dip(run, split).min(),
        "NNCS at layer 5": lambda run: run.nncs(split)[5],
        "NNCS rise from layer 8 to 10": lambda run: run.nncs(split)[10] - run.nncs(split)[8],
        "NNCS at the logits": lambda run: run.nncs(split)[12],
        "NNLS of layers 8 and 9": lambda run: run.nnls[split][8, 9],
        "NNLS of layers 9 and 10": lambda run: run.nnls[split][9, 10],
        "NNLS of layers 11 and 12": lambda run: run.nnls[split][11, 12],
        "NNLS of stages 1 and 2, mean": lambda run: between(run, split, 1, 2),
        "NNLS within stages - between them": lambda run: contrast(run, split),
    }


def accuracies() -> dict[str, Callable[[Run], float]]:
    """Of the network itself, in percent."""
    return {
        "accuracy, training %": lambda run: 100 * run.last["train_clean_accuracy"],
        "accuracy, test %": lambda run: 100 * run.last["test_accuracy"],
    }


def mean_sd(values: Sequence[float]) -> str:
    """`mean ± sd`, or the values where they are whole numbers such as layers."""
    if all(float(value).is_integer() for value in values):
        return ", ".join(str(int(value)) for value in sorted(set(values)))
    spread = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{spread}"


def main(folders: Sequence[str]) -> None:
    groups: dict[str, list[Run]] = defaultdict(list)
    for folder in folders:
        run = Run(Path(folder))
        groups[run.augment].append(run)
    titles = [f"augment={name} ({len(runs)} seeds)" for name, runs in sorted(groups.items())]
    columns = [runs for _, runs in sorted(groups.items())]
    print("| | " + " | ".join(titles) + " |")
    print("|---|" + "---|" * len(titles))
    rows = {
        **accuracies(),
        **{f"{name}, {split}": f for split in ("train", "test") for name, f in figures(split).items()},
    }
    for name, figure in rows.items():
        print(f"| {name} | " + " | ".join(mean_sd([figure(run) for run in runs]) for runs in columns) + " |")
    difference = [np.abs(run.nnls["train"] - run.nnls["test"]).max() for runs in columns for run in runs]
    print(f"\nlargest NNLS difference between training and test samples, any pair and run: {max(difference):.4f}")


if __name__ == "__main__":
    main(sys.argv[1:])
