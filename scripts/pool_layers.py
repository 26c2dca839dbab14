"""Convolutional layers averaged over windows, as files that `rra run +experiment=... dataset=activations` measures.

    rra run +experiment=rra_cifar10_small activations.keep=always     # layers have to be in the store
    python scripts/pool_layers.py RUN FOLDER [--window 4] [--split train]
    rra run +experiment=neighbor_study dataset=activations activations.path=FOLDER

RUN is the run's folder. Writes the last checkpoint's layers of maps, each with the mean of every window x window square
of each channel, and labels.npy beside them.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import yaml

from rra_cli.config.bind import bind
from rra_cli.core.store import Store
from rra_cli.errors import UserError
from rra_cli.stages.capture import LayerCapture
from rra_cli.stages.images import Images
from rra_cli.stages.lay_out import lay_out

ROWS = 1000


def pooled(maps: np.ndarray, window: int) -> np.ndarray:
    """`(n, channels, height, width)` as `(n, features)`: the mean of each window, channel by channel in C order."""
    n, channels, height, width = maps.shape
    squares = maps.reshape(n, channels, height // window, window, width // window, window)
    return squares.mean(axis=(3, 5), dtype=np.float64).astype(maps.dtype).reshape(n, -1)


def write(stage: LayerCapture, store: Store, window: int, folder: Path) -> str:
    """Writes one layer's file; gives its name."""
    if stage.is_projected:
        raise UserError(f"{stage.point.title} was projected, and its maps are gone", "run without activations.reduce")
    activations, _ = stage.open(store)
    parts = (activations[start : start + ROWS] for start in range(0, len(activations), ROWS))
    layer = np.concatenate([pooled(np.asarray(part).reshape(-1, *stage.shape), window) for part in parts])
    path = folder / f"{stage.point.index:03d}_{stage.point.layer}.npy"
    np.save(path, layer)
    return f"{path.name} {layer.shape}"


def main() -> None:
    parser = argparse.ArgumentParser(description="Averages the maps of a run's layers over windows.")
    parser.add_argument("run", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--window", type=int, default=4)
    parser.add_argument("--split", default="train")
    given = parser.parse_args()
    config = yaml.safe_load((given.run / "config.yaml").read_text())
    experiment = bind({key: value for key, value in config.items() if key != "experiment"})
    layout, store = lay_out(experiment, read_only=True), Store(experiment.store_root)
    assert isinstance(layout.data, Images)
    given.folder.mkdir(parents=True, exist_ok=True)
    for stage in layout.captures:
        point = stage.point
        here = point.split == given.split and (point.checkpoint.label == "last" or not point.module)
        if here and len(stage.shape) == 3 and all(side % given.window == 0 for side in stage.shape[1:]):
            print(write(stage, store, given.window, given.folder))
    np.save(given.folder / "labels.npy", layout.data.labels(given.split))


if __name__ == "__main__":
    main()
