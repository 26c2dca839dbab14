"""One process of several that build the shards of the same two graphs: `python sharing.py ROOT NAME [--hang N]`.

Every search of a shard writes a line `begin NAME START STOP` and, when it is done, `end NAME START STOP` into
ROOT/searches and takes a moment. --hang: the search of its N-th shard (from 0) does not end.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from killing import Quiet, experiment

from rra_cli import pipeline
from rra_cli.config.experiment import ActivationsConfig, Experiment, MetricSet, StoreConfig
from rra_cli.data.activation_files import ActivationFiles
from rra_cli.methods.none import NoTraining
from rra_cli.metrics.intrinsic_dimension import TwoNN
from rra_cli.metrics.layer_similarity import NNLS
from rra_cli.neighbors import exact
from rra_cli.neighbors.exact import ExactEngine

N, K, SHARDS = 61, 5, 5
SECONDS = 0.3


def write_layers(root: Path) -> None:
    """Two layers of whole numbers, with ties, and copies of the first rows among the last ones."""
    folder = root / "layers"
    folder.mkdir(parents=True)
    for index, width in enumerate((4, 6)):
        points = np.random.default_rng(index).integers(0, 4, size=(N, width)).astype(np.float32)
        points[-20:-10] = points[:10]
        np.save(folder / f"{index:03d}_layer{index}.npy", points)


def shared_experiment(root: Path, store: str, shards: int) -> Experiment:
    from dataclasses import replace

    return replace(
        experiment(root),
        dataset=ActivationFiles(splits=("test",)),
        method=NoTraining(),
        neighbors=ExactEngine(k=K, shards=shards),
        metrics=MetricSet({"id_twonn": TwoNN(), "nnls": NNLS()}),
        activations=ActivationsConfig(path=str(root / "layers")),
        store=StoreConfig(root=str(root / store)),
    )


def run(root: Path, name: str, store: str = "store", shards: int = SHARDS) -> None:
    with patch.object(pipeline, "render", lambda *args, **kwargs: []):
        pipeline.run(shared_experiment(root, store, shards), root / name, Quiet(), config={"name": name})


def main(root: Path, name: str, hang: int) -> None:
    search, begun = exact.exact_rows, 0

    def note(what: str, start: int, stop: int) -> None:
        with (root / "searches").open("a") as lines:
            lines.write(f"{what} {name} {start} {stop}\n")

    def slow(activations: Any, k: int, start: int, stop: int, **others: Any) -> Any:
        nonlocal begun
        note("begin", start, stop)
        begun += 1
        time.sleep(3600 if begun == hang + 1 else SECONDS)
        found = search(activations, k, start, stop, **others)
        note("end", start, stop)
        return found

    exact.exact_rows = slow  # type: ignore[assignment]
    # All that is imported on the way is there when the others start, too.
    (root / f"{name}-ready").touch()
    while not (root / "go").exists():
        time.sleep(0.01)
    run(root, name)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[4]) if sys.argv[3:4] == ["--hang"] else -2)
