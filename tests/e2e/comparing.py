"""What tests of `rra compare` share: runs of seconds, and what they wrote, read without our code."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np

# Seconds of work: a small net on some of the digits, two measured checkpoints.
TINY = [
    "+experiment=quickstart", "model=mlp", "method.epochs=2", "method.milestones=[0,1]", "method.batch_size=32",
    "dataset.train_size=100", "dataset.n_samples=60", "dataset.splits=[test]", "neighbors.k=4", "runtime.device=cpu",
    "runtime.threads=1",
]  # fmt: skip
# Several commands in one process, without the drawing of every run's own plots, which has tests of its own.
PLAIN = """
import json, sys
from rra_cli import pipeline
from rra_cli.__main__ import main
pipeline.render = lambda *args, **kwargs: []
sys.exit(max(main(arguments) for arguments in json.loads(sys.argv[1])))
"""


def write_files(folder: Path, name: str) -> None:
    """Activations of 60 samples: the same input, another layer."""
    folder.mkdir(parents=True)
    samples = np.random.RandomState(0).normal(size=(60, 4)).astype(np.float32)
    weights = np.random.RandomState(len(name) + ord(name[0])).normal(size=(4, 3)).astype(np.float32)
    np.save(folder / "00_input.npy", samples)
    np.save(folder / "01_hidden.npy", np.tanh(samples @ weights))
    np.save(folder / "labels.npy", (samples[:, 0] > 0).astype(np.int64))


def files_run(outputs: Path, name: str) -> list[str]:
    run = ["+experiment=from_activations", "neighbors.k=4", "runtime.threads=1", "runtime.device=cpu"]
    return [*run, f"activations.path={outputs / 'files' / name}", f"hydra.run.dir={outputs / f'files_{name}'}"]


def rra_run(outputs: Path, *commands: list[str]) -> None:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("HYDRA_", "RRA_"))}
    environment = kept | {"RRA_OUTPUTS": str(outputs), "OMP_NUM_THREADS": "1", "NO_COLOR": "1"}
    whole = json.dumps([["run", *([] if "+experiment" in each[0] else TINY), *each] for each in commands])
    command = [sys.executable, "-c", PLAIN, whole]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]


def table(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / "tables" / f"{name}.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


def runs_of(outputs: Path, rate: str) -> list[Path]:
    """The run folders of one learning rate, by seed."""
    folders = [path for path in (outputs / "sweep").iterdir() if (path / "config.yaml").is_file()]
    chosen = [path for path in folders if f"lr={rate}" in path.name.split(",")[-1] or f"lr={rate}," in path.name]
    return sorted(chosen, key=lambda path: path.name)


def neighbours(run: Path, split: str, layer: str) -> list[list[int]]:
    """The neighbour lists of the last checkpoint, read without our code."""
    manifest = json.loads((run / "manifest.json").read_text())
    (row,) = [
        row for row in manifest["graphs"] if (row["checkpoint"], row["split"], row["layer"]) == ("last", split, layer)
    ]
    path = run / manifest["store"] / row["path"] / "indices.npy"
    found: list[list[int]] = np.load(path)[:, : row["k"]].tolist()
    return found


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
