"""A command line in this process, with a pipeline that only notes what it was asked for."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rra_cli import __version__
from rra_cli.__main__ import main
from rra_cli.config.experiment import Experiment
from rra_cli.core.progress import Reporter
from rra_cli.core.rundir import RunDir


@dataclass
class FakePipeline:
    """Enters the run folder like the real one, then does what `act` says."""

    act: Callable[[Experiment, Path], None] = lambda experiment, folder: None
    before: Callable[[Experiment, Path], None] = lambda experiment, folder: None
    runs: list[tuple[Experiment, Path, Mapping[str, Any]]] = field(default_factory=list)

    def run(self, experiment: Experiment, folder: Path, reporter: Reporter, *, config: Mapping[str, Any]) -> None:
        self.runs.append((experiment, folder, config))
        self.before(experiment, folder)
        with RunDir.enter(folder, config) as run_dir, run_dir.logging():
            with reporter.task("fake work") as progress:
                progress(1, 1, "")
            self.act(experiment, folder)
            run_dir.write_provenance({"packages": {"rra": __version__}, "argv": ["rra", "run", "fake"]})
            write_layers(folder / "tables" / "layers.csv")
            run_dir.status("done")


@dataclass
class Command:
    """Runs `rra` and keeps what it printed."""

    capsys: pytest.CaptureFixture[str]
    outputs: Path
    out: str = ""
    err: str = ""

    def __call__(self, *arguments: str) -> int:
        code = main(arguments)
        self.out, self.err = self.capsys.readouterr()
        return code

    @property
    def folders(self) -> list[Path]:
        """The dated folders that were made."""
        return sorted(self.outputs.glob("*-*-*/*"))

    @property
    def sweeps(self) -> list[Path]:
        """The folders of sweeps that were made."""
        return sorted(self.outputs.glob("sweeps/*"))


def write_layers(path: Path) -> None:
    """A table of two layers, two splits and two checkpoints."""
    path.parent.mkdir(exist_ok=True)
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        common = ["checkpoint", "epoch", "split", "layer", "index", "pool", "scale", "subset", "n_samples"]
        writer.writerow([*common, "n_features", "k", "id_twonn", "nncs", "nncs_chance"])
        for checkpoint in ("epoch_0000", "last"):
            for split, n_samples in (("train", 100), ("test", 50)):
                for index, layer in enumerate(("input", "logits")):
                    value = 10 * index + (checkpoint == "last") + 0.5 * (split == "test")
                    row = [checkpoint, 0, split, layer, index, "none", 1, 0, n_samples, 64, 5, value + 1, 0.25, ""]
                    writer.writerow(row)
