"""Training methods side by side at the representation, the last layer before a classifier: one Markdown table.

    python scripts/method_table.py SWEEP|RUN ...     # the folder of `rra run -m +experiment=ssl_mnist_small ...`

k-NN and linear: probe accuracies on the test split. ID, NNCS: TwoNN dimension and neighbourhood class similarity of
test samples. Training: minutes and seconds, as the run's log tells them ("–": it was there already). Several seeds of a
method become mean ± sd (n - 1).
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import yaml

COLUMNS = {
    "knn_probe": ("k-NN accuracy", 3),
    "linear_probe": ("linear accuracy", 3),
    "id_twonn": ("ID", 1),
    "nncs": ("NNCS", 3),
}
TRAINED = re.compile(r" INFO rra_cli: train .*: done in (?:(?:(\d+):)?(\d+):(\d+)|([\d.]+) s)$", re.MULTILINE)


def runs(folders: Sequence[Path]) -> Iterator[Path]:
    """The run folders themselves and those inside of sweeps."""
    for folder in folders:
        found = [folder] if (folder / "tables").is_dir() else sorted(path.parent for path in folder.glob("*/tables"))
        if not found:
            raise SystemExit(f"{folder} is neither a run nor a sweep with finished runs")
        yield from found


def training_seconds(folder: Path) -> float:
    """How long the training took, NaN where it was not done by this run."""
    found = TRAINED.findall((folder / "run.log").read_text())
    total = 0.0
    for hours, minutes, seconds, short in found:
        total += float(short) if short else 3600 * int(hours or 0) + 60 * int(minutes) + int(seconds)
    return total if found else float("nan")


def row(folder: Path) -> dict[str, object]:
    """One run's figures."""
    config = yaml.safe_load((folder / "config.yaml").read_text())
    layers = pd.read_csv(folder / "tables" / "layers.csv")
    if "dataset" in layers:
        layers = layers[layers["dataset"].isna() | (layers["dataset"] == config["dataset"]["name"])]
    test = layers[(layers["checkpoint"] == "last") & (layers["split"] == "test") & (layers["layer"] != "logits")]
    last = test.sort_values("index").iloc[-1]
    figures = {name: last.get(name, float("nan")) for name in COLUMNS}
    return {"method": config["method"]["name"], "layer": last["layer"], **figures, "seconds": training_seconds(folder)}


def shown(values: pd.Series, digits: int) -> str:
    """Mean, with the deviation where there is one."""
    values = values.dropna()
    if values.empty:
        return "–"
    return f"{values.mean():.{digits}f}" + (f" ± {values.std():.{digits}f}" if len(values) > 1 else "")


def main() -> None:
    folders = [Path(argument) for argument in sys.argv[1:]]
    if not folders:
        raise SystemExit(__doc__)
    found = pd.DataFrame([row(folder) for folder in runs(folders)])
    print("| method | layer | " + " | ".join(title for title, _ in COLUMNS.values()) + " | training, s |")
    print("|---" * (len(COLUMNS) + 3) + "|")
    for method, group in found.groupby("method", sort=False):
        cells = [shown(group[name], digits) for name, (_, digits) in COLUMNS.items()]
        print(f"| {method} | {group['layer'].iloc[0]} | " + " | ".join(cells) + f" | {shown(group['seconds'], 0)} |")


if __name__ == "__main__":
    main()
